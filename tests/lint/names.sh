#!/bin/bash
# No two .c files share a name; no file is longer than 600 lines (a test 900), no function of src/ than 80. Run from the repository's root.
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
    most=600
    case $file in tests/*) most=900 ;; total) continue ;; esac
    if ((lines > most)); then
        echo "$file: $lines lines; a file is one subject and at most $most"
        bad=1
    fi
done < <(find "${folders[@]}" -name '*.[ch]' -exec wc -l {} +)
# As clang-format lays it out, a function begins at the margin with a line that ends in "{" and ends with "}" there.
while IFS= read -r complaint; do
    echo "$complaint"
    bad=1
done < <(find src -name '*.c' -exec awk '
    /^[a-z].*[a-z_0-9]\(/ {head = FNR; name = $0; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name)}
    /^}$/ && head {if (FNR - head + 1 > 80) print FILENAME ":" head ": " name "() has " FNR - head + 1 " lines; at most 80"
        head = 0}
    /;$/ && /^[a-z]/ {head = 0}' {} + | sort)
exit $bad
