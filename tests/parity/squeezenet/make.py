"""Makes the golden files of the SqueezeNet family with torchvision's modules (../README.md says what they hold).

    make.py                the small files beside this script (committed; the same seeds give the same files)
    make.py --photos DATA  how many photos of DATA/hymenoptera.tar have their class among the five likeliest by
                           DATA/squeezenet1_1.onnx, in ONNX Runtime, and the five of some of them: photos.json
"""

import argparse
import copy
import importlib.util
import io
import os
import sys
import tarfile

import numpy as np
import torch
from torchvision.models.squeezenet import Fire, SqueezeNet

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from common import ensure, normal, randomise, worst, write_json, write_tensors  # noqa: E402

spec = importlib.util.spec_from_file_location("resnet_make", f"{HERE}/../resnet/make.py")
resnet = importlib.util.module_from_spec(spec)
spec.loader.exec_module(resnet)

CLASSES = 5
SQUEEZE, ONES, THREES = [2, 2, 3, 3, 4, 4, 5, 5], [4, 4, 5, 5, 6, 6, 8, 8], [3, 3, 5, 5, 8, 8, 8, 8]
TRAIN = {
    "sgd_momentum": dict(resnet.PLAIN, model="v1_1.safetensors", optimizer=resnet.SGD),
    "sgd_plain_clip": dict(resnet.PLAIN, model="v1_0.safetensors", clip_norm=0.5,
                           optimizer=dict(resnet.SGD, momentum=0.0, weight_decay=0.0)),
    "adamw_smooth": dict(resnet.PLAIN, model="v1_0.safetensors", label_smoothing=0.1,
                         optimizer=dict(resnet.ADAM, kind="adamw", weight_decay=0.1)),
}


def narrow(version, seed):
    """torchvision's net with few channels: its own modules at its own places. Nothing is dropped."""
    net = SqueezeNet(version, num_classes=CLASSES, dropout=0.0)
    n_in, fire = (6 if version == "1_1" else 7), 0
    for at, module in enumerate(net.features):
        if isinstance(module, torch.nn.Conv2d):
            net.features[at] = torch.nn.Conv2d(3, n_in, module.kernel_size, stride=2)
        elif isinstance(module, Fire):
            net.features[at] = Fire(n_in, SQUEEZE[fire], ONES[fire], THREES[fire])
            n_in = ONES[fire] + THREES[fire]
            fire += 1
    net.classifier[1] = torch.nn.Conv2d(n_in, CLASSES, 1)
    torch.manual_seed(seed)
    randomise(net, seed)
    with torch.no_grad():
        for i, module in enumerate(net.modules()):
            if isinstance(module, torch.nn.Conv2d):
                module.bias.copy_(normal(module.bias.shape, seed + i, 0.2))
        net.classifier[1].bias.add_(1)  # else too much of the map is cut off
    return net.eval()


def outputs(net, x):
    features = net.features(x)
    return {"pooled": features.mean((2, 3)), "logits": net(x)}


def small():
    nets = {}
    for i, version in enumerate(("1_0", "1_1")):
        name = f"v{version}"
        net = nets[f"{name}.safetensors"] = narrow(version, 400 + i)
        write_tensors(f"{HERE}/{name}.safetensors", net.state_dict())
        x = normal((3, 3, 59, 46), 410 + i)
        with torch.no_grad():
            exact, single = outputs(copy.deepcopy(net).double(), x.double()), outputs(net, x)
        write_tensors(f"{HERE}/{name}.golden.safetensors", {"input": x} | exact)
        print(f"{name:24} PyTorch's own fp32 error on logits {worst(single['logits'], exact['logits']):.1e}")
    folder = ensure(f"{HERE}/train")
    inputs, hard, _ = resnet.batches(f"{folder}/batches.safetensors", 2, 5, (51, 40), CLASSES, 420)
    for name, case in TRAIN.items():
        resnet.train_case(folder, name, case, nets[case["model"]], lambda m, x: m(x), inputs, hard)


def photos(data):
    import onnxruntime
    from PIL import Image
    from torchvision import transforms as t
    prepare = t.Compose([t.Resize(256), t.CenterCrop(224), t.ToTensor(),
                         t.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])
    session = onnxruntime.InferenceSession(f"{data}/squeezenet1_1.onnx", providers=["CPUExecutionProvider"])
    right, n, kept = {"ants": 0, "bees": 0}, {"ants": 0, "bees": 0}, []
    with tarfile.open(f"{data}/hymenoptera.tar") as tar:
        for member in sorted((m for m in tar if m.isfile() and "/val/" in m.name), key=lambda m: m.name):
            picture = Image.open(io.BytesIO(tar.extractfile(member).read())).convert("RGB")
            logits = session.run(None, {"pixel_values": prepare(picture)[None].numpy()})[0][0]
            top, kind = np.argsort(-logits)[:5].tolist(), member.name.split("/")[-2]
            right[kind] += {"ants": 310, "bees": 309}[kind] in top
            n[kind] += 1
            if n[kind] <= 4:
                kept.append({"name": member.name, "top": top, "logits": [float(f"{logits[k]:.7g}") for k in top]})
    write_json(f"{HERE}/photos.json", {"pictures": "hymenoptera.tar", "weights": "squeezenet1_1.pth", "photos": kept})
    for kind in n:
        print(f"{kind}: {right[kind]} of {n[kind]} among the five likeliest")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", metavar="DATA")
    given = parser.parse_args()
    if given.photos:
        photos(given.photos)
    else:
        small()
