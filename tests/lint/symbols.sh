#!/bin/bash
# symbols.sh LIBGRAFT.SO: the library exports exactly the functions that include/graft.h marks GRAFT_API.
# Run from the repository's root.
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# _end and its like are the linker's own.
nm -D --defined-only "$1" | awk '$2 ~ /[TDBRVW]/ {sub(/@.*/, "", $3); print $3}' | grep -vxE '_end|_edata|__bss_start|_init|_fini' |
    sort -u >"$scratch/exported"
# A declaration begins with GRAFT_API at the start of a line; its name is the word before the first parenthesis.
sed -nE '/^GRAFT_API/{:more;/;/!{N;b more};s/\n/ /g;s/^GRAFT_API[^(]*[ *]([A-Za-z0-9_]+) *\(.*/\1/p}' include/graft.h |
    sort -u >"$scratch/declared"
bad=0
if extra=$(comm -13 "$scratch/declared" "$scratch/exported" | grep .); then
    echo "exported but not declared GRAFT_API in include/graft.h: ${extra//$'\n'/ }"
    bad=1
fi
if absent=$(comm -23 "$scratch/declared" "$scratch/exported" | grep .); then
    echo "declared GRAFT_API in include/graft.h but not exported: ${absent//$'\n'/ }"
    bad=1
fi
echo "$(wc -l <"$scratch/declared") functions declared, $(wc -l <"$scratch/exported") exported"
exit $bad
