#!/bin/bash
# Word vectors as a model: a file is fitted to texts, and what comes of it is used like any other model.
. tests/support/cli.bash
vectors=$WORK/tiny.vec
cat >"$vectors" <<'END'
12 4
red 0.9 0.1 0 0.2
green 0.8 -0.1 0.1 0.1
blue 0.7 0.2 0.2 -0.1
apple -0.2 0.9 0.1 0
pear -0.1 0.8 -0.1 0.1
plum 0.1 0.7 0.2 0.2
the 0 0 0.5 0.1
a 0 0.1 0.4 0
is 0.1 0 0.3 -0.2
not -0.1 -0.1 -0.6 0.3
it 0 0 0.2 0.2
. 0 0 0.1 0
END
words() { # CLASS WORD...: lines of the class
    local class=$1 word other
    shift
    for word; do
        for other in "the" "it is a" "the unheard" "it is not the" "a"; do
            printf '%s\t%s %s.\n' "$class" "${other^}" "$word"
        done
    done
}
{
    printf 'label\ttext\n'
    words colour red green blue
    words fruit apple pear plum
    words colour red green blue
    words fruit apple pear plum
} | awk 'NR == 1 || !seen[$0 NR % 2]++' >"$WORK/data.tsv"
printf 'It is a green.\nThe plum is not the apple.\n' >"$WORK/texts.txt"

for encoder in mean cnn lstm fasttext; do
    out=$WORK/$encoder
    lr=0.02
    [ $encoder = fasttext ] && lr=0.5
    exits 0 fit "$vectors" "$WORK/data.tsv" --encoder $encoder --epochs 30 --lr $lr -o "$out" --json
    holds "$encoder: the share of known words is said" grep -q "% of the data's words have a vector" "$WORK/err"
    accuracy=$(number "$WORK/out" accuracy)
    holds "$encoder: colours and fruit are told apart ($accuracy)" awk "BEGIN {exit !($accuracy >= 0.9)}"
    holds "$encoder: the folder made on the way is gone" test ! -e "$out/vectors"
    for file in config.json model.safetensors tokenizer.json README.md graft.json graft_probe.safetensors; do
        holds "$encoder: the folder has $file" test -s "$out/$file"
    done
    exits 0 verify "$out"
    exits 0 eval "$out" "$WORK/data.tsv" -q
    exits 0 predict "$out" "$WORK/texts.txt" -q
    holds "$encoder: a colour, then a fruit" test "$(cut -f 2 "$WORK/out" | tr '\n' ' ')" = "colour fruit "
    exits 0 embed "$out" "$WORK/texts.txt" -o "$WORK/$encoder.npy" -q
    exits 0 inspect "$out" -q
    exits 0 fit "$out" "$WORK/data.tsv" --train full --epochs 2 -o "$WORK/again" -q
done

# as fastText: a text ends with </s>, words without a vector have a row, threads change nothing
holds "texts end with </s>" grep -q '"</s>":[0-9]' "$WORK/fasttext/tokenizer.json"
holds "unheard words have rows" grep -q '"unheard":[0-9]' "$WORK/fasttext/tokenizer.json"
holds "no other encoder's do" test "$(grep -c unheard "$WORK/mean/tokenizer.json")" = 0
holds "every epoch is noted" test "$(grep -c '"event": *"epoch"' "$WORK/fasttext/run.jsonl")" = 30
for threads in 1 2; do
    exits 0 fit "$vectors" "$WORK/data.tsv" --encoder fasttext -o "$WORK/f$threads" --threads $threads -q
done
holds "the same bits on any number of threads" cmp "$WORK/f1/model.safetensors" "$WORK/f2/model.safetensors"
exits 0 fit "$vectors" "$WORK/data.tsv" --encoder fasttext --train head -o "$WORK/frozen" --epochs 30 --lr 0.5 --json
accuracy=$(number "$WORK/out" accuracy)
holds "frozen vectors do too ($accuracy)" awk "BEGIN {exit !($accuracy >= 0.9)}"
exits 0 fit "$vectors" "$WORK/data.tsv" --encoder fasttext -o "$WORK/none" --dry-run --json -q

