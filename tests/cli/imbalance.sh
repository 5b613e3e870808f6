#!/bin/bash
# Classes of unlike size: the focal loss and logit adjustment, what they leave in the record, and where they do not belong.
. tests/support/cli.bash
model=$WORK/model
mkdir "$model"
cp tests/parity/text/bert_bare/config.json tests/parity/text/bert_bare/model.safetensors "$model"
printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' the a is it this was very not red rose blood brick wine blue sea sky ink plum \
    anna peter paris rome lives in went to good bad fine poor great awful cup of 1 2 3 , . '"' ! '?' >"$model/vocab.txt"
export GRAFT_CACHE=$WORK/cache

# nine to one where it is learnt, one to one where it is judged; words overlap, so that the prior decides
{
    echo 'text,label,split'
    for split in train val test; do
        for i in 1 2 3; do
            for x in rose blood brick wine sea sky ink plum cup; do
                echo "the $x is good $i,usual,$split"
                [ $split = train ] || echo "the $x is poor good $i,rare,$split"
            done
            [ $split = train ] && echo "the rose is poor good $i,rare,$split"
        done
    done
} >"$WORK/two.csv"
fit() { exits 0 fit "$model" "$WORK/two.csv" --train head --epochs 20 --json -q "$@"; }
more() { awk "BEGIN {exit !($1 > $2)}"; }
fit -o "$WORK/plain"
plain=$(number "$WORK/out" balanced_accuracy)
holds "nothing is said of what was not asked" test "$(grep -cE '"(loss": "|logit_adjust|focal_gamma)' "$WORK/plain/graft.json")" = 0
fit -o "$WORK/adjusted" --logit-adjust 1
holds "adjusted logits do better on even classes" more "$(number "$WORK/out" balanced_accuracy)" "$plain"
holds "the record has it" grep -q '"logit_adjust": 1' "$WORK/adjusted/graft.json"
fit -o "$WORK/focal" --loss focal
holds "the record has the loss and its exponent" test "$(grep -cE '"loss": "focal"|"focal_gamma": 2' "$WORK/focal/graft.json")" = 2
holds "which trains other weights" test "$(cmp -s "$WORK/focal/model.safetensors" "$WORK/plain/model.safetensors"; echo $?)" = 1
fit -o "$WORK/same" --loss cross_entropy
holds "the loss that the task has anyway changes nothing" cmp "$WORK/same/model.safetensors" "$WORK/plain/model.safetensors"
exits 0 verify "$WORK/adjusted"
{
    echo 'text,label'
    for i in 1 2 3; do printf '%s\n' "the rose $i,red" "blood and sea $i,blue|red" "the sky $i,blue" "it is $i,"; done
} >"$WORK/several.csv"
exits 0 fit "$model" "$WORK/several.csv" -o "$WORK/s" --task multilabel --train head --epochs 2 --loss focal --focal-gamma 1 -q
holds "labels can be focal too" grep -q '"focal_gamma": 1' "$WORK/s/graft.json"

says fit "$model" "$WORK/two.csv" -o "$WORK/x" --loss hinge -q
says fit "$model" "$WORK/two.csv" -o "$WORK/x" --loss bce -q
says fit "$model" "$WORK/two.csv" -o "$WORK/x" --focal-gamma 3 -q
says fit "$model" "$WORK/two.csv" -o "$WORK/x" --logit-adjust 1 --class-weights auto -q
says fit "$model" "$WORK/two.csv" -o "$WORK/x" --logit-adjust 1 --sampler balanced -q
says fit "$model" "$WORK/several.csv" -o "$WORK/x" --task multilabel --logit-adjust 1 -q
finish
