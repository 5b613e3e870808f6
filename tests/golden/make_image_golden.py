#!/usr/bin/env python3
"""Writes tests/golden/image/: what PIL, Transformers and timm make of synthetic pictures.

decode/*            small encoded pictures; decode.txt has their size, the FNV-1a hash of PIL's upright RGB pixels
                    and how far graft may be from them (0: equal)
resize.txt          Image.resize of formula pictures: sizes, filter, hash of the result
colour.txt          ImageEnhance, ImageOps and torchvision's hue on formula pictures: operation, factor, hash
preprocess/*.json   configurations; preprocess.txt has for each the picture's size and the result's floats' file

Usage: python tests/golden/make_image_golden.py   (needs pillow, numpy, torch, torchvision, transformers, timm)
"""
import io
import json
import os
import random
import struct
import zlib

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "image")


def picture(w, h, c, seed):
    """A gradient with noise on it; tests/support/formula.h draws the same."""
    i = np.arange(w * h * c, dtype=np.uint64)
    z = (i + np.uint64(seed) * np.uint64(0x9E3779B9)) & np.uint64(0xFFFFFFFF)
    z = ((z ^ (z >> np.uint64(16))) * np.uint64(0x45D9F3B)) & np.uint64(0xFFFFFFFF)
    z = ((z ^ (z >> np.uint64(16))) * np.uint64(0x45D9F3B)) & np.uint64(0xFFFFFFFF)
    noise = ((z >> np.uint64(8)) & np.uint64(63)).astype(np.int64)
    k = np.arange(w * h * c)
    ch, x, y = k % c, (k // c) % w, k // (c * w)
    v = (x * 192 // w + y * 64 // h * (ch + 1) + ch * 40 + noise) % 256
    a = v.astype(np.uint8).reshape(h, w, c)
    return Image.fromarray(a[:, :, 0] if c == 1 else a)


def fnv(data):
    h = 0xCBF29CE484222325
    for b in data:
        h = ((h ^ b) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h


def smooth(w, h, c, seed):
    return picture(w, h, c, seed).filter(ImageFilter.GaussianBlur(2))


def decode_cases():
    os.makedirs(os.path.join(OUT, "decode"), exist_ok=True)
    lines = []

    def add(name, data, tolerance=0, expect=None):
        with open(os.path.join(OUT, "decode", name), "wb") as f:
            f.write(data)
        im = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        a = np.asarray(im.convert("RGB")) if expect is None else expect
        if tolerance:
            with open(os.path.join(OUT, "decode", name + ".rgb"), "wb") as f:
                f.write(a.tobytes())
        lines.append(f"{name} {a.shape[1]} {a.shape[0]} {fnv(a.tobytes()):016x} {tolerance}")

    def save(im, kind, **kw):
        b = io.BytesIO()
        im.save(b, kind, **kw)
        return b.getvalue()

    rgb, grey = smooth(37, 29, 3, 1), smooth(37, 29, 1, 2)
    for sub in (0, 1, 2):
        add(f"rgb_sub{sub}.jpg", save(rgb, "JPEG", quality=90, subsampling=sub))
    add("progressive.jpg", save(rgb, "JPEG", quality=85, progressive=True))
    add("grey.jpg", save(grey, "JPEG", quality=85))
    add("wide.jpg", save(Image.new("L", (30000, 1), 90), "JPEG", quality=50, optimize=True))
    add("one_pixel.jpg", save(picture(1, 1, 3, 3), "JPEG"))
    for name, size, kw in (("landscape.jpg", (330, 90), {}), ("portrait.jpg", (90, 330), {}),
                           ("portrait_progressive.jpg", (90, 330), {"progressive": True}),
                           ("landscape_444.jpg", (330, 90), {"subsampling": 0}),
                           ("portrait_422.jpg", (90, 330), {"subsampling": 1})):
        add(name, save(smooth(*size, 3, 70), "JPEG", **{"quality": 25, "subsampling": 2, **kw}))
    cmyk = Image.merge("CMYK", [smooth(37, 29, 1, s) for s in (4, 5, 6, 7)])
    add("cmyk.jpg", save(cmyk, "JPEG", quality=90))
    # Adobe marker with transform 2 over YCCK data: the same bytes read as YCCK instead of CMYK.
    d = bytearray(save(cmyk, "JPEG", quality=90))
    at = d.find(b"Adobe")
    if at > 0:
        d[at + 11] = 2
        add("ycck.jpg", bytes(d))
    small = smooth(11, 6, 3, 8)
    for o in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = o
        add(f"orientation{o}.jpg", save(small, "JPEG", quality=95, exif=exif))
    exif = Image.Exif()
    exif[0x0112] = 6
    add("orientation6.png", save(small, "PNG", exif=exif))
    add("orientation6.webp", save(small, "WEBP", lossless=True, exif=exif))
    add("rgb.png", save(rgb, "PNG"))
    add("grey.png", save(grey, "PNG"))
    add("one_bit.png", save(grey.convert("1"), "PNG"))
    add("two_bit.png", save(grey.quantize(4), "PNG", bits=2))
    palette = rgb.quantize(50)
    add("palette.png", save(palette, "PNG"))
    add("palette_transparent.png", save(palette, "PNG", transparency=3))
    rgba = rgb.convert("RGBA")
    rgba.putalpha(smooth(37, 29, 1, 9))
    add("rgba.png", save(rgba, "PNG"))
    add("grey_alpha.png", save(Image.merge("LA", [grey, grey]), "PNG"))
    wide = np.asarray(grey).astype(np.uint16) * 257
    add("grey16.png", save(Image.fromarray(wide), "PNG"), expect=np.repeat((wide >> 8).astype(np.uint8)[:, :, None], 3, 2))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    def raw_png(w, h, depth, kind, rows, interlace=0):
        return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, kind, 0, 0, interlace))
                + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))

    a16 = (np.asarray(rgb).astype(">u2") * 257).astype(">u2")
    add("rgb16.png", raw_png(37, 29, 16, 2, b"".join(b"\0" + r.tobytes() for r in a16)), expect=np.asarray(rgb))
    a, rows = np.asarray(rgb), b""
    for y0, x0, dy, dx in ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)):
        rows += b"".join(b"\0" + r.tobytes() for r in a[y0::dy, x0::dx])
    add("interlaced.png", raw_png(37, 29, 8, 2, rows, 1))
    add("lossless.webp", save(rgb, "WEBP", lossless=True))
    add("lossy.webp", save(rgb, "WEBP", quality=80), tolerance=2)
    add("alpha.webp", save(rgba, "WEBP", lossless=True, exact=True))
    b = io.BytesIO()
    rgb.save(b, "WEBP", save_all=True, append_images=[rgb.rotate(180)], duration=50, quality=30)
    with open(os.path.join(OUT, "decode", "animated.webp"), "wb") as f:
        f.write(b.getvalue())
    with open(os.path.join(OUT, "decode", "picture.gif"), "wb") as f:
        f.write(save(small, "GIF"))
    with open(os.path.join(OUT, "decode.txt"), "w") as f:
        f.write("\n".join(lines) + "\n")


