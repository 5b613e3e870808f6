"""Writes tests/golden/advise/: scores of transferability and distances by their definitions in numpy.

Needs numpy, scipy, safetensors and scikit-learn (made with numpy 2.4.6, scipy 1.17.1, scikit-learn 1.9.1).
Run from the repository's root: python tests/golden/make_advise_golden.py

scores.safetensors holds <case>/x [n, d] float32, <case>/y [n] int32 and <case>/source [n, s] float32; pairs.safetensors
<case>/a and <case>/b, two samples. The JSON files hold what they amount to. Nothing here goes the way of the C code:
inverses, determinants and square roots of whole matrices, and scikit-learn's covariance, distances and regression.
"""

import json
import pathlib

import numpy as np
import scipy.linalg
from safetensors.numpy import save_file
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.linear_model import LogisticRegression

OUT = pathlib.Path("tests/golden/advise")
DECAY = 1e-2


def logme(x, y, present):
    n, d = x.shape
    total = 0.0
    for c in present:
        t, alpha, beta = (y == c).astype(float), 1.0, 1.0
        for _ in range(100):
            ratio = alpha / beta
            # posterior of the weights, from the d x d matrix itself
            a = alpha * np.eye(d) + beta * x.T @ x
            m = beta * np.linalg.solve(a, x.T @ t)
            gamma = d - alpha * np.trace(np.linalg.inv(a))
            weights, residual = m @ m, ((t - x @ m) ** 2).sum()
            alpha, beta = gamma / (weights + 1e-5), (n - gamma) / (residual + 1e-5)
            kept = weights, residual
            if abs(alpha / beta - ratio) <= 1e-9 * ratio:
                break
        logdet = np.linalg.slogdet(alpha * np.eye(d) + beta * x.T @ x)[1]
        evidence = 0.5 * (d * np.log(alpha) + n * np.log(beta) - logdet - beta * kept[1] - alpha * kept[0]
                          - n * np.log(2 * np.pi))
        total += evidence / n / len(present)
    return total


def h_score(x, y, present):
    a = ledoit_wolf_shrinkage(x)
    z = x - x.mean(0)
    s = z.T @ z / len(x)
    shrunk = (1 - a) * s + a * np.trace(s) / len(s) * np.eye(len(s))
    means = np.zeros_like(z)
    for c in present:
        means[y == c] = z[y == c].mean(0)
    between = means.T @ means / len(x)
    return np.trace(np.linalg.solve(shrunk, (1 - a) * between))


def coding_rate(z, eps=1e-4):
    return 0.5 * np.linalg.slogdet(np.eye(z.shape[1]) + z.T @ z / (len(z) * eps))[1]


def transrate(x, y, present):
    z = x - x.mean(0)
    z = z / np.sqrt((z**2).sum() / len(z))
    return coding_rate(z) - sum((y == c).mean() * coding_rate(z[y == c]) for c in present)


def gbc(x, y, present):
    _, s, v = np.linalg.svd(x, full_matrices=False)
    t = x @ v[:64].T
    d = min(64, t.shape[1], int((s**2 > 1e-12 * s[0] ** 2).sum()))
    t = t[:, :d]
    mean = {c: t[y == c].mean(0) for c in present}
    var = {c: ((t[y == c] - mean[c]) ** 2).mean() for c in present}
    several = [c for c in present if (y == c).sum() > 1]
    pooled = sum(var[c] * (y == c).sum() for c in several) / sum((y == c).sum() for c in several)
    for c in present:
        var[c] = max(var[c] if c in several else pooled, 1e-9 * s[0] ** 2 / len(x))
    total = 0.0
    for a in present:
        for b in present:
            if a == b:
                continue
            sa, sb = var[a] * np.eye(d), var[b] * np.eye(d)
            s2 = (sa + sb) / 2
            diff = mean[a] - mean[b]
            distance = diff @ np.linalg.solve(s2, diff) / 8 + 0.5 * (
                np.linalg.slogdet(s2)[1] - 0.5 * (np.linalg.slogdet(sa)[1] + np.linalg.slogdet(sb)[1]))
            total -= np.exp(-distance)
    return total


def leep(p, y, present):
    joint = np.stack([p[y == c].sum(0) for c in present]) / len(y)
    conditional = joint / joint.sum(0)
    index = {c: i for i, c in enumerate(present)}
    return np.mean([np.log(conditional[index[c]] @ q) for c, q in zip(y, p)])


def nce(p, y, present):
    z, total = p.argmax(1), 0.0
    for source in np.unique(z):
        for c in present:
            both = ((z == source) & (y == c)).mean()
            if both > 0:
                total += both * np.log(both / (z == source).mean())
    return total


def knn(x, y, k=20, tau=0.07):
    u = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300)
    s = u @ u.T
    np.fill_diagonal(s, -np.inf)
    right = asked = 0
    for i in range(len(y)):
        if (y == y[i]).sum() < 2:
            continue
        near = np.argsort(-s[i], kind="stable")[: min(k, len(y) - 1)]
        votes = np.bincount(y[near], weights=np.exp(s[i, near] / tau), minlength=y.max() + 1)
        asked += 1
        right += votes.argmax() == y[i]
    return right / asked


