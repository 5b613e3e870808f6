#!/bin/bash
# A net of torchvision's names, narrow: its published head reads the map before the pooling, all else the pooled features.
. tests/support/cli.bash
net=tests/parity/squeezenet/v1_1.safetensors
pictures=tests/cli/pictures

exits 0 inspect $net
holds "stages are of modules that squeeze alike" grep -q '^  fire8-9  *[0-9]' "$WORK/out"
exits 0 embed $net $pictures/test -o "$WORK/published.npy"
for head in linear conv; do
    exits 0 fit $net $pictures -o "$WORK/$head" --head $head --train head --epochs 2 --no-report
    exits 0 verify "$WORK/$head" -q
    exits 0 eval "$WORK/$head" $pictures/test --json -q
    holds "$head is evaluated" test "$(number "$WORK/out" n)" -gt 0
    exits 0 embed "$WORK/$head" $pictures/test -o "$WORK/$head.npy" -q
    holds "a frozen net has the features it had under the head $head" cmp -s "$WORK/published.npy" "$WORK/$head.npy"
done
holds "a net of other widths is torchvision's by name alone" grep -q 'named as torchvision names them' "$WORK/linear/README.md"
exits 2 fit tests/parity/resnet/hf_basic $pictures -o "$WORK/no" --head conv --epochs 1
holds "a ResNet has no such head" grep -q "take linear or mlp" "$WORK/err"
finish
