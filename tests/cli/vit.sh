#!/bin/bash
# ViT from the command line: every kind of plan, the folder that comes out, adapters at any layer.
. tests/support/cli.bash
export GRAFT_CACHE=$WORK/cache
base=tests/parity/vit/vit_small
pictures=tests/cli/pictures
fit() { exits 0 fit $base $pictures -q --json "$@"; }

says inspect $base -q --train top:1
fit -o "$WORK/full" --train full --epochs 20
holds "all layers learn" test "$(number "$WORK/out" accuracy)" = 1.0
exits 0 verify "$WORK/full"
exits 0 eval "$WORK/full" $pictures --json -q
holds "eval has fit's answers" test "$(number "$WORK/out" accuracy)" = 1.0
exits 0 predict "$WORK/full" $pictures/test/across/00.jpg -q
holds "a picture of another size is answered" test "$(cut -f 2 "$WORK/out")" = across
for plan in head top:1 lp-ft norm-only; do
    fit -o "$WORK/$plan" --train $plan --epochs 4
    exits 0 verify "$WORK/$plan"
done
fit -o "$WORK/again" --train top:1 --epochs 4
holds "the same run has the same bits" cmp "$WORK/top:1/model.safetensors" "$WORK/again/model.safetensors"

# a limit of memory, and terms that both know the pretrained weights
fit -o "$WORK/limited" --train full --epochs 1 --memory 2M
exits 0 verify "$WORK/limited"
fit -o "$WORK/held" --train full --epochs 1 --l2-sp 0.01 --delta 0.01
exits 0 verify "$WORK/held"

# adapters, at the first layer too, where what is trained reads the pictures themselves
for targets in query+value all-conv; do
    fit -o "$WORK/$targets" --train lora:r=4,targets=$targets --epochs 4
    exits 0 verify "$WORK/$targets"
    exits 0 merge "$WORK/$targets" -o "$WORK/merged" -q
    exits 0 verify "$WORK/merged"
done
holds "two versions find their names" grep -q q_proj "$WORK/query+value/adapter_config.json"
exits 0 advise $base tests/parity/vit/deit_small --data $pictures -q
exits 0 embed $base $pictures/test -o "$WORK/e.npy" -q

cp -r $base "$WORK/odd"
sed -i 's/"patch_size": 8/"patch_size": 0/' "$WORK/odd/config.json"
says inspect "$WORK/odd" -q
finish
