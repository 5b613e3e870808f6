#!/bin/bash
# Low-rank adapters from the command line: a folder that stands on its base, used by every command, merged, and what is said
# where something is missing.
. tests/support/cli.bash
export GRAFT_CACHE=$WORK/cache
base=$WORK/base
mkdir "$base"
cp tests/parity/text/bert_classes/config.json tests/parity/text/bert_classes/model.safetensors "$base"
printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' the a is it red rose blood brick wine blue sea sky ink plum . >"$base/vocab.txt"
{
    echo 'text,label'
    for i in 1 2 3 4 5; do
        for x in rose blood brick wine; do echo "the $x is red,warm"; done
        for x in sea sky ink plum; do echo "a $x is blue,cold"; done
    done
} >"$WORK/colours.csv"
fit() { exits 0 fit "$base" "$WORK/colours.csv" --epochs 8 --lr 0.01 -q --json "$@"; }

before=$(md5sum "$base"/*)
fit -o "$WORK/l" --train lora:r=4,alpha=8,dropout=0.1,targets=query+value
holds "adapters learn" test "$(number "$WORK/out" accuracy)" = 1.0
for file in adapter_config.json adapter_model.safetensors graft_config.json graft_probe.safetensors vocab.txt; do
    holds "the folder has $file" test -s "$WORK/l/$file"
done
holds "the base's weights are not copied" test ! -e "$WORK/l/model.safetensors"
holds "nor touched" test "$before" = "$(md5sum "$base"/*)"
fit -o "$WORK/l2" --train lora:r=4,alpha=8,dropout=0.1,targets=query+value
holds "the same run has the same bits" cmp "$WORK/l/adapter_model.safetensors" "$WORK/l2/adapter_model.safetensors"

exits 0 verify "$WORK/l"
exits 0 eval "$WORK/l" "$WORK/colours.csv" --json -q
holds "eval has fit's answers" test "$(number "$WORK/out" accuracy)" = 1.0
exits 0 eval "$base" "$WORK/colours.csv" --adapter "$WORK/l" --json -q
holds "so has the base with the adapter" test "$(number "$WORK/out" accuracy)" = 1.0
exits 0 embed "$WORK/l" "$WORK/colours.csv" -o "$WORK/e.npy" -q
exits 0 inspect "$WORK/l" -q
holds "inspect tells of it" grep -q "^adapters       LoRA of rank 4, alpha 8, beside 4 layers of $base" "$WORK/out"
exits 0 predict "$WORK/l" --text "the wine is red" "a sea is blue" -q
holds "texts are answered" test "$(cut -f 2 "$WORK/out" | tr '\n' ' ')" = "warm cold "

# several adapters over one base; each line begins with whose it is
fit -o "$WORK/m" --train lora:r=2,targets=all-linear
exits 0 predict "$base" --adapter "$WORK/l" --adapter "$WORK/m" --text "the wine is red" -q
holds "both answer" test "$(cut -f 1,3 "$WORK/out" | tr '\n\t' '  ')" = "$WORK/l warm $WORK/m warm "
exits 0 predict "$base" --adapter "$WORK/l" --text "the wine is red" --json -q
holds "JSON names it" grep -q "\"adapter\": \"$WORK/l\"" "$WORK/out"

# merged: by fit, or later; the answers are the same
fit -o "$WORK/w" --train lora:r=4,alpha=8,dropout=0.1,targets=query+value --merge
holds "--merge writes a whole model" test -s "$WORK/w/model.safetensors" -a ! -e "$WORK/w/adapter_config.json"
exits 0 merge "$WORK/l" -o "$WORK/g" -q
holds "merge says that the probes answer" grep -q "^the probe inputs answer as before" "$WORK/out"
exits 0 verify "$WORK/g"
holds "both ways have the same weights" cmp "$WORK/w/model.safetensors" "$WORK/g/model.safetensors"

fit -o "$WORK/on2" --train lora:r=2,targets=query --seed 5
# averaged: of what the adapters do, not of the adapters
exits 0 blend "$WORK/l" "$WORK/on2" -o "$WORK/b" -q
holds "a blend of adapters is a whole model" test -s "$WORK/b/model.safetensors" -a ! -e "$WORK/b/adapter_config.json"
exits 0 blend "$WORK/g" "$WORK/on2" -o "$WORK/bg" -q
holds "that of merged ones too" cmp "$WORK/b/model.safetensors" "$WORK/bg/model.safetensors"
exits 0 blend "$base" "$WORK/l" --alpha 1 -o "$WORK/b1" -q
holds "the base is blended with what stands on it" cmp "$WORK/b1/model.safetensors" "$WORK/g/model.safetensors"

# trained on, or taken as a model like any other
exits 0 fit "$WORK/l" "$WORK/colours.csv" -o "$WORK/on" --train lora --epochs 1 -q
holds "an adapter trained on stands on the same base" grep -q "\"base_model_name_or_path\": \"$base\"" "$WORK/on/adapter_config.json"
exits 0 fit "$WORK/l" "$WORK/colours.csv" -o "$WORK/h" --train head --epochs 1 -q
holds "another plan merges it first" test -s "$WORK/h/model.safetensors"
exits 2 fit "$WORK/l" "$WORK/colours.csv" -o "$WORK/on" --train lora:r=8 -q

# moved together with its base, and without it
mkdir "$WORK/there"
mv "$base" "$WORK/l" "$WORK/there"
exits 0 verify "$WORK/there/l"
mv "$WORK/there/base" "$WORK/elsewhere"
says verify "$WORK/there/l"
exits 0 predict "$WORK/elsewhere" --adapter "$WORK/there/l" --text "the wine is red" -q
holds "the adapter on the base as it is named" test "$(cut -f 2 "$WORK/out")" = warm

# said before anything is trained
base=$WORK/elsewhere
says fit "$base" "$WORK/colours.csv" -o "$WORK/x" --train lora:rank=8 -q
says fit "$base" "$WORK/colours.csv" -o "$WORK/x" --train lora:r=0 -q
says fit "$base" "$WORK/colours.csv" -o "$WORK/x" --train lora:targets=qwery -q
says fit "$base" "$WORK/colours.csv" -o "$WORK/x" --train head --merge -q
says fit "$base" "$WORK/colours.csv" -o "$base" --train lora -q
says fit "$base" "$WORK/colours.csv" -o "$WORK/x" --train lora --from-scratch -q
says fit "$base" "$WORK/colours.csv" -o "$WORK/x" --train lora@2,full -q
says fit "$base" "$WORK/colours.csv" -o "$WORK/x" --train lora --delta 0.1 -q
exits 0 fit "$base" "$WORK/colours.csv" -o "$WORK/x" --train lora --l2-sp 0.1 --dry-run
holds "what does nothing to adapters is said" grep -q 'l2-sp passes adapters by' "$WORK/err"
exits 0 fit "$base" "$WORK/colours.csv" -o "$WORK/lp" --train lp-ft:lora --epochs 2 -q
holds "the head first, then adapters" test -s "$WORK/lp/adapter_model.safetensors"
says merge "$base" -o "$WORK/x"
says merge "$WORK/there/l"
says predict "$base" --adapter "$base" --text "the wine is red"
# without its base an adapter's run is told all the same
exits 0 report "$WORK/lp" -q
holds "with it the page has maps" grep -q '<section id="map"' "$WORK/lp/report.html"
mv "$base" "$WORK/gone"
exits 3 verify "$WORK/lp"
exits 0 report "$WORK/lp" --json -q
holds "what needs the base is missing, and that is said" grep -q '"what": "The model' "$WORK/out"
holds "on the page too" grep -q 'an adapter whose base is gone' "$WORK/lp/report.html"
holds "maps need it" test "$(grep -c '<section id="map"' "$WORK/lp/report.html")" = 0
for part in curves confusion examples cost; do
    holds "$part do not" grep -q "<section id=\"$part\"" "$WORK/lp/report.html"
done
finish