def resize_cases():
    r = random.Random(7)
    lines = []
    sizes = [(500, 375, 341, 256), (375, 500, 256, 341), (8, 8, 224, 224), (1, 1, 5, 7), (3000, 2, 224, 3), (1, 300, 30, 1),
             (32, 32, 32, 40), (40, 32, 32, 32), (224, 224, 224, 224), (640, 480, 20, 15), (17, 23, 400, 300)]
    for i in range(64):
        s = sizes[i] if i < len(sizes) else (r.randint(1, 300), r.randint(1, 300), r.randint(1, 250), r.randint(1, 250))
        for resample in range(6):
            c = 1 if (i + resample) % 4 == 0 else 3
            im = picture(s[0], s[1], c, i + 100).resize((s[2], s[3]), resample)
            lines.append(f"{s[0]} {s[1]} {c} {i + 100} {s[2]} {s[3]} {resample} {fnv(im.tobytes()):016x}")
    with open(os.path.join(OUT, "resize.txt"), "w") as f:
        f.write("\n".join(lines) + "\n")


def colour_cases():
    from torchvision.transforms import functional as F
    lines = []
    enhance = {"brightness": ImageEnhance.Brightness, "contrast": ImageEnhance.Contrast,
               "saturation": ImageEnhance.Color, "sharpness": ImageEnhance.Sharpness}
    for c in (3, 1):
        im = picture(41, 33, c, 55)
        for name, kind in enhance.items():
            for factor in (0.0, 0.35, 0.8, 1.0, 1.3, 1.9):
                lines.append(f"{name} {factor} {c} {fnv(kind(im).enhance(factor).tobytes()):016x}")
        for bits in (1, 4, 8):
            lines.append(f"posterize {bits} {c} {fnv(ImageOps.posterize(im, bits).tobytes()):016x}")
        for threshold in (0, 128, 256):
            lines.append(f"solarize {threshold} {c} {fnv(ImageOps.solarize(im, threshold).tobytes()):016x}")
        lines.append(f"autocontrast 0 {c} {fnv(ImageOps.autocontrast(im.point(lambda v: 60 + v // 2)).tobytes()):016x}")
        lines.append(f"equalize 0 {c} {fnv(ImageOps.equalize(im).tobytes()):016x}")
    im = picture(41, 33, 3, 55)
    for shift in (-0.5, -0.2, 0.0, 0.1, 0.45):
        lines.append(f"hue {shift} 3 {fnv(F.adjust_hue(im, shift).tobytes()):016x}")
    with open(os.path.join(OUT, "colour.txt"), "w") as f:
        f.write("\n".join(lines) + "\n")


