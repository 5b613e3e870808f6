#!/bin/bash
# What fit leaves is what eval, predict, embed, inspect and verify use.
. tests/support/cli.bash
model=tests/parity/resnet/hf_basic
out=$WORK/stripes
pictures=tests/cli/pictures

exits 0 fit $model $pictures -o "$out" --from-scratch --train full --epochs 12 --augment none --json -q
accuracy=$(number "$WORK/out" accuracy)
cp "$WORK/out" "$WORK/fit.json"
holds "stripes are told apart" awk "BEGIN {exit !($accuracy >= 0.8)}"
for file in config.json model.safetensors preprocessor_config.json README.md graft.json graft_probe.safetensors run.jsonl; do
    holds "the folder has $file" test -s "$out/$file"
done
holds "no resume point is left" test ! -e "$out/checkpoint"
holds "--json prints one object, -q nothing else" test ! -s "$WORK/err"

exits 0 eval "$out" $pictures --json -q
holds "eval has fit's accuracy on the test part" test "$(number "$WORK/out" accuracy)" = "$accuracy"
holds "of the eight test pictures" test "$(number "$WORK/out" n)" = 8
exits 0 eval "$out" $pictures --part all --json -q
holds "all means all" test "$(number "$WORK/out" n)" = 32

# labels are matched by name: a folder of the second class alone, and names in another order
exits 0 eval "$out" $pictures/test --json -q
holds "a part's folder is data too" test "$(number "$WORK/out" accuracy)" = "$accuracy"
mkdir -p "$WORK/down/down"
cp $pictures/test/down/* "$WORK/down/down"
exits 0 eval "$out" "$WORK/down" --json -q
holds "one class can be measured" test "$(number "$WORK/out" n)" = 4

exits 0 predict "$out" $pictures/test -q
holds "one line a picture" test "$(wc -l <"$WORK/out")" -eq 8
holds "in input order" diff <(cut -f 1 "$WORK/out") <(find $pictures/test -type f | sort)
right=$(awk -F '\t' '{n = split($1, p, "/"); if (p[n - 1] == $2) right++} END {print right / NR}' "$WORK/out")
holds "predictions have eval's accuracy" awk "BEGIN {d = $right - $accuracy; exit !(d < 0.001 && d > -0.001)}"
cut -f 1,2 "$WORK/out" >"$WORK/many"
exits 0 predict "$out" $pictures/test/down/01.png -q
holds "one picture gets the answer it gets among others" \
    test "$(cut -f 1,2 "$WORK/out")" = "$(grep down/01.png "$WORK/many")"
exits 0 predict "$out" $pictures/test/down/01.png --json --top 2 -q
holds "JSON has the classes" grep -qE '"label": "(down|across)".*"top": \[\{"label": "[a-z]+", "confidence": [0-9.e-]+\}, \{' "$WORK/out"
exits 0 predict "$out" $pictures/test --min-confidence 1 -q
holds "below --min-confidence there is no class" test "$(cut -f 2 "$WORK/out" | sort -u)" = -

exits 0 embed "$out" $pictures/test -o "$WORK/f.npy" --json -q
holds "a row a picture" test "$(number "$WORK/out" n)" = 8
holds "24 features" test "$(number "$WORK/out" width)" = 24
holds "header and 8 x 24 floats" test "$(stat -c %s "$WORK/f.npy")" = $((128 + 8 * 24 * 4))
exits 0 embed "$out" $pictures/test/down $pictures/test/across -o "$WORK/g.npy" -q
tail -c $((4 * 24 * 4)) "$WORK/g.npy" >"$WORK/g.across"
tail -c $((8 * 24 * 4)) "$WORK/f.npy" | head -c $((4 * 24 * 4)) >"$WORK/f.across"
holds "rows are in input order" cmp "$WORK/f.across" "$WORK/g.across"
exits 0 embed "$out" $pictures/test -o "$WORK/f.safetensors" -q
holds "a safetensors file has the same floats" cmp <(tail -c $((8 * 24 * 4)) "$WORK/f.npy") <(tail -c $((8 * 24 * 4)) "$WORK/f.safetensors")

exits 0 verify "$out" --json
holds "five probes are replayed" test "$(number "$WORK/out" n_inputs)" = 5
says eval "$out" $pictures --part half -q
says inspect "$out" --train top:1
says inspect $model --json
exits 0 fit $model $pictures --dry-run -q
says fit $model $pictures --dry-run -q --epochs 3

# going on from what was made: the same classes keep the head, new ones keep the rows of equal names
exits 0 fit "$out" $pictures -o "$WORK/again" --train head --epochs 1
holds "the head is kept" grep -q "own 2 classes" "$WORK/err"
mkdir -p "$WORK/three/third"
cp -r $pictures/train/* "$WORK/three"
cp $pictures/train/down/0[3-8].jpg "$WORK/three/third"
exits 0 fit "$out" "$WORK/three" -o "$WORK/more" --train head --epochs 1
holds "two rows are kept" grep -q "2 rows kept by name" "$WORK/err"

# a model whose weights were changed no longer answers as it did
cp -r "$out" "$WORK/changed"
size=$(stat -c %s "$out/model.safetensors")
head -c 1024 /dev/zero | dd of="$WORK/changed/model.safetensors" bs=1 seek=$((size - 1024)) conv=notrunc status=none
exits 3 verify "$WORK/changed"
holds "and verify says so" grep -q "does not answer as it did" "$WORK/err"
finish
