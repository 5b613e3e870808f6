#!/bin/bash
# peers.sh [SECTION...] [--rounds N] [--threads T] ...: graft next to PyTorch, timm, ONNX Runtime and OpenVINO; prints Markdown tables.
#
# GRAFT names the program (the bench programs lie beside it); PEERS_PYTHON a Python that has the peers already.
# Without it they are installed in a virtual environment in .deps/peers (several GB the first time).
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PEERS_PYTHON:-.deps/peers/bin/python}
if [ -z "${PEERS_PYTHON:-}" ] && ! "$python" -c 'import torch, torchvision, timm, onnxruntime, onnxscript, openvino, sentence_transformers' 2>/dev/null; then
    echo "bench-peers: installing PyTorch, timm, ONNX Runtime and OpenVINO in .deps/peers (some minutes)" >&2
    python3 -m venv .deps/peers
    .deps/peers/bin/python -m pip install --quiet --disable-pip-version-check -r bench/peers-requirements.txt
fi
exec "$python" bench/peers.py --graft "${GRAFT:-build/release/graft}" "$@"
