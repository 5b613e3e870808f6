#!/bin/bash
# Adding a thing is one file and one line: every .c file of a registry folder is named in the folder's list.h. That
# list.h names nothing that is not there, the linker sees to. Run from the repository's root.
set -euo pipefail
bad=0

# A file that holds no row (code its folder shares) says so in its first lines with the words "Shared by".
is_shared() { head -n 6 "$1" | grep -q 'Shared by'; }

# check FOLDER PREFIX: FOLDER/PREFIXname.c is listed as name.
check() {
    local folder=$1 prefix=$2 list=$1/list.h file name
    compgen -G "$folder/$prefix*.c" >/dev/null || return 0
    if [ ! -f "$list" ]; then
        echo "$folder has files but no list.h"
        bad=1
        return 0
    fi
    for file in "$folder/$prefix"*.c; do
        name=$(basename "$file" .c)
        if ! is_shared "$file" && ! grep -qwE "${name#"$prefix"}|$name|${name#"$(basename "$folder")_"}" "$list"; then
            echo "$file: not named in $list"
            bad=1
        fi
    done
}

# An op's file holds the rows of a family of ops: each row is listed, and there is at least one.
check_ops() {
    local folder=$1 file name rows
    for file in "$folder"/*.c; do
        [ -e "$file" ] && ! is_shared "$file" || continue
        rows=$(sed -nE 's/^const graft_op graft_op_([a-z0-9_]+).*/\1/p' "$file")
        [ -n "$rows" ] || { echo "$file: no row (const graft_op graft_op_<name>)" && bad=1; }
        for name in $rows; do
            grep -qw "GRAFT_OP($name)" "$folder/list.h" || { echo "$file: op $name is not named in $folder/list.h" && bad=1; }
        done
    done
}

check_ops src/graph/op
check src/model/family ''
check src/model/head ''
check src/model/vectors format_
check src/data/reader ''
for kind in loss optimiser schedule metric; do check src/learn/$kind ''; done
for kind in strategy align shot selfsup; do check src/transfer/$kind ''; done
check src/report/section ''
check src/transfer/advise/score ''
check src/cli cmd_
exit $bad
