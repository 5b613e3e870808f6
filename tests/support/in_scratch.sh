#!/bin/bash
# in_scratch.sh SCRIPT: runs SCRIPT with bash, WORK naming an empty folder that is removed afterwards, and the
# cache of graft inside it, so that no test sees or touches what a user or another test has.
set -u
WORK=$(mktemp -d "${TMPDIR:-/tmp}/graft-test.XXXXXX") || exit 1
export WORK GRAFT_CACHE="$WORK/cache"
trap 'chmod -R u+rwX "$WORK"; rm -rf "$WORK"' EXIT
bash "$1"