def written_cases():
    """Files as graft writes them (tests/data/test_transform.c compares), through AutoImageProcessor and PIL's backend."""
    import tempfile
    import transformers

    def config(kind, size, crop, mean, std, resample=2, factor=1 / 255, rgb=True):
        c = {"image_processor_type": kind, "do_resize": size is not None, "resample": resample,
             "do_center_crop": crop is not None, "do_rescale": factor != 1, "rescale_factor": factor, "do_normalize": True,
             "image_mean": mean, "image_std": std, "do_convert_rgb": rgb}
        if size is not None:
            c["size"] = size
        if crop is not None:
            c["crop_size"] = {"height": crop[0], "width": crop[1]}
        return c

    m3, s3 = [0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.201]
    grey = config("ViTImageProcessor", {"height": 16, "width": 16}, None, [0.25], [0.5], rgb=False)
    grey["graft"] = {"channels": 1, "resize": "exact", "crop_rule": "floor", "pad": [0]}
    cases = [("written_exact", config("ViTImageProcessor", {"height": 12, "width": 12}, None, m3, s3)),
             ("written_short", config("BitImageProcessor", {"shortest_edge": 20}, (16, 16), m3, s3, 3)),
             ("written_warp_crop", config("DeiTImageProcessor", {"height": 20, "width": 22}, (15, 18), m3, s3)),
             ("written_crop", config("BitImageProcessor", None, (14, 12), m3, s3)),
             ("written_levels", config("ViTImageProcessor", {"height": 9, "width": 10}, None, m3, s3, 3, 1.0)),
             ("written_grey", grey)]
    lines = []
    for n, (name, c) in enumerate(cases):
        path = os.path.join(OUT, "preprocess", name + ".json")
        with open(path, "w") as f:
            json.dump(c, f, indent=1)
        w, h, channels = 47, 31, 1 if name == "written_grey" else 3
        im = picture(w, h, channels, n)
        exact = getattr(transformers, c["image_processor_type"] + "Pil").from_dict(c)
        if channels == 3:
            x = exact(im, return_tensors="np")["pixel_values"][0].astype(np.float32)
        else:  # PIL's backend does not take pictures of one channel; the default one does
            x = np.asarray(im.resize((16, 16), 2), np.float32)[None] / np.float32(255)
            x = ((x - 0.25) / 0.5).astype(np.float32)
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "preprocessor_config.json"), "w") as f:
                json.dump(c, f)
            auto = transformers.AutoImageProcessor.from_pretrained(folder)
            y = auto(im, return_tensors="np")["pixel_values"][0]
        levels = np.abs((x - y) * np.array(c["image_std"]).reshape(-1, 1, 1)).max() / c["rescale_factor"]
        print(f"{name}: {type(auto).__name__} differs from PIL by {levels:.3f} grey levels at most")
        assert x.shape == y.shape and levels < 2, name
        x.tofile(os.path.join(OUT, "preprocess", name + ".f32"))
        lines.append(f"{name} transformers {w} {h} {n} {x.shape[1]} {x.shape[2]}")
    return lines


