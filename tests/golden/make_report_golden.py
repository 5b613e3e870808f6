"""Writes tests/golden/report/: planes by scikit-learn's PCA and TSNE, label errors and calibration by numpy.

Needs numpy, safetensors and scikit-learn (made with numpy 2.4.6, scikit-learn 1.9.1).
Run from the repository's root: python tests/golden/make_report_golden.py

maths.safetensors: <case>/rows [n, d], <case>/plane [n, 2] (PCA, the largest loading of a component positive);
errors/probabilities [n, k], errors/labels [n], errors/rows, errors/likely: what confident learning (Northcutt,
Jiang and Chuang 2021) takes for label errors, the widest margin first; reliable/confidence, reliable/right [n].
maths.json: <case> -> {"perplexity", "kl"}: the divergence that scikit-learn's TSNE reaches without approximation, from the
principal plane; ece: the expected calibration error of 15 bins.
"""

import json
import pathlib

import numpy as np
from safetensors.numpy import save_file
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

OUT = pathlib.Path("tests/golden/report")
rng = np.random.default_rng(5)


def clusters(n, d, k, spread):
    centres = rng.normal(size=(k, d)) * spread
    return (centres[np.arange(n) % k] + rng.normal(size=(n, d))).astype(np.float32)


def curve(n):
    t = np.linspace(0, 3 * np.pi, n)
    return np.stack([t * np.cos(t), t * np.sin(t), rng.normal(size=n)], axis=1).astype(np.float32)


def plane(x):
    pca = PCA(n_components=2, svd_solver="full").fit(x.astype(np.float64))
    largest = np.abs(pca.components_).argmax(axis=1)
    return pca.transform(x.astype(np.float64)) * np.sign(pca.components_[[0, 1], largest])


def confident_errors(p, y):
    p = p.astype(np.float64)
    threshold = np.array([p[y == c, c].mean() if (y == c).any() else 2.0 for c in range(p.shape[1])])
    above = p >= threshold
    likely = np.where(above, p, -1.0).argmax(axis=1)
    wrong = np.flatnonzero(above.any(axis=1) & (likely != y))
    margin = p[wrong, likely[wrong]] - p[wrong, y[wrong]]
    wrong = wrong[np.argsort(-margin, kind="stable")]
    return wrong, likely[wrong]


def calibration_error(confidence, right):
    total = 0.0
    for b in range(15):
        inside = (confidence > b / 15) & (confidence <= (b + 1) / 15)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return total


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    tensors, facts = {}, {}
    cases = {"clusters": (clusters(300, 16, 6, 2.0), 30), "blurred": (clusters(200, 40, 4, 0.5), 20),
             "curve": (curve(150), 15), "few": (clusters(40, 8, 3, 2.0), 13)}
    for name, (x, perplexity) in cases.items():
        tsne = TSNE(perplexity=perplexity, init="pca", method="exact", random_state=0).fit(x)
        tensors[f"{name}/rows"] = x
        tensors[f"{name}/plane"] = plane(x).astype(np.float32)
        facts[name] = {"perplexity": perplexity, "kl": float(tsne.kl_divergence_)}

    n, k = 400, 5
    truth = rng.integers(0, k, n)
    z = rng.normal(size=(n, k)) + 3.0 * np.eye(k)[truth]
    p = (np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)).astype(np.float32)
    labels = np.where(rng.random(n) < 0.08, (truth + 1) % k, truth).astype(np.int32)
    rows, likely = confident_errors(p, labels)
    tensors |= {"errors/probabilities": p, "errors/labels": labels, "errors/rows": rows.astype(np.int64),
                "errors/likely": likely.astype(np.int32)}

    confidence = rng.random(500)
    right = (rng.random(500) < confidence**1.5).astype(np.uint8)
    tensors |= {"reliable/confidence": confidence, "reliable/right": right}
    facts["ece"] = calibration_error(confidence, right)
    save_file(tensors, OUT / "maths.safetensors")
    (OUT / "maths.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
