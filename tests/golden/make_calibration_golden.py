"""Writes tests/golden/learn/calibration.{json,safetensors}: temperatures, calibration errors and thresholds.

Needs numpy, scipy, scikit-learn and safetensors (made with scikit-learn 1.9.1, scipy 1.17.1).
Run from the repository's root: python tests/golden/make_calibration_golden.py

<case>/logits [n, k] float32 with <case>/labels [n] int32, or where the task is "multilabel" <case>/targets [n, k]
float32. The temperature is the least of the log loss by scipy's bounded search over log T; the calibration error
is netcal's ECE(15) (bins of equal width), of multi-label over every class of every sample; the log loss is
scikit-learn's. "f1": the best F1 of each class by scikit-learn's precision_recall_curve (two classes: the best
macro F1 over all thresholds).
"""

import json
import pathlib

import numpy as np
import scipy.optimize
import scipy.special
from safetensors.numpy import save_file
from sklearn import metrics

OUT = pathlib.Path("tests/golden/learn")
BINS = 15


def ece(confidence, hit):
    # netcal.metrics.ECE: weighted mean over bins of |mean hit - mean confidence|
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    return sum((bins == b).mean() * abs(hit[bins == b].mean() - confidence[bins == b].mean())
               for b in range(BINS) if (bins == b).any())


def of_classes(z, y, t):
    log_p = scipy.special.log_softmax(z / t, axis=1)
    p = np.exp(log_p)
    loss = -log_p[np.arange(len(y)), y].mean()
    if p.min() > 1e-14:
        assert np.isclose(loss, metrics.log_loss(y, p, labels=np.arange(z.shape[1])), rtol=1e-9)
    return loss, ece(p.max(axis=1), p.argmax(axis=1) == y)


def of_labels(z, y, t):
    p = scipy.special.expit(z / t)
    loss = -np.where(y > 0, scipy.special.log_expit(z / t), scipy.special.log_expit(-z / t)).mean()
    return loss, ece(p.ravel(), y.ravel() > 0)


def temperature(measure, z, y):
    found = scipy.optimize.minimize_scalar(lambda s: measure(z, y, np.exp(s))[0], bounds=(-4.6, 4.6),
                                           method="bounded", options={"xatol": 1e-12})
    return float(np.exp(found.x))


def best_f1(p, y):
    precision, recall, _ = metrics.precision_recall_curve(y, p)
    return float(np.max(2 * precision * recall / np.maximum(precision + recall, 1e-300)))


def best_macro(p, y):
    cuts = np.concatenate([[2.0], np.unique(p)])
    return float(max(metrics.f1_score(y, p >= c, average="macro") for c in cuts))


def main():
    r = np.random.default_rng(20170612)
    tensors, cases = {}, {}
    for name, n, k, scale, noise in (("overconfident", 400, 10, 6.0, 1.0), ("underconfident", 150, 4, 0.3, 0.8),
                                     ("two", 90, 2, 3.0, 1.5), ("many", 80, 60, 4.0, 0.7), ("rare", 200, 2, 2.0, 1.0)):
        y = r.integers(0, k, n) if name != "rare" else (r.random(n) < 0.1).astype(np.int64)
        z = scale * (np.eye(k)[y] * 1.5 + noise * r.standard_normal((n, k)))
        if name == "rare":
            z[:, 0] += 3.0
        z = z.astype(np.float32).astype(np.float64)
        t = temperature(of_classes, z, y)
        before, after = of_classes(z, y, 1.0), of_classes(z, y, t)
        cases[name] = {"task": "classes", "temperature": t, "log_loss": [before[0], after[0]], "ece": [before[1], after[1]]}
        if k == 2:
            cases[name]["f1"] = [best_macro(scipy.special.expit(z[:, 1] - z[:, 0]), y)]
        tensors[f"{name}/logits"] = z.astype(np.float32)
        tensors[f"{name}/labels"] = y.astype(np.int32)
    for name, n, k, scale in (("labels", 120, 6, 4.0), ("shy labels", 250, 3, 0.5)):
        y = (r.random((n, k)) < np.linspace(0.15, 0.6, k)).astype(np.float32)
        z = (scale * (2 * y - 1.2 + 1.3 * r.standard_normal((n, k)))).astype(np.float32).astype(np.float64)
        t = temperature(of_labels, z, y)
        before, after = of_labels(z, y, 1.0), of_labels(z, y, t)
        cases[name] = {"task": "multilabel", "temperature": t, "log_loss": [before[0], after[0]],
                       "ece": [before[1], after[1]],
                       "f1": [best_f1(scipy.special.expit(z[:, c]), y[:, c]) for c in range(k)]}
        tensors[f"{name}/logits"] = z.astype(np.float32)
        tensors[f"{name}/targets"] = y
    save_file(tensors, OUT / "calibration.safetensors")
    (OUT / "calibration.json").write_text(json.dumps(cases, indent=1) + "\n")


main()
