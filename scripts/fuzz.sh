#!/bin/bash
# fuzz.sh FOLDER SECONDS: runs every libFuzzer program of FOLDER for SECONDS on its corpus. What it finds on the way
# is kept under build/fuzz/found; an input that crashes is written there too and should become a seed and a test.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$1 seconds=$2
failed=()
for source in tests/fuzz/fuzz_*.c; do
    [ -e "$source" ] || { echo "fuzz: there is no tests/fuzz/fuzz_*.c" && exit 1; }
    target=$(basename "$source" .c)
    name=${target#fuzz_}
    found=build/fuzz/found/$name
    mkdir -p "$found/crash" "$found/corpus"
    if "$folder/$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -max_len=65536 -print_final_stats=1 \
        -artifact_prefix="$found/crash/" "$found/corpus" "tests/fuzz/corpus/$name" >"$found/log" 2>&1; then
        echo "fuzz: $name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$found/log") inputs, nothing found"
    else
        failed+=("$name")
        grep -E 'ERROR|SUMMARY|runtime error|Test unit written' "$found/log" | head -n 6 || tail -n 6 "$found/log"
        echo "fuzz: $name failed; $found/log has the whole of it"
    fi
done
[ ${#failed[@]} -eq 0 ] || { echo "fuzz: failed: ${failed[*]}" && exit 1; }
