#!/bin/bash
# graft compare: plans, seeds and sizes over the digits, taken up where they stopped; and what it says of bad input.
. tests/support/cli.bash
model=examples/digits/upstream
digits=examples/digits/digits.npz
out=$WORK/worth
runs() { grep -c '"event":"run"' "$1/runs.jsonl"; }

# compares WANTED ARG...: two passes a run, so that it is quick; plans are then far from their best
compares() {
    local wanted=$1
    shift
    exits "$wanted" compare "$@" --epochs 2
}

compares 0 $model $digits -o "$out" --plans scratch,head,full --per-class 3,5,all --seeds 2 --json -q
holds "--json prints one object, -q nothing else" test ! -s "$WORK/err"
cp "$WORK/out" "$WORK/first.json"
strip() { grep -v '"seconds": [0-9]' "$1"; }
holds "it is compare.json" diff <(strip "$out/compare.json") <(strip "$WORK/first.json")
holds "every plan, size and seed was run" test "$(runs "$out")" = 18
holds "it is finished" grep -q '"finished": true' "$WORK/first.json"
holds "pretrained plans beat scratch after two passes" grep -q '"best": "\(head\|full\)"' "$WORK/first.json"
holds "and that is said" grep -q 'Transfer is worth' "$WORK/first.json"
holds "in JSON too" grep -qE '"verdict": "(a linear head is enough|fine-tuning is worth it)"' "$WORK/first.json"
holds "the test part is the data's own" grep -q '"test": "given"' "$WORK/first.json"
holds "three sizes make a curve" grep -q '"more": {' "$WORK/first.json"

# finished runs are not made again, and more seeds add to them
compares 0 $model $digits -o "$out" --plans scratch,head,full --per-class 3,5,all --seeds 2 --json
holds "all are taken back" grep -q "18 finished runs are taken from" "$WORK/err"
holds "and say the same" diff <(strip "$WORK/out") <(strip "$WORK/first.json")
compares 0 $model $digits -o "$out" --plans scratch,head,full --per-class 3,5,all --seeds 3
holds "a third seed takes nine more" test "$(runs "$out")" = 27
holds "its result reads for people" grep -qE '^head +[0-9.]+ ± [0-9.]+ ' "$WORK/out"
holds "with curves" grep -q "accuracy against labels a class" "$WORK/out"
holds "and the command to run" grep -q "^graft fit $model $digits -o OUT --train" "$WORK/out"
truncate -s -100 "$out/runs.jsonl" # a kill in the last line
compares 0 $model $digits -o "$out" --plans scratch,head,full --per-class 3,5,all --seeds 3 -q
holds "a record that was cut short is made again" test "$(runs "$out")" = 27
compares 0 $model $digits -o "$out" --plans head,scratch --per-class 3,all --seeds 1
holds "what is compared may be less" grep -q "4 finished runs are taken from" "$WORK/err"
holds "one seed has no interval, and that is said" grep -q "One seed:" <(tr '\n' ' ' <"$WORK/out")
holds "nor is one printed" awk '/±/ {exit 1}' "$WORK/out"

# a plan that diverged is left out, and that is said
cp -r "$out" "$WORK/wild"
sed -i -E 's/^.*"key":"([0-9a-f]+)".*"per_class":0,"plan":"scratch",.*"seed":0,.*$/{"event":"run","key":"\1","plan":"scratch","diverged":"the loss is not finite at epoch 1, batch 2","seconds":1.5}/' \
    "$WORK/wild/runs.jsonl"
compares 0 $model $digits -o "$WORK/wild" --plans scratch,head --per-class 3,all --seeds 1 -q
holds "in its row of the table" grep -qE '^scratch +diverged ' "$WORK/out"
holds "with the reason" grep -q '^left out: scratch: the loss is not finite at epoch 1, batch 2$' "$WORK/out"
exits 0 report "$WORK/wild" -q
holds "in the report too" grep -q 'since it diverged: <b>scratch</b>' "$WORK/wild/report.html"

