#!/usr/bin/env python3
"""Writes tests/cli/pictures (stripes across and down, in train and test) and tests/cli/odd (files to stumble over).

Usage: python tests/cli/make_pictures.py   (needs pillow, numpy)
"""
import os
import shutil

import numpy as np
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
SIDE = 40


def stripes(rng, across):
    """Stripes of a random colour, width and phase, with a little noise."""
    period, phase = rng.uniform(6, 12), rng.uniform(0, 6.28)
    wave = np.sin(np.arange(SIDE) * 6.2832 / period + phase)
    field = np.repeat(wave[:, None], SIDE, 1) if across else np.repeat(wave[None, :], SIDE, 0)
    colour = rng.uniform(0.3, 1.0, 3)
    x = 128 + 90 * field[:, :, None] * colour + rng.normal(0, 6, (SIDE, SIDE, 3))
    return Image.fromarray(np.clip(x, 0, 255).astype(np.uint8))


def main():
    rng = np.random.default_rng(7)
    pictures, odd = os.path.join(HERE, "pictures"), os.path.join(HERE, "odd")
    for folder in (pictures, odd):
        shutil.rmtree(folder, ignore_errors=True)
    for part, n in (("train", 12), ("test", 4)):
        for name in ("across", "down"):
            folder = os.path.join(pictures, part, name)
            os.makedirs(folder)
            for i in range(n):
                picture, path = stripes(rng, name == "across"), os.path.join(folder, f"{i:02d}")
                if i == 1:
                    picture.quantize(16).save(path + ".png", optimize=True)
                elif i == 2:
                    picture.save(path + ".webp", quality=60)
                else:
                    picture.save(path + ".jpg", quality=60, optimize=True)
    os.makedirs(odd)
    whole = os.path.join(pictures, "train", "across", "00.jpg")
    with open(whole, "rb") as f:
        data = f.read()
    with open(os.path.join(odd, "cut.jpg"), "wb") as f:
        f.write(data[: len(data) * 2 // 3])
    with open(os.path.join(odd, "text.jpg"), "w") as f:
        f.write("This is no picture.\n")
    open(os.path.join(odd, "empty.png"), "w").close()
    Image.new("RGB", (1, 1), (200, 30, 30)).save(os.path.join(odd, "pixel.png"))


main()
