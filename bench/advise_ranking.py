"""Holds the ranking of `graft advise` against what fine-tuning then gives: the weighted Kendall tau.

    python bench/advise_ranking.py --data ../shared/data --minilm MINILM_FOLDER [--out build/ranking] [--only digits,usps] [--seeds 1,2]

For each data set every candidate, a (model, plan), is really trained by `graft fit`, and its test accuracy is kept in
OUT/truth.json, so that a second call trains nothing. Then `graft advise` ranks the same candidates without training. Weighted
Kendall tau (scipy.stats.weightedtau, hyperbolic weights) is 1 for the same order and 0 for none; candidates at the top weigh
most. It is taken within each data set, and over all pairs of model and data with the best plan of each. Random weights of each
architecture take part as the null. The figures of src/transfer/advise/judge.c were set while looking at the data sets SEEN; the others
are the fair test. Needs numpy, scipy and Pillow.
"""

import argparse
import gzip
import io
import json
import os
import pathlib
import subprocess
import tarfile
import wave
import zipfile

import numpy as np
from PIL import Image
from scipy.stats import weightedtau

SEEN = ["digits", "usps", "mnist", "cifar", "hymenoptera", "omniglot", "spoken", "intents", "sst2", "trec", "books", "kitchen"]
PLANS = {"pictures": ["head", "top:1", "full"], "texts": ["head", "top:1", "top:2", "full"]}


def take(labels, each, used, rng):
    """Indices of `each` samples a class that are not used yet."""
    out = []
    for c in np.unique(labels):
        free = [i for i in rng.permutation(np.flatnonzero(labels == c)) if i not in used]
        out += free[:each]
    used.update(out)
    return np.array(out)


def save_npz(path, images, labels, each, classes):
    """Only some of the ten classes: a checkpoint with ten unnamed outputs would be taken to know them already."""
    rng, used, arrays = np.random.default_rng(0), set(), {}
    kept = np.isin(labels, classes)
    images, labels = images[kept], labels[kept]
    for part, n in each.items():
        index = take(labels, n, used, rng)
        arrays |= {f"x_{part}": images[index], f"y_{part}": labels[index]}
    np.savez_compressed(path, **arrays)


def idx(path):
    data = gzip.open(path).read()
    rank = data[3]
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank)]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


def unpack(archive, out, each):
    """Class folders of an archive with train and test (or val) folders, at most so many pictures a class."""
    counts = {}
    with tarfile.open(archive) as tar:
        for member in sorted(tar.getmembers(), key=lambda m: m.name):
            parts = member.name.split("/")
            if not member.isfile() or len(parts) < 3:
                continue
            part, label, name = parts[-3:]
            part = "test" if part in ("val", "test") else part
            counts[part, label] = counts.get((part, label), 0) + 1
            if counts[part, label] > each[part]:
                continue
            target = out / part / label / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(tar.extractfile(member).read())


def characters(archive):
    """Handwritten characters of five alphabets at 35 x 35, which of 136 each is, and of which alphabet."""
    images, names = [], []
    with zipfile.ZipFile(archive) as z:
        for name in sorted(n for n in z.namelist() if n.endswith(".png")):
            images.append(np.array(Image.open(io.BytesIO(z.read(name))).convert("L").resize((35, 35), Image.Resampling.BOX)))
            names.append(name.rsplit("/", 1)[0])
    alphabets = [name.split("/")[-2] for name in names]
    return np.stack(images), *(np.unique(x, return_inverse=True)[1].astype(np.int64) for x in (names, alphabets))


