#!/usr/bin/env python3
"""Writes tests/golden/tokenizer/<name>.json: a small tokenizer and what the `tokenizers` package makes of some texts.

Each file is {"tokenizer": {tokenizer.json}, "cases": [...]}; a case has "text" (and "pair"), or "words", "options"
and the expected "ids", "types", "words_of", "offsets" (bytes, begins and ends in turn). All texts are of this script.
"""
import json
import pathlib
import random
import struct

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers as N, pre_tokenizers as P, processors as R
from tokenizers import trainers as T

TEXTS = [
    "The quick brown fox's jumps can't won't I'll re-read 3.14 and 1,000,000 tokens; unaffable lowest newest",
    "Élan café naïve Straße İstanbul ŒUVRE Çà ﬁne ﬀ ½ ² Ⅷ ㎏ ™ Å",
    "안녕하세요 세계, 한국어 토큰화 시험입니다. 값이 없다 ㄱㄴㄷ",
    "日本語のテキスト カタカナ ｶﾀｶﾅ ひらがな 東京タワー。「こんにちは」 ゔ が",
    "مرحبا بالعالم العَرَبِيَّة ١٢٣ ﷺ می‌خواهم",
    "Привет мир Ёлка हिन्दी नमस्ते ภาษาไทย ำ Ελληνικά Σίσυφος 中文，你好！𠀀",
    "😀 👍🏽 👨‍👩‍👧 🇰🇷 ❤️ e\u0301 a\u0323\u0302 x\u0334\u0300\u0316 \u1100\u1161\u11a8 \u0344",
    "\x01a\x7fb\x85c\xa0d\u200be\u2028f\ufeffg\ufffdh\u3000i\u2581j\tk\r\nl\x0bm  n   o \n\n ",
    "[CLS] a [MASK] b [SEP] <s> c</s> <mask>d <|end|> fox foxes 세계 ## ▁x Ġy <0x0A>",
    "", " ", "a",
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def charsmap(rules):
    """SentencePiece's compiled map: a double array over bytes, then the texts it points into."""
    blob, where = b"", {}
    for to in rules.values():
        if to not in where:
            where[to] = len(blob)
            blob += to.encode() + b"\0"
    root = {}
    for key, to in rules.items():
        node = root
        for b in key.encode():
            node = node.setdefault(b, {})
        node[None] = where[to]
    units, used = {0: 0}, {0}

    def place(node, at):
        labels = sorted(b for b in node if b is not None)
        base = next(x for x in range(1, 1 << 20) if (x ^ at) < 1 << 21 and x not in used
                    and all((x ^ b) not in used for b in labels))
        used.update([base] + [base ^ b for b in labels])
        offset = base ^ at
        units[at] = units.get(at, 0) | offset << 10
        if None in node:
            units[at] |= 1 << 8
            units[base] = node[None] | 1 << 31
        for b in labels:
            units[base ^ b] = b
            place(node[b], base ^ b)

    place(root, 0)
    array = [units.get(i, 0) for i in range(max(units) + 256)]
    return struct.pack("<I", 4 * len(array)) + struct.pack(f"<{len(array)}I", *array) + blob


RULES = {"ﬁ": "fi", "½": "1/2", "Å": "Å", "e\u0301": "é", "ｶ": "カ", "\u3000": " ", "\xa0": " ", "\t": " ", "™": "TM",
         "ﷺ": "صلى", "A": "a", "İ": "i̇", "\u200b": "", "²": "2"}


def wordpiece(normalizer, pre, post=None, size=260):
    t = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=40))
    t.normalizer, t.pre_tokenizer = normalizer, pre
    t.train_from_iterator(TEXTS, T.WordPieceTrainer(vocab_size=size, special_tokens=SPECIAL, show_progress=False))
    t.post_processor = post or R.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return t


def bpe(pre, normalizer=None, size=420, alphabet=(), special=SPECIAL, suffix=None, prefix=None, **options):
    more = {"end_of_word_suffix": suffix} if suffix else {}
    more.update({"continuing_subword_prefix": prefix} if prefix else {})
    t = Tokenizer(models.BPE(**more, **options))
    if normalizer:
        t.normalizer = normalizer
    if pre:
        t.pre_tokenizer = pre
    t.train_from_iterator(TEXTS, T.BpeTrainer(vocab_size=size, special_tokens=special, initial_alphabet=list(alphabet),
                                              show_progress=False, **more))
    return t


def unigram(pre, normalizer, post=None):
    t = Tokenizer(models.Unigram())
    t.normalizer, t.pre_tokenizer = normalizer, pre
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    t.train_from_iterator(TEXTS * 3, T.UnigramTrainer(vocab_size=260, special_tokens=special, unk_token="<unk>",
                                                      show_progress=False))
    t.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    t.post_processor = post or R.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return t


def byte_level(prefix, post=None, **options):
    t = bpe(P.ByteLevel(add_prefix_space=prefix, **options), alphabet=P.ByteLevel.alphabet(), size=320,
            special=["<s>", "<pad>", "</s>", "<unk>"])
    if post:
        t.post_processor = post
    return t


