#!/bin/bash
# --dtype bf16x3: training and answers near fp32's, the same bits every time, other bits than fp32's where the processor has
# AMX; where it has not (or oneDNN is told so) one warning, and fp32's bits.
. tests/support/cli.bash
model=$WORK/model
mkdir "$model"
sed -e 's/"hidden_size": [0-9]*/"hidden_size": 64/' -e 's/"intermediate_size": [0-9]*/"intermediate_size": 160/' \
    -e 's/"num_attention_heads": [0-9]*/"num_attention_heads": 2/' tests/parity/text/bert_bare/config.json >"$model/config.json"
printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' the a is it was very red rose blood brick wine blue sea sky ink plum , . \
    >"$model/vocab.txt"
{
    echo 'text,label,split'
    for split in train train val; do
        for x in rose blood brick wine; do echo "\"the $x is very red, it is\",warm,$split"; done
        for x in sea sky ink plum; do echo "\"a $x, it was blue .\",cold,$split"; done
    done
} >"$WORK/colours.csv"

# trains NAME ARG...: what training leaves in NAME, from the same random weights
trains() {
    local name=$1
    shift
    exits 0 fit "$model" "$WORK/colours.csv" -o "$WORK/$name" --train full --epochs 5 --lr 0.003 --no-report --no-cache "$@"
    cp "$WORK/err" "$WORK/$name.err"
    exits 0 predict "$WORK/$name" --text "the wine is red" "the sea was blue" -q
    cut -f 2 "$WORK/out" >"$WORK/$name.answers"
}

trains plain
trains split --dtype bf16x3
trains again --dtype bf16x3
holds "the same bits again" cmp "$WORK/split/model.safetensors" "$WORK/again/model.safetensors"
holds "the same answers as fp32" cmp "$WORK/plain.answers" "$WORK/split.answers"
if grep -q "no AMX" "$WORK/split.err"; then
    holds "without AMX it is fp32" cmp "$WORK/plain/model.safetensors" "$WORK/split/model.safetensors"
else
    holds "it is not fp32" test "$(cmp "$WORK/plain/model.safetensors" "$WORK/split/model.safetensors" | wc -l)" -eq 1
    for command in "eval $WORK/split $WORK/colours.csv" "embed $WORK/split $WORK/colours.csv -o $WORK/e.npy"; do
        # shellcheck disable=SC2086
        exits 0 $command --dtype bf16x3 --no-cache -q
    done
fi

export ONEDNN_MAX_CPU_ISA=AVX512_CORE
trains narrow
trains told --dtype bf16x3
holds "one warning" test "$(grep -c "this processor has no AMX, which bf16x3 needs: computing in float32" "$WORK/told.err")" -eq 1
for command in "eval $WORK/told $WORK/colours.csv --no-cache" "predict $WORK/told --text rose" \
    "embed $WORK/told $WORK/colours.csv -o $WORK/e.npy --no-cache" \
    "advise $WORK/told --data $WORK/colours.csv --no-cache --probe 1"; do
    # shellcheck disable=SC2086
    exits 0 $command --dtype bf16x3 -q
    holds "one of ${command%% *} too" test "$(grep -c "has no AMX, which bf16x3 needs" "$WORK/err")" -eq 1
done
holds "and fp32's bits" cmp "$WORK/narrow/model.safetensors" "$WORK/told/model.safetensors"
finish
