#!/bin/bash
# Freeze plans: what inspect tells of them, what fit leaves, what no plan can mean, and a kill in a later phase.
. tests/support/cli.bash
model=tests/parity/resnet/hf_basic
bert=tests/parity/text/bert_classes
data=tests/cli/pictures
quick=(--batch 8 --seed 3 --threads 1 -q)

says inspect $model --train 'head@3,stage4,!*.bias@2,full'
says inspect $bert --train norm-only
says inspect $model --train lp-ft:surgical:stage1 --json

# every plan runs to its end, and the folder answers as it did
for plan in norm-only bias-only surgical:stage2 'encoder.stages.3.*' '!stem' lp-ft gradual:1 'head@1,top:1@1,full@1'; do
    epochs=(--epochs 7)
    [ "${plan##*@}" = 1 ] && epochs=()
    exits 0 fit $model $data -o "$WORK/out$plan" --train "$plan" "${epochs[@]}" "${quick[@]}"
    exits 0 verify "$WORK/out$plan" -q
    rm -rf "$WORK/out$plan"
done

# bad input: one line, exit status 2, nothing left behind
for plan in 'layer9.*' 'stage4,stage9' '!*' '!head' 'stage4,!stage*' '*.running_var' surgical:body from:body top:7 \
    norm-only:1 gradual:none 'head@0,full' lp-ft@2,full lp-ft:lp-ft ful 'head,,full' 'head@2,'; do
    says fit $model $data -o "$WORK/none" --train "$plan" "${quick[@]}"
done
says fit $model $data -o "$WORK/none" --train 'head@3,full' --epochs 3 "${quick[@]}"
says fit $model $data -o "$WORK/none" --train 'head@3,full@2' --epochs 4 "${quick[@]}"
holds "nothing is left behind" test ! -e "$WORK/none"

# killed in the second and in the third phase, a run ends with the bits of one that was not
digits=(fit tests/parity/resnet/hf_grey examples/digits/digits.npz --train 'head@2,top:1@2,full@3' --batch 10 --seed 3
    --threads 2 --norm train)
exits 0 "${digits[@]}" -o "$WORK/whole" -q
killed_at() { signalled "$WORK/killed" KILL "$1" "${digits[@]}" -q; }
killed_at '"phase":2'
killed_at '"epoch":4,'
killed_at '"phase":3'
killed_at '"epoch":6,'
exits 0 "${digits[@]}" -o "$WORK/killed" -q
holds "the same weights" cmp "$WORK/whole/model.safetensors" "$WORK/killed/model.safetensors"
holds "the same log" diff <(sed -E 's/"seconds": *[0-9.e-]+//' "$WORK/whole/run.jsonl") \
    <(sed -E 's/"seconds": *[0-9.e-]+//' "$WORK/killed/run.jsonl")
holds "three phases are told" test "$(grep -c '"event":"phase"' "$WORK/whole/run.jsonl")" -eq 3
holds "the record has them" test "$(grep -c '"stopped_early"' "$WORK/whole/graft.json")" -eq 3
finish