def tokenizers():
    bert = N.BertNormalizer()
    template = R.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
                                    special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    yield "bert", wordpiece(bert, P.BertPreTokenizer(), template)
    yield "bert_cased", wordpiece(N.BertNormalizer(lowercase=False, handle_chinese_chars=False), P.BertPreTokenizer())
    t = wordpiece(N.Sequence([N.NFKD(), N.StripAccents(), N.Lowercase()]), P.Whitespace())
    t.enable_truncation(16)
    yield "truncated", t
    t = wordpiece(N.Sequence([N.Nmt(), N.NFKC(), N.Replace(Regex(r"\s+"), " "), N.Strip()]), P.WhitespaceSplit())
    t.enable_truncation(12, strategy="only_second", direction="left")
    t.add_tokens([AddedToken("fox", single_word=True), AddedToken("세계", lstrip=True, rstrip=True)])
    yield "only_second", t
    yield "replace", wordpiece(N.Sequence([N.Replace("a", "xyz"), N.Replace(Regex(r"\w{3}"), "Q"), N.Prepend("~")]),
                               P.Split(Regex(r"\s|[^\s\w]"), "isolated"))
    yield "gpt2", byte_level(False, R.ByteLevel(trim_offsets=False))
    t = byte_level(True, R.RobertaProcessing(("</s>", 2), ("<s>", 0)))
    t.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    yield "roberta", t
    pattern = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" \
              r"\s*[\r\n]+|\s+(?!\S)|\s+"
    t = bpe(P.Sequence([P.Split(Regex(pattern), "isolated"), P.ByteLevel(add_prefix_space=False, use_regex=False)]),
            alphabet=P.ByteLevel.alphabet(), special=["<|end|>"], size=320, ignore_merges=True)
    t.post_processor = R.Sequence([R.ByteLevel(trim_offsets=True, add_prefix_space=False), R.TemplateProcessing(
        single="<|end|> $A", pair="<|end|> $A <|end|> $B:1", special_tokens=[("<|end|>", 0)])])
    yield "llama3", t
    bytes_ = ["<0x%02X>" % i for i in range(256)]
    yield "byte_fallback", bpe(None, N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")]), unk_token="<unk>", size=340,
                               fuse_unk=True, byte_fallback=True, special=["<unk>", "<s>", "</s>"] + bytes_)
    yield "clip", bpe(P.Sequence([P.Split(Regex(r"'s|'t|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed", invert=True),
                                  P.ByteLevel(add_prefix_space=False)]),
                      N.Sequence([N.NFC(), N.Replace(Regex(r"\s+"), " "), N.Lowercase()]), suffix="</w>", size=300,
                      unk_token="[UNK]")
    yield "affixes", bpe(P.WhitespaceSplit(), N.NFD(), size=240, unk_token="[UNK]", suffix="</w>", prefix="##")
    yield "digits", bpe(P.Sequence([P.Digits(individual_digits=True), P.Punctuation("merged_with_previous"),
                                    P.ByteLevel(add_prefix_space=True)]), alphabet=P.ByteLevel.alphabet(), size=320)
    yield "pieces", bpe(P.Sequence([P.CharDelimiterSplit("e"), P.FixedLength(4), P.Punctuation("contiguous")]),
                        unk_token="[UNK]", size=200)
    charmap = N.Precompiled(charsmap(RULES))
    yield "xlmr", unigram(P.Metaspace(), N.Sequence([charmap, N.Strip(left=False), N.Replace(Regex(" {2,}"), "▁")]))
    yield "metaspace_first", unigram(P.Metaspace(prepend_scheme="first"), N.Sequence([charmap, N.NFC()]))
    t = Tokenizer(models.Unigram([("<unk>", 0.0), ("▁", -2.0), ("a", -3.0), ("▁a", -3.5), ("fo", -4.0), ("x", -4.5)]
                                 + [(b, -9.0) for b in bytes_], 0, True))
    t.pre_tokenizer = P.Metaspace(split=False)
    yield "unigram_bytes", t
    t = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    t.pre_tokenizer, t.normalizer = P.Whitespace(), N.Lowercase()
    t.train_from_iterator(TEXTS, T.WordLevelTrainer(vocab_size=60, special_tokens=["[UNK]"], show_progress=False))
    yield "word_level", t
    yield "scripts", bpe(P.Sequence([P.UnicodeScripts(), P.WhitespaceSplit()]), unk_token="[UNK]", size=200)


def byte_table(text):
    table = [0]
    for c in text:
        table.append(table[-1] + len(c.encode()))
    return table


def case_of(tokenizer, item, options):
    try:
        e = tokenizer.encode(*item.get("text_pair", ()), add_special_tokens="no_special" not in options) \
            if "text_pair" in item else tokenizer.encode(item["words"], is_pretokenized=True)
    except Exception as error:  # only what truncation cannot do
        return {**item, "error": str(error)}
    offsets = []
    for k, (begin, end) in enumerate(e.offsets):
        if e.special_tokens_mask[k]:
            offsets += [0, 0]
            continue
        text = item["words"][e.word_ids[k]] if "words" in item else item["text_pair"][e.sequence_ids[k] or 0]
        table = byte_table(text)
        offsets += [table[begin], table[end]]
    words = [-1 if w is None else w for w in e.word_ids]
    return {**item, **options, "ids": e.ids, "types": e.type_ids, "words_of": words, "offsets": offsets}


def main():
    out = pathlib.Path(__file__).parent / "tokenizer"
    out.mkdir(exist_ok=True)
    rng = random.Random(7)
    for name, tokenizer in tokenizers():
        cases = [case_of(tokenizer, {"text_pair": [t]}, {}) for t in TEXTS]
        a, b, c = rng.sample(TEXTS[:9], 3)
        cases.append(case_of(tokenizer, {"text_pair": [a[:40], b[:30]]}, {}))
        cases.append(case_of(tokenizer, {"text_pair": [c[:12], a[:50]]}, {"no_special": True}))
        cases.append(case_of(tokenizer, {"words": [w for w in (b + " " + c[:30]).split(" ") if w]}, {}))
        file = {"tokenizer": json.loads(tokenizer.to_str()), "cases": cases}
        text = json.dumps(file, ensure_ascii=False, separators=(",", ":")).replace('{"text_pair"', '\n{"text_pair"')
        (out / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
