#!/bin/bash
# graft vectors: what it prints, files that read back the same, and one line about what is wrong.
. tests/support/cli.bash
files=tests/golden/vectors

says vectors similar $files/subwords.bin katze --top 3
says vectors similar $files/quantised_pruned.ftz red green --top 3 --json
says vectors similar $files/glove.txt "new york" --top 2
says vectors analogy $files/word2vec.bin red green apple --top 3
says vectors get $files/subwords.bin katze katzen --json
says vectors get $files/word2vec.txt one
says vectors trim $files/subwords.bin -n 3 -o "$WORK/small.vec"
holds "text is written" test "$(head -n 1 "$WORK/small.vec")" = "3 6"
says vectors trim $files/glove.txt -n 30 -o "$WORK/glove.vec"
printf 'katze\r\n\nkatzen\nkatze\nx\n' >"$WORK/list"
says vectors trim $files/subwords.bin --words "$WORK/list" -o "$WORK/small.bin" --json
exits 0 vectors get $files/subwords.bin katze katzen
cp "$WORK/out" "$WORK/whole"
exits 0 vectors get "$WORK/small.bin" katze katzen
holds "trimmed vectors are the same" cmp "$WORK/out" "$WORK/whole"
exits 0 vectors similar $files/subwords.vec red --threads 1
cp "$WORK/out" "$WORK/one"
exits 0 vectors similar $files/subwords.vec red --threads 2
holds "threads change nothing" cmp "$WORK/out" "$WORK/one"

says vectors analogy $files/word2vec.txt red green blue --product --top 3
says vectors similar $files/word2vec.txt red --product
says vectors similar $files/word2vec.txt nowhere
says vectors analogy $files/word2vec.txt red green
says vectors similar $files/word2vec.txt
says vectors find $files/word2vec.txt red
says vectors trim $files/word2vec.txt -o "$WORK/none"
says vectors trim $files/word2vec.txt -n 2
says vectors similar $files/word2vec.txt red --top 0
says vectors similar "$WORK/none" red
says vectors similar "$WORK" red
: >"$WORK/empty"
says vectors similar "$WORK/empty" red
printf '1000000000000 300\nred 1 2\n' >"$WORK/huge.vec"
says vectors similar "$WORK/huge.vec" red
head -c 3000 $files/subwords.bin >"$WORK/cut.bin"
says vectors similar "$WORK/cut.bin" red --json
printf 'red 1 2\ngreen 3 nan\n' >"$WORK/nan.txt"
says vectors get "$WORK/nan.txt" green
says vectors similar tests/golden/tensor/plain.pth red
holds "what failed left nothing behind" test ! -e "$WORK/none"
finish