# within a budget the first run is made, and the others later
exits 0 compare $model $digits -o "$WORK/small" --plans head,full --per-class 3,all --seeds 2 --epochs 2 --budget 1 --json
holds "a budget leaves at least the first run" test "$(runs "$WORK/small")" -ge 1
exits 0 compare $model $digits -o "$WORK/small" --plans head,full --per-class 3,all --seeds 2 --epochs 2 --json
holds "without it all are made" test "$(runs "$WORK/small")" = 8

# no test part; a class with fewer samples than a size asks for; a size beyond all
mkdir -p "$WORK/few/across" "$WORK/few/down"
cp tests/cli/pictures/train/across/* "$WORK/few/across"
cp tests/cli/pictures/train/down/0[0-4].* "$WORK/few/down"
compares 0 tests/parity/resnet/hf_basic "$WORK/few" --plans head --per-class 3,6,500 --seeds 1 --json
holds "a test part is held out" grep -q "samples are held out for the test, the same for every run" "$WORK/err"
holds "and named so" grep -q '"test": "held out"' "$WORK/out"
holds "a class that is too small gives what it has" grep -q "1 of 2 classes have fewer than 6 labels, such as 'down' with 4" "$WORK/err"
holds "a size beyond all is all" grep -q "500 labels a class are no fewer than all" "$WORK/err"
holds "which is run in its place" grep -q '"per_class": 0' "$WORK/out"
compares 0 tests/parity/resnet/hf_basic "$WORK/few" -o "$WORK/split" --plans head --per-class all --seeds 1 -q
compares 0 tests/parity/resnet/hf_basic "$WORK/few" -o "$WORK/split" --plans head --per-class all --seeds 1 -q --group-pattern '0([0-9])'
holds "runs of another split are not taken back" test "$(runs "$WORK/split")" = 2

# a file of word vectors is made a model once; texts without a label are what is to be labelled first
vectors=tests/golden/vectors/subwords.vec
awk -F , 'BEGIN {OFS = FS} NR % 9 == 2 && $NF == "train" {$(NF - 1) = ""} {print}' examples/intents/intents.csv >"$WORK/some.csv"
compares 2 $vectors "$WORK/some.csv" --plans head --seeds 1
holds "vectors need a folder" grep -q "give one with -o OUT" "$WORK/err"
compares 0 $vectors "$WORK/some.csv" -o "$WORK/words" --plans head,full --per-class all --seeds 1
holds "which holds their model" test -s "$WORK/words/model/model.safetensors"
holds "the unlabelled are asked for" grep -q "; label first: $WORK/some.csv, line" "$WORK/out"

# the command that is told reads data as the comparison did
sed '1s/.*/what,which,split/' examples/intents/intents.csv >"$WORK/named.csv"
compares 0 $vectors "$WORK/named.csv" -o "$WORK/named" --plans head --per-class all --seeds 1 --input what --label which -q
holds "the command names the columns" grep -q -- "--train head --input what --label which --epochs 2$" "$WORK/out"

exits 2 compare $model $digits -o "$WORK/x" --plans head,nothing -q
holds "an unknown plan is named" grep -q "unknown plan 'nothing'" "$WORK/err"
says compare $model $digits -o "$WORK/x" --plans head,head -q
says compare $model $digits -o "$WORK/x" --per-class 5,many -q
says compare $model $digits -o "$WORK/x" --per-class 1 -q
says compare $model $digits -o "$WORK/x" --plans , -q
says compare $model $digits -o "$WORK/x" --seeds 0
says compare $model "$WORK/nowhere" -q
says compare tests/golden/tensor/all_types.safetensors $digits -q
says compare tests/golden/tensor/all_types.safetensors $digits --encoder fasttext -o "$WORK/x" -q
holds "nothing half-made is left" test ! -e "$WORK/x"
finish
