"""Writes tests/golden/vectors/: small files of word vectors in every format, and what gensim and fastText get from them.

Needs numpy, gensim and fasttext-wheel (made with numpy 2.4.6, gensim 4.4.0, fasttext-wheel 0.9.2).
Run from the repository's root: python tests/golden/make_vectors_golden.py [../shared/data]

expected.json: a case a file. Words are hexadecimal, for they need not be UTF-8. A case has n, width, format, `words` (the
first ones), `vectors` (word: its first eight values and the sum of all), `unknown` (the same for words that are not there),
`similar` (word, and its ten nearest with their cosines, as most_similar gives them) and `analogy` (a, b, c: `a` is to `b` as
`c` is to). With the folder of the shared data its files are added, which are themselves not kept here. Where gensim is of
another mind than fastText the reference is fastText: quantised files, which gensim does not read, </s>, which has no n-grams,
and words that are not UTF-8, whose n-grams are those of the bytes.
averaged.json: `steps`, small runs of the averaged classifier step by step in numpy (src/learn/averaged.h says the algorithm);
`programs`, the accuracy of fastText itself on the shared data, the mean over orders of the texts.
"""

import json
import pathlib
import random
import struct
import sys
import tempfile

import fasttext
import numpy as np
from gensim.models import KeyedVectors
from gensim.models.fasttext import load_facebook_model

OUT = pathlib.Path("tests/golden/vectors")
TOPICS = ["katze hund maus straße größe naïve 日本 語 один два кошка", "red green blue yellow violet orange",
          "apple pear cherry plum grape lemon naïve", "one two three four five six seven eight"]
KEPT = 8


# ---- The files -------------------------------------------------------------------------------------------------------

def write_corpus(path, n_labels):
    """400 lines of eight words of one topic; line i begins with label i mod n_labels where there are any."""
    rng = random.Random(1)
    lines = []
    for i in range(400):
        words = [rng.choice(TOPICS[i % len(TOPICS)].split()) for _ in range(8)]
        lines.append((f"__label__{i % n_labels} " if n_labels else "") + " ".join(words))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def write_files(scratch):
    text = write_corpus(scratch / "text", 0)
    small = dict(dim=6, minCount=1, epoch=3, thread=1, verbose=0)
    model = fasttext.train_unsupervised(text, bucket=60, minn=2, maxn=4, ws=3, **small)
    model.save_model(str(OUT / "subwords.bin"))
    fasttext.train_unsupervised(text, bucket=60, minn=0, maxn=0, ws=3, **small).save_model(str(OUT / "words_only.bin"))
    words = model.get_words()
    with open(OUT / "subwords.vec", "w", encoding="utf-8") as f:  # as fastText writes it: a blank ends each line
        f.write(f"{len(words)} {model.get_dimension()}\n")
        for w in words:
            f.write(w + " " + "".join(f"{x:.5g} " for x in model.get_word_vector(w)) + "\n")
    for name, n_labels, options in [("quantised.ftz", 4, {}), ("quantised_norms.ftz", 4, dict(qnorm=True, dsub=4)),
                                    ("quantised_pruned.ftz", 4, dict(qnorm=True, cutoff=300)),
                                    ("quantised_output.ftz", 300, dict(qout=True))]:
        labelled = write_corpus(scratch / "labelled", n_labels)
        classifier = fasttext.train_supervised(labelled, bucket=400, minn=2, maxn=4, wordNgrams=2, **small)
        classifier.quantize(input=labelled, retrain=False, **options)
        classifier.save_model(str(OUT / name))
    vectors = KeyedVectors(vector_size=model.get_dimension())
    vectors.add_vectors(words, np.stack([model.get_word_vector(w) for w in words]))
    vectors.save_word2vec_format(str(OUT / "word2vec.txt"), binary=False)
    vectors.save_word2vec_format(str(OUT / "word2vec.bin"), binary=True)
    with open(OUT / "word2vec_newlines.bin", "wb") as f:  # as the C program writes it
        f.write(f"{len(words)} {vectors.vector_size}\n".encode())
        for w in words:
            f.write(w.encode() + b" " + vectors[w].tobytes() + b"\n")
    with open(OUT / "glove.txt", "w", encoding="utf-8") as f:
        for w in words[:20] + [". . .", "new york", "3 1"] + words[20:]:
            x = vectors[w] if w in vectors else np.arange(1, 7) / (1 + len(w))
            f.write(w + " " + " ".join(f"{v:.6f}" for v in x) + "\n")


