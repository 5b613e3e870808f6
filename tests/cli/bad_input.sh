#!/bin/bash
# Bad data and bad models: exit status 3, one line that names the file, nothing half-made left behind.
. tests/support/cli.bash
model=tests/parity/resnet/hf_basic
train=tests/cli/pictures/train
odd=tests/cli/odd

# fits DATA NAME ARG...: says what a head trained on it says
fits() {
    local data=$1
    shift
    says fit $model "$data" -o "$WORK/o" --train head --epochs 1 -q "$@"
    rm -rf "$WORK/o"
}

mkdir "$WORK/empty"
fits "$WORK/empty"
fits "$WORK/nowhere"
mkdir -p "$WORK/one/across"
cp $train/across/* "$WORK/one/across"
fits "$WORK/one"
mkdir -p "$WORK/single/across" "$WORK/single/down"
cp $train/across/* "$WORK/single/across"
cp $train/down/03.jpg "$WORK/single/down"
exits 0 fit $model "$WORK/single" -o "$WORK/o" --train head --epochs 1 -q
holds "a class of one picture is warned of" grep -q "^warning: .*'down'.*1" "$WORK/err"
mkdir -p "$WORK/files/a" "$WORK/files/b"
echo no picture >"$WORK/files/a/notes.txt"
echo no picture >"$WORK/files/b/notes.txt"
fits "$WORK/files"

# one broken picture among good ones: listed and skipped where that is allowed, else it stops before training
cp -r $train "$WORK/broken"
cp $odd/cut.jpg "$WORK/broken/down/cut.jpg"
fits "$WORK/broken"
fits "$WORK/broken" --strict
exits 0 fit $model "$WORK/broken" -o "$WORK/o" --train head --epochs 1 --max-bad 10% -q
holds "it is named" grep -q "^warning: .*cut.jpg: truncated JPEG" "$WORK/err"
holds "and counted" grep -q "^warning: 1 of 25 pictures" "$WORK/err"
cp $odd/text.jpg $odd/empty.png "$WORK/broken/across"
chmod 000 "$WORK/broken/across/00.jpg" # root reads it all the same
exits 0 fit $model "$WORK/broken" -o "$WORK/o" --restart --train head --epochs 1 --max-bad 20% -q
holds "a text is no picture" grep -q "^warning: .*text.jpg: " "$WORK/err"
holds "an empty file is none" grep -q "^warning: .*empty.png: an empty file" "$WORK/err"
cp -r $train "$WORK/pixel"
cp $odd/pixel.png "$WORK/pixel/down"
exits 0 fit $model "$WORK/pixel" -o "$WORK/p" --train head --epochs 1 -q --max-bad 0
holds "a picture of one pixel is a picture" test -s "$WORK/p/model.safetensors"

# the same picture in train and in test
mkdir "$WORK/twice"
cp -r tests/cli/pictures/* "$WORK/twice"
for i in 3 4 5 6 7 8; do cp $train/down/0$i.jpg "$WORK/twice/test/down/copy$i.jpg"; done
exits 0 fit $model "$WORK/twice" -o "$WORK/t" --train head --epochs 1 -q
holds "duplicates across the parts are warned of" grep -q "^warning: .* pictures are the same as one of train" "$WORK/err"

# labels that the head does not have
says eval $model tests/cli/pictures -q

# inputs of predict: each bad one has its line, the others their answers
"$GRAFT" predict "$WORK/p" $train/down/03.jpg $odd/cut.jpg $odd/text.jpg "$WORK/gone.png" $train/down/04.jpg -q >"$WORK/out" 2>"$WORK/err"
holds "unreadable inputs make the exit status 1" test $? -eq 1
holds "five lines for five inputs" test "$(wc -l <"$WORK/out")" -eq 5
holds "the bad ones say why" grep -q "cut.jpg	-	-	.*truncated" "$WORK/out"
holds "one that is not there too" grep -q "gone.png	-	-	.*No such file" "$WORK/out"
holds "the last one is answered" grep -qE "04.jpg	(down|across)	" "$WORK/out"
says embed "$WORK/p" $train/down/03.jpg $odd/cut.jpg -o "$WORK/f.npy" -q
holds "no features of half the inputs" test ! -e "$WORK/f.npy"

# models
says inspect "$WORK/nowhere"
says inspect tests/golden/tensor/bad_header_past_end.safetensors
says inspect tests/golden/tensor/bad_overflow.safetensors
says inspect tests/golden/tensor/evil_system.pth
says inspect tests/golden/tensor/evil_legacy.pth --json
says inspect tests/golden/tensor/all_types.safetensors
cp -r $model "$WORK/model"
printf '{"model_type": "resnet", "hidden_sizes": [8' >"$WORK/model/config.json"
says inspect "$WORK/model"
sed 's/"hidden_act": "relu"/"hidden_act": "relu", "a_key_of_tomorrow": 3/' $model/config.json >"$WORK/model/config.json"
exits 0 inspect "$WORK/model"
sed 's/"depths": \[/"depths": [ 3,/; s/"hidden_sizes": \[/"hidden_sizes": [ 8,/' $model/config.json >"$WORK/model/config.json"
says inspect "$WORK/model"
sed 's/"embedding_size": 8/"embedding_size": 16/' $model/config.json >"$WORK/model/config.json"
says inspect "$WORK/model"
head -c 5000 $model/model.safetensors >"$WORK/model/model.safetensors"
says inspect "$WORK/model"
says verify $model
finish
