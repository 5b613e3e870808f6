#!/bin/bash
# Averages of models: two from the pretrained one on, several as a soup, chosen on a validation part or given.
. tests/support/cli.bash
model=$WORK/model
mkdir "$model"
cp tests/parity/text/bert_bare/config.json tests/parity/text/bert_bare/model.safetensors "$model"
printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' the a is it this was very not red rose blood brick wine blue sea sky ink plum \
    anna peter paris rome lives in went to good bad fine poor great awful cup of 1 2 3 , . '"' ! '?' >"$model/vocab.txt"
{
    echo 'text,label,split'
    for split in train val test; do
        for i in 1 2 3; do
            for x in rose blood brick wine; do echo "the $x $i is red,warm,$split"; done
            for x in sea sky ink plum; do echo "a $x it was blue $i,cold,$split"; done
        done
    done
} >"$WORK/colours.csv"
for seed in 1 2 3; do
    exits 0 fit "$model" "$WORK/colours.csv" -o "$WORK/r$seed" --train full --epochs 6 --lr 0.003 --backbone-lr-scale 1 --seed $seed -q
done
exits 0 blend "$model" "$WORK/r1" --data "$WORK/colours.csv" -o "$WORK/b" --json -q
holds "eleven points were tried" test "$(grep -c '"loss":' "$WORK/out")" = 11
holds "the best is no worse than the adapted one alone" awk "BEGIN {exit !($(number "$WORK/out" accuracy) >= 0.9)}"
holds "the head is that of the adapted one" grep -q '"head": "of the last"' "$WORK/out"
holds "the blend is calibrated anew" test -n "$(number "$WORK/b/graft.json" temperature)"
exits 0 verify "$WORK/b"
exits 0 eval "$WORK/b" "$WORK/colours.csv" --part test --json -q
holds "eval agrees" test "$(number "$WORK/out" accuracy)" = "$(grep -A3 '"test"' "$WORK/b/graft.json" | number /dev/stdin accuracy)"
exits 0 blend "$WORK/r1" "$WORK/r2" "$WORK/r3" --data "$WORK/colours.csv" -o "$WORK/s" -q --json
holds "a greedy soup tries each alone and then with the best" test "$(grep -c '"loss":' "$WORK/out")" = 5
exits 0 predict "$WORK/s" --text "the wine is red" -q
exits 0 blend "$WORK/r1" "$WORK/r2" --alpha 0 -o "$WORK/first" -q
holds "all of one is that one" cmp "$WORK/first/model.safetensors" "$WORK/r1/model.safetensors"
exits 0 blend "$WORK/r1" "$WORK/r2" "$WORK/r3" -o "$WORK/u" -q
exits 0 verify "$WORK/u"
holds "the card tells what was averaged" grep -q '0.333 of `r1`, 0.333 of `r2`, 0.333 of `r3`' "$WORK/u/README.md"

says blend "$model" "$WORK/r1" -q
says blend "$model" -o "$WORK/x" -q
says blend "$model" "$WORK/r1" --alpha 2 -o "$WORK/x" -q
says blend "$model" "$WORK/r1" --alpha 0,1 -o "$WORK/x" -q
says blend "$WORK/r1" "$WORK/r2" "$WORK/r3" --alpha 0.5 -o "$WORK/x" -q
says blend "$WORK/r1" "$WORK/r2" --soup best -o "$WORK/x" -q
says blend "$WORK/r1" "$WORK/r2" --soup greedy -o "$WORK/x" -q
says blend tests/parity/resnet/hf_basic "$WORK/r1" -o "$WORK/x" -q
says blend "$WORK/r1" "$model" -o "$WORK/x" -q
says blend "$WORK/nowhere" "$WORK/r1" -o "$WORK/x" -q
cp -r "$WORK/r1" "$WORK/other"
sed -i 's/^anna$/otto/' "$WORK/other/vocab.txt"
rm -f "$WORK/other/tokenizer.json"
says blend "$WORK/other" "$WORK/r1" -o "$WORK/x" -q
holds "nothing is left of what failed" test ! -e "$WORK/x"
finish
