#!/usr/bin/env python3
"""Tokens a second of the `tokenizers` package, beside bench_tokenizer's, in turns on one thread.

    tokenizer_peer.py BENCH_TOKENIZER TOKENIZER.json TEXT [SECONDS]

The package encodes lists of lines at once (encode_batch_fast, without offsets, its fastest way), graft line by line
and with offsets. Prints one JSON object with both rates and their ratio.
"""
import json
import os
import subprocess
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import Tokenizer  # noqa: E402


def theirs(tokenizer, lines, seconds):
    begun, tokens = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        for at in range(0, len(lines), 1000):
            tokens += sum(len(e) for e in tokenizer.encode_batch_fast(lines[at:at + 1000]))
    return tokens / (time.perf_counter() - begun)


def ours(argv, seconds):
    done = subprocess.run(argv + [str(seconds)], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)["tokens_per_second"]


def main():
    bench, path, text = sys.argv[1:4]
    seconds = float(sys.argv[4]) if len(sys.argv) > 4 else 2
    tokenizer = Tokenizer.from_file(path)
    tokenizer.no_padding()
    with open(text, encoding="utf-8", newline="\n") as f:
        lines = f.read().split("\n")
    rounds = [(ours([bench, path, text], seconds), theirs(tokenizer, lines, seconds)) for _ in range(3)]
    graft, peer = (max(r[i] for r in rounds) for i in (0, 1))
    print(json.dumps({"bench": "tokenizer_peer", "graft": round(graft), "tokenizers": round(peer),
                      "ratio": round(graft / peer, 2)}))


if __name__ == "__main__":
    main()
