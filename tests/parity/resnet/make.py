"""Makes the golden files of the ResNet family with PyTorch, Transformers and timm (../README.md says what they hold).

    make.py                 the small folders beside this script (committed; the same seeds give the same files)
    make.py --full DIR      ResNet-18 and -50 at full size for the long test (GRAFT_PARITY_DIR=DIR)
    make.py --cifar DATA    logits of cifar_resnet20.th on pictures of cifar10_small.tar, both in DATA
"""

import argparse
import copy
import io
import os
import sys
import tarfile

import numpy as np
import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from common import ensure, normal, randomise, train, worst, write_json, write_tensors  # noqa: E402

LABELS = {2: ["ant", "bee"], 5: ["ant", "bee", "cat", "dog", "eel"]}

HF = {
    "hf_basic": dict(layer_type="basic", hidden_sizes=[8, 12, 16, 24], depths=[2, 1, 1, 1], embedding_size=8),
    "hf_basic_first": dict(layer_type="basic", hidden_sizes=[8, 12, 16], depths=[1, 2, 1], embedding_size=8,
                           downsample_in_first_stage=True),
    "hf_bottleneck": dict(layer_type="bottleneck", hidden_sizes=[16, 24, 32, 40], depths=[2, 1, 1, 1], embedding_size=8),
    "hf_bottleneck_down": dict(layer_type="bottleneck", hidden_sizes=[16, 24, 32], depths=[1, 2, 1], embedding_size=8,
                               downsample_in_bottleneck=True, downsample_in_first_stage=True),
    "hf_grey": dict(layer_type="basic", hidden_sizes=[8, 16], depths=[1, 1], embedding_size=8, num_channels=1),
}
TIMM = {
    "timm_basic": ("resnet18", dict(channels=[8, 12, 16, 24], layers=[2, 1, 1, 1])),
    "timm_bottleneck": ("resnet50", dict(channels=[4, 6, 8, 10], layers=[1, 2, 1, 1])),
}

SGD = dict(kind="sgd", lr=0.02, momentum=0.9, weight_decay=1e-2, nesterov=False)
ADAM = dict(kind="adam", lr=1e-3, betas=[0.9, 0.999], eps=1e-8, weight_decay=1e-2)
PLAIN = dict(batch_norm="train", clip_norm=None, label_smoothing=0.0, class_weights=None)
TRAIN = {
    "sgd_momentum": dict(PLAIN, model="hf_basic", optimizer=SGD),
    "sgd_frozen_bn": dict(PLAIN, model="hf_basic", optimizer=SGD, batch_norm="frozen"),
    "sgd_nesterov": dict(PLAIN, model="hf_bottleneck", optimizer=dict(SGD, lr=0.002, nesterov=True)),
    "sgd_plain_clip": dict(PLAIN, model="hf_bottleneck", optimizer=dict(SGD, momentum=0.0, weight_decay=0.0), clip_norm=0.5),
    "adam": dict(PLAIN, model="hf_basic", optimizer=ADAM),
    "adamw": dict(PLAIN, model="hf_basic", optimizer=dict(ADAM, kind="adamw", weight_decay=0.1)),
    "adamw_frozen_bn_clip": dict(PLAIN, model="hf_bottleneck_down", optimizer=dict(ADAM, kind="adamw"), batch_norm="frozen",
                                 clip_norm=1.0),
    "sgd_smooth_weights": dict(PLAIN, model="hf_basic_first", optimizer=SGD, label_smoothing=0.1,
                               class_weights=[0.5, 2.0, 1.0, 1.5, 0.75]),
    "sgd_soft": dict(PLAIN, model="hf_basic_first", optimizer=SGD, label_smoothing=0.1, targets="soft"),
    "timm_adamw": dict(PLAIN, model="timm_basic", optimizer=dict(ADAM, kind="adamw")),
}
FULL_TRAIN = {
    "sgd": dict(PLAIN, optimizer=dict(SGD, lr=0.001, weight_decay=1e-4)),
    "sgd_frozen_bn": dict(PLAIN, optimizer=dict(SGD, lr=0.001, weight_decay=1e-4), batch_norm="frozen", clip_norm=1.0),
    "adamw": dict(PLAIN, optimizer=dict(ADAM, kind="adamw", lr=2e-5, eps=1e-3)),
}


def processor(size, grey):
    """What Transformers' ResNet folders say, at another size."""
    mean, std = ([0.5], [0.25]) if grey else ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    return {"crop_pct": 0.875, "do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": mean,
            "image_processor_type": "ConvNextImageProcessor", "image_std": std, "resample": 3,
            "rescale_factor": 1 / 255, "size": {"shortest_edge": size}}


def hf_folder(folder, options, labels, seed, size, residual=1.0):
    from transformers import ResNetConfig, ResNetForImageClassification
    options = dict(options)
    config = ResNetConfig(**options, id2label=dict(enumerate(labels)), label2id={n: i for i, n in enumerate(labels)})
    torch.manual_seed(seed)
    model = ResNetForImageClassification(config)
    randomise(model, seed, residual)
    model.eval()
    model.save_pretrained(ensure(folder))
    write_json(f"{folder}/preprocessor_config.json", processor(size, options.get("num_channels") == 1))
    return model


