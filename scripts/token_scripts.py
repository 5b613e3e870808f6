#!/usr/bin/env python3
"""Writes src/model/tokenizer/token_script_table.c: where the UnicodeScripts pre-tokenizer of the `tokenizers` package splits.

Two code points are of one script when it does not split between them; one that it never splits from is of none (0). Needs
`tokenizers`.
"""
import pathlib

from tokenizers import pre_tokenizers

splitter = pre_tokenizers.UnicodeScripts()
POINTS = [c for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]


def splits(a, b):
    return len(splitter.pre_tokenize_str(chr(a) + chr(b))) > 1


def main():
    first_of, ranges, last = [ord("a"), ord("."), 0x4E00], [], None
    for i, c in enumerate(POINTS):
        # none: neither a letter nor a point nor an ideograph splits from it
        none = not any(splits(f, c) for f in first_of[:3])
        if none:
            script = 0
        elif last and not splits(first_of[last - 1], c):
            script = last
        else:
            script = next((k + 1 for k, f in enumerate(first_of) if not splits(f, c)), None)
            if script is None:
                first_of.append(c)
                script = len(first_of)
        if not ranges or ranges[-1][1] != script:
            ranges.append((c, script))
        last = script or last
    rows = [hex(c << 8 | script) for c, script in ranges]
    lines = ["    " + ", ".join(rows[i:i + 10]) + "," for i in range(0, len(rows), 10)]
    text = ("/* Written by scripts/token_scripts.py: first code point << 8 | script, 0 for none. */\n"
            '#include "model/tokenizer/token_unicode.h"\n\n// clang-format off\n'
            "const uint32_t graft_unicode_scripts[] = {\n" + "\n".join(lines) + "\n};\n"
            f"const size_t graft_unicode_scripts_n = {len(rows)};\n// clang-format on\n")
    out = pathlib.Path(__file__).parent.parent / "src/model/tokenizer/token_script_table.c"
    out.write_text(text)
    print(len(rows), "ranges of", len(first_of), "scripts")


if __name__ == "__main__":
    main()
