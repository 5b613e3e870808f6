#!/bin/sh
# The demonstration: a small ResNet that knows printed digits is adapted to handwritten ones with ten labelled pictures a
# class, beside the same network trained from scratch on the same pictures. Prints a table and two charts, and draws an SVG.
# Then scripts/demo_texts.sh: a sentence model is adapted to what people write to a support desk.
#
#   GRAFT=build/release/graft scripts/demo.sh [OUT]
#
# OUT (build/demo) receives the models, curves.tsv and demo.svg. Needs nothing but the program and awk.
set -eu
cd "$(dirname "$0")/.."
graft=${GRAFT:-build/release/graft}
out=${1:-build/demo}
data=examples/digits/digits.npz
epochs=30

[ -x "$graft" ] || { echo "demo: $graft is not built; run: make build" >&2; exit 1; }
rm -rf "$out"
mkdir -p "$out"
GRAFT_CACHE=$(cd "$out" && pwd)/cache
export GRAFT_CACHE

# arm NAME MODEL OPTION...: fits, evaluates on the test pictures, appends to curves.tsv and table.tsv.
arm() {
    name=$1
    model=$2
    shift 2
    echo "graft fit $model $data -o $out/$name --epochs $epochs --batch 16 --augment none --early-stop 0 --seed 1 $*"
    "$graft" fit "$model" "$data" -o "$out/$name" --epochs $epochs --batch 16 --augment none --early-stop 0 --seed 1 "$@" -q >"$out/$name.txt"
    "$graft" eval "$out/$name" "$data" -q --json >"$out/$name.json"
    awk -v name="$name" -f scripts/demo_curve.awk "$out/$name/run.jsonl" >>"$out/curves.tsv"
    awk -v name="$name" '
        function number(key) { return match($0, "\"" key "\": *[-0-9.e+]+") ? substr($0, RSTART + length(key) + 3, RLENGTH - length(key) - 3) + 0 : "" }
        { text = text $0 } END { $0 = text; printf "%s\t%s\t%s\n", name, number("accuracy"), number("n") }' "$out/$name.json" >>"$out/table.tsv"
}

# Rates were chosen on the validation pictures, for each of the three.
arm scratch examples/digits/upstream-config --train full --lr 0.004
arm head examples/digits/upstream --train head
arm full examples/digits/upstream --train full --optimizer adamw --lr 0.001 --backbone-lr-scale 1 --norm train --schedule one_cycle --label-smoothing 0

echo
awk -F '\t' -v epochs=$epochs '
    FILENAME ~ /curves/ { seconds[$1] = $3; if (!($1 in first) && $4 >= 0.9) first[$1] = $2 " (" sprintf("%.2f s", $3) ")"; next }
    FNR == 1 {
        title["scratch"] = "from scratch"; title["head"] = "pretrained, head only"; title["full"] = "pretrained, all layers"
        printf "%-24s %14s %12s %12s   %s\n", "100 labelled digits", "test accuracy", "errors", "seconds", "90 % on validation after epoch"
    }
    { printf "%-24s %13.1f %% %6d/%d %12.2f   %s\n", title[$1], 100 * $2, int($3 * (1 - $2) + 0.5), $3, seconds[$1], ($1 in first) ? first[$1] : "never" }
    ' "$out/curves.tsv" "$out/table.tsv"
for axis in epochs seconds; do awk -F '\t' -v axis=$axis -f scripts/demo_text.awk "$out/curves.tsv"; done
awk -F '\t' -f scripts/demo_svg.awk "$out/curves.tsv" >"$out/demo.svg"
echo
echo "The same as a picture: $out/demo.svg; the models: $out/scratch, $out/head, $out/full"

GRAFT=$graft scripts/demo_texts.sh "$out"
