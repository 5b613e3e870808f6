#!/bin/bash
# The curves of a run stand in the terminal while it runs and, larger, at its end, and nowhere else.
. tests/support/cli.bash
model=examples/digits/upstream
digits=examples/digits/digits.npz
type script >/dev/null || exit 77
export TERM=xterm

# shows COLUMNSxROWS ARG...: what graft fit leaves on a terminal of that size; the bytes it sent lie in $WORK/sent
shows() {
    local size=$1
    shift
    script -qec "stty cols ${size%x*} rows ${size#*x}; $GRAFT fit $model $digits -o $WORK/o --train head --epochs 6 --no-report --restart $*" \
        "$WORK/typescript" </dev/null >"$WORK/sent" 2>&1
    awk -f tests/support/screen.awk "$WORK/sent" >"$WORK/out"
}

# in_between TEXT: the screen as it was when a row had begun with TEXT
in_between() { awk -v after="$1" -f tests/support/screen.awk "$WORK/sent" >"$WORK/out"; }
lines() { grep -cE -- "$1" "$WORK/out"; }

shows 80x40
holds "the loss has a chart" grep -qE '^loss$' "$WORK/out"
holds "the score too" grep -qE '^accuracy$' "$WORK/out"
holds "over all epochs" grep -qE '^ +1 +6 epoch$' "$WORK/out"
holds "of both parts" grep -q 'v validation' "$WORK/out"
holds "in colours" grep -q $'\033\[36m' "$WORK/sent"
widest() { grep -E '^ {8} \+-+$' "$1" | awk '{print length}' | sort -n | tail -n 1; }
holds "as wide as a chart is" test "$(widest "$WORK/out")" = 73
holds "and nothing is left of what stood there before" test "$(lines 'v validation')$(lines '^epoch')" = 20
in_between "epoch 6 of 6"
holds "while it runs both charts lie side by side" test "$(lines '^loss +accuracy$')" = 1
holds "over the epochs to come" test "$(lines '^ +1 +6 epoch +1 +6 epoch$')" = 1
holds "above the bar" test "$(tail -n 2 "$WORK/out" | grep -cE '^ +v validation|^epoch 6 of 6  100/100')" = 2
holds "and no epoch of theirs has a line of its own" test "$(lines '^epoch')" = 1
shows 40x40
holds "narrower in a narrow terminal" test "$(widest "$WORK/out")" = 33
in_between "epoch 6 of 6"
holds "where the score alone has room while it runs" test "$(lines '^accuracy$')$(lines '^loss')" = 10
shows 80x8
in_between "epoch 6 of 6"
holds "in a low one epochs are lines" test "$(lines '^epoch [1-6] of 6')$(lines 'v validation')" = 60
shows 20x40
in_between "epoch 6 of 6"
holds "in one too narrow for any too, none of them longer than it" test "$(grep -aoE 'epoch [1-6] of 6 [^\r]*' "$WORK/sent" | awk '{print length}' | sort -n | tail -n 1)" -le 20
shows 80x40 --train head@3,full@3
holds "notes in between keep their place" test "$(grep -oE '^phase [12]|^loss|^accuracy$' "$WORK/out" | tr '\n' ' ')" = "phase 1 phase 2 loss accuracy "
in_between "epoch 6 of 6"
holds "and the curves come back below them" test "$(grep -oE '^phase [12]|^loss|^epoch' "$WORK/out" | tr '\n' ' ')" = "phase 1 phase 2 loss epoch "
NO_COLOR=1 shows 80x40
holds "NO_COLOR takes the colours away" test "$(grep -c $'\033\[3' "$WORK/sent")" = 0
holds "not the curves" grep -qE '^accuracy$' "$WORK/out"
shows 80x40 --json ">$WORK/result.json"
holds "stdout stays JSON" test "$(head -c 1 "$WORK/result.json")$(tail -n 1 "$WORK/result.json")" = '{}'
holds "the terminal has them with --json too" grep -qE '^accuracy$' "$WORK/out"
shows 80x40 -q
holds "-q has none" test "$(lines 'epoch$')" = 0
TERM=dumb shows 80x40
holds "nor has a terminal that cannot draw" test "$(grep -c $'\033' "$WORK/sent")$(lines 'v validation')" = 00
holds "which has lines" test "$(lines '^epoch [1-6] of 6  100/100')" = 6

# Ctrl-C as the terminal sends it
interrupt() {
    local i
    for ((i = 0; i < 2000; i++)); do
        grep -q '"epoch": *4' "$WORK/i/run.jsonl" 2>/dev/null && break
        sleep 0.01
    done
    sleep 0.2
    printf '\003'
    sleep 0.5
}
interrupt | script -qec "stty cols 80 rows 40; $GRAFT fit $model $digits -o $WORK/i --train head --epochs 100000 --early-stop 0" \
    "$WORK/typescript" >"$WORK/sent" 2>&1
awk -f tests/support/screen.awk "$WORK/sent" >"$WORK/out"
holds "an interrupt takes the curves away" test "$(lines 'validation')$(lines 'epoch$')" = 00
holds "and says how to go on" test "$(lines '^graft: interrupted; the same command')" = 1

exits 0 fit $model $digits -o "$WORK/o" --train head --epochs 6 --no-report --restart
holds "a pipe has no curves" test "$(cat "$WORK/out" "$WORK/err" | grep -c '^ *+-')" = 0
holds "its epochs are lines" test "$(grep -cE '^epoch [1-6] of 6  100/100 .* validation 0\.[0-9]+  best' "$WORK/err")" = 6
finish
