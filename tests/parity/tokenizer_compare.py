#!/usr/bin/env python3
"""Holds graft's tokenizer against the `tokenizers` package: ids, types, words and offsets of fuzzed and real texts.

    tokenizer_compare.py BENCH_TOKENIZER TOKENIZER.json [--opened FOLDER] [--texts FILE] [--count N]

BENCH_TOKENIZER is the program of bench/. Prints what differs; exits 1 when anything does, 77 without the package.
"""
import argparse
import json
import random
import struct
import subprocess
import sys

try:
    from tokenizers import Tokenizer
except ImportError:
    print("skipped: no tokenizers package")
    sys.exit(77)

SCRIPTS = [
    "the quick brown fox's jumps can't won't I'll we've you're he'd 3.14 1,000,000 $5 C++ e-mail a/b don't",
    "Élan café naïve Straße İstanbul ǅ ŒUVRE Çà façade ñandú Ærø ﬁne ﬀ ½ ² Ⅷ ㎏ № ™ Å Å",
    "안녕하세요 세계 한국어 토큰화 시험입니다 값이 없다 닭 훑다 각 가 힣 ㄱㄴㄷ ㅏㅑ",
    "日本語のテキスト カタカナ ｶﾀｶﾅ ひらがな 漢字 東京タワー。「こんにちは」、 ㍿ ゔ が ﾞ",
    "中文分词测试，你好！世界。𠀀𠮷𪚥 豈更",
    "مرحبا بالعالم العَرَبِيَّة ١٢٣ ﷺ ﻻ فارسی می‌خواهم",
    "Привет мир Ёлка ѐ й й ЙОД हिन्दी नमस्ते क्ष ไทย ภาษาไทย ำ ខ្មែរ தமிழ் עִבְרִית ქართული Ελληνικά Σίσυφος",
    "😀 👍🏽 👨‍👩‍👧‍👦 🇰🇷 ❤️ ✈︎ 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🤷‍♀️",
    "e\u0301 a\u0323\u0302 \u0301 x\u0334\u0300\u0316 o\u0308\u0304 q\u0307\u0323 \u1100\u1161\u11a8 \u0f71\u0f72 \u0344",
    "\x00 \x01 \x07 \x1b \x7f \x85 \xa0 \u200b \u200d \u200e \u2028 \u2029 \ufeff \ufffd \u3000 \u180e \u2581 \u00ad \t \n \r \r\n \x0b \x0c",
    "[CLS] [SEP] [MASK] [PAD] [UNK] <s> </s> <unk> <mask> <pad> <|endoftext|> ## ##s ▁ ▁▁ Ġ Ċ <0x0A> </w> ' '' '' ``",
]


def fuzzed(rng):
    parts = []
    for _ in range(rng.randint(0, 12)):
        kind = rng.random()
        source = rng.choice(SCRIPTS)
        if kind < 0.45:
            parts.append(rng.choice(source.split(" ")))
        elif kind < 0.7:
            at = rng.randrange(len(source))
            parts.append(source[at:at + rng.randint(1, 12)])
        elif kind < 0.8:
            parts.append(rng.choice(source) * rng.choice([1, 2, 3, 40, 150]))
        elif kind < 0.9:
            parts.append(chr(rng.choice([rng.randrange(0x20, 0x7f), rng.randrange(0xa0, 0x800),
                                         rng.randrange(0x800, 0xd800), rng.randrange(0xe000, 0x10000),
                                         rng.randrange(0x10000, 0x20000), rng.randrange(0x110000 - 1)])))
        else:
            parts.append(rng.choice([" ", "  ", "   ", "\n", "\n\n", "\t", " \n ", "\u3000", ""]))
        if rng.random() < 0.5:
            parts.append(" ")
    text = "".join(parts)
    return "".join(c for c in text if not 0xd800 <= ord(c) < 0xe000)


def char_of(text):
    """Byte offset -> character offset, as the package converts."""
    table = []
    for i, c in enumerate(text):
        table += [i] * len(c.encode())
    return table + [len(text)]


