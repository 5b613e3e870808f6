#!/bin/sh
# The demonstration's second part: all-MiniLM-L6-v2, a pretrained sentence model, is adapted to ten intents of a support desk with
# twenty labelled messages each, beside the same architecture trained from scratch. Prints a table.
#
#   GRAFT=build/release/graft scripts/demo_texts.sh [OUT]
#
# The model comes from the package index (scripts/minilm.sh); where that cannot be reached, this part is left out.
set -eu
cd "$(dirname "$0")/.."
graft=${GRAFT:-build/release/graft}
out=${1:-build/demo}
data=examples/intents/intents.csv

[ -x "$graft" ] || { echo "demo: $graft is not built; run: make build" >&2; exit 1; }
echo
if ! model=$(scripts/minilm.sh); then
    echo "The second part, texts, is left out: all-MiniLM-L6-v2 could not be fetched. make demo shows it once it can."
    exit 0
fi
mkdir -p "$out"
GRAFT_CACHE=$(cd "$out" && pwd)/cache
export GRAFT_CACHE
table=$out/texts.tsv
: >"$table"

# arm NAME TITLE OPTION...: fits, evaluates on the test messages, appends to texts.tsv.
arm() {
    name=$1
    title=$2
    shift 2
    echo "graft fit $model $data -o $out/$name --seed 1 $*"
    rm -rf "${out:?}/$name"
    start=$(date +%s.%N)
    "$graft" fit "$model" "$data" -o "$out/$name" --seed 1 "$@" -q --json >"$out/$name.json"
    stop=$(date +%s.%N)
    awk -v title="$title" -v seconds="$(echo "$start $stop" | awk '{ print $2 - $1 }')" '
        function number(key) { return match($0, "\"" key "\": *[-0-9.e+]+") ? substr($0, RSTART + length(key) + 3, RLENGTH - length(key) - 3) + 0 : "" }
        { text = text $0 }
        END { $0 = text; printf "%s\t%s\t%s\t%s\t%s\n", title, number("accuracy"), number("epochs"), seconds, number("peak_memory") }' "$out/$name.json" >>"$table"
}

arm texts-scratch "from scratch" --from-scratch --train full --epochs 20
arm texts-head "pretrained, head only" --train head
arm texts-again "the same again, from the cache" --train head
arm texts-top "pretrained, top two layers" --train top:2
arm texts-full "pretrained, all layers" --train full

echo
awk -F '\t' '
    NR == 1 { printf "%-32s %14s %8s %9s %10s\n", "200 labelled messages", "test accuracy", "epochs", "seconds", "memory" }
    { printf "%-32s %12.1f %% %8d %9.1f %6.0f MiB\n", $1, 100 * $2, $3, $4, $5 / 1048576 }' "$table"
echo
echo "Seconds are of the whole command, memory is what its programs and weights need. Try the model:"
echo "  $graft predict $out/texts-top --text \"where is my parcel?\""
