"""Renders printed digits (or digits and letters) from the fonts of Debian packages into 8x8 pictures like the UCI digits.

    glyphs.py --fonts PACKAGES --out DIR [--classes digits|alnum] [--per-class N] [--seed S]

PACKAGES is a text file, one Debian package a line. DIR/glyphs.npz receives `x_train`, `x_val` uint8 [N,8,8] and `y_train`,
`y_val` int64 [N]; the validation part comes from packages of its own (every eighth), so it measures unseen typefaces.

The UCI digits were scanned to 32x32 black-and-white pictures, each digit filling the height, and counted in 4x4 blocks
(0..16). A glyph goes the same way: drawn large, turned, sheared, stretched and bent a little, cut to its bounding box, scaled
to 32x32, brought to a pen's stroke width (about 30 % ink, as the UCI digits have) by a blur and a threshold, counted.
"""

import argparse
import os
import string
import subprocess

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

CANVAS, BIG, SMALL = 128, 32, 8
CLASSES = {"digits": string.digits, "alnum": string.digits + string.ascii_uppercase}


def font_files(package):
    """The package's outline fonts, in order of path."""
    listing = subprocess.run(["dpkg", "-L", package], check=True, capture_output=True, text=True).stdout.split("\n")
    return sorted(p for p in listing if p.lower().endswith((".ttf", ".otf")) and os.path.isfile(p))


def has_glyphs(path, characters):
    """True when the font draws every character, each in its own way (a box for a missing glyph looks like any other)."""
    try:
        font = ImageFont.truetype(path, 40)
        pictures = {bytes(font.getmask(c)) for c in characters + "\uffff"}
    except OSError:
        return False
    return len(pictures) == len(characters) + 1 and b"" not in pictures


def draw(font, character, rng):
    """A distorted glyph, grey, on a canvas."""
    picture = Image.new("L", (CANVAS, CANVAS))
    ImageDraw.Draw(picture).text((CANVAS / 2, CANVAS / 2), character, fill=255, font=font, anchor="mm")
    angle, shear = np.deg2rad(rng.normal(0, 8)), rng.normal(0, 0.2)
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s], [s, c]]) @ np.array([[1, shear], [0, 1]])
    centre = np.array([CANVAS / 2, CANVAS / 2])
    shift = centre - turn @ centre
    matrix = (turn[0, 0], turn[0, 1], shift[0], turn[1, 0], turn[1, 1], shift[1])
    picture = picture.transform((CANVAS, CANVAS), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return bend(picture, rng)


def bend(picture, rng):
    """Moves the corners and the middle of a 2x2 mesh by a few pixels: strokes bend as a hand bends them."""
    n = 3
    step = CANVAS / (n - 1)
    grid = np.stack(np.meshgrid(np.arange(n) * step, np.arange(n) * step), -1) + rng.normal(0, 7, (n, n, 2))
    mesh = []
    for i in range(n - 1):
        for j in range(n - 1):
            box = (int(j * step), int(i * step), int((j + 1) * step), int((i + 1) * step))
            corners = [grid[i, j], grid[i + 1, j], grid[i + 1, j + 1], grid[i, j + 1]]
            mesh.append((box, tuple(float(v) for corner in corners for v in corner)))
    return picture.transform(picture.size, Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)


def count_blocks(picture, rng):
    """Cuts, scales to 32x32 with the height filled, gives the strokes a pen's weight, counts 4x4 blocks; None for a blot."""
    box = picture.getbbox()
    if box is None:
        return None
    picture = picture.crop(box)
    margin = 2
    height = BIG - 2 * margin
    width = round(picture.width * height / picture.height * np.exp(rng.normal(0.05, 0.2)))
    width = min(max(width, 8), BIG - 4 - 2 * margin)
    canvas = Image.new("L", (BIG, BIG))
    canvas.paste(picture.resize((width, height), Image.Resampling.BOX), ((BIG - width) // 2 + int(rng.integers(-1, 2)), margin))
    grey = np.asarray(canvas.filter(ImageFilter.GaussianBlur(rng.uniform(0.9, 1.6))))
    ink = min(max(rng.normal(0.305, 0.035), 0.2), 0.42)
    counts = (grey > np.quantile(grey, 1 - ink)).reshape(SMALL, 4, SMALL, 4).sum((1, 3))
    return counts if counts.sum() > 0.15 * BIG * BIG else None


def render(families, characters, per_class, seed):
    """`per_class` pictures of each character, the packages equally often, whatever their number of fonts."""
    rng = np.random.default_rng(seed)
    fonts = {}
    images, labels = [], []
    for label, character in enumerate(characters):
        n = 0
        while n < per_class:
            family = families[int(rng.integers(len(families)))]
            key = (family[int(rng.integers(len(family)))], int(rng.integers(56, 97)))
            if key not in fonts:
                fonts[key] = ImageFont.truetype(*key)
            counts = count_blocks(draw(fonts[key], character, rng), rng)
            if counts is not None:
                images.append(np.round(counts * (255 / 16)).astype(np.uint8))
                labels.append(label)
                n += 1
    order = rng.permutation(len(images))
    return np.stack(images)[order], np.array(labels, np.int64)[order]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fonts", required=True, metavar="PACKAGES")
    parser.add_argument("--out", required=True, metavar="DIR")
    parser.add_argument("--classes", choices=CLASSES, default="digits")
    parser.add_argument("--per-class", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    characters = CLASSES[args.classes]
    with open(args.fonts) as f:
        packages = [line.strip() for line in f if line.strip() and not line.startswith("#")]
    families = [[p for p in font_files(package) if has_glyphs(p, characters)] for package in packages]
    families = [f for f in families if f]
    val = families[::8]
    train = [f for i, f in enumerate(families) if i % 8]
    os.makedirs(args.out, exist_ok=True)
    arrays = {}
    for name, part, n, seed in (("train", train, args.per_class, args.seed), ("val", val, max(args.per_class // 10, 10), args.seed + 1)):
        images, labels = render(part, characters, n, seed)
        arrays |= {f"x_{name}": images, f"y_{name}": labels}
        print(f"{name}: {len(images)} pictures of {len(characters)} classes from {sum(map(len, part))} fonts of {len(part)} packages")
    np.savez_compressed(f"{args.out}/glyphs.npz", **arrays)


if __name__ == "__main__":
    main()