def spectrogram(samples, window=256, hop=64, low=96):
    """Log power [32, 32] of the lower frequencies against time, as a grey picture."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, window // 2), window)[::hop]
    power = np.log(np.abs(np.fft.rfft(frames * np.hanning(window), axis=1)[:, :low].T) ** 2 + 1e-7)
    grey = 255 * (power - power.min()) / (power.max() - power.min())
    return np.array(Image.fromarray(grey[::-1].astype(np.uint8)).resize((32, 32), Image.Resampling.BILINEAR))


def spoken(archive):
    """Spectrograms of spoken digits, which digit each is, and who says it."""
    images, digits, speakers = [], [], []
    with tarfile.open(archive) as tar:
        for member in sorted(tar.getmembers(), key=lambda m: m.name):
            if not member.name.endswith(".wav"):
                continue
            with wave.open(io.BytesIO(tar.extractfile(member).read())) as sound:
                images.append(spectrogram(np.frombuffer(sound.readframes(sound.getnframes()), np.int16) / 32768))
            digit, speaker, _ = member.name.rsplit("/", 1)[-1].split("_")
            digits.append(int(digit))
            speakers.append(speaker)
    return np.stack(images), np.array(digits), np.unique(speakers, return_inverse=True)[1].astype(np.int64)


def reviews(paths, label, n_train, n_test, rng):
    rows = [json.loads(line) for path in paths for line in open(path, encoding="utf-8")]
    rows = [(rows[i]["text"], rows[i][label]) for i in rng.permutation(len(rows))[:n_train + n_test]]
    return [(*row, "train" if i < n_train else "test") for i, row in enumerate(rows)]


def fine_questions(shared, n_classes, each, rng):
    """TREC's fine classes, the commonest of them, so many of each to train on."""
    rows = [line.rstrip("\n").split("\t") for line in open(shared / "trec/train.tsv", encoding="utf-8")][1:]
    names, counts = np.unique([row[1] for row in rows], return_counts=True)
    kept, taken, out = set(names[np.argsort(-counts)][:n_classes]), {}, []
    for i in rng.permutation(len(rows)):
        _, label, text = rows[i]
        taken[label] = taken.get(label, 0) + 1
        if label in kept and taken[label] <= each:
            out.append((text, label, "train"))
    test = [line.rstrip("\n").split("\t") for line in open(shared / "trec/test.tsv", encoding="utf-8")][1:]
    return out + [(text, label, "test") for _, label, text in test if label in kept]


def lines(path, out, text, label, n, rng, header):
    rows = [line.rstrip("\n").split("\t") for line in open(path, encoding="utf-8")][header:]
    rows = [rows[i] for i in rng.permutation(len(rows))[:n]]
    return [(row[text], row[label], out) for row in rows]


def save_table(path, rows):
    import csv

    with open(path, "w", newline="", encoding="utf-8") as f:
        writer = csv.writer(f)
        writer.writerow(["text", "label", "split"])
        writer.writerows(rows)


