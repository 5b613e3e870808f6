"""Holds graft's sentence embeddings of a real model against sentence-transformers' and against the published score.

    minilm.py GRAFT MODEL STSB.csv

The first 200 sentences have to agree within 1e-5 (1 - cosine); Spearman's correlation of cosine and rating over all pairs is
printed and held to 82.03 (hundredths, +-0.02), what sentence-transformers gives.
"""

import csv
import os
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import numpy as np  # noqa: E402
from scipy.stats import spearmanr  # noqa: E402
from sentence_transformers import SentenceTransformer  # noqa: E402


def embed(graft, model, sentences):
    with tempfile.TemporaryDirectory() as scratch:
        with open(f"{scratch}/sentences.txt", "w") as f:
            f.writelines(s + "\n" for s in sentences)
        subprocess.run([graft, "embed", model, f"{scratch}/sentences.txt", "-o", f"{scratch}/x.npy", "-q", "--no-cache"],
                       check=True)
        return np.load(f"{scratch}/x.npy")


def main():
    graft, model, path = sys.argv[1:]
    with open(path, newline="") as f:
        rows = [(a.strip(), b.strip(), float(s)) for a, b, s in csv.reader(f)]
    sentences = [s for a, b, _ in rows for s in (a, b)]
    ours = embed(graft, model, sentences)
    theirs = SentenceTransformer(model, device="cpu").encode(sentences[:200], batch_size=32, show_progress_bar=False)
    cosine = (ours[:200] * theirs).sum(1) / np.linalg.norm(ours[:200], axis=1) / np.linalg.norm(theirs, axis=1)
    worst = float(np.max(1 - cosine.astype(np.float64)))
    a, b = ours[0::2], ours[1::2]
    likeness = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    score = 100 * spearmanr(likeness, [s for _, _, s in rows]).statistic
    print(f"1 - cosine at most {worst:.1e} on 200 sentences; Spearman {score:.2f} on {len(rows)} pairs")
    return 0 if worst < 1e-5 and abs(score - 82.03) <= 0.02 else 1


if __name__ == "__main__":
    sys.exit(main())
