"""Writes examples/digits/digits.npz from scikit-learn's copy of the UCI handwritten digits, with a fixed split.

x_train, y_train: 10 pictures a class (100); x_val, y_val: 497; x_test, y_test: 1,200. Pictures are uint8 [N,8,8], the counts
0..16 scaled to 0..255. Needs scikit-learn; the file is kept in the project, so nobody has to run this.
"""

import os

import numpy as np
from sklearn.datasets import load_digits

N_A_CLASS, N_VAL, SEED = 10, 497, 2026


def main():
    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    labels = digits.target.astype(np.int64)
    order = np.random.default_rng(SEED).permutation(len(labels))
    train = np.concatenate([order[labels[order] == c][:N_A_CLASS] for c in range(10)])
    rest = order[~np.isin(order, train)]
    parts = {"train": train, "val": rest[:N_VAL], "test": rest[N_VAL:]}
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../examples/digits/digits.npz")
    np.savez_compressed(path, **{f"{name}_{part}": array[index] for part, index in parts.items()
                                 for name, array in (("x", images), ("y", labels))})
    print({part: len(index) for part, index in parts.items()})


if __name__ == "__main__":
    main()