def preprocess_cases():
    import timm.data
    import torch
    import transformers
    os.makedirs(os.path.join(OUT, "preprocess"), exist_ok=True)
    imagenet = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    cases = [
        ("resnet", {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 20}, "crop_pct": 0.875,
                    "resample": 3, **imagenet}),
        ("resnet_old", {"feature_extractor_type": "ConvNextFeatureExtractor", "size": 14, "resample": 2}),
        ("convnext_384", {"image_processor_type": "ConvNextImageProcessor", "crop_pct": 0.875, "size": {"shortest_edge": 384}}),
        ("vit", {"image_processor_type": "ViTImageProcessor", "size": {"height": 14, "width": 18}}),
        ("vit_old", {"feature_extractor_type": "ViTFeatureExtractor", "size": 16, "resample": 2, "do_normalize": True,
                     "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}),
        ("deit", {"image_processor_type": "DeiTImageProcessor", "size": {"height": 24, "width": 24},
                  "crop_size": {"height": 18, "width": 16}}),
        ("dinov2", {"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 24}, "resample": 3,
                    "crop_size": {"height": 18, "width": 18}, **imagenet}),
        ("clip", {"image_processor_type": "CLIPImageProcessor", "size": 18, "crop_size": 18}),
        ("clip_padded", {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 13}, "crop_size": 20}),
        ("siglip", {"image_processor_type": "SiglipImageProcessor", "size": {"height": 15, "width": 15}, "resample": 1}),
        ("mobilenet", {"image_processor_type": "MobileNetV2ImageProcessor", "size": {"shortest_edge": 20},
                       "crop_size": {"height": 16, "width": 16}}),
        ("efficientnet", {"image_processor_type": "EfficientNetImageProcessor", "size": {"height": 16, "width": 16},
                          "include_top": True, "resample": 2}),
        ("efficientnet_offset", {"image_processor_type": "EfficientNetImageProcessor", "size": {"height": 16, "width": 16},
                                 "rescale_offset": True, "rescale_factor": 1 / 127.5, "include_top": False, "resample": 2}),
        ("beit", {"image_processor_type": "BeitImageProcessor", "size": 16, "do_center_crop": False}),
        ("levit", {"image_processor_type": "LevitImageProcessor", "size": {"shortest_edge": 16}, "crop_size": 16}),
        ("plain", {"image_processor_type": "ViTImageProcessor", "size": {"height": 9, "width": 9}, "do_normalize": False,
                   "do_rescale": False, "resample": 0}),
    ]
    lines = []
    for n, (name, config) in enumerate(cases):
        with open(os.path.join(OUT, "preprocess", name + ".json"), "w") as f:
            json.dump(config, f, indent=1)
        if name == "convnext_384":
            lines.append(f"{name} transformers 0 0 0 384 384")
            continue
        kind = config.get("image_processor_type") or config["feature_extractor_type"].replace("FeatureExtractor", "ImageProcessor")
        processor = getattr(transformers, kind + "Pil").from_dict(config)
        w, h = ((47, 31), (29, 40))[n % 2]
        x = processor(picture(w, h, 3, n), return_tensors="np")["pixel_values"][0].astype(np.float32)
        x.tofile(os.path.join(OUT, "preprocess", name + ".f32"))
        lines.append(f"{name} transformers {w} {h} {n} {x.shape[1]} {x.shape[2]}")
    lines += written_cases()
    timm_cases = [("timm_center", (3, 20, 20), "bicubic", 0.875, "center"), ("timm_squash", (3, 20, 20), "bilinear", 0.9, "squash"),
                  ("timm_border", (3, 20, 20), "bicubic", 1.0, "border"), ("timm_oblong", (3, 16, 24), "bicubic", 0.95, "center")]
    for n, (name, size, filter_name, pct, mode) in enumerate(timm_cases):
        cfg = {"input_size": list(size), "interpolation": filter_name, "crop_pct": pct, "crop_mode": mode,
               "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
        with open(os.path.join(OUT, "preprocess", name + ".json"), "w") as f:
            json.dump({"architecture": "resnet18", "pretrained_cfg": cfg}, f, indent=1)
        t = timm.data.create_transform(size, interpolation=filter_name, crop_pct=pct, crop_mode=mode, mean=cfg["mean"], std=cfg["std"])
        w, h = ((47, 31), (29, 41))[n % 2]
        x = t(picture(w, h, 3, n)).numpy().astype(np.float32)
        x.tofile(os.path.join(OUT, "preprocess", name + ".f32"))
        lines.append(f"{name} timm {w} {h} {n} {x.shape[1]} {x.shape[2]}")
    with open(os.path.join(OUT, "preprocess.txt"), "w") as f:
        f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    os.makedirs(OUT, exist_ok=True)
    decode_cases()
    resize_cases()
    colour_cases()
    preprocess_cases()
