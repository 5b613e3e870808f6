#!/bin/bash
# Writes the golden files of tests/parity and tests/golden again, with PyTorch and its kin in the versions that
# tests/parity/requirements.txt names, and shows what changed. PYTHON names an interpreter that has them already; else
# a virtual environment is made in build/golden-venv (several GB).
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-build/golden-venv/bin/python}
if [ -z "${PYTHON:-}" ] && [ ! -e build/golden-venv/complete ]; then
    scripts/setup.sh peers
    rm -rf build/golden-venv
    mkdir -p build
    python3 -m venv build/golden-venv
    echo "golden: installing PyTorch, Transformers and timm into build/golden-venv"
    "$python" -m pip install --quiet -r tests/parity/requirements.txt
    touch build/golden-venv/complete
fi
# What others begin from comes first: lora/ and regular/ go on from the models of text/, resnet/ and vit/.
first=(tests/parity/resnet/make.py tests/parity/resnet/phases.py tests/parity/text/make.py tests/parity/vit/make.py)
others=$(printf '%s\n' tests/parity/*/make.py tests/golden/make_*_golden.py | grep -vxF "$(printf '%s\n' "${first[@]}")")
for script in "${first[@]}" $others; do "$python" "$script"; done
if [ -f ../shared/data/cifar_resnet20.th ]; then "$python" tests/parity/resnet/make.py --cifar ../shared/data; fi
if [ -f ../shared/data/squeezenet1_1.onnx ]; then "$python" tests/parity/squeezenet/make.py --photos ../shared/data; fi
git status --short -- tests/parity tests/golden
