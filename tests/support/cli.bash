# Sourced by tests/cli/*.sh. A script says commands and what has to be true of them:
#
#   says ARG...           runs graft ARG... and notes the command, what it printed and its exit status; the notes of a
#                         script are held against tests/cli/<script>.txt at its end
#   exits STATUS ARG...   runs it and holds its exit status alone; output lies in $WORK/out and $WORK/err
#   holds TEXT COMMAND    COMMAND has to succeed
#   signalled FOLDER SIGNAL TEXT ARG...   runs graft ARG... -o FOLDER, which gets SIGNAL once FOLDER/run.jsonl has TEXT;
#                         returns its exit status
#
# UPDATE=1 writes tests/cli/<script>.txt anew. What differs from machine to machine (the scratch folder, seconds, bytes
# planned) is blanked out.
set -u
: "${GRAFT:?names the graft program}" "${WORK:?names an empty folder}"
script=$(basename "$0" .sh)
notes=$WORK/notes.txt
failures=0
: >"$notes"

blank() {
    sed -E -e "s#$WORK#WORK#g" -e 's/[0-9.]+ s, [0-9.]+ [KMG]?i?B(ytes)? planned/T s, M planned/' \
        -e 's/^(calibration: temperature) .* on /\1 T on /' -e 's/^(memory +)[0-9.]+ .*/\1M/'
}

says() {
    local status=0
    "$GRAFT" "$@" >"$WORK/out" 2>"$WORK/err" || status=$?
    {
        printf '$ graft'
        printf ' %q' "$@"
        printf '\n'
        cat "$WORK/out"
        sed 's/^/! /' "$WORK/err"
        printf 'exit %d\n\n' $status
    } | blank >>"$notes"
}

exits() {
    local wanted=$1 status=0
    shift
    "$GRAFT" "$@" >"$WORK/out" 2>"$WORK/err" || status=$?
    [ $status -eq "$wanted" ] && return
    echo "graft $*: exit status $status, not $wanted"
    sed 's/^/    /' "$WORK/err"
    failures=$((failures + 1))
}

holds() {
    local text=$1
    shift
    "$@" && return
    echo "not so: $text ($*)"
    failures=$((failures + 1))
}

# wait_for PID FILE TEXT: until FILE has TEXT, or the process is gone
wait_for() {
    while kill -0 "$1" 2>/dev/null && ! grep -q "$3" "$2" 2>/dev/null; do sleep 0.01; done
}

# On a busy machine the model may stand before the signal comes: then again, from what FOLDER held before.
signalled() {
    local folder=$1 signal=$2 text=$3 before=$WORK/before status=0 pid i
    shift 3
    rm -rf "$before"
    if [ -e "$folder" ]; then cp -r "$folder" "$before"; fi
    for ((i = 0; i < 20; i++)); do
        "$GRAFT" "$@" -o "$folder" >"$WORK/out" 2>"$WORK/err" &
        pid=$!
        wait_for $pid "$folder/run.jsonl" "$text"
        kill -"$signal" $pid 2>/dev/null
        wait $pid 2>/dev/null
        status=$?
        [ -e "$folder/model.safetensors" ] || return $status
        rm -rf "$folder"
        if [ -e "$before" ]; then cp -r "$before" "$folder"; fi
    done
    echo "graft $*: wrote its model before $signal came, $i times"
    return 0
}

finish() {
    local expected=tests/cli/$script.txt
    if [ -s "$notes" ]; then
        if [ -n "${UPDATE:-}" ]; then
            cp "$notes" "$expected"
        elif ! diff -u "$expected" "$notes"; then
            echo "$script says something else than $expected (UPDATE=1 writes it anew)"
            failures=$((failures + 1))
        fi
    fi
    exit $((failures > 0))
}

# A member of the JSON object on the first line that has it: number FILE KEY.
number() { grep -oE "\"$2\": [-0-9.e+]+" "$1" | head -n 1 | cut -d ' ' -f 2; }