def reference(tokenizer, item):
    if isinstance(item, list):
        return tokenizer.encode(item, is_pretokenized=True)
    if isinstance(item, tuple):
        return tokenizer.encode(*item)
    return tokenizer.encode(item)


def record(item):
    if isinstance(item, list):
        return b"".join(b"\xfe" + w.encode() for w in item) or b"\xfe"
    return b"\xff".join(t.encode() for t in item) if isinstance(item, tuple) else item.encode()


def to_chars(item, got, sequences):
    """graft's byte offsets as characters of what each token is of."""
    out = []
    for word, sequence, begin, end in zip(got["words"], sequences, got["begins"], got["ends"]):
        if word < 0 or sequence is None:
            out.append((begin, end))
            continue
        text = item[word] if isinstance(item, list) else item[sequence] if isinstance(item, tuple) else item
        table = char_of(text)
        out.append((table[begin], table[end]))
    return out


def main():
    p = argparse.ArgumentParser()
    p.add_argument("bench")
    p.add_argument("tokenizer")
    p.add_argument("--opened", help="what graft opens instead: a folder of older files that say the same")
    p.add_argument("--texts")
    p.add_argument("--count", type=int, default=3000)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--max-length", type=int, default=0)
    p.add_argument("--show", type=int, default=8)
    a = p.parse_args()
    tokenizer = Tokenizer.from_file(a.tokenizer)
    tokenizer.no_padding()
    if a.max_length:
        tokenizer.enable_truncation(a.max_length)
    rng = random.Random(a.seed)
    items = []
    for _ in range(a.count):
        kind = rng.random()
        text = fuzzed(rng)
        items.append((text, fuzzed(rng)) if kind < 0.15 else
                     [w for w in text.split(" ") if w] if kind < 0.3 else text)
    if a.texts:
        with open(a.texts, encoding="utf-8", newline="\n") as f:
            items += [line.rstrip("\n") for line in f]
    data = b"".join(struct.pack("<I", len(r)) + r for r in map(record, items))
    done = subprocess.run([a.bench, a.opened or a.tokenizer, "--dump"] + ([str(a.max_length)] if a.max_length else []), input=data,
                          stdout=subprocess.PIPE, check=False)
    lines = done.stdout.decode().splitlines()
    if done.returncode or len(lines) != len(items):
        sys.exit(f"bench_tokenizer ended with {done.returncode} after {len(lines)} of {len(items)} texts")
    wrong = tokens = 0
    for item, line in zip(items, lines):
        got = json.loads(line)
        try:
            want = reference(tokenizer, item)
        except BaseException as e:  # the package panics on some inputs
            if "error" not in got and "PanicException" not in type(e).__name__:
                print(f"{item!r}: the package fails with {e}")
                wrong += 1
            continue
        if "error" in got:
            ours = got["error"]
        else:
            sequences = [0 if isinstance(item, list) and w is not None else s
                         for s, w in zip(want.sequence_ids, want.word_ids)]
            if len(sequences) != len(got["ids"]):
                sequences = [None] * len(got["ids"])
            ours = (got["ids"], got["types"], [w if w >= 0 else None for w in got["words"]],
                    to_chars(item, got, sequences))
        theirs = (want.ids, want.type_ids, want.word_ids, want.offsets)
        tokens += len(want.ids)
        if ours != theirs:
            wrong += 1
            if wrong <= a.show:
                print(ascii(item))
                names = ("ids", "types", "words", "offsets")
                for name, x, y in zip(names, ours, theirs) if not isinstance(ours, str) else [("error", ours, theirs)]:
                    if x != y:
                        at = next((i for i, (u, v) in enumerate(zip(x, y)) if u != v), min(len(x), len(y)))
                        print(f"  {name} from {at}: graft {x[at:at + 12]}  theirs {y[at:at + 12]}")
                print("  tokens", want.tokens[:60])
    print(f"{a.tokenizer}: {len(items)} texts, {tokens} tokens, {wrong} differ")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
