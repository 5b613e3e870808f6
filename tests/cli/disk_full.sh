#!/bin/bash
# A disk that is full while a model is saved: the old folder stays whole. Files are kept from growing past a limit, which
# the program meets as a failing write.
. tests/support/cli.bash
model=tests/parity/resnet/hf_basic
arguments=(fit $model tests/cli/pictures --train head -o "$WORK/out.model" --no-cache -q)

exits 0 "${arguments[@]}" --epochs 2
cp -r "$WORK/out.model" "$WORK/before"
size=$(stat -c %s "$WORK/before/model.safetensors")
holds "the model is larger than the limits tried" test "$size" -gt 70000
for limit in 1 2 8 40 64; do # KiB
    (
        trap '' XFSZ
        ulimit -f $limit
        exec "$GRAFT" "${arguments[@]}" --epochs 3 --restart >"$WORK/out" 2>"$WORK/err.full"
    )
    holds "a write that fails is an error ($limit KiB)" test $? -eq 1
    holds "which is one line" test "$(grep -c '^graft: ' "$WORK/err.full")" -eq 1
    for file in config.json model.safetensors preprocessor_config.json graft_probe.safetensors; do
        holds "$file is whole ($limit KiB)" cmp "$WORK/before/$file" "$WORK/out.model/$file"
    done
    exits 0 verify "$WORK/out.model" -q
    holds "no temporary file stays ($limit KiB)" test -z "$(find "$WORK/out.model" -maxdepth 1 -name '*tmp*')"
done
exits 0 "${arguments[@]}" --epochs 3
exits 0 verify "$WORK/out.model" -q
finish
