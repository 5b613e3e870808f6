#!/bin/bash
# What graft writes loads in Transformers and timm and gives the same logits there: fits the tiny models of both kinds
# and replays their probes with replay.py. GRAFT_PYTHON names a Python with transformers and timm, else it is the one of
# `make golden`; without one the test is skipped.
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
"$python" tests/parity/replay.py "${folders[@]}"