def make_data(shared, out):
    """{name: (path, modality)}; what is there already is kept."""
    shared, out = pathlib.Path(shared), pathlib.Path(out) / "data"
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    if not (out / "mnist.npz").exists():
        images, labels = (idx(shared / f"mnist/t10k-{x}-ubyte.gz") for x in ("images-idx3", "labels-idx1"))
        save_npz(out / "mnist.npz", images, labels.astype(np.int64), {"train": 20, "val": 5, "test": 100},
                 range(8))
        usps = np.load(shared / "digits16/usps.npz")
        save_npz(out / "usps.npz", usps["images"], usps["labels"].astype(np.int64), {"train": 10, "val": 5, "test": 100},
                 range(1, 10))
        digits = np.load(shared / "uci_digits.npz")
        save_npz(out / "digits.npz", (digits["images"] * (255 / 16)).round().astype(np.uint8),
                 digits["labels"].astype(np.int64), {"train": 5, "val": 5, "test": 100}, range(9))
        unpack(shared / "cifar10_small.tar", out / "cifar", {"train": 30, "test": 100})
        unpack(shared / "hymenoptera.tar", out / "hymenoptera", {"train": 60, "test": 90})
        save_table(out / "sst2.csv", lines(shared / "sst2/train.tsv", "train", 0, 1, 160, rng, 0)
                   + lines(shared / "sst2/dev.tsv", "test", 0, 1, 872, rng, 0))
        save_table(out / "trec.csv", lines(shared / "trec/train.tsv", "train", 2, 0, 240, rng, 1)
                   + lines(shared / "trec/test.tsv", "test", 2, 0, 500, rng, 1))
        images, names, alphabets = characters(shared / "omniglot_small1.zip")
        save_npz(out / "omniglot.npz", images, names, {"train": 8, "val": 4, "test": 8}, range(40))
        save_npz(out / "alphabets.npz", images, alphabets, {"train": 30, "val": 10, "test": 100}, range(5))
        images, digits, speakers = spoken(shared / "spoken_digits.tar")
        save_npz(out / "spoken.npz", images, digits, {"train": 12, "val": 5, "test": 60}, range(8))
        save_npz(out / "speakers.npz", images, speakers, {"train": 10, "val": 5, "test": 100}, range(6))
        both = [shared / f"amazon_reviews/{name}.jsonl" for name in ("books", "kitchen")]
        save_table(out / "books.csv", reviews(both[:1], "label", 160, 240, rng))
        save_table(out / "kitchen.csv", reviews(both[1:], "label", 160, 240, rng))
        save_table(out / "stars.csv", reviews(both, "rating", 240, 500, rng))
        save_table(out / "fine.csv", fine_questions(shared, 20, 12, rng))
    more = {name: (out / f"{name}.npz", "pictures") for name in ("omniglot", "spoken", "alphabets", "speakers")}
    more |= {name: (out / f"{name}.csv", "texts") for name in ("books", "kitchen", "stars", "fine")}
    return more | {"digits": (out / "digits.npz", "pictures"), "usps": (out / "usps.npz", "pictures"),
            "mnist": (out / "mnist.npz", "pictures"), "cifar": (out / "cifar", "pictures"),
            "hymenoptera": (out / "hymenoptera", "pictures"), "intents": ("examples/intents/intents.csv", "texts"),
            "sst2": (out / "sst2.csv", "texts"), "trec": (out / "trec.csv", "texts")}


def graft(*arguments):
    program = os.environ.get("GRAFT", "build/release/graft")
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"graft {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return done.stdout


def make_models(shared, minilm, out):
    """{modality: {name: path}}; a name that ends in -random has no weights."""
    shared, out = pathlib.Path(shared), pathlib.Path(out)
    random = out / "cifar-random"
    if not (random / "config.json").exists():
        graft("fit", shared / "cifar_resnet20.th", "examples/digits/digits.npz", "--train", "head", "--epochs", 1, "-o",
              out / "cifar-any", "-q")
        random.mkdir(parents=True, exist_ok=True)
        for name in ("config.json", "preprocessor_config.json"):
            (random / name).write_bytes((out / "cifar-any" / name).read_bytes())
    text = out / "minilm-random"
    if minilm and not (text / "config.json").exists():
        text.mkdir(parents=True, exist_ok=True)
        for source in pathlib.Path(minilm).rglob("*"):
            if source.is_file() and source.suffix != ".safetensors":
                target = text / source.relative_to(minilm)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(source.read_bytes())
    pictures = {"glyphs": "examples/digits/upstream", "glyphs-random": "examples/digits/upstream-config",
                "cifar": shared / "cifar_resnet20.th", "cifar-random": random}
    return {"pictures": pictures, "texts": {"minilm": minilm, "minilm-random": text} if minilm else {}}


def train(path, data, plan, out, epochs, seeds):
    """Means over the seeds."""
    limit = ["--epochs", epochs] if epochs else []
    runs = [json.loads(graft("fit", path, data, "--train", plan, "-o", out, "-q", "--json", "--no-report", "--restart", "--seed", seed,
                             *limit)) for seed in seeds]
    return {"accuracy": np.mean([run["accuracy"] for run in runs]), "n": runs[0]["n"], "seconds": np.mean([run["seconds"] for run in runs])}