def timm_folder(folder, architecture, args, labels, seed, size, residual=1.0):
    import timm
    torch.manual_seed(seed)
    model = timm.create_model(architecture, num_classes=len(labels), **args)
    randomise(model, seed, residual)
    model.eval()
    ensure(folder)
    write_tensors(f"{folder}/model.safetensors", model.state_dict())
    write_json(f"{folder}/config.json", {
        "architecture": architecture, "num_classes": len(labels), "num_features": model.num_features, "global_pool": "avg",
        "model_args": args, "label_names": labels,
        "pretrained_cfg": {"input_size": [3, size, size], "pool_size": [size // 32, size // 32], "crop_pct": 0.875,
                           "crop_mode": "center", "interpolation": "bicubic", "mean": [0.485, 0.456, 0.406],
                           "std": [0.229, 0.224, 0.225], "num_classes": len(labels), "first_conv": "conv1", "classifier": "fc"}})
    return model


def hf_outputs(model, x):
    out = model.resnet(x, output_hidden_states=True)
    named = {"stem": out.hidden_states[0], "pooled": out.pooler_output.flatten(1), "logits": model(x).logits}
    return named | {f"stage{i}": h for i, h in enumerate(out.hidden_states) if i > 0}


def timm_outputs(model, x):
    named = {"stem": model.maxpool(model.act1(model.bn1(model.conv1(x))))}
    h = named["stem"]
    for i in range(1, 5):
        h = getattr(model, f"layer{i}")(h)
        named[f"stage{i}"] = h
    return named | {"pooled": model.global_pool(h), "logits": model(x)}


def golden(folder, model, outputs, x, stages=True):
    """Writes golden.safetensors from a run in double precision; returns PyTorch's own fp32 error on the logits."""
    with torch.no_grad():
        exact = outputs(copy.deepcopy(model).double(), x.double())
        single = outputs(model, x)
    kept = {k: v for k, v in exact.items() if stages or k in ("pooled", "logits")}
    write_tensors(f"{folder}/golden.safetensors", {"input": x} | kept)
    return worst(single["logits"], exact["logits"])


def train_case(folder, name, case, model, logits_of, inputs, targets):
    """Writes NAME.json and NAME.safetensors: the state after the first step, and the losses of ten."""
    before = copy.deepcopy(model.state_dict())
    exact = train(copy.deepcopy(model), logits_of, case, inputs, targets, torch.float64, 10)
    single = train(copy.deepcopy(model), logits_of, case, inputs, targets, torch.float32, 10)
    losses, norms, logits, after = exact
    changed = {k: v for k, v in after.items() if not torch.equal(v.to(before[k].dtype), before[k])}
    tensors = {"losses": torch.tensor(losses), "grad_norms": torch.tensor(norms), "logits": logits}
    write_tensors(f"{folder}/{name}.safetensors", tensors | {f"after.{k}": v for k, v in changed.items()})
    error = max(worst(single[3][k], v) for k, v in changed.items())
    drift = max(abs(a - b) / abs(b) for a, b in zip(single[0], losses))
    case = {k: v for k, v in case.items() if k != "targets"} | {
        "name": name, "targets": case.get("targets", "labels"), "steps": 10, "batches": "batches.safetensors",
        "unchanged": sorted(k for k in after if k not in changed),
        "pytorch_fp32": {"weights": float(f"{error:.2e}"), "losses": float(f"{drift:.2e}")}}
    write_json(f"{folder}/{name}.json", case)
    print(f"{name:24} loss {losses[0]:.4f} -> {losses[-1]:.4f}  PyTorch's own fp32 error: weights {error:.1e} losses {drift:.1e}")


def batches(path, n_batches, n, size, classes, seed):
    """Writes inputs [B,N,3,H,W], labels [B,N] and soft targets [B,N,K], used in turn by the steps."""
    inputs = normal((n_batches, n, 3, *size), seed)
    g = torch.Generator().manual_seed(seed + 1)
    labels = torch.randint(0, classes, (n_batches, n), generator=g)
    soft = torch.rand((n_batches, n, classes), generator=g) + 0.05
    soft = soft / soft.sum(-1, keepdim=True)
    write_tensors(path, {"inputs": inputs, "labels": labels, "soft": soft})
    return inputs, labels, soft


def small():
    models = {}
    labels = LABELS[5]
    for i, (name, options) in enumerate(HF.items()):
        folder = f"{HERE}/{name}"
        models[name] = hf_folder(folder, options, labels, 100 + i, 40)
        x = normal((2, options.get("num_channels", 3), 45, 38), 200 + i)
        print(f"{name:24} PyTorch's own fp32 error on logits {golden(folder, models[name], hf_outputs, x):.1e}")
    for i, (name, (architecture, args)) in enumerate(TIMM.items()):
        folder = f"{HERE}/{name}"
        models[name] = timm_folder(folder, architecture, args, labels, 120 + i, 40)
        x = normal((2, 3, 45, 38), 220 + i)
        error = golden(folder, models[name], timm_outputs, x, stages=False)
        print(f"{name:24} PyTorch's own fp32 error on logits {error:.1e}")
    folder = ensure(f"{HERE}/train")
    inputs, hard, soft = batches(f"{folder}/batches.safetensors", 2, 6, (40, 36), len(labels), 300)
    for name, case in TRAIN.items():
        logits_of = (lambda m, x: m(x)) if case["model"].startswith("timm") else (lambda m, x: m(x).logits)
        train_case(folder, name, case, models[case["model"]], logits_of, inputs, soft if case.get("targets") == "soft" else hard)


def full(root):
    labels = [f"class{i}" for i in range(10)]
    sizes = {"resnet18": dict(layer_type="basic", hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2]),
             "resnet50": dict(layer_type="bottleneck", hidden_sizes=[256, 512, 1024, 2048], depths=[3, 4, 6, 3])}
    train_dir = ensure(f"{root}/train")
    inputs, hard, _ = batches(f"{train_dir}/batches.safetensors", 2, 8, (128, 128), 10, 301)
    x = normal((2, 3, 224, 224), 302)
    for i, (size, options) in enumerate(sizes.items()):
        for kind in ("hf", "timm"):
            folder = f"{root}/{kind}_{size}"
            if kind == "hf":
                model, outputs, logits_of = hf_folder(folder, options, labels, 140 + i, 224, 0.2), hf_outputs, lambda m, v: m(v).logits
            else:
                model, outputs, logits_of = timm_folder(folder, size, {}, labels, 150 + i, 224, 0.2), timm_outputs, lambda m, v: m(v)
            print(f"{folder} PyTorch's own fp32 error on logits {golden(folder, model, outputs, x):.1e}")
            for name, case in FULL_TRAIN.items():
                case = dict(case, model=f"{kind}_{size}")
                if kind == "hf" or name == "sgd":
                    train_case(train_dir, f"{kind}_{size}_{name}", case, model, logits_of, inputs, hard)


