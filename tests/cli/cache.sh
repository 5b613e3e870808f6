#!/bin/bash
# The bottleneck cache is shared by fit, eval and embed, is reused, and changes no bit of any result.
. tests/support/cli.bash
model=tests/parity/resnet/hf_basic
pictures=tests/cli/pictures

exits 0 fit $model $pictures -o "$WORK/uncached" --train head --epochs 4 --no-cache --seed 2
holds "--no-cache leaves no cache" test -z "$(find "$GRAFT_CACHE" -type f 2>/dev/null)"
exits 0 fit $model $pictures -o "$WORK/filling" --train head --epochs 4 --seed 2
holds "the first run computes every row" grep -q "32 rows, 0 of them from the cache" "$WORK/err"
exits 0 fit $model $pictures -o "$WORK/cached" --train head --epochs 4 --seed 2
holds "the second run computes none" grep -q "32 rows, 32 of them from the cache" "$WORK/err"
holds "filling changes no bit" cmp "$WORK/uncached/model.safetensors" "$WORK/filling/model.safetensors"
holds "reading changes no bit" cmp "$WORK/uncached/model.safetensors" "$WORK/cached/model.safetensors"

exits 0 embed $model $pictures -o "$WORK/cached.npy" --json -q
holds "embed reads what fit filled" test "$(number "$WORK/out" cached)" = 32
exits 0 embed $model $pictures -o "$WORK/plain.npy" --no-cache --json -q
holds "and gets the same bits" cmp "$WORK/cached.npy" "$WORK/plain.npy"
exits 0 eval "$WORK/cached" $pictures --json -q
grep -v '"model"' "$WORK/out" >"$WORK/eval.cached"
exits 0 eval "$WORK/cached" $pictures --no-cache --json -q
grep -v '"model"' "$WORK/out" >"$WORK/eval.plain"
holds "eval is the same with and without" cmp "$WORK/eval.cached" "$WORK/eval.plain"

# with augmented variants, and with more of the network trained
for plan in head top:1 top:2; do
    for how in "" "--no-cache"; do
        exits 0 fit $model $pictures -o "$WORK/$plan$how" --train $plan --epochs 2 --seed 4 --threads 1 --augment none -q $how
    done
    holds "$plan: cached is uncached" cmp "$WORK/$plan/model.safetensors" "$WORK/$plan--no-cache/model.safetensors"
done

exits 0 cache ls --json
holds "the cache can be listed" test "$(number "$WORK/out" bytes)" -gt 1000
exits 0 cache ls
holds "for people too" grep -q "32 rows" "$WORK/out"
exits 0 cache clear
exits 0 cache ls --json
holds "and emptied" test "$(number "$WORK/out" bytes)" = 0
# two at once
"$GRAFT" fit $model $pictures -o "$WORK/left" --train head --epochs 4 --seed 2 -q >/dev/null 2>"$WORK/left.err" &
exits 0 fit $model $pictures -o "$WORK/right" --train head --epochs 4 --seed 2 -q
wait $!
holds "two processes at once give the same bits" cmp "$WORK/left/model.safetensors" "$WORK/right/model.safetensors"
holds "as one" cmp "$WORK/left/model.safetensors" "$WORK/cached/model.safetensors"
# a cache that cannot be written
touch "$WORK/file"
GRAFT_CACHE=$WORK/file exits 0 fit $model $pictures -o "$WORK/without" --train head --epochs 4 --seed 2 -q
holds "a cache that cannot be had is warned of" grep -q "^warning: .*cache" "$WORK/err"
holds "and not needed" cmp "$WORK/without/model.safetensors" "$WORK/cached/model.safetensors"
finish
