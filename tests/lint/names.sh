#!/bin/bash
# No two .c files share a name; no source file is longer than 600 lines. Run from the repository's root.
set -euo pipefail
bad=0
folders=()
for folder in src tests bench examples include; do [ -d $folder ] && folders+=("$folder"); done
same=$(find "${folders[@]}" -name '*.c' -printf '%f\n' | sort | uniq -d)
for name in $same; do
    echo "two files are called $name: $(find "${folders[@]}" -name "$name" | tr "\n" " ")"
    bad=1
done
while read -r lines file; do
    if [ "$file" != total ] && ((lines > 600)); then
        echo "$file: $lines lines; a file is one subject and at most 600"
        bad=1
    fi
done < <(find "${folders[@]}" -name '*.[ch]' -exec wc -l {} +)
exit $bad
