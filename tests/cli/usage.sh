#!/bin/bash
# Wrong usage has exit status 2 and one line that says what to do; help is printed from the tables.
. tests/support/cli.bash
model=tests/parity/resnet/hf_basic

exits 2
says --version
says fti
says --jsno
says help nonsense
says inspect --help
says fit $model
says fit $model data extra -o "$WORK/o"
says fit $model tests/cli/pictures
says fit $model tests/cli/pictures -o "$WORK/o" --epohcs 3
says fit $model tests/cli/pictures -o "$WORK/o" --epochs
says fit $model tests/cli/pictures -o "$WORK/o" --epochs --batch 3
says fit $model tests/cli/pictures -o "$WORK/o" --epochs three
says fit $model tests/cli/pictures -o "$WORK/o" --epochs=0
says fit $model tests/cli/pictures -o "$WORK/o" --epochs 99999999999999999999
says fit $model tests/cli/pictures -o "$WORK/o" --lr nan
says fit $model tests/cli/pictures -o "$WORK/o" --lr -1
says fit $model tests/cli/pictures -o "$WORK/o" --memory 2X
says fit $model tests/cli/pictures -o "$WORK/o" --dtype fp16
says fit $model tests/cli/pictures -o "$WORK/o" --seed -1
says fit $model tests/cli/pictures -o "$WORK/o" --threads 0
says fit $model tests/cli/pictures -o "$WORK/o" --restart=yes
says fit $model tests/cli/pictures -o "$WORK/o" -x
says fit "" tests/cli/pictures -o "$WORK/o"
says fit $model tests/cli/pictures -o "$WORK/o" --train bogus -q
says fit $model tests/cli/pictures -o "$WORK/o" --train from:stage9 -q
says fit $model tests/cli/pictures -o "$WORK/o" --optimizer sdg -q
says fit $model tests/cli/pictures -o "$WORK/o" --schedule cosin -q
says fit $model tests/cli/pictures -o "$WORK/o" --augment heavy -q
says fit $model tests/cli/pictures -o "$WORK/o" --norm off -q
says eval $model tests/cli/pictures --json -q
says embed $model tests/cli/pictures -o "$WORK/features.txt" -q
says cache empty
holds "wrong usage leaves nothing behind" test ! -e "$WORK/o"

# Every command has help that begins with an example of it, and the manual page names every command.
"$GRAFT" help --man >"$WORK/graft.1"
for command in fit eval predict embed inspect verify cache; do
    exits 0 help $command
    holds "$command's help begins with an example" grep -q "graft $command " <(head -n 1 "$WORK/out")
    "$GRAFT" $command -h >"$WORK/short"
    holds "-h and help say the same of $command" cmp -s "$WORK/out" "$WORK/short"
    holds "the manual page has $command" grep -q "^.SS \"graft $command " "$WORK/graft.1"
done
# what cannot be printed is an error
"$GRAFT" --version >/dev/full 2>"$WORK/err"
holds "a full stdout is an error" test $? -eq 1
exits 2 fit x y --thread
holds "the last of fit's many options is found" grep -qx "graft: unknown option '--thread', did you mean '--threads'?" "$WORK/err"
# options are where they mean something
for command in fit advise blend tune; do
    holds "$command has --per-class" grep -q '^  --per-class' <("$GRAFT" help $command)
done
holds "compare has its own, once" test "$("$GRAFT" help compare | grep -c '^  --per-class')" = 1
holds "and makes a test part" grep -q '^  --test ' <("$GRAFT" help compare)
for option in validation test per-class; do
    holds "eval makes no parts: no --$option" test "$("$GRAFT" help eval | grep -c "^  --$option ")" = 0
done
finish
