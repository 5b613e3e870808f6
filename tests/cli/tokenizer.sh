#!/bin/bash
# Fuzzed texts through every golden tokenizer, MiniLM's (GRAFT_MINILM names its folder) and GPT-2's, held against the
# tokenizers package. Skipped where Python has no such package (PYTHON names another) or bench/ was not built.
set -euo pipefail
python=${PYTHON:-python3}
bench=$GRAFT_BUILD/bench_tokenizer
[ -x "$bench" ] || exit 77
"$python" -c 'import tokenizers' 2>/dev/null || exit 77
"$python" - "$WORK" <<'PY'
import json
import pathlib
import sys

from tokenizers import Tokenizer, models, pre_tokenizers, processors

work = pathlib.Path(sys.argv[1])
for file in pathlib.Path("tests/golden/tokenizer").glob("*.json"):
    text = json.loads(file.read_text(encoding="utf-8"))["tokenizer"]
    (work / file.name).write_text(json.dumps(text), encoding="utf-8")
gpt2 = pathlib.Path("../shared/data/tokenizers/gpt2")
if gpt2.is_dir():
    t = Tokenizer(models.BPE.from_file(str(gpt2 / "vocab.json"), str(gpt2 / "merges.txt")))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    t.add_special_tokens(["<|endoftext|>"])
    t.save(str(work / "gpt2_whole.json"))
PY
[ -z "${GRAFT_MINILM:-}" ] || cp "$GRAFT_MINILM/tokenizer.json" "$WORK/minilm.json"
if [ -d ../shared/data/tokenizers/gpt2 ]; then
    "$python" tests/parity/tokenizer_compare.py "$bench" "$WORK/gpt2_whole.json" --count 100 \
        --opened ../shared/data/tokenizers/gpt2
fi
for file in "$WORK"/*.json; do
    "$python" tests/parity/tokenizer_compare.py "$bench" "$file" --count 300 --seed 11
done