class CifarBlock(torch.nn.Module):
    """Two 3x3 convolutions; where the shape changes the shortcut takes every second pixel and pads channels with zeros."""

    def __init__(self, c_in, c_out, stride):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(c_out)
        self.conv2 = torch.nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = torch.nn.BatchNorm2d(c_out)
        self.stride, self.pad = stride, (c_out - c_in) // 2

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))
        return F.relu(x + y)


class CifarResNet(torch.nn.Module):
    def __init__(self, depth, classes=10):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(16)
        c_in = 16
        for i, c in enumerate((16, 32, 64)):
            blocks = [CifarBlock(c_in if j == 0 else c, c, 2 if i > 0 and j == 0 else 1) for j in range(depth)]
            setattr(self, f"layer{i + 1}", torch.nn.Sequential(*blocks))
            c_in = c
        self.linear = torch.nn.Linear(64, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


def cifar(data):
    from PIL import Image
    state = torch.load(f"{data}/cifar_resnet20.th", map_location="cpu", weights_only=False)["state_dict"]
    model = CifarResNet(3)
    missing = model.load_state_dict({k.removeprefix("module."): v for k, v in state.items()}, strict=False)
    assert not missing.unexpected_keys and all(k.endswith("num_batches_tracked") for k in missing.missing_keys), missing
    model.double().eval()
    pictures = {}
    with tarfile.open(f"{data}/cifar10_small.tar") as tar:
        for member in tar:
            parts = member.name.split("/")
            if member.isfile() and "test" in parts and not parts[-1].startswith("."):
                pictures[member.name] = np.asarray(Image.open(io.BytesIO(tar.extractfile(member).read())).convert("RGB"))
    names = sorted(pictures)
    classes = sorted({n.split("/")[-2] for n in names})
    x = torch.from_numpy(np.stack([pictures[n] for n in names])).permute(0, 3, 1, 2).double() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (x - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    with torch.no_grad():
        logits = torch.cat([model(x[i:i + 100]) for i in range(0, len(x), 100)])
    truth = torch.tensor([classes.index(n.split("/")[-2]) for n in names])
    right = (logits.argmax(1) == truth)
    first = [next(n for n in names if n.split("/")[-2] == c) for c in classes[:8]]
    folder = ensure(f"{HERE}/cifar")
    write_tensors(f"{folder}/golden.safetensors", {"logits": torch.stack([logits[names.index(n)] for n in first])})
    write_json(f"{folder}/case.json", {
        "weights": "cifar_resnet20.th", "pictures": "cifar10_small.tar", "names": first, "classes": classes,
        "n": len(names), "accuracy": round(right.double().mean().item(), 4),
        "log_loss": round(F.cross_entropy(logits, truth).item(), 5),
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]})
    print(f"accuracy {right.double().mean().item():.4f} on {len(names)} pictures")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", metavar="DIR")
    parser.add_argument("--cifar", metavar="DATA")
    args = parser.parse_args()
    if args.full:
        full(args.full)
    elif args.cifar:
        cifar(args.cifar)
    else:
        small()


if __name__ == "__main__":
    main()
