#!/bin/bash
# bench.sh BUILD: runs every program of bench/ that the build has, one after another.
set -euo pipefail
cd "$(dirname "$0")/.."
ran=0
for program in "$1"/bench_*; do
    [ -x "$program" ] || continue
    echo "== $(basename "$program")"
    "$program"
    ran=1
done
[ $ran = 1 ] || { echo "bench: there is no bench/bench_*.c" >&2 && exit 1; }
