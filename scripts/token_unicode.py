#!/usr/bin/env python3
"""Writes src/model/tokenizer/token_unicode_table.c: what the `tokenizers` package takes each code point for.

    scripts/token_unicode.py        needs the package, and libutf8proc.so.2 to tell what differs from it

The package stands on several editions of Unicode at once (its marks and punctuation are older than its letters), so
each property is asked of it for every code point. Run it again when the package's answers change.
"""
import ctypes
import pathlib
import unicodedata

from tokenizers import normalizers, pre_tokenizers

POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
FLAGS = "CONTROL SPACE NONSPACING MARK PUNCTUATION NUMBER WORD UNKNOWN LETTER DIGIT BLANK".split()
utf8proc = ctypes.CDLL("libutf8proc.so.2")


def bert(**on):
    options = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return normalizers.BertNormalizer(**{**options, **on})


def tests():
    """name -> function of a code point."""
    clean, accents, marks = bert(clean_text=True), bert(strip_accents=True), normalizers.StripAccents()
    byte = pre_tokenizers.ByteLevel(add_prefix_space=False)
    forms = {f: getattr(normalizers, f)() for f in ("NFD", "NFKD")}
    splits = {
        "SPACE": pre_tokenizers.WhitespaceSplit(),
        "PUNCTUATION": pre_tokenizers.Punctuation(),
        "NUMBER": pre_tokenizers.Digits(),
        "WORD": pre_tokenizers.Whitespace(),
    }

    def pieces(splitter, text):
        return len(splitter.pre_tokenize_str(text))

    return {
        "CONTROL": lambda c: clean.normalize_str("a" + chr(c) + "b") == "ab",
        "SPACE": lambda c: pieces(splits["SPACE"], "a" + chr(c) + "b") == 2,
        "NONSPACING": lambda c: accents.normalize_str("a" + chr(c) + "b") == "ab",
        "MARK": lambda c: marks.normalize_str("a" + chr(c) + "b") == "ab",
        "PUNCTUATION": lambda c: pieces(splits["PUNCTUATION"], "a" + chr(c) + "b") == 3,
        "NUMBER": lambda c: pieces(splits["NUMBER"], "a" + chr(c) + "b") == 3,
        "WORD": lambda c: pieces(splits["WORD"], "a" + chr(c) + "b") == 1,
        "UNKNOWN": lambda c: is_unknown(forms, marks, c),
        "LETTER": lambda c: pieces(byte, "a" + chr(c) + "b") == 1,
        "DIGIT": lambda c: pieces(byte, "1" + chr(c) + "1") == 1,
        "BLANK": lambda c: c == 32 or pieces(byte, "a" + chr(c) + chr(c) + chr(c) + "b") == 4,
    }


def decomposed(c, compat):
    buffer = (ctypes.c_int32 * 64)()
    options = 1 << 1 | 1 << 4 | (1 << 2 if compat else 0)  # STABLE, DECOMPOSE, COMPAT
    size = utf8proc.utf8proc_decompose_char(ctypes.c_int32(c), buffer, 64, options, ctypes.byref(ctypes.c_int(0)))
    return "".join(map(chr, buffer[:size]))


def is_unknown(forms, marks, c):
    """The package neither decomposes it nor sorts it among marks, where utf8proc would."""
    if forms["NFD"].normalize_str(chr(c)) != decomposed(c, False):
        return True
    if forms["NFKD"].normalize_str(chr(c)) != decomposed(c, True):
        return True
    low = chr(0x0334)  # class 1: sorted before any other class
    return unicodedata.category(chr(c))[0] == "M" and combining(c) > 1 and \
        forms["NFD"].normalize_str(chr(c) + low) != decomposed_pair(c)


def combining(c):
    utf8proc.utf8proc_get_property.restype = ctypes.POINTER(ctypes.c_uint16)
    return utf8proc.utf8proc_get_property(ctypes.c_int32(c))[1]


def decomposed_pair(c):
    return unicodedata.normalize("NFD", chr(c) + chr(0x0334))


def lower_pairs():
    lower = normalizers.Lowercase()
    for c in POINTS:
        want = lower.normalize_str(chr(c))
        if len(want) == 1 and ord(want) != utf8proc.utf8proc_tolower(ctypes.c_int32(c)):
            yield c, ord(want)
        elif len(want) != 1 and c != 0x130:
            raise SystemExit(f"U+{c:04X} becomes {want!r}, which the engine does not know")


def main():
    values = [0] * 0x110000
    for name, test in tests().items():
        bit = 1 << FLAGS.index(name)
        for c in POINTS:
            if test(c):
                values[c] |= bit
    starts = [c << 11 | v for c, v in enumerate(values) if c == 0 or v != values[c - 1]]
    pairs = [v for pair in lower_pairs() for v in pair]
    out = pathlib.Path(__file__).parent.parent / "src/model/tokenizer/token_unicode_table.c"

    def array(name, kind, numbers):
        rows = [numbers[i:i + 10] for i in range(0, len(numbers), 10)]
        body = ",\n".join("    " + ", ".join(f"0x{v:x}" for v in row) for row in rows)
        return f"const {kind} {name}[] = {{\n{body}}};\nconst size_t {name}_n = {len(numbers)};\n"

    out.write_text("/* Written by scripts/token_unicode.py: first code point << 11 | flags, and lower case pairs. */\n"
                   '#include "model/tokenizer/token_unicode.h"\n\n// clang-format off\n'
                   + array("graft_unicode_ranges", "uint32_t", starts)
                   + array("graft_unicode_lower", "uint32_t", pairs) + "// clang-format on\n")


if __name__ == "__main__":
    main()
