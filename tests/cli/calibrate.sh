#!/bin/bash
# Temperature and thresholds: chosen on the validation part, kept in graft.json, used by predict and eval, and left out on request.
. tests/support/cli.bash
model=$WORK/model
mkdir "$model"
cp tests/parity/text/bert_bare/config.json tests/parity/text/bert_bare/model.safetensors "$model"
printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' the a is it this was very not red rose blood brick wine blue sea sky ink plum \
    anna peter paris rome lives in went to good bad fine poor great awful cup of 1 2 3 , . '"' ! '?' >"$model/vocab.txt"
export GRAFT_CACHE=$WORK/cache

# two classes, one of them rare, some of them wrong: nobody can be sure
{
    echo 'text,label,split'
    for split in train val test; do
        for i in 1 2 3 4 5; do
            for x in rose blood brick wine sea sky ink plum cup; do
                echo "the $x is good $i,usual,$split"
                echo "this $x was fine $i,usual,$split"
            done
            echo "the rose is awful $i,rare,$split"
            echo "a sea was awful $i,rare,$split"
            echo "the rose is good $i,rare,$split"
        done
    done
} >"$WORK/two.csv"
exits 0 fit "$model" "$WORK/two.csv" -o "$WORK/t" --train full --epochs 10 --lr 0.003 --backbone-lr-scale 1 --thresholds f1 --json -q
cp "$WORK/out" "$WORK/fit.json"
temperature=$(number "$WORK/fit.json" temperature)
for key in temperature ece_before ece_after log_loss_before log_loss_after; do
    holds "fit tells $key" test -n "$(number "$WORK/fit.json" $key)"
    holds "graft.json keeps $key" test "$(number "$WORK/t/graft.json" $key)" = "$(number "$WORK/fit.json" $key)"
done
holds "the log loss of the validation part did not rise" awk "BEGIN {exit \
    !($(number "$WORK/fit.json" log_loss_after) <= $(number "$WORK/fit.json" log_loss_before) + 1e-12)}"
holds "the thresholds of both classes are kept" grep -q '"rare": 0' "$WORK/t/graft.json"
exits 0 eval "$WORK/t" "$WORK/two.csv" --part val --json -q
holds "eval goes by the temperature" test "$(number "$WORK/out" temperature)" = "$temperature"
close() { awk "BEGIN {d = $1 - $2; exit !(d < 1e-6 && d > -1e-6)}"; }
holds "and has the log loss that fit told" close "$(number "$WORK/out" log_loss)" "$(number "$WORK/fit.json" log_loss_after)"
exits 0 eval "$WORK/t" "$WORK/two.csv" --part val --uncalibrated --json -q
holds "or that from before" close "$(number "$WORK/out" log_loss)" "$(number "$WORK/fit.json" log_loss_before)"
exits 0 predict "$WORK/t" --text "the rose is good 1" --json -q
cp "$WORK/out" "$WORK/calibrated"
exits 0 predict "$WORK/t" --text "the rose is good 1" --json -q --uncalibrated
holds "predict's confidence is another without it" test "$(cut -f 2 "$WORK/out")" != "$(cut -f 2 "$WORK/calibrated")"

# few answers have to prove that a temperature helps; which it is, is told
awk -F , 'NR == 1 || $3 != "val" || NR % 4 == 0' "$WORK/two.csv" >"$WORK/few.csv"
exits 0 fit "$model" "$WORK/few.csv" -o "$WORK/w" --train head --epochs 2 --no-report
holds "the gain is cross-validated" grep -qE '"gain_error": [0-9]' "$WORK/w/graft.json"
if grep -q '"refused": true' "$WORK/w/graft.json"; then
    holds "without it the temperature is 1" grep -q 'calibration: temperature 1: a gain of log loss of .* is not beyond its' "$WORK/out"
else
    holds "with it the temperature is told" grep -qE 'calibration: temperature [0-9.]+, ece' "$WORK/out"
fi

# folded into the head, no tool has to know of it
exits 0 fit "$model" "$WORK/two.csv" -o "$WORK/f" --train full --epochs 10 --lr 0.003 --backbone-lr-scale 1 --calibrate fold -q --json
holds "the same temperature is found" close "$(number "$WORK/out" temperature)" "$temperature"
exits 0 eval "$WORK/f" "$WORK/two.csv" --part val --json -q --uncalibrated
holds "and the logits have it" close "$(number "$WORK/out" log_loss)" "$(number "$WORK/fit.json" log_loss_after)"
exits 0 eval "$WORK/f" "$WORK/two.csv" --part val --json -q
holds "once" close "$(number "$WORK/out" log_loss)" "$(number "$WORK/fit.json" log_loss_after)"
exits 0 verify "$WORK/f"
exits 0 fit "$model" "$WORK/two.csv" -o "$WORK/o" --train head --epochs 1 --calibrate none -q --json
holds "none is found where none is wanted" grep -q '"calibration": null' "$WORK/out"

# several labels a sample have thresholds by themselves
{
    echo 'text,label'
    for i in 1 2 3 4 5 6; do printf '%s\n' "the rose $i,red" "blood and sea $i,blue|red" "the sky $i,blue" "it is $i,"; done
} >"$WORK/several.csv"
exits 0 fit "$model" "$WORK/several.csv" -o "$WORK/s" --task multilabel --train head --epochs 3 -q
holds "thresholds of labels" grep -q '"red": 0\.' "$WORK/s/graft.json"
exits 0 eval "$WORK/s" "$WORK/several.csv" -q --json
holds "are used" grep -q '"thresholds": true' "$WORK/out"
exits 0 predict "$WORK/s" --text "the rose 1" -q

# what is wrong
says fit "$model" "$WORK/two.csv" -o "$WORK/x" --calibrate platt -q
says fit "$model" "$WORK/two.csv" -o "$WORK/x" --thresholds best -q
says fit "$model" "$WORK/two.csv" -o "$WORK/x" --head mlp --calibrate fold -q
printf 'text,label\nthe rose,a\nthe sea,b\nthe wine,c\n' >"$WORK/three.csv"
says fit "$model" "$WORK/three.csv" -o "$WORK/x" --thresholds f1 -q
sed -i 's/"temperature": [0-9.e+-]*/"temperature": 0/' "$WORK/t/graft.json"
says predict "$WORK/t" --text "the rose" -q
sed -i -e 's/"temperature": 0/"temperature": 1/' -e 's/"rare": [0-9][0-9.]*/"rare": 7/' "$WORK/t/graft.json"
says predict "$WORK/t" --text "the rose" -q
echo '[]' >"$WORK/t/graft.json"
exits 0 predict "$WORK/t" --text "the rose" -q
finish