# the same in two steps, frozen or not
exits 0 vectors model "$vectors" --encoder cnn --words "$WORK/data.tsv" -o "$WORK/start" --json
holds "all words of the file and none besides" test "$(number "$WORK/out" n)" = 12
for plan in head from:encoder full; do
    exits 0 fit "$WORK/start" "$WORK/data.tsv" --train $plan --epochs 2 -o "$WORK/$plan" -q
done
exits 0 fit tests/golden/vectors/subwords.bin "$WORK/data.tsv" --epochs 2 -o "$WORK/subwords" --json
holds "words unknown to the file go by their subwords" grep -q '^100 % of the data' "$WORK/err"
exits 0 fit tests/golden/vectors/quantised_pruned.ftz "$WORK/data.tsv" --epochs 2 -o "$WORK/ftz" -q

# in place of another model's embedding matrix
mkdir "$WORK/bert"
cp tests/parity/text/bert_bare/config.json tests/parity/text/bert_bare/model.safetensors "$WORK/bert"
printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' the a is it not red green blue apple . >"$WORK/bert/vocab.txt"
exits 0 vectors model "$vectors" --into "$WORK/bert" -o "$WORK/into" --json
holds "all words have a row" test "$(number "$WORK/out" n)" = 12
holds "those of the model keep theirs" test "$(number "$WORK/out" shared)" = 10
exits 0 fit "$WORK/into" "$WORK/data.tsv" --train full --epochs 40 --lr 0.003 --backbone-lr-scale 1 -o "$WORK/into_fit" --json
accuracy=$(number "$WORK/out" accuracy)
holds "the model is trained on them ($accuracy)" awk "BEGIN {exit !($accuracy >= 0.9)}"
exits 0 verify "$WORK/into_fit"
exits 0 predict "$WORK/into_fit" "$WORK/texts.txt" -q
holds "a colour, then a fruit" test "$(cut -f 2 "$WORK/out" | tr '\n' ' ')" = "colour fruit "

# what is wrong
says vectors model "$vectors" --into "$WORK/bert" --encoder cnn -o "$WORK/none" -q
says vectors model "$vectors" --into "$WORK/mean" -o "$WORK/none" -q
says fit "$vectors" "$WORK/data.tsv" --encoder gru -o "$WORK/none" -q
says fit "$vectors" "$WORK/data.tsv" --encoder fasttext --optimizer adamw -o "$WORK/none" -q
says fit "$vectors" "$WORK/data.tsv" --encoder fasttext --lr find -o "$WORK/none" -q
says fit "$vectors" "$WORK/data.tsv" --encoder fasttext --ema 0.99 -o "$WORK/none" -q
says fit "$vectors" "$WORK/data.tsv" --encoder fasttext --train top:1 -o "$WORK/none" -q
says fit "$vectors" "$WORK/data.tsv" -q
says fit "$WORK/start" "$WORK/data.tsv" --encoder cnn -o "$WORK/none" -q
says eval "$WORK/start" "$WORK/data.tsv" -q
says vectors model "$vectors" -q
printf 'red 1 2\ngreen 3\n' >"$WORK/short.vec"
says fit "$WORK/short.vec" "$WORK/data.tsv" -o "$WORK/none" -q
printf 'red 1 nan\ngreen 3 4\n' >"$WORK/nan.vec"
says fit "$WORK/nan.vec" "$WORK/data.tsv" -o "$WORK/none" -q
sed -i 's/"width": *4/"width": 5/' "$WORK/start/config.json"
says fit "$WORK/start" "$WORK/data.tsv" -o "$WORK/none" -q
holds "what failed left nothing behind" test ! -e "$WORK/none"
printf 'nirgends 1 2\nnie 3 4\n' >"$WORK/foreign.vec"
exits 0 fit "$WORK/foreign.vec" "$WORK/data.tsv" --epochs 1 -o "$WORK/foreign"
holds "unknown words are warned of" grep -q "warning: 0 % of the data's words have a vector" "$WORK/err"
finish
