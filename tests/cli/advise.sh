#!/bin/bash
# advise: models and plans are ranked before anything is trained; fit chooses by the same evidence and keeps it.
. tests/support/cli.bash
model=examples/digits/upstream
data=examples/digits/digits.npz

# counts PATTERN: lines of the output that have it
counts() { grep -c "$1" "$WORK/out"; }

says advise $model
says advise $model --data nowhere -q
says advise $model --data $data --boundaries full -q
exits 2 advise $model --data $data --boundaries nonsense -q
says advise $model --data $data --probe -3 -q

exits 0 advise $model examples/digits/upstream-config --data $data --json -q
cp "$WORK/out" "$WORK/advice.json"
holds "every plan of both models is ranked" test "$(counts '"command": "graft fit ')" = 7
holds "each boundary of both models is judged" test "$(counts '"h_score"')" = 8
holds "the model's own head is asked" test "$(grep -c '"leep": -' "$WORK/out")" = 4
holds "random weights have no head to ask" test "$(grep -c '"leep": null' "$WORK/out")" = 4
holds "the trained model is taken" grep -q '^  "model": "examples/digits/upstream",' "$WORK/out"
exits 0 advise $model examples/digits/upstream-config --data $data --json
holds "a second call computes no row" test "$(grep -c 'running the frozen part' "$WORK/err")" = 0
grep -vE '"(seconds|probe_seconds)"' "$WORK/out" >"$WORK/again"
grep -vE '"(seconds|probe_seconds)"' "$WORK/advice.json" >"$WORK/first"
holds "and says the same" cmp -s "$WORK/first" "$WORK/again"
exits 0 advise $model --data $data --boundaries head,top:2 -q
holds "boundaries are chosen" test "$(grep -cE '^  (head|top:[0-9]) .* [0-9.e-]+$' "$WORK/out")" = 2
holds "the command is told" grep -q "^graft fit $model $data --train " "$WORK/out"
exits 0 advise $model --data $data --validation 0 --max-bad 0 --strict --dtype bf16 -q
holds "with the options that were given" grep -q -- ' --dtype bf16 --max-bad 0 --strict --validation 0 -o OUT$' "$WORK/out"

# short real runs
exits 0 advise $model --data $data --probe 1 --json -q
holds "the best candidates were trained" test "$(counts '"measured"')" -ge 2

# fit without a plan
exits 0 fit $model $data -o "$WORK/o" --epochs 2 --json
holds "fit says why" grep -q 'examples a class' "$WORK/err"
holds "the evidence is kept" grep -q '"evidence": {' "$WORK/o/graft.json"
judged() { grep -oE '"(n_judged|knn|h_score|transrate)": [^,]*' "$1"; }
exits 0 advise $model --data $data --json -q
holds "it is what advise judges by" test "$(judged "$WORK/out")" = "$(judged "$WORK/o/graft.json")"
holds "a reference is left" test -s "$WORK/o/graft_reference.safetensors"
exits 0 fit $model $data -o "$WORK/o2" --train auto --epochs 2 -q
holds "auto is the default" cmp -s "$WORK/o/model.safetensors" "$WORK/o2/model.safetensors"
exits 0 fit $model $data -o "$WORK/o2" --restart --train top:1 --lr 0.01 --epochs 1 -q
holds "a plan and a rate that are given need no evidence" test "$(grep -c '"evidence": {' "$WORK/o2/graft.json")" = 0
exits 0 fit $model $data -o "$WORK/o2" --restart --train top:1 --dry-run
holds "pictures of the model's kind: its layers are fine-tuned" grep -q ', sgd at 0.01 ' "$WORK/err"
exits 0 fit tests/parity/resnet/hf_basic $data -o "$WORK/o2" --restart --train full --dry-run
holds "foreign ones: they learn as new layers do" grep -q 'foreign to the model' "$WORK/err"
holds "and faster" grep -q ', adamw at 0.002 ' "$WORK/err"
foreign=(fit tests/parity/resnet/hf_basic $data -o "$WORK/o2" --restart --lr 0.01 --dry-run -q --json)
exits 0 "${foreign[@]}"
cp "$WORK/out" "$WORK/chosen.json"
exits 0 "${foreign[@]}" --train "$(sed -n 's/^  "plan": "\(.*\)",$/\1/p' "$WORK/chosen.json")"
holds "at a rate that is given a chosen plan is what it is when given" cmp -s "$WORK/out" "$WORK/chosen.json"

# the model's own data are near, others far
exits 0 advise "$WORK/o" --data $data --json -q
holds "the reference is used" grep -q '"proxy_a"' "$WORK/out"

# a class of one example, and too few of everything
mkdir -p "$WORK/few/train/a" "$WORK/few/train/b" "$WORK/few/train/c" "$WORK/few/val/a" "$WORK/few/val/b"
pictures=(tests/cli/pictures/train/*/*)
[ -e "${pictures[0]}" ] || mapfile -t pictures < <(find tests/cli/pictures -type f | sort)
for i in 0 1 2 3 4; do cp "${pictures[$i]}" "$WORK/few/train/a/$i.${pictures[$i]##*.}"; done
for i in 5 6 7 8 9; do cp "${pictures[$i]}" "$WORK/few/train/b/$i.${pictures[$i]##*.}"; done
cp "${pictures[10]}" "$WORK/few/train/c/"
cp "${pictures[11]}" "$WORK/few/val/a/"
cp "${pictures[12]}" "$WORK/few/val/b/"
exits 0 advise tests/parity/resnet/hf_basic --data "$WORK/few" --json -q
holds "a class of one example is told" grep -q '"classes_of_one_example": 1' "$WORK/out"
says advise tests/parity/resnet/hf_basic --data tests/cli/odd -q


# without OpenBLAS advise says what to install, and fit chooses by the numbers of samples
export GRAFT_OPENBLAS=$WORK/none.so
exits 3 advise $model --data $data -q
holds "what to install is said" grep -q 'apt-get install libopenblas0-openmp' "$WORK/err"
exits 0 fit $model $data -o "$WORK/table" --epochs 1 --no-report
holds "fit warns" grep -q 'warning: .*the plan is chosen by the numbers of samples alone' "$WORK/err"
unset GRAFT_OPENBLAS
finish
