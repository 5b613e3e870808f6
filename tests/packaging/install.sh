#!/bin/bash
# install.sh BUILD CC: an installed tree works after it was moved: the program starts, pkg-config finds the library,
# every example compiles, and nothing in it points back to the build. Run from the repository's root.
set -euo pipefail
build=$1 cc=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
unset LD_LIBRARY_PATH
cmake --install "$build" --prefix "$scratch/first" >"$scratch/log" 2>&1 || { cat "$scratch/log" && exit 1; }
mkdir "$scratch/other place"
mv "$scratch/first" "$scratch/other place/graft"
root="$scratch/other place/graft"

fail() {
    echo "install: $*"
    exit 1
}
for file in lib/libgraft.so include/graft.h lib/pkgconfig/graft.pc; do
    [ -e "$root/$file" ] || fail "$file is missing"
done
for file in "$root"/bin/* "$root"/lib/libgraft.so; do
    [ -e "$file" ] || continue
    ldd "$file" >"$scratch/ldd"
    if grep -E 'not found' "$scratch/ldd"; then fail "$file does not find its libraries"; fi
    if [ -e "$root/lib/graft/libdnnl.so.3" ] && grep libdnnl "$scratch/ldd" | grep -vF "$root"; then
        fail "$file does not take oneDNN from the installed tree"
    fi
    if grep -E 'openblas|lapack' "$scratch/ldd"; then fail "$file loads OpenBLAS at its start"; fi
    if readelf -d "$file" | grep -E 'R(UN)?PATH' | grep -F "$(pwd)"; then fail "$file points into the build"; fi
done
if [ -x "$root/bin/graft" ]; then
    "$root/bin/graft" --help >"$scratch/help" || fail "graft --help fails"
    [ -s "$scratch/help" ] || fail "graft --help says nothing"
fi

# pkg-config writes a blank of a path with a backslash, as a shell reads it.
flags() { PKG_CONFIG_PATH="$root/lib/pkgconfig" pkg-config "$@" graft; }
cat >"$scratch/version.c" <<'END'
#include <graft.h>
#include <stdio.h>
int main(void) { return puts(graft_version()) < 0; }
END
for source in "$scratch/version.c" examples/*.c; do
    [ -e "$source" ] || continue
    eval "$cc -std=c17 -D_GNU_SOURCE -o '$scratch/program' '$source' $(flags --cflags --libs) -lm" ||
        fail "$source does not compile against the installed tree"
    if [ "$source" = "$scratch/version.c" ]; then
        said=$(LD_LIBRARY_PATH="$root/lib" "$scratch/program")
        [ "$said" = "$(flags --modversion)" ] || fail "the library says version $said, graft.pc $(flags --modversion)"
    fi
done