# ---- fastText by its bytes -------------------------------------------------------------------------------------------

class Bytes:
    """A dense model read by the published layout, words as bytes."""

    def __init__(self, path):
        data, at = path.read_bytes(), 0

        def take(form):
            nonlocal at
            out = struct.unpack_from("<" + form, data, at)
            at += struct.calcsize("<" + form)
            return out if len(out) > 1 else out[0]

        new = struct.unpack_from("<i", data)[0] == 793712314
        if new:
            take("2i")
        args = take("12i")
        self.width, self.bucket, self.minn, self.maxn = args[0], args[8], args[9], args[10]
        take("d")
        n, self.n_words, _ = take("3i")
        take("q")
        if new:
            assert take("q") == -1
        self.words = []
        for _ in range(n):
            end = data.index(b"\0", at)
            self.words.append(data[at:end])
            at = end + 1
            take("qb")
        if new:
            assert not take("?")
        rows, width = take("2q")
        self.rows = np.frombuffer(data, np.float32, rows * width, at).reshape(rows, width)

    def ngrams(self, word):
        word = b"<" + word + b">"
        starts = [i for i, b in enumerate(word) if b & 0xC0 != 0x80] + [len(word)]
        for i in range(len(starts) - 1):
            for n in range(max(self.minn, 1), self.maxn + 1):
                if i + n >= len(starts):
                    break
                if n == 1 and (i == 0 or starts[i + 1] == len(word)):
                    continue
                h = 2166136261
                for b in word[starts[i]:starts[i + n]]:
                    h = ((h ^ (b if b < 128 else b | 0xFFFFFF00)) * 16777619) & 0xFFFFFFFF
                yield self.n_words + h % self.bucket

    def __getitem__(self, word):
        own = [self.words.index(word)] if word in self.words else []
        return self.rows[own + list(self.ngrams(word))].mean(axis=0)


class FastText:
    """The program itself."""

    def __init__(self, path):
        self.model = fasttext.load_model(str(path))
        self.width = self.model.get_dimension()
        self.words = [w.encode() for w in self.model.get_words()]
        self.n_words = len(self.words)

    def __getitem__(self, word):
        return self.model.get_word_vector(word.decode())


class Gensim:
    def __init__(self, vectors, encoding="utf-8"):
        self.vectors, self.encoding = vectors, encoding
        self.width = vectors.vector_size
        self.words = [w.encode(encoding) for w in vectors.index_to_key]
        self.n_words = len(self.words)

    def __getitem__(self, word):
        return self.vectors[word.decode(self.encoding)]


# ---- What is expected ------------------------------------------------------------------------------------------------

def shown(x):
    x = np.asarray(x, np.float64)
    return [float(f"{v:.9g}") for v in x[:KEPT]] + [float(f"{x.sum():.9g}")]


def nearest(model, positive, negative=()):
    """gensim's most_similar where the model is gensim's, else the same done in double precision."""
    if isinstance(model, Gensim):
        keys = [[w.decode(model.encoding) for w in words] for words in (positive, negative)]
        return [[w.encode(model.encoding).hex(), round(s, 7)] for w, s in model.vectors.most_similar(*keys, topn=10)]

    def unit(x):
        x = np.asarray(x, np.float64)
        return x / np.linalg.norm(x)

    query = unit(sum(unit(model[w]) for w in positive) - sum((unit(model[w]) for w in negative), np.zeros(model.width)))
    scores = [(float(unit(model[w]) @ query), w) for w in model.words[:model.n_words] if w not in [*positive, *negative]]
    return [[w.hex(), round(s, 7)] for s, w in sorted(scores, key=lambda x: -x[0])[:10]]


