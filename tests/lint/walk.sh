#!/bin/bash
# Every function that docs/walk.md names is declared in a header. Run from the repository's root.
set -euo pipefail
bad=0
for name in $(grep -oE '`graft_[a-z0-9_]+`' docs/walk.md | tr -d '`' | sort -u); do
    grep -rqwE "$name" include src --include='*.h' || { echo "docs/walk.md: $name is declared nowhere" && bad=1; }
done
exit $bad
