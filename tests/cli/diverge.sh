#!/bin/bash
# Numbers that run away: one line says where, the best epoch's weights make a folder that works, and nothing is lost.
. tests/support/cli.bash
model=$WORK/model
mkdir "$model"
cp tests/parity/text/bert_bare/config.json tests/parity/text/bert_bare/model.safetensors "$model"
printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' the a is it this was very not red rose blood brick wine blue sea sky ink plum \
    anna peter paris rome lives in went to good bad fine poor great awful cup of 1 2 3 , . '"' ! '?' >"$model/vocab.txt"
{
    echo 'text,label,split'
    for split in train val; do
        for i in 1 2 3; do
            for x in rose blood brick wine; do echo "the $x $i is red,warm,$split"; done
            for x in sea sky ink plum; do echo "a $x it was blue $i,cold,$split"; done
        done
    done
} >"$WORK/colours.csv"
# the rate rises until nothing can follow it
exits 1 fit "$model" "$WORK/colours.csv" -o "$WORK/o" --train full --epochs 60 --optimizer sgd --lr 1000 --warmup 1 --clip-norm 0 \
    --backbone-lr-scale 1 --early-stop 0 -q
cp "$WORK/err" "$WORK/said"
holds "one line" test "$(grep -c "^graft: " "$WORK/said")" = 1
holds "says that numbers ran away, and when" grep -qE 'not finite at epoch [0-9]+, batch [0-9]+: it began in ' "$WORK/said"
holds "what to try" grep -q 'try a learning rate of 1e+02, a tenth, or clipping' "$WORK/said"
holds "and what is left" grep -qE "/o has epoch [0-9]+, whose accuracy on the validation part is [0-9.]+" "$WORK/said"
exits 0 verify "$WORK/o"
exits 0 eval "$WORK/o" "$WORK/colours.csv" --part val -q --json
holds "the folder is of the epoch that was told" grep -q "validation part is $(printf %.4f "$(number "$WORK/out" accuracy)")" "$WORK/said"
holds "the record has it" grep -q '"diverged": "' "$WORK/o/graft.json"
holds "the log too" grep -q '"event":"diverged"' "$WORK/o/run.jsonl"
exits 0 predict "$WORK/o" --text "the wine is red" -q
# with two phases the second's trouble does not cost the first's weights
exits 1 fit "$model" "$WORK/colours.csv" -o "$WORK/p" --train lp-ft --epochs 6 --optimizer sgd --lr 1 --clip-norm 0 --warmup 0 \
    --backbone-lr-scale 1000000 -q
holds "the first phase's weights are a folder" grep -qE "/p has epoch [123]," "$WORK/err"
exits 0 verify "$WORK/p"
# from the first update on: there is nothing to keep, and no folder is called a model
exits 1 fit "$model" "$WORK/colours.csv" -o "$WORK/n" --train full --epochs 4 --optimizer sgd --lr 1000 --clip-norm 0 --warmup 0 \
    --backbone-lr-scale 1000 -q --json
holds "the error is an object too" grep -q '"code": "EDIVERGED"' "$WORK/out"
holds "no weights were written" test ! -e "$WORK/n/model.safetensors"
finish
