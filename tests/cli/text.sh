#!/bin/bash
# Texts: what fit leaves is what eval, predict, embed, inspect and verify use, for each task; and one line about what is wrong.
. tests/support/cli.bash
model=$WORK/model
mkdir "$model"
cp tests/parity/text/bert_bare/config.json tests/parity/text/bert_bare/model.safetensors "$model"
printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' the a is it this was very not red rose blood brick wine blue sea sky ink plum \
    anna peter paris rome lives in went to good bad fine poor great awful cup of 1 2 3 , . '"' ! '?' >"$model/vocab.txt"
cp -r "$model" "$WORK/wordless"
rm "$WORK/wordless/vocab.txt"

# fits DATA ARG...: says what fitting on it says
fits() {
    says fit "$model" "$@" -o "$WORK/o" --epochs 1 -q
    rm -rf "$WORK/o"
}

says inspect "$model"
says inspect "$model" --train top:1 --json

# one of several classes; quotes and a line's end within a cell
{
    echo 'text,label,split'
    for split in train train2 val test; do
        for i in 1 2 3; do
            for x in rose blood brick wine; do echo "\"the \"\"$x\"\" $i
is red\",warm,${split%2}"; done
            for x in sea sky ink plum; do echo "\"a $x, it was blue $i ${split//[a-z]/}\",cold,${split%2}"; done
        done
    done
} >"$WORK/colours.csv"
exits 0 fit "$model" "$WORK/colours.csv" -o "$WORK/c" --train full --epochs 20 --lr 0.003 --backbone-lr-scale 1 --json -q
accuracy=$(number "$WORK/out" accuracy)
holds "colours are told apart" awk "BEGIN {exit !($accuracy >= 0.9)}"
for file in config.json model.safetensors vocab.txt README.md graft.json graft_probe.safetensors run.jsonl; do
    holds "the folder has $file" test -s "$WORK/c/$file"
done
exits 0 eval "$WORK/c" "$WORK/colours.csv" --json -q
holds "eval has fit's accuracy" test "$(number "$WORK/out" accuracy)" = "$accuracy"
holds "of the test texts" test "$(number "$WORK/out" n)" = 24
exits 0 eval "$WORK/c" "$WORK/colours.csv" -q
holds "samples are counted, not pictures" grep -q ' samples  class$' "$WORK/out"
exits 0 predict "$WORK/c" --text 'the "wine" 4 is red' "a sea, it was blue 4" -q
holds "texts of the command line are answered" test "$(cut -f 2 "$WORK/out" | tr '\n' ' ')" = "warm cold "
printf 'the "wine" is red\na ink, it was blue\n' >"$WORK/two.txt"
exits 0 predict "$WORK/c" "$WORK/two.txt" -q
holds "so are a file's lines" test "$(cut -f 2 "$WORK/out" | tr '\n' ' ')" = "warm cold "
exits 0 embed "$WORK/c" "$WORK/two.txt" -o "$WORK/e.npy"
holds "features of two texts" grep -q "2 x 24" "$WORK/out"
exits 0 verify "$WORK/c"
holds "the probes answer" grep -q "probe inputs answer as when the model was saved" "$WORK/out"

# the second head-only run takes its rows from the cache and ends alike
export GRAFT_CACHE=$WORK/cache
exits 0 fit "$model" "$WORK/colours.csv" -o "$WORK/h1" --train head --epochs 3 -q
exits 0 fit "$model" "$WORK/colours.csv" -o "$WORK/h2" --train head --epochs 3
holds "rows come from the cache" grep -qE "frozen part: ([0-9]+) rows, \1 of them from the cache" "$WORK/err"
holds "the answer is the same" cmp "$WORK/h1/model.safetensors" "$WORK/h2/model.safetensors"

