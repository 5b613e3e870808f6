#!/bin/bash
# --lr find: a rate is looked for before training, told with its curve, kept in the record, and used.
. tests/support/cli.bash
export GRAFT_CACHE=$WORK/cache
# The base rate among the settings, which stand behind the history.
rate_of() { grep -o '"lr": [0-9.e-]*' "$1" | tail -n 1 | cut -d ' ' -f 2; }
fit() { exits 0 fit tests/parity/resnet/hf_basic tests/cli/pictures --lr find --epochs 2 --batch 8 "$@"; }
fit -o "$WORK/head" --train head
holds "a curve is drawn" grep -qE '^ +[0-9.e-]+ .*\*\*' "$WORK/err"
holds "and the rate told" grep -qE 'training with --lr [0-9.e-]+$' "$WORK/err"
holds "the record has the search" grep -q '"lr_find": {' "$WORK/head/graft.json"
holds "the log too, first" grep -q '"event":"lr_find"' <(head -n 1 "$WORK/head/run.jsonl")
rate=$(number "$WORK/head/graft.json" suggested)
holds "it is the rate of the run" test "$(rate_of "$WORK/head/graft.json")" = "$rate"
fit -o "$WORK/head2" --train head -q
holds "the same is found again, and the same weights" cmp "$WORK/head/model.safetensors" "$WORK/head2/model.safetensors"
exits 0 fit tests/parity/resnet/hf_basic tests/cli/pictures --lr "$rate" --epochs 2 --batch 8 -o "$WORK/given" --train head -q
holds "and by the rate given, to its last digits" cmp "$WORK/head/model.safetensors" "$WORK/given/model.safetensors"
fit -o "$WORK/top" --train top:1 --augment light -q --json
holds "pictures as they come do too" test "$(rate_of "$WORK/top/graft.json")" = "$(number "$WORK/top/graft.json" suggested)"
fit -o "$WORK/two" --train lp-ft -q
holds "both phases go by it" test "$(grep -c '"event":"phase"' "$WORK/two/run.jsonl")" = 2
exits 0 verify "$WORK/two"

says fit tests/parity/resnet/hf_basic tests/cli/pictures -o "$WORK/x" --lr search -q
says fit tests/parity/resnet/hf_basic tests/cli/pictures -o "$WORK/x" --lr find --head-lr 0.1 -q
# what is not yet found is not told as if it were
exits 0 fit tests/parity/resnet/hf_basic tests/cli/pictures --lr find --train head --dry-run
holds "a dry run says that it will be looked for" grep -qE '^lr +find: it is searched for' "$WORK/out"
holds "in the log too" grep -q ' at a rate to be found (' "$WORK/err"
exits 0 fit tests/parity/resnet/hf_basic tests/cli/pictures --lr find --train lp-ft --dry-run --json -q
holds "and in JSON, for each phase" test "$(grep -c '"lr": "find"' "$WORK/out")" = 3
finish
