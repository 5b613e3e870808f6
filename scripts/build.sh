#!/bin/bash
# build.sh PRESET [--quiet]: configures the preset when it is new and builds it.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=$1 folder=build/$1
shift
if [ ! -f "$folder/build.ninja" ]; then
    mkdir -p "$folder"
    cmake --preset "$preset" --log-level=WARNING >"$folder/configure.log" 2>&1 || {
        cat "$folder/configure.log" >&2
        exit 1
    }
fi
exec cmake --build --preset "$preset" -- "$@"
