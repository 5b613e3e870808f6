#!/bin/bash
# What graft writes loads in Transformers and timm and gives the same logits there: fits the tiny models of both kinds
# and replays their probes with replay.py. GRAFT_PYTHON names a Python with transformers and timm, else it is the one of
# `make golden`; without one the test is skipped. Adapters are replayed in peft where that is there too.
set -u
python=${GRAFT_PYTHON:-build/golden-venv/bin/python}
if ! "$python" -c 'import safetensors, timm, torch, transformers' 2>/dev/null; then
    echo "skipped: $python has no transformers and timm; GRAFT_PYTHON names another, make golden makes one"
    exit 77
fi
folders=()
for model in hf_basic hf_bottleneck timm_basic timm_bottleneck; do
    for train in head full; do
        out=$WORK/$model-$train
        "$GRAFT" fit tests/parity/resnet/$model tests/cli/pictures -o "$out" --train $train --epochs 2 -q || exit 1
        folders+=("$out")
    done
done
for model in vit_small vit_odd deit_small timm_small; do
    out=$WORK/$model-full
    "$GRAFT" fit tests/parity/vit/$model tests/cli/pictures -o "$out" --train full --epochs 2 -q || exit 1
    folders+=("$out")
done
"$python" tests/parity/replay.py "${folders[@]}" || exit 1

"$python" -c 'import peft, sentence_transformers' 2>/dev/null || exit 0
adapters=()
for model in hf_bottleneck timm_basic; do
    out=$WORK/lora-$model
    "$GRAFT" fit tests/parity/resnet/$model tests/cli/pictures -o "$out" --train lora:r=4 --epochs 2 -q || exit 1
    adapters+=("$out")
done
for model in vit_small deit_small timm_small; do
    out=$WORK/lora-$model
    "$GRAFT" fit tests/parity/vit/$model tests/cli/pictures -o "$out" --train lora:r=4,targets=all-linear --epochs 2 -q || exit 1
    adapters+=("$out")
done
printf 'text,label\n' >"$WORK/texts.csv"
for x in a b c d e f g h; do printf 'the cat %s,a\na dog b %s,b\n' $x $x; done >>"$WORK/texts.csv"
for model in bert_classes roberta_classes distilbert_classes gpt2_classes sentence_mean_unit; do
    out=$WORK/lora-$model
    cp -r tests/parity/text/$model "$WORK/base-$model"
    cp -n tests/parity/text/sentence_mean_unit/tokenizer*.json "$WORK/base-$model"
    "$GRAFT" fit "$WORK/base-$model" "$WORK/texts.csv" -o "$out" --train lora:r=4,targets=all-linear --epochs 2 -q || exit 1
    adapters+=("$out")
done
"$python" tests/parity/replay_adapter.py "${adapters[@]}"