def multiplied(model, positive, negative):
    """gensim's most_similar_cosmul, likewise."""
    if isinstance(model, Gensim):
        keys = [[w.decode(model.encoding) for w in words] for words in (positive, negative)]
        return [[w.encode(model.encoding).hex(), round(float(s), 6)]
                for w, s in model.vectors.most_similar_cosmul(*keys, topn=10)]

    def share(word, query):
        x, y = (np.asarray(model[w], np.float64) for w in (word, query))
        return (1 + x @ y / np.linalg.norm(x) / np.linalg.norm(y)) / 2

    scores = [(np.prod([share(w, p) for p in positive]) / (np.prod([share(w, n) for n in negative]) + 1e-6), w)
              for w in model.words[:model.n_words] if w not in [*positive, *negative]]
    return [[w.hex(), round(float(s), 6)] for s, w in sorted(scores, key=lambda x: -x[0])[:10]]


def case(model, kind, unknown=(), reference=None):
    words = [w for w in model.words[:model.n_words] if w != b"</s>"]
    reference = reference or model
    some = [words[0], words[len(words) // 2], words[-1]]
    some += [w for w in words if any(b > 127 for b in w)][:3] + [w for w in model.words if w == b"</s>"]
    return {
        "n": model.n_words, "width": model.width, "format": kind, "words": [w.hex() for w in model.words[:5]],
        "vectors": {w.hex(): shown(reference[w]) for w in some},
        "unknown": {w.hex(): shown(reference[w]) for w in unknown},
        "similar": {w.hex(): nearest(model, [w]) for w in some[:3]},
        "analogy": [{"words": [w.hex() for w in some[:3]], "nearest": nearest(model, [some[1], some[2]], [some[0]]),
                     "product": multiplied(model, [some[1], some[2]], [some[0]])}],
    }


def gensim_text(path, header=True, encoding="utf-8"):
    vectors = KeyedVectors.load_word2vec_format(str(path), binary=False, no_header=not header, encoding=encoding)
    return Gensim(vectors, encoding)


def gensim_bin(path):
    return Gensim(load_facebook_model(str(path)).wv)


def glove(path):
    """gensim cannot read words with spaces: the rows go into its vectors by hand."""
    rows = [line.rsplit(" ", 6) for line in path.read_text(encoding="utf-8").splitlines()]
    vectors = KeyedVectors(vector_size=6)
    vectors.add_vectors([r[0] for r in rows], np.array([[float(x) for x in r[1:]] for r in rows], np.float32))
    return Gensim(vectors)


def own_cases():
    out, unknown = {}, [w.encode() for w in ["katzen", "grün", "日本語", "x"]]
    out["word2vec.txt"] = case(gensim_text(OUT / "word2vec.txt"), "word2vec text")
    out["subwords.vec"] = case(gensim_text(OUT / "subwords.vec"), "word2vec text")
    for name in ["word2vec.bin", "word2vec_newlines.bin"]:
        vectors = KeyedVectors.load_word2vec_format(str(OUT / name), binary=True)
        out[name] = case(Gensim(vectors), "word2vec binary")
    out["glove.txt"] = case(glove(OUT / "glove.txt"), "GloVe text")
    out["subwords.bin"] = case(FastText(OUT / "subwords.bin"), "fastText", unknown)
    check = gensim_bin(OUT / "subwords.bin")
    for w in unknown:
        assert np.allclose(check[w], FastText(OUT / "subwords.bin")[w], atol=1e-6)
    out["words_only.bin"] = case(FastText(OUT / "words_only.bin"), "fastText")
    for path in sorted(OUT.glob("*.ftz")):
        out[path.name] = case(FastText(path), "fastText quantised", unknown)
    return out


def shared_cases(folder):
    out = {}
    out["lee_fasttext.vec"] = case(gensim_text(folder / "lee_fasttext.vec"), "word2vec text")
    name = "pang_lee_polarity_fasttext.vec"  # not UTF-8; any encoding of single bytes keeps the words apart
    out[name] = case(gensim_text(folder / name, encoding="latin-1"), "word2vec text")
    out["test_glove.txt"] = case(gensim_text(folder / "test_glove.txt", header=False), "GloVe text")
    out["lee_fasttext.bin"] = case(gensim_bin(folder / "lee_fasttext.bin"), "fastText", [b"nights", b"zzqqxx"])
    out["non_ascii_fasttext.bin"] = case(gensim_bin(folder / "non_ascii_fasttext.bin"), "fastText", ["kterých".encode()])
    out["cp852_fasttext.bin"] = case(Bytes(folder / "cp852_fasttext.bin"), "fastText", [b"kter\xecchx", b"jenny"])
    model, check = Bytes(folder / "non_ascii_fasttext.bin"), gensim_bin(folder / "non_ascii_fasttext.bin")
    assert model.words == check.words and all(np.allclose(model[w], check[w], atol=1e-6) for w in model.words)
    return out


# ---- The classifier --------------------------------------------------------------------------------------------------

def train(case):
    """Groups of texts: the linear layer takes one text after another, rows take a group's gradients at its end, and
    a group's rows are averaged before the group in front of it has been added."""
    rows, lr = np.array(case["start"]), case["lr"]
    head, texts = np.zeros((case["n_classes"], rows.shape[1])), case["texts"]
    total, done = sum(map(len, texts)) * case["epochs"], 0
    groups = [range(i, min(i + case["group"], len(texts))) for i in range(0, len(texts), case["group"])]
    losses = []
    for _ in range(case["epochs"]):
        means, loss = [rows[texts[t]].mean(axis=0) for t in groups[0]], 0.0
        for i, group in enumerate(groups):
            after = [rows[texts[t]].mean(axis=0) for t in groups[i + 1]] if i + 1 < len(groups) else []
            rate, gradients = lr * (1 - done / total), []
            for t, mean in zip(group, means):
                z = head @ mean
                p = np.exp(z - z.max())
                p /= p.sum()
                loss -= np.log(p[case["labels"][t]])
                e = rate * (np.eye(len(p))[case["labels"][t]] - p)
                gradients.append(e @ head / len(texts[t]))
                head += np.outer(e, mean)
                done += len(texts[t])
            for t, g in zip(group, gradients):
                np.add.at(rows, texts[t], g)
            means = after
        losses.append(loss / len(texts))
    return {**case, "rows": rows.round(9).tolist(), "head": head.round(9).tolist(), "loss": losses}


def steps():
    rng = np.random.default_rng(3)
    out = []
    for group in [1, 3, 20]:
        out.append(train({
            "group": group, "epochs": 3, "lr": 0.5, "n_classes": 3, "start": rng.normal(size=(9, 5)).round(3).tolist(),
            "texts": [rng.integers(0, 9, rng.integers(1, 7)).tolist() for _ in range(13)],
            "labels": rng.integers(0, 3, 13).tolist()}))
    return out


def program(folder, scratch, name, **options):
    """Mean accuracy over three orders; texts in lower case."""
    def read(path):
        lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
        return [(c[2], c[0]) for c in lines[1:]] if name == "trec" else [(c[0], c[1]) for c in lines]

    training = read(folder / name / "train.tsv")
    test = read(folder / name / ("test.tsv" if name == "trec" else "dev.tsv"))
    accuracy = []
    for seed in range(3):
        random.Random(seed).shuffle(training)
        path = scratch / "training"
        path.write_text("".join(f"__label__{y} {x.lower()}\n" for x, y in training), encoding="utf-8")
        model = fasttext.train_supervised(str(path), bucket=200000, minCount=1, thread=1, verbose=0, **options)
        found = [model.f.predict(x.lower() + "\n", 1, 0.0, "strict")[0][1] for x, _ in test]
        accuracy.append(np.mean([f == "__label__" + y for f, (_, y) in zip(found, test)]))
    return {"data": name, **options, "accuracy": float(np.mean(accuracy))}


def programs(folder):
    with tempfile.TemporaryDirectory() as scratch:
        where = folder, pathlib.Path(scratch)
        return [program(*where, "trec", dim=100, wordNgrams=1, epoch=25, lr=0.5),
                program(*where, "trec", dim=100, wordNgrams=2, epoch=25, lr=1.0),
                program(*where, "sst2", dim=100, wordNgrams=1, epoch=10, lr=0.1)]


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    shared = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else None
    before = {p: json.loads((OUT / p).read_text()) if (OUT / p).exists() else {} for p in ["expected.json", "averaged.json"]}
    with tempfile.TemporaryDirectory() as scratch:
        write_files(pathlib.Path(scratch))
    vectors = shared_cases(shared / "vectors") if shared else before["expected.json"].get("shared", {})
    accuracy = programs(shared) if shared else before["averaged.json"].get("programs", [])
    for path, value in [("expected.json", {"own": own_cases(), "shared": vectors}),
                        ("averaged.json", {"steps": steps(), "programs": accuracy})]:
        (OUT / path).write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")


main()
