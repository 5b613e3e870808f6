#!/bin/bash
# lint.sh BUILD: every check of the sources that needs no run: the shell checks of tests/lint, clang-format,
# clang-tidy and cppcheck over BUILD/compile_commands.json. All run; the exit status says whether one complained.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
build=$1
bad=0
step() {
    local name=$1
    shift
    if "$@"; then echo "lint: $name: clean"; else
        echo "lint: $name: FAILED"
        bad=1
    fi
}
for check in layers registry banned names; do step $check bash tests/lint/$check.sh; done
if [ -e "$build/libgraft.so" ]; then step symbols bash tests/lint/symbols.sh "$build/libgraft.so"; fi

sources() { find src include tests bench examples -name '*.[ch]' 2>/dev/null | sort; }
format() { sources | xargs -r clang-format --dry-run --Werror; }
# Only what the build compiles has a command to analyse it by; tests are left to the compilers.
tidy() {
    sed -nE 's/^ *"file": "(.*)",?$/\1/p' "$build/compile_commands.json" | grep -v /tests/ | sort -u >"$build/tidy.files"
    xargs -r -P "$(nproc)" -n 4 clang-tidy -p "$build" --quiet --warnings-as-errors='*' \
        --extra-arg=-Wno-unknown-warning-option <"$build/tidy.files" 2>"$build/tidy.log"
}
check() {
    cppcheck --quiet --std=c11 --language=c --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
        --suppressions-list=tests/lint/cppcheck.supp -j "$(nproc)" -D_GNU_SOURCE -D__GNUC__=12 -D__x86_64__ -I include -I src src include
}
step clang-format format
step cppcheck check
step clang-tidy tidy
exit $bad
