#!/bin/bash
# The curves of a run stand in the terminal at its end, and nowhere else.
. tests/support/cli.bash
model=examples/digits/upstream
digits=examples/digits/digits.npz
type script >/dev/null || exit 77
export TERM=xterm

# shows COLUMNS ARG...: what graft fit leaves on a terminal of so many columns
shows() {
    local columns=$1
    shift
    script -qec "stty cols $columns; $GRAFT fit $model $digits -o $WORK/o --train head --epochs 6 --no-report --restart $*" \
        "$WORK/typescript" </dev/null >"$WORK/screen" 2>&1
    tr -d '\r' <"$WORK/screen" >"$WORK/out"
}

shows 80
holds "the loss has a chart" grep -qE '^loss$' "$WORK/out"
holds "the score too" grep -qE '^accuracy$' "$WORK/out"
holds "over all epochs" grep -qE '^ +1 +6 epoch$' "$WORK/out"
holds "of both parts" grep -q 'v validation' "$WORK/out"
holds "in colours" grep -q $'\033\[36m' "$WORK/out"
widest() { sed $'s/\033\[[0-9;]*[mK]//g' "$1" | grep -E '^ {8} \+-+$' | awk '{print length}' | sort -n | tail -n 1; }
holds "as wide as a chart is" test "$(widest "$WORK/out")" = 73
shows 40
holds "narrower in a narrow terminal" test "$(widest "$WORK/out")" = 33
NO_COLOR=1 shows 80
holds "NO_COLOR takes the colours away" test "$(grep -c $'\033\[3' "$WORK/out")" = 0
holds "not the curves" grep -qE '^accuracy$' "$WORK/out"
shows 80 --json ">$WORK/result.json"
holds "stdout stays JSON" test "$(head -c 1 "$WORK/result.json")$(tail -n 1 "$WORK/result.json")" = '{}'
holds "the terminal has them with --json too" grep -qE '^accuracy$' "$WORK/out"
shows 80 -q
holds "-q has none" test "$(grep -c epoch$ "$WORK/out")" = 0
exits 0 fit $model $digits -o "$WORK/o" --train head --epochs 6 --no-report --restart
holds "nor has a pipe" test "$(cat "$WORK/out" "$WORK/err" | grep -c '^ *+-')" = 0
finish