# rows by token too, with the cache and without, whatever else is in the batch
exits 0 fit "$model" "$WORK/colours.csv" -o "$WORK/t1" --train top:1 --epochs 2 -q
exits 0 fit "$model" "$WORK/colours.csv" -o "$WORK/t2" --train top:1 --epochs 2
holds "rows by token come from the cache" grep -qE "frozen part: ([0-9]+) rows, \1 of them from the cache" "$WORK/err"
exits 0 fit "$model" "$WORK/colours.csv" -o "$WORK/t3" --train top:1 --epochs 2 --no-cache -q
holds "a cached run has the bits of the one that filled it" cmp "$WORK/t1/model.safetensors" "$WORK/t2/model.safetensors"
holds "and of one without a cache" cmp "$WORK/t1/model.safetensors" "$WORK/t3/model.safetensors"
printf 'anna lives in rome\nthe ink is blue\n' >"$WORK/other.txt"
exits 0 embed "$WORK/c" "$WORK/two.txt" "$WORK/other.txt" -o "$WORK/all.npy" --no-cache
exits 0 embed "$WORK/c" "$WORK/two.txt" -o "$WORK/some.npy" --no-cache
holds "a row does not depend on its neighbours" \
    cmp <(tail -c +129 "$WORK/some.npy") <(tail -c +129 "$WORK/all.npy" | head -c "$(($(stat -c %s "$WORK/some.npy") - 128))")

# texts longer than the model, in windows: what decides stands at their end
{
    echo 'text,label,split'
    for split in train train2 val test; do
        for i in 1 2 3; do
            for x in rose blood brick wine; do echo "it was this and it was not this $i the cup of anna is the $x,warm,${split%2}"; done
            for x in sea sky ink plum; do echo "it was this and it was not this $i the cup of peter is the $x ${split//[a-z]/},cold,${split%2}"; done
        done
    done
} >"$WORK/long.csv"
exits 0 fit "$model" "$WORK/long.csv" -o "$WORK/l" --train full --epochs 20 --lr 0.003 --backbone-lr-scale 1 --max-length 10 --stride 4 --json
holds "windows are counted" grep -q '96 of 96 texts are longer than 10 tokens: read in [23][0-9][0-9] windows that share 4' "$WORK/err"
accuracy=$(number "$WORK/out" accuracy)
holds "the page shows its texts" grep -q '<section id="examples"' "$WORK/l/report.html"
holds "windows find it" awk "BEGIN {exit !($accuracy >= 0.9)}"
exits 0 eval "$WORK/l" "$WORK/long.csv" --json -q
holds "eval has fit's accuracy" test "$(number "$WORK/out" accuracy)" = "$accuracy"
holds "of texts, not of windows" test "$(number "$WORK/out" n)" = 24
exits 0 predict "$WORK/l" --text "it was this and it was not this 1 the cup of anna is the wine" "the sea" -q
holds "each text has one answer" test "$(cut -f 2 "$WORK/out" | tr '\n' ' ')" = "warm cold "
exits 0 embed "$WORK/l" --text "it was this and it was not this 1 the cup of anna is the wine" "the sea" -o "$WORK/l.npy"
holds "and one row" grep -q "2 x 24" "$WORK/out"
exits 0 fit "$WORK/l" "$WORK/long.csv" -o "$WORK/l2" --train head --epochs 1 --json
holds "a model that knows the classes goes on with windows" grep -q 'read in [23][0-9][0-9] windows' "$WORK/err"
holds "and is measured on texts" test "$(number "$WORK/out" n)" = 24
says predict "$WORK/l" --text "the sea" --stride 6

