"""Writes tests/golden/learn/: metrics by scikit-learn, scipy and seqeval, rates by PyTorch's schedulers.

Needs numpy, safetensors, scikit-learn, scipy, seqeval and torch (made with scikit-learn 1.9.1, scipy 1.17.1,
seqeval 1.2.2, torch 2.15.0).
Run from the repository's root: python tests/golden/make_metric_golden.py

metrics.safetensors holds <case>/logits [n, k] float32 and <case>/labels [n] int32; metrics.json what they
amount to (the log loss as it is, where scikit-learn cuts probabilities below 2e-16). The calibration error is computed here: 15 bins (b/15, (b+1)/15] of confidence (Guo et al. 2017).
tasks.safetensors and tasks.json are the same for regression and for several classes a sample (<case>/predicted,
<case>/truth); entities.json holds tag sequences as indices into "labels" with what seqeval counts in them.
schedules.json: {"schedule", "n_steps", "factors"}, a factor for every step.
warm_ups.json: the same with "warmup", the share of the steps that rise.
"""

import json
import math
import pathlib
import warnings

import numpy as np
import scipy.special
import scipy.stats
import torch
from safetensors.numpy import save_file
from seqeval.metrics import sequence_labeling
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


def regression_cases():
    rng = np.random.default_rng(8)
    t = rng.normal(size=60)
    yield "close", t + 0.2 * rng.normal(size=60), t
    yield "scores_in_steps", np.round(2 * t + rng.normal(size=60)), np.round(2 * t)
    yield "unrelated", rng.normal(size=7), rng.normal(size=7)
    yield "reversed_far_from_zero", 1000 - t, 1000 + t
    yield "constant_truth", t[:9], np.full(9, 3.3)
    yield "constant_prediction", np.full(9, 3.3), t[:9]
    yield "constant_and_right", np.full(5, 2.7), np.full(5, 2.7)
    yield "two_samples", t[:2], t[2:4]


def measure_regression(p, t):
    p, t = p.astype(np.float64), t.astype(np.float64)
    varied = len(set(p)) > 1 and len(set(t)) > 1
    return {
        "n": len(t),
        "mse": metrics.mean_squared_error(t, p),
        "mae": metrics.mean_absolute_error(t, p),
        "r2": metrics.r2_score(t, p),
        "pearson": scipy.stats.pearsonr(p, t).statistic if varied else 0.0,
        "spearman": scipy.stats.spearmanr(p, t).statistic if varied else 0.0,
    }


def multilabel_cases():
    rng = np.random.default_rng(9)

    def sample(n, k, share, spread=2.0, right=1.5):
        t = rng.random((n, k)) < share
        return rng.normal(size=(n, k)) * spread + right * (2 * t - 1), t.astype(np.float64)

    yield "five_classes", *sample(50, 5, 0.3)
    yield "many_classes", *sample(80, 20, 0.1)
    yield "one_class", *sample(30, 1, 0.5)
    z, t = sample(40, 6, 0.4)
    t[:, 2] = 0
    t[:, 4] = 1
    t[3] = 0
    z[3] = -1
    z[:, 5] = -3
    yield "absent_and_common", z, t
    z, t = sample(60, 4, 0.3)
    yield "equal_scores", np.round(z) + 0.5, t
    yield "confident", *sample(20, 3, 0.5, spread=40.0)


def measure_multilabel(z, t):
    z, t = z.astype(np.float64), t.astype(np.int64)
    p = (z > 0).astype(np.int64)

    def scores(average):
        if t.shape[1] == 1 and average == "samples":  # scikit-learn takes one column for a binary problem
            right = float(np.mean(t * p))
            return {"precision": right, "recall": right, "f1": right}
        found = metrics.precision_recall_fscore_support(
            t, p, average=average, zero_division=0, labels=[1] if t.shape[1] == 1 else None)
        return dict(zip(("precision", "recall", "f1"), found[:3]))

    one = [metrics.precision_recall_fscore_support(t[:, c], p[:, c], average="binary", zero_division=0)
           for c in range(t.shape[1])]
    seen = [c for c in range(t.shape[1]) if t[:, c].any()]
    average_precision = [metrics.average_precision_score(t[:, c], z[:, c]) if c in seen else 0.0
                         for c in range(t.shape[1])]
    return {
        "n": len(t),
        "subset_accuracy": metrics.accuracy_score(t, p),
        "hamming_loss": metrics.hamming_loss(t, p),
        "log_loss": float(np.mean(np.logaddexp(0, z) - t * z)),
        "mean_average_precision": np.mean([average_precision[c] for c in seen]),
        "micro": scores("micro"),
        "macro": scores("macro"),
        "samples": scores("samples"),
        "precision": [x[0] for x in one],
        "recall": [x[1] for x in one],
        "f1": [x[2] for x in one],
        "support": t.sum(axis=0).tolist(),
        "average_precision": average_precision,
    }