def make_truth(args, data, models):
    path = pathlib.Path(args.out) / "truth.json"
    truth = json.loads(path.read_text()) if path.exists() else {}
    # data sets in turn, so that a run that is cut short has something of each modality
    order = data.items()
    for name, (where, modality) in order:
        for model, folder in models[modality].items():
            for plan in PLANS[modality]:
                key = f"{name} {model} {plan}"
                # from scratch an encoder of texts takes long and learns nothing from a few hundred of them
                skipped = model.endswith("-random") and (plan.startswith("top") or plan == "full" and modality == "texts")
                if key in truth or skipped:
                    continue
                epochs = 0 if plan == "head" else args.epochs if modality == "texts" else 60 if model.endswith("-random") else 0
                truth[key] = train(folder, where, plan, pathlib.Path(args.out) / "run", epochs, args.seeds.split(","))
                print(f"{key}: {truth[key]['accuracy']:.3f} in {truth[key]['seconds']:.1f} s", flush=True)
                path.write_text(json.dumps(truth, indent=1) + "\n")
    return truth


def rank(data, models, truth):
    """Prints what was expected beside what came, and the weighted tau of each data set."""
    taus, pairs = {}, {}
    for name, (where, modality) in data.items():
        names = {str(path): model for model, path in models[modality].items()}
        advice = json.loads(graft("advise", *names, "--data", where, "--json", "-q"))
        expected, came = [], []
        print(f"\n{name}: {advice['verdict']}")
        for row in advice["ranking"]:
            key = f"{name} {names[row['model']]} {row['plan']}"
            if key not in truth:
                continue
            expected.append(row["rank_score"])
            came.append(truth[key]["accuracy"])
            best = pairs.setdefault((name, names[row["model"]]), [0.0, 0.0])
            pairs[name, names[row["model"]]] = [max(best[0], row["rank_score"]), max(best[1], came[-1])]
            print(f"  {names[row['model']]:14} {row['plan']:6} expected {row['expected']:.3f} came {came[-1]:.3f}")
        for model in advice["models"]:
            own = {plan: truth[key]["accuracy"] for plan in PLANS[modality]
                   if (key := f"{name} {names[model['model']]} {plan}") in truth}
            if model["plan"] in own and not model["from_scratch"]:
                lost = 100 * (max(own.values()) - own[model["plan"]])
                print(f"  graft fit {names[model['model']]} takes {model['plan']}: {lost:.1f} points below its best plan")
        if len(expected) > 2:
            taus[name] = weightedtau(expected, came).statistic
            best = max(came) - came[0]
            print(f"  weighted tau {taus[name]:.3f} over {len(came)}; the first choice is {100 * best:.1f} points below the best")
    print("\nweighted tau: " + ", ".join(f"{k} {v:.3f}" for k, v in taus.items()))
    for what, names in (("seen", SEEN), ("unseen", [k for k in taus if k not in SEEN])):
        if kept := [taus[k] for k in names if k in taus]:
            print(f"mean over {len(kept)} {what} data sets: {np.mean(kept):.3f}")
    both = np.array(list(pairs.values()))
    print(f"over all {len(both)} pairs of model and data, the best plan of each: {weightedtau(both[:, 0], both[:, 1]).statistic:.3f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--minilm")
    parser.add_argument("--out", default="build/ranking")
    parser.add_argument("--only")
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--epochs", type=int, default=0, help="of texts, but for the head alone; 0: as many as graft fit chooses")
    parser.add_argument("--truth-only", action="store_true")
    args = parser.parse_args()
    pathlib.Path(args.out).mkdir(parents=True, exist_ok=True)
    os.environ["GRAFT_CACHE"] = str(pathlib.Path(args.out).resolve() / "cache")
    data = make_data(args.data, args.out)
    models = make_models(args.data, args.minilm, args.out)
    data = {k: v for k, v in data.items() if models[v[1]] and (not args.only or k in args.only.split(","))}
    truth = make_truth(args, data, models)
    if not args.truth_only:
        rank(data, models, truth)


if __name__ == "__main__":
    main()
