#!/bin/bash
# The CIFAR ResNet-20 checkpoint without a config, on pictures beside the project: PyTorch's accuracy, and it rises when
# its head is fine-tuned.
. tests/support/cli.bash
data=../shared/data
[ -f $data/cifar_resnet20.th ] && [ -f $data/cifar10_small.tar ] || { echo "skipped: no $data/cifar_resnet20.th"; exit 77; }
tar -xf $data/cifar10_small.tar -C "$WORK"
pictures=$WORK/cifar10_small

exits 0 eval $data/cifar_resnet20.th "$pictures/test" --json -q
holds "accuracy is 0.805 +- 0.002" awk "BEGIN {a = $(number "$WORK/out" accuracy); exit !(a >= 0.803 && a <= 0.807)}"
holds "on 1000 pictures" test "$(number "$WORK/out" n)" = 1000
printf '%s\n' truck ship horse frog dog deer cat bird automobile airplane >"$WORK/reversed.txt"
exits 0 eval $data/cifar_resnet20.th "$pictures/test" --labels "$WORK/reversed.txt" --json -q
holds "--labels names the outputs: in the wrong order it is wrong" awk "BEGIN {exit !($(number "$WORK/out" accuracy) < 0.2)}"
mkdir "$WORK/two"
cp -r "$pictures/test/cat" "$pictures/test/dog" "$WORK/two"
exits 3 eval $data/cifar_resnet20.th "$WORK/two" -q
holds "ten outputs are not two classes" grep -q "names no classes and has 10, the data have 2.*--labels" "$WORK/err"

exits 0 fit $data/cifar_resnet20.th "$pictures" -o "$WORK/out.model" --train head --epochs 4 --json -q
holds "a head trained anew on the train part gains a point" awk "BEGIN {exit !($(number "$WORK/out" accuracy) >= 0.815)}"
exits 0 verify "$WORK/out.model" -q
exits 0 eval "$WORK/out.model" "$pictures" --json -q
holds "classes are named now" grep -q '"airplane"' "$WORK/out"
exits 0 fit $data/cifar_resnet20.th examples/digits/digits.npz -o "$WORK/digits" --train head --epochs 1
holds "ten digits are not its ten classes" grep -q "new head for 10 classes in place of 10" "$WORK/err"
exits 0 fit $data/cifar_resnet20.th "$pictures" -o "$WORK/kept" --train head --epochs 1
holds "its own classes are, without their names" grep -q "names no classes: its 10 outputs are taken" "$WORK/err"
finish
