#!/bin/bash
# A run that was interrupted or killed, taken up by the same command, ends with the bits of one that was not.
. tests/support/cli.bash
model=tests/parity/resnet/hf_grey
data=examples/digits/digits.npz
arguments=(fit $model $data --train from:stage2 --epochs 6 --batch 10 --augment light --no-cache --early-stop 0 --seed 3 --threads 2)

exits 0 "${arguments[@]}" -o "$WORK/whole" -q

# as_whole FOLDER: the same weights, the same history
as_whole() {
    cmp "$WORK/whole/model.safetensors" "$1/model.safetensors" &&
        diff <(sed -E 's/"seconds": *[0-9.e-]+//' "$WORK/whole/run.jsonl") <(sed -E 's/"seconds": *[0-9.e-]+//' "$1/run.jsonl")
}

# stopped NAME SIGNAL TEXT
stopped() { signalled "$WORK/$1" "$2" "$3" "${arguments[@]}"; }

stopped interrupted INT '"epoch": *2'
status=$?
holds "an interrupted run has exit status 1" test $status -eq 1
holds "it says how to go on" grep -q "graft: interrupted.*same command" "$WORK/err"
holds "it leaves a resume point and no model" test -d "$WORK/interrupted/checkpoint" -a ! -e "$WORK/interrupted/model.safetensors"
exits 0 "${arguments[@]}" -o "$WORK/interrupted" -q
holds "taken up, it ends with the same bits" as_whole "$WORK/interrupted"

# killed before there is a resume point, then between two
stopped killed KILL '"epoch": *1'
stopped killed TERM '"epoch": *2'
stopped killed KILL '"epoch": *4'
exits 0 "${arguments[@]}" -o "$WORK/killed" --json -q
holds "killed twice and ended once, it ends with the same bits" as_whole "$WORK/killed"
holds "and says that it was taken up" grep -q '"resumed": true' "$WORK/out"
exits 0 verify "$WORK/killed" -q

# another run's resume point is not taken up
stopped other KILL '"epoch": *2'
exits 0 "${arguments[@]}" -o "$WORK/other" --lr 0.002 -q --restart
holds "another rate gives another model" test "$(cmp "$WORK/whole/model.safetensors" "$WORK/other/model.safetensors" 2>&1)"

# two signals: the second one ends it at once
"$GRAFT" "${arguments[@]}" -o "$WORK/twice" --epochs 5000 >"$WORK/out" 2>"$WORK/err" &
pid=$!
wait_for $pid "$WORK/twice/run.jsonl" '"epoch": *1'
exits 1 "${arguments[@]}" -o "$WORK/twice" -q
holds "one folder is not for two runs" grep -qF "$WORK/twice' is in use by another run" "$WORK/err"
kill -TERM $pid
kill -TERM $pid 2>/dev/null
wait $pid
status=$?
holds "it is over" test $status -eq 1 -o $status -eq 143
finish
