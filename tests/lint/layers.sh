#!/bin/bash
# A folder of src/ includes only folders to its left in the list below, and of another folder only its door
# (base/base.h, graph/graph.h, ...). The root's graft.h is free to all. Run from the repository's root.
set -euo pipefail
order=(base tensor graph backend model data learn transfer report cli)

declare -A rank
for i in "${!order[@]}"; do rank[${order[i]}]=$i; done
[ -d src ] || exit 0
bad=0
while IFS=: read -r file line include; do
    from=${file#src/}
    from=${from%%/*}
    header=${include#*\"}
    header=${header%%\"*}
    to=${header%%/*}
    if [ "$header" = graft.h ] || [ "$to" = "$from" ]; then continue; fi
    # A header without a folder, or with one that is no room, is the file's own neighbour.
    if [ "$to" = "$header" ] || [ -z "${rank[$to]:-}" ]; then
        case $header in
        *../*) echo "$file:$line: \"$header\" climbs out of its folder; name it from src/" && bad=1 ;;
        esac
        continue
    fi
    if [ -z "${rank[$from]:-}" ]; then
        echo "$file:$line: src/$from is not a folder of the house: ${order[*]}"
        bad=1
    elif ((rank[$to] > rank[$from])); then
        echo "$file:$line: $from/ may not include $header: $to/ stands to its right"
        bad=1
    elif [ "$header" = graph/op.h ] && { [ "$from" = backend ] || [ "$from" = model ]; }; then
        continue # the rows' inside, for those who run them, or look for layers
    elif [ "$header" != "$to/$to.h" ]; then
        echo "$file:$line: $header is private to $to/; include $to/$to.h"
        bad=1
    fi
done < <(grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]+"' src --include='*.c' --include='*.h' || true)

# oneDNN is spoken to in backend/cpu alone; what stands outside src/ sees the public header only.
if grep -rnE '#[[:space:]]*include[[:space:]]*[<"](oneapi/)?dnnl' src --include='*.[ch]' | grep -v '^src/backend/cpu/'; then
    echo "only src/backend/cpu may include oneDNN"
    bad=1
fi
if ls examples/*.c >/dev/null 2>&1 && grep -nE '#[[:space:]]*include[[:space:]]*"' examples/*.c | grep -v '"graft.h"'; then
    echo "examples include graft.h alone"
    bad=1
fi
exit $bad
