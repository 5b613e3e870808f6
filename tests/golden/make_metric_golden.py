"""Writes tests/golden/learn/: metrics by scikit-learn, rates by PyTorch's schedulers.

Needs numpy, safetensors, scikit-learn, scipy and torch (made with scikit-learn 1.9.1, torch 2.15.0).
Run from the repository's root: python tests/golden/make_metric_golden.py

metrics.safetensors holds <case>/logits [n, k] float32 and <case>/labels [n] int32; metrics.json what they
amount to (the log loss as it is, where scikit-learn cuts probabilities below 2e-16). The calibration error is computed here: 15 bins (b/15, (b+1)/15] of confidence (Guo et al. 2017).
schedules.json: {"schedule", "n_steps", "factors"}, a factor for every step.
"""

import json
import pathlib

import numpy as np
import scipy.special
import torch
from safetensors.numpy import save_file
from sklearn import metrics

OUT = pathlib.Path("tests/golden/learn")
BINS = 15


def softmax(z):
    z = z.astype(np.float64)
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def calibration_error(p, y):
    confidence, hit = p.max(axis=1), p.argmax(axis=1) == y
    total = 0.0
    for b in range(BINS):
        inside = (confidence > b / BINS) & (confidence <= (b + 1) / BINS)
        if inside.any():
            total += inside.mean() * abs(hit[inside].mean() - confidence[inside].mean())
    return total


def log_loss(z, y):
    log_p = scipy.special.log_softmax(z.astype(np.float64), axis=1)[np.arange(len(y)), y]
    if log_p.min() > -30:
        assert np.isclose(-log_p.mean(), metrics.log_loss(y, softmax(z), labels=np.arange(z.shape[1])), rtol=1e-12)
    return -log_p.mean()


def measure(z, y):
    k = z.shape[1]
    p, predicted, classes = softmax(z), z.argmax(axis=1), np.arange(z.shape[1])
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        y, predicted, labels=classes, zero_division=0)
    return {
        "n": len(y),
        "accuracy": metrics.accuracy_score(y, predicted),
        "top5": metrics.top_k_accuracy_score(y, p, k=5, labels=classes) if k > 5 else 1.0,
        "log_loss": log_loss(z, y),
        "ece": calibration_error(p, y),
        "macro_f1": metrics.f1_score(y, predicted, average="macro", zero_division=0),
        "balanced_accuracy": np.mean([recall[c] for c in classes if support[c]]),
        "precision": precision.tolist(),
        "recall": recall.tolist(),
        "f1": f1.tolist(),
        "support": support.tolist(),
        "confusion": metrics.confusion_matrix(y, predicted, labels=classes).tolist(),
    }


def cases():
    rng = np.random.default_rng(7)

    def sample(n, k, spread, classes=None, right=1.0):
        y = rng.choice(np.arange(k) if classes is None else classes, size=n)
        z = rng.normal(size=(n, k)) * spread
        z[np.arange(n), y] += right * spread
        return z.astype(np.float32), y.astype(np.int32)

    yield "three_classes", *sample(60, 3, 1.5)
    yield "two_classes", *sample(25, 2, 2.0)
    yield "twelve_classes", *sample(300, 12, 2.0, right=1.5)
    yield "absent_classes", *sample(80, 12, 1.0, classes=[0, 3, 7])
    yield "confident", *sample(50, 4, 40.0, right=2.0)
    z, y = sample(40, 5, 0.5)
    z[:, 2] += 50
    yield "always_the_same", z, y
    yield "one_sample", *sample(1, 3, 1.0)


def schedules():
    for n in (2, 7, 100):
        for name, make in {
            "constant": lambda o: torch.optim.lr_scheduler.ConstantLR(o, 1.0, 1),
            "linear": lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.0, n),
            "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, n, 0.0),
            "one_cycle": lambda o: torch.optim.lr_scheduler.OneCycleLR(
                o, 1.0, total_steps=n, pct_start=0.3, div_factor=25, final_div_factor=1e5),
        }.items():
            optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
            schedule, factors = make(optimiser), []
            for step in range(n):
                factors.append(float(schedule.get_last_lr()[0]))
                optimiser.step()
                if step + 1 < n:
                    schedule.step()
            yield {"schedule": name, "n_steps": n, "factors": factors}


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    tensors, found = {}, {}
    for name, z, y in cases():
        tensors[f"{name}/logits"], tensors[f"{name}/labels"] = z, y
        found[name] = measure(z, y)
    save_file(tensors, OUT / "metrics.safetensors")
    (OUT / "metrics.json").write_text(json.dumps(found, indent=1) + "\n")
    (OUT / "schedules.json").write_text(json.dumps(list(schedules())) + "\n")


if __name__ == "__main__":
    main()
