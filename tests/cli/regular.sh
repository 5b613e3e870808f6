#!/bin/bash
# The options of regularisation reach training, are kept in the record, and say where they contradict something.
. tests/support/cli.bash
model=tests/parity/resnet/hf_basic
text=tests/parity/text/sentence_mean_unit
pictures=tests/cli/pictures
fit=(fit $model $pictures --train full --augment none --epochs 4 --lr 0.01 --threads 1 -q --json)

setting() {
    sed -n "s/.*\"$1\": \([0-9.e-]*\).*/\1/p" "$WORK/$2/graft.json" | head -1
}

exits 0 "${fit[@]}" -o "$WORK/plain"
for each in "layer-decay 0.7" "ema 0.9" "swa 0.5" "l2-sp 0.1" "dropout 0.3" "drop-path 0.4" "delta 0.01" "bss 0.001" "r-drop 0.5"; do
    read -r option value <<<"$each"
    also=()
    [ "$option" = r-drop ] && also=(--dropout 0.3)
    exits 0 "${fit[@]}" --$option "$value" "${also[@]}" -o "$WORK/$option"
    holds "--$option is in the record" test "$(setting "${option//-/_}" "$option")" = "$value"
    holds "--$option changes the weights" test -s "$WORK/$option/model.safetensors"
    if cmp -s "$WORK/$option/model.safetensors" "$WORK/plain/model.safetensors"; then
        holds "--$option changes the weights" false
    fi
    exits 0 verify "$WORK/$option" --json
done
holds "what was not asked for is not in the record" test -z "$(setting ema plain)"
exits 0 "${fit[@]}" --layer-decay 0.7 -o "$WORK/again"
holds "the same options give the same bits" cmp "$WORK/again/model.safetensors" "$WORK/layer-decay/model.safetensors"

# several together, in micro-batches, over several phases, with statistics that train
exits 0 "${fit[@]}" --layer-decay 0.8 --l2-sp 0.01 --ema 0.9 --drop-path 0.2 --delta 0.01 --bss 0.001 --memory 3M -o "$WORK/all"
exits 0 fit $model $pictures --train head@2,full@3 --swa 0.5 --norm train --delta 0.01 --l2-sp 0.01 --batch 16 \
    --augment none --threads 1 -q --json -o "$WORK/phases"

# layers between features and classifier are pulled to their start in place of their decay
bert=$WORK/bert
mkdir "$bert"
cp tests/parity/text/bert_classes/config.json tests/parity/text/bert_classes/model.safetensors "$bert"
printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' red rose blood blue sea sky >"$bert/vocab.txt"
{
    echo 'text,label'
    for i in 1 2 3 4 5; do printf '%s\n' 'red rose,warm' 'red blood,warm' 'blue sea,cold' 'blue sky,cold'; done
} >"$WORK/colours.csv"
exits 0 fit "$bert" "$WORK/colours.csv" --train head --epochs 1 -o "$WORK/own" -q
for decay in 0 1000; do
    exits 0 fit "$WORK/own" "$WORK/colours.csv" --train 'bert.pooler.*,!classifier.*' --l2-sp 0.01 --weight-decay $decay \
        --epochs 2 --lr 1e-5 -o "$WORK/decay$decay" -q
done
holds "what is pulled does not decay" cmp "$WORK/decay0/model.safetensors" "$WORK/decay1000/model.safetensors"

# what contradicts something, in one line
says fit $model $pictures -o "$WORK/x" -q --ema 0.9 --swa 0.5
says fit $model $pictures -o "$WORK/x" -q --from-scratch --l2-sp 0.1
says fit $model $pictures -o "$WORK/x" -q --from-scratch --delta 0.1
says fit $model $pictures -o "$WORK/x" -q --train head --bss 0.1
says fit $model $pictures -o "$WORK/x" -q --train full --r-drop 1
exits 0 fit $model $pictures -o "$WORK/x" --train head --layer-decay 0.5 --dry-run
holds "what changes nothing is said" grep -q "warning: --layer-decay changes nothing: the plan .head. trains the head alone" "$WORK/err"
holds "once" test "$(grep -c "changes nothing" "$WORK/err")" = 1
says fit $model $pictures -o "$WORK/x" -q --layer-decay 0
says fit $model $pictures -o "$WORK/x" -q --ema 1
says fit $model $pictures -o "$WORK/x" -q --swa 2
says fit $model $pictures -o "$WORK/x" -q --dropout 1

# without --train a plan is chosen that the option allows: of few pictures, and where a head would be enough
exits 0 fit $model $pictures -o "$WORK/chosen" --delta 0.01 --epochs 1 --no-report
holds "few pictures train features too" grep -q 'training full (chosen)' "$WORK/err"
exits 0 fit examples/digits/upstream examples/digits/digits.npz -o "$WORK/chosen" --delta 0.01 --epochs 1 --no-report --restart
holds "what evidence says is said" grep -qE "a linear head would be enough, but --delta shapes features|training (top|full).* \(chosen\)" "$WORK/err"
holds "a plan is chosen that trains features" grep -qE "training (top:[0-9]|full) \(chosen\)" "$WORK/err"

# texts: stochastic depth and two dropouts of packed texts
printf 'text\tlabel\n' >"$WORK/texts.tsv"
for i in $(seq 12); do printf 'w%d w1 w2\tup\nw%d w5\tdown\n' "$i" "$i" >>"$WORK/texts.tsv"; done
exits 0 fit $text "$WORK/texts.tsv" --train full --epochs 2 --drop-path 0.3 --r-drop 0.5 --dropout 0.1 --ema 0.9 --threads 1 -q --json -o "$WORK/texts"
exits 0 verify "$WORK/texts" --json

# statistics of a few samples at a time would be noise: where memory leaves no more, the pretrained ones stay
upstream="examples/digits/upstream examples/digits/digits.npz"
fits_few() { # TEXT ARG...: a limit under which it says TEXT; which one differs with the processor's kernels
    local text=$1
    shift
    for limit in 4460K 4500K 4540K 4580K 4700K; do
        "$GRAFT" fit $upstream -o "$WORK/few" --restart --train full --epochs 1 --threads 1 --no-report --memory $limit "$@" >"$WORK/out" 2>"$WORK/err" &&
            grep -q "$text" "$WORK/err" && return 0
    done
    return 1
}
holds "pretrained statistics stay" fits_few 'batch norms keep their pretrained statistics'
holds "which is said once" test "$(grep -c '^warning' "$WORK/err")" = 1
holds "the folder says so" grep -q '"trained_statistics": false' "$WORK/few/graft.json"
holds "--norm train trains them" fits_few 'batch norms see [1-7] of 16 samples' --norm train
holds "and says that once" test "$(grep -c '^warning' "$WORK/err")" = 1
# they take more room than those that train do: the least limit that trained ones fit is not refused
least_limit() { # ARG...: the first of many limits that is not refused
    for ((limit = 4300; limit < 4700; limit += 20)); do
        "$GRAFT" fit $upstream --dry-run --train full --lr 0.01 --threads 1 -q --memory ${limit}K "$@" >/dev/null 2>&1 && break
    done
    echo $limit
}
holds "what fits with trained statistics is not refused" test "$(least_limit)" = "$(least_limit --norm train)"
finish
