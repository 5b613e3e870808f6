"""Writes tests/golden/learn/statistics.json: intervals, paired tests and learning curves by scipy and numpy.

Needs numpy and scipy (made with numpy 2.4.6, scipy 1.17.1).
Run from the repository's root: python tests/golden/make_statistics_golden.py

Each member is a list of cases. Learning curves are fitted here in another way than in graft: scipy's nnls for every exponent
and its bounded scalar minimiser over exponents; their bands are a bootstrap of numpy's own random numbers, so that they agree
with graft's only as far as two bootstraps do.
"""

import json
import pathlib

import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats

OUT = pathlib.Path("tests/golden/learn/statistics.json")
LEVEL = 0.95


def quantiles():
    student = [{"p": p, "freedom": f, "t": scipy.stats.t.ppf(p, f)} for p in (0.6, 0.9, 0.975, 0.9995, 0.025) for f in (1, 2, 4, 9, 30, 1000)]
    normal = [{"p": p, "z": scipy.stats.norm.ppf(p)} for p in (0.5, 0.6, 0.975, 0.9999999, 0.01)]
    beta = [{"x": x, "a": a, "b": b, "share": scipy.special.betainc(a, b, x)}
            for x, a, b in ((0.1, 0.5, 0.5), (0.5, 3, 7), (0.9, 30, 4), (0.5, 5000, 5001), (1e-6, 1, 40), (0.999, 200, 1), (0.3, 2.5, 1e4))]
    return student, normal, beta


def intervals():
    cases = []
    for values in ([0.9, 0.92, 0.91], [0.5, 0.7], [0.8, 0.8, 0.8, 0.8], list(np.random.default_rng(1).normal(size=12))):
        mean, sd = np.mean(values), np.std(values, ddof=1)
        half = scipy.stats.t.ppf(0.975, len(values) - 1) * sd / np.sqrt(len(values))
        cases.append({"values": values, "mean": mean, "sd": sd, "low": mean - half, "high": mean + half})
    return cases


def shares():
    cases = []
    for k, n in ((0, 10), (10, 10), (3, 8), (97, 100), (870, 1000), (99999, 100000)):
        test = scipy.stats.binomtest(k, n)
        wilson, exact = (test.proportion_ci(LEVEL, method) for method in ("wilson", "exact"))
        cases.append({"k": k, "n": n, "wilson": [wilson.low, wilson.high], "exact": [exact.low, exact.high]})
    return cases


def mcnemar():
    cases = []
    for b, c in ((0, 0), (1, 0), (5, 5), (0, 6), (12, 3), (40, 61), (500, 430), (4990, 4800), (8000, 7700)):
        n = b + c
        if n > 10000:  # Edwards 1948
            p = scipy.stats.chi2.sf((abs(b - c) - 1) ** 2 / n, 1)
        else:
            p = scipy.stats.binomtest(min(b, c), n).pvalue if n else 1.0
        cases.append({"better": b, "worse": c, "p": p})
    return cases


def holm():
    cases = []
    for p in ([0.01, 0.04, 0.03, 0.005], [0.5, 0.9], [0.02], [0.001, 0.001, 0.2, 0.04]):
        order, m, most = np.argsort(p, kind="stable"), len(p), 0.0
        adjusted = [0.0] * m
        for rank, i in enumerate(order):
            most = max(most, min(1.0, (m - rank) * p[i]))
            adjusted[i] = most
        cases.append({"p": p, "adjusted": adjusted})
    return cases


def variances(errors, n_test):
    """Of each size's mean: half the size's own and half that of all; or the binomial one of a single run."""
    freedom = sum(len(e) - 1 for e in errors)
    result = []
    if freedom == 0:
        for e in errors:
            share = (np.mean(e) * n_test + 1) / (n_test + 2)
            result.append(share * (1 - share) / n_test)
        return np.array(result)
    pooled = sum(np.sum((np.array(e) - np.mean(e)) ** 2) for e in errors) / freedom
    for e in errors:
        own = np.var(e, ddof=1) if len(e) > 1 else pooled
        result.append(max(0.5 * (own + pooled), (0.5 / n_test) ** 2) / len(e))
    return np.array(result)


def fit(n, y, variance):
    root = 1 / np.sqrt(variance)
    unit = n.min()

    def solve(c):
        design = np.stack([np.ones_like(n), (n / unit) ** -c], axis=1) * root[:, None]
        (a, b), norm = scipy.optimize.nnls(design, y * root)
        return a, b, norm ** 2

    grid = np.geomspace(0.05, 4.0, 400)
    best = int(np.argmin([solve(c)[2] for c in grid]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    c = scipy.optimize.minimize_scalar(lambda c: solve(c)[2], bounds=(low, high), method="bounded", options={"xatol": 1e-11}).x
    a, b, loss = solve(c)
    return a, b * unit ** c, c, loss


def band(n, errors, variance, n_test, at, to, random):
    mean = np.array([np.mean(e) for e in errors])
    freedom = sum(len(e) - 1 for e in errors)
    a, b, c, loss = fit(n, mean, variance)
    ratio = max(1.0, loss / (len(n) - 3)) if len(n) > 3 else 1.0
    share = (mean * n_test + 1) / (n_test + 2)
    luck = np.sqrt(share * (1 - share) / n_test)
    found = []
    for _ in range(1000):
        y = mean + np.sqrt(ratio * variance) * random.standard_t(freedom, len(n)) + luck * random.normal()
        a, b, c, _ = fit(n, np.clip(y, 0, 1), variance)
        found.append([a + b * at ** -c, (a + b * at ** -c) - (a + b * to ** -c)])
    return np.quantile(found, [0.025, 0.975], axis=0).T.tolist()


def curves():
    random = np.random.default_rng(5)
    cases = []
    for name, n, a, b, c, noise, runs, bands in (
            ("exact", [5, 10, 20, 50, 100], 0.02, 0.9, 0.7, 0.0, 1, False), ("three seeds", [5, 10, 20, 50, 140], 0.03, 0.8, 0.5, 0.01, 3, True),
            ("no floor", [5, 10, 20, 50], 0.0, 1.1, 0.9, 0.004, 5, True), ("three sizes", [5, 10, 20], 0.1, 1.0, 0.6, 0.01, 4, False),
            ("flat", [5, 10, 20, 40], 0.2, 0.0, 1.0, 0.01, 3, False)):
        n = np.array(n, dtype=float)
        truth = a + b * n ** -c
        errors = [np.clip(t + noise * random.normal(size=runs), 0, 1).tolist() for t in truth]
        n_test = 500
        variance = variances(errors, n_test)
        y = np.array([np.mean(e) for e in errors])
        fitted = fit(n, y, variance)
        at, to = 2 * n.max(), 4 * n.max()
        case = {"name": name, "n": n.tolist(), "errors": errors, "n_test": n_test, "a": fitted[0], "b": fitted[1], "c": fitted[2], "at": at,
                "error_at": fitted[0] + fitted[1] * at ** -fitted[2], "to": to}
        if bands:
            case["band"], case["gain_band"] = band(n, errors, variance, n_test, at, to, random)
        cases.append(case)
    return cases


def main():
    student, normal, beta = quantiles()
    golden = {"student": student, "normal": normal, "beta": beta, "intervals": intervals(), "shares": shares(), "mcnemar": mcnemar(),
              "holm": holm(), "curves": curves()}
    OUT.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