# several classes, numbers, words
{
    echo 'text,label'
    for i in 1 2 3; do printf '%s\n' "the rose $i,red" "blood and sea $i,blue|red" "the sky $i,blue" "it is $i,"; done
} >"$WORK/several.csv"
exits 0 fit "$model" "$WORK/several.csv" -o "$WORK/s" --task multilabel --train head --epochs 2 -q
exits 0 eval "$WORK/s" "$WORK/several.csv" -q
holds "several classes have their measures" grep -q '^hamming_loss' "$WORK/out"
exits 0 verify "$WORK/s"
{
    echo 'text,score'
    for i in 1 2 3; do printf '%s\n' "awful $i,0" "bad $i,1.5" "fine $i,3" "great $i,5"; done
} >"$WORK/numbers.csv"
exits 0 fit "$model" "$WORK/numbers.csv" -o "$WORK/n" --task regression --label score --train head --epochs 2 -q
exits 0 eval "$WORK/n" "$WORK/numbers.csv" --label score -q
holds "numbers have theirs" grep -q '^spearman' "$WORK/out"
holds "and no table of classes" test "$(grep -c class "$WORK/out")" = 0
exits 0 predict "$WORK/n" --text "it is good" -q
holds "a number is answered" grep -qE '	-?[0-9.]+$' "$WORK/out"
for i in 1 2 3 4; do printf 'anna B-PER\nlives O\nin O\nparis B-LOC\n\npeter B-PER\nwent O\nto O\nrome B-LOC\n\n'; done >"$WORK/words.conll"
exits 0 fit "$model" "$WORK/words.conll" -o "$WORK/w" --train full --epochs 2 -q
exits 0 eval "$WORK/w" "$WORK/words.conll" -q
holds "entities are counted" grep -q ' entities  type$' "$WORK/out"
exits 0 predict "$WORK/w" --text "anna went to rome" -q
holds "each word has a tag" grep -qE 'anna/[^ ]+ went/[^ ]+ to/[^ ]+ rome/[^ ]+$' "$WORK/out"
exits 0 verify "$WORK/w"
holds "probes are counted as texts" grep -q '^[1-5] probe inputs' "$WORK/out"
says inspect "$WORK/w"
sed 's/^paris B-LOC$/paris I-LOC/' "$WORK/words.conll" >"$WORK/broken.conll"
echo 'rome B-LOC' >>"$WORK/broken.conll"
exits 0 fit "$model" "$WORK/broken.conll" -o "$WORK/b" --head crf --train head --epochs 1
holds "tags that break their scheme are warned of" \
    grep -q "warning: 4 of 9 tagged sentences break the scheme of their tags.*broken.conll, line 1: I-LOC after O at word 4, 'paris'" "$WORK/err"
holds "once" test "$(grep -c 'break the scheme' "$WORK/err")" = 1
exits 0 fit "$model" "$WORK/words.conll" -o "$WORK/x" --head crf --train full --epochs 2 --max-length 4 --stride 1 -q
exits 0 eval "$WORK/x" "$WORK/words.conll" --json -q
holds "each word counts once" test "$(number "$WORK/out" n)" = 32
exits 0 eval "$WORK/x" "$WORK/words.conll" --stride 0 --json -q
holds "those that are cut off do not" test "$(number "$WORK/out" n)" = 16
exits 0 predict "$WORK/x" --text "anna went to rome" -q
holds "the words of all windows have tags" grep -qE 'anna/[^ ]+ went/[^ ]+ to/[^ ]+ rome/[^ ]+$' "$WORK/out"

# what is wrong
printf 'text,label\nthe rose,a\nthe \xff\xfe sea,b\n' >"$WORK/latin.csv"
fits "$WORK/latin.csv"
printf 'text,label\nthe rose,a\n"",b\nthe wine,a\nthe sea,b\n' >"$WORK/empty.csv"
fits "$WORK/empty.csv"
printf 'text,label\n"the rose,a\nthe sea,b\n' >"$WORK/open.csv"
fits "$WORK/open.csv"
printf 'text,label\nthe rose,a,b\n' >"$WORK/wide.csv"
fits "$WORK/wide.csv"
printf 'text,score\nthe rose,red\nthe sea,2\n' >"$WORK/word.csv"
fits "$WORK/word.csv" --task regression --label score
printf 'anna B-PER\nlives\n\n' >"$WORK/short.conll"
fits "$WORK/short.conll"
fits "$WORK/colours.csv" --input body
fits "$WORK/colours.csv" --label colour
fits "$WORK/colours.csv" --task ranking
fits "$WORK/colours.csv" --pooling sum
fits tests/cli/pictures
model=$WORK/wordless fits "$WORK/colours.csv"
says eval "$WORK/c" "$WORK/words.conll" -q
says predict "$WORK/c" "$WORK/nowhere.txt" -q
says predict tests/parity/resnet/hf_basic --text "the rose" -q
finish