def probe(x, y, folds=5):
    counts = np.bincount(y)
    fold, seen = np.zeros(len(y), int), np.zeros(len(counts), int)
    for i, c in enumerate(y):
        fold[i] = seen[c] % folds if counts[c] > 1 else -1
        seen[c] += 1
    z = x - x.mean(0)
    z = z / np.sqrt((z**2).sum() / len(z))
    right, loss, asked = 0, 0.0, 0
    for f in range(folds):
        train, test = fold != f, fold == f
        if not test.any():
            continue
        # scikit-learn minimises C * sum of losses + |w|^2 / 2; of two classes w is the difference of their weights,
        # which lie as far on both sides of 0, so that the sum of both squares is |w|^2 / 2
        scale = 2 if len(np.unique(y)) == 2 else 1
        model = LogisticRegression(C=scale / (DECAY * train.sum()), tol=1e-12, max_iter=100000).fit(z[train], y[train])
        log_p = model.predict_log_proba(z[test])
        column = {c: j for j, c in enumerate(model.classes_)}
        right += (model.predict(z[test]) == y[test]).sum()
        loss -= sum(log_p[i, column[c]] for i, c in enumerate(y[test]))
        asked += test.sum()
    return right / asked, loss / asked


def cka(x, y):
    x, y = x - x.mean(0), y - y.mean(0)
    k, l = x @ x.T, y @ y.T
    return (k * l).sum() / np.sqrt((k * k).sum() * (l * l).sum())


def frechet(a, b):
    ca, cb = np.cov(a.T, bias=True), np.cov(b.T, bias=True)
    root = scipy.linalg.sqrtm(ca)
    middle = scipy.linalg.sqrtm((root @ cb @ root).real)
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca + cb) - 2 * np.trace(middle.real)


def mmd(a, b):
    x = np.concatenate([a, b])
    d = np.sqrt(((x[:, None] - x[None]) ** 2).sum(2))
    s = np.median(d[np.triu_indices(len(x), 1)])
    k = np.exp(-(d**2) / (2 * s * s))
    n, m = len(a), len(b)
    aa, bb, ab = k[:n, :n], k[n:, n:], k[:n, n:]
    return (aa.sum() - n) / (n * (n - 1)) + (bb.sum() - m) / (m * (m - 1)) - 2 * ab.mean()


def make_scores(rng):
    tensors, facts = {}, {}
    cases = {"tall": (90, 12, [30, 25, 20, 15], 5), "wide": (40, 100, [15, 13, 12], 7),
             "alone": (61, 30, [30, 29, 1, 1], 3), "square": (24, 24, [12, 12], 4), "gap": (50, 8, [20, 0, 30], 6)}
    for name, (n, d, counts, s) in cases.items():
        y = np.repeat(np.arange(len(counts)), counts)
        assert len(y) == n
        y = rng.permutation(y).astype(np.int32)
        axes = rng.normal(size=(len(counts), d)) * 0.8
        x = (rng.normal(size=(n, d)) * (0.3 + np.arange(d)[::-1] / d) + axes[y] + 0.5).astype(np.float32)
        logits = rng.normal(size=(n, s)) + 1.5 * rng.normal(size=(len(counts), s))[y]
        p = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype(np.float32)
        tensors |= {f"{name}/x": x, f"{name}/y": y, f"{name}/source": p}
        wide, q, present = x.astype(float), p.astype(float), np.unique(y)
        accuracy, loss = probe(wide, y)
        facts[name] = {"classes": len(counts), "logme": logme(wide, y, present), "h_score": h_score(wide, y, present),
                       "transrate": transrate(wide, y, present), "gbc": gbc(wide, y, present),
                       "leep": leep(q, y, present), "nce": nce(q, y, present), "knn": knn(wide, y),
                       "probe_accuracy": float(accuracy), "probe_log_loss": float(loss), "decay": DECAY,
                       "cka_source": cka(wide, q)}
    save_file(tensors, OUT / "scores.safetensors")
    (OUT / "scores.json").write_text(json.dumps(facts, indent=1) + "\n")


def make_pairs(rng):
    tensors, facts = {}, {}
    for name, (n, m, d, shift) in {"tall": (60, 45, 10, 0.5), "wide": (20, 14, 40, 0.3), "mixed": (50, 12, 20, 0.0)}.items():
        mix = rng.normal(size=(d, d)) / np.sqrt(d)
        a = (rng.normal(size=(n, d)) @ mix).astype(np.float32)
        b = (rng.normal(size=(m, d)) * 1.3 @ mix + shift).astype(np.float32)
        tensors |= {f"{name}/a": a, f"{name}/b": b}
        wa, wb = a.astype(float), b.astype(float)
        k = min(n, m)
        both = np.concatenate([wa[np.arange(k) * n // k], wb[np.arange(k) * m // k]])
        error = 1 - probe(both, np.repeat([0, 1], k))[0]
        facts[name] = {"frechet": float(frechet(wa, wb)), "scale": float(np.trace(np.cov(wa.T, bias=True))),
                       "mmd": float(mmd(wa, wb)), "proxy_a": float(max(0.0, 2 * (1 - 2 * error)))}
    save_file(tensors, OUT / "pairs.safetensors")
    (OUT / "pairs.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(5)
    make_scores(generator)
    make_pairs(generator)