def entity_cases():
    """Random tags, most of them against every rule, and truth with some words changed."""
    rng = np.random.default_rng(10)
    sets = {
        "iob": ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"],
        "iob_one_type": ["B", "I", "O"],
        "iobes": ["O"] + [f"{letter}-{kind}" for kind in ("PER", "ORG-x", "LOC") for letter in "BIES"],
        "inside_only": ["I-a", "I-b", "O"],
        "unusual": ["O", "B-", "I", ".", "N-PER", "I-PER", "E-PER", "NOUN", "B-\u00e9t\u00e9", "\u00e9-PER", "L-PER", "U-PER"],
        "parts_of_speech": ["NOUN", "VERB", "ADJ", "O"],
    }
    for name, labels in sets.items():
        for i in range(12):
            lengths = rng.integers(0, 15, size=5).tolist() if i else [1]
            lengths[0] = max(lengths[0], 1)
            truth = [rng.integers(len(labels), size=n) for n in lengths]
            changed = [rng.random(n) < (0.05, 0.3, 0.8)[i % 3] for n in lengths]
            predicted = [np.where(c, rng.integers(len(labels), size=len(c)), t) for c, t in zip(changed, truth)]
            yield f"{name} {i}", labels, [t.tolist() for t in truth], [p.tolist() for p in predicted]
    labels = sets["iob"]
    yield "nothing but outside", labels, [[0, 0], []], [[0, 0], []]
    yield "nothing found", labels, [[1, 2, 0]], [[0, 0, 0]]
    yield "nothing there", labels, [[0, 0, 0]], [[1, 2, 0]]


def measure_entities(labels, truth, predicted):
    t = [[labels[x] for x in text] for text in truth]
    p = [[labels[x] for x in text] for text in predicted]
    types = sorted({e[0] for e in sequence_labeling.get_entities(t) + sequence_labeling.get_entities(p)})

    def scores(average):
        found = sequence_labeling.precision_recall_fscore_support(t, p, average=average, zero_division=0)
        return dict(zip(("precision", "recall", "f1"), np.nan_to_num(found[:3]).tolist()))

    precision, recall, f1, support = sequence_labeling.precision_recall_fscore_support(
        t, p, average=None, zero_division=0)
    return {
        "labels": labels,
        "truth": truth,
        "predicted": predicted,
        "accuracy": sequence_labeling.accuracy_score(t, p),
        "micro": scores("micro"),
        "macro": scores("macro"),
        "weighted": scores("weighted"),
        "types": types,
        "precision": precision.tolist(),
        "recall": recall.tolist(),
        "f1": f1.tolist(),
        "support": support.tolist(),
    }


def tasks():
    tensors, found = {}, {"regression": {}, "multilabel": {}}
    for kind, cases_of, measure_of in (("regression", regression_cases, measure_regression),
                                       ("multilabel", multilabel_cases, measure_multilabel)):
        for name, p, t in cases_of():
            p, t = p.astype(np.float32), t.astype(np.float32)
            tensors[f"{kind}/{name}/predicted"], tensors[f"{kind}/{name}/truth"] = p, t
            found[kind][name] = measure_of(p, t)
    save_file(tensors, OUT / "tasks.safetensors")
    (OUT / "tasks.json").write_text(json.dumps(found, indent=1) + "\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # seqeval says of every odd tag that it is odd
        entities = {name: measure_entities(*case) for name, *case in entity_cases()}
    (OUT / "entities.json").write_text(
        "{\n" + ",\n".join(f"{json.dumps(n)}: {json.dumps(e)}" for n, e in entities.items()) + "\n}\n")


def warm_ups():
    """Transformers' schedules with the warm-up that its Trainer computes from a share."""
    from transformers import get_scheduler
    for name in ("constant", "linear", "cosine"):
        for n, share in ((40, 0.1), (7, 0.3), (25, 0.5), (3, 0.1)):
            optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
            kind = "constant_with_warmup" if name == "constant" else name
            schedule, factors = get_scheduler(kind, optimiser, math.ceil(share * n), n), []
            for _ in range(n):
                factors.append(float(schedule.get_last_lr()[0]))
                optimiser.step()
                schedule.step()
            yield {"schedule": name, "n_steps": n, "warmup": share, "factors": factors}


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
    tasks()
    (OUT / "schedules.json").write_text(json.dumps(list(schedules())) + "\n")
    (OUT / "warm_ups.json").write_text(json.dumps(list(warm_ups())) + "\n")


if __name__ == "__main__":
    main()
