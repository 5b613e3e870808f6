#!/bin/bash
# The page about a run: fit writes it, report writes it anew, for each task; several runs go side by side.
. tests/support/cli.bash
model=tests/parity/resnet/hf_basic
pictures=tests/cli/pictures

exits 0 fit $model $pictures -o "$WORK/run" --from-scratch --epochs 2 -q
holds "fit leaves a page" test -s "$WORK/run/report.html"
holds "that says how it was asked for" grep -q "graft fit $model $pictures -o $WORK/run --from-scratch --epochs 2<" "$WORK/run/report.html"
holds "the answers are kept" test -s "$WORK/run/graft_answers.safetensors"
cp "$WORK/run/report.html" "$WORK/first.html"
exits 0 report "$WORK/run" --json -q
holds "report says what it wrote" grep -q "\"out\": \"$WORK/run/report.html\"" "$WORK/out"
holds "the page is the same again" cmp "$WORK/first.html" "$WORK/run/report.html"
exits 0 report "$WORK/run" -o "$WORK/page.html" --no-samples
holds "pictures can stay out" test "$(grep -c 'src="data:image' "$WORK/page.html")" = 0
exits 0 fit $model $pictures -o "$WORK/other" --from-scratch --epochs 2 --train head --no-report -q
holds "--no-report writes none" test ! -e "$WORK/other/report.html"
exits 0 report "$WORK/run" "$WORK/other" -o "$WORK/both.html" -q
holds "two runs stand side by side" grep -q '2 runs side by side' "$WORK/both.html"
holds "with their intervals" grep -q 'interval' "$WORK/both.html"

# texts, for each task
text=$WORK/model
mkdir "$text"
cp tests/parity/text/bert_bare/config.json tests/parity/text/bert_bare/model.safetensors "$text"
printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' the is it red rose sea sky blue anna paris lives in fine bad 1 2 3 >"$text/vocab.txt"
{
    echo 'text,label'
    for i in 1 2 3; do printf '%s\n' "the rose $i,red" "red and sea $i,blue|red" "the sky $i,blue" "it is $i,"; done
} >"$WORK/several.csv"
exits 0 fit "$text" "$WORK/several.csv" -o "$WORK/s" --task multilabel --train head --epochs 2 -q
holds "several classes have their examples" grep -q 'said <b\|said none' "$WORK/s/report.html"
{
    echo 'text,score'
    for i in 1 2 3; do printf '%s\n' "bad $i,0" "the sea $i,1.5" "fine $i,3" "fine fine $i,5"; done
} >"$WORK/numbers.csv"
exits 0 fit "$text" "$WORK/numbers.csv" -o "$WORK/n" --task regression --label score --train head --epochs 2 -q
holds "numbers have a scatter" grep -q '<section id="numbers"' "$WORK/n/report.html"
for i in 1 2 3 4; do printf 'anna B-PER\nlives O\nin O\nparis B-LOC\n\nit O\nis O\nfine O\n%s O\n\n' $i; done >"$WORK/words.conll"
exits 0 fit "$text" "$WORK/words.conll" -o "$WORK/w" --train full --epochs 2 -q
holds "words have their tags" grep -q '<section id="examples"' "$WORK/w/report.html"
rm "$WORK/words.conll"
exits 0 report "$WORK/w"
holds "what is gone is said" grep -q '^left out: ' "$WORK/out"

# what is wrong
says report "$WORK/nowhere"
says report
says report $model
says report "$WORK/run" -o "$WORK/nowhere/page.html" -q
finish
