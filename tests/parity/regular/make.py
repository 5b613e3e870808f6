"""Golden values of regularised fine-tuning steps: `python regular/make.py`, from the folder above. See README.md."""

import copy
import json
import os
import sys

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file
from torch.optim.swa_utils import AveragedModel, update_bn

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from common import make_optimizer, worst, write_json, write_tensors  # noqa: E402

RESNET = os.path.join(os.path.dirname(HERE), "resnet")
STEPS = 4
SGD = dict(kind="sgd", lr=0.02, momentum=0.9, weight_decay=0.0, nesterov=False)
ADAMW = dict(kind="adamw", lr=0.003, betas=[0.9, 0.999], eps=1e-3, weight_decay=0.05)
PLAIN = dict(model="hf_basic", batch_norm="frozen", clip_norm=None, layer_decay=None, l2_sp=None, ema=None, swa_first=None,
             delta=None, bss=None)
CASES = {
    "layer_decay": dict(PLAIN, optimizer=ADAMW, layer_decay=0.7),
    "discriminative": dict(PLAIN, optimizer=SGD, layer_decay=1 / 2.6),
    "l2_sp": dict(PLAIN, optimizer=SGD, l2_sp=0.5),
    "l2_sp_clip": dict(PLAIN, optimizer=ADAMW, l2_sp=0.5, clip_norm=0.5),
    "delta": dict(PLAIN, optimizer=SGD, delta=0.01),
    "bss": dict(PLAIN, optimizer=ADAMW, bss=0.2),
    "ema": dict(PLAIN, optimizer=SGD, batch_norm="train", ema=0.3),
    "swa": dict(PLAIN, optimizer=SGD, swa_first=1),
    "swa_norms": dict(PLAIN, optimizer=SGD, batch_norm="train", swa_first=1),
}


def stage_of(name, n_stages):
    """Index among stem, stage1, ..., head."""
    if name.startswith("classifier"):
        return n_stages - 1
    return 0 if ".embedder." in name else int(name.split(".stages.")[1].split(".")[0]) + 1


def groups_of(model, case):
    decay, lr = case["layer_decay"], case["optimizer"]["lr"]
    n_stages = len(model.config.depths) + 2
    named = list(model.named_parameters())
    if decay is None:
        return [p for _, p in named]
    return [dict(params=[p], lr=lr * decay ** (n_stages - 1 - stage_of(n, n_stages))) for n, p in named]


class Logits(torch.nn.Module):
    """The logits alone, as update_bn asks for; the features beside them."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        self.features = self.model.resnet(x).pooler_output.flatten(1)
        return self.model.classifier(self.features)


def run(model, case, inputs, labels, dtype):
    """All that training changed after the last step; of a case with an average, the average."""
    model = Logits(copy.deepcopy(model).to(dtype))
    model.train()
    if case["batch_norm"] == "frozen":
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
    optimizer = make_optimizer(case["optimizer"], groups_of(model.model, case))
    start = {n: p.detach().clone() for n, p in model.model.named_parameters()}
    pretrained = copy.deepcopy(model).eval()
    average = None
    if case["ema"] is not None:
        def blend(mean, now, t):
            d = min(case["ema"], (1 + t) / (10 + t))
            return d * mean + (1 - d) * now
        average = AveragedModel(model, avg_fn=lambda mean, now, _: blend(mean, now, blend.step), use_buffers=True)
        average.n_averaged.fill_(1)  # begins as the model does
    elif case["swa_first"] is not None:
        average = AveragedModel(model)
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs[step % len(inputs)].to(dtype)), labels[step % len(labels)])
        if case["l2_sp"] is not None:
            for n, p in model.model.named_parameters():
                if not n.startswith("classifier"):
                    loss = loss + 0.5 * case["l2_sp"] * ((p - start[n]) ** 2).sum()
        if case["delta"] is not None:
            with torch.no_grad():
                pretrained(inputs[step % len(inputs)].to(dtype))
            loss = loss + case["delta"] * 0.5 * ((model.features - pretrained.features) ** 2).sum(1).mean()
        if case["bss"] is not None:
            loss = loss + case["bss"] * torch.linalg.svdvals(model.features)[-1] ** 2
        loss.backward()
        if case["clip_norm"] is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), case["clip_norm"])
        optimizer.step()
        if case["ema"] is not None:
            blend.step = step
            average.update_parameters(model)
        elif case["swa_first"] is not None and step >= case["swa_first"]:
            average.update_parameters(model)
    if average is None:
        return model.model.state_dict()
    if case["swa_first"] is not None and case["batch_norm"] == "train":
        update_bn([x.to(dtype) for x in inputs], average)
    return average.module.model.state_dict()


def terms():
    """Values and gradients of the terms alone: R-Drop's with rows 2i and 2i+1 as two answers, BSS's with k 2."""
    out = {}
    g = torch.Generator().manual_seed(77)
    z = (2 * torch.randn((6, 5), generator=g, dtype=torch.float32)).double().requires_grad_()
    p, q = F.log_softmax(z[0::2], -1), F.log_softmax(z[1::2], -1)
    both = F.kl_div(p, q, reduction="none", log_target=True) + F.kl_div(q, p, reduction="none", log_target=True)
    loss = both.sum(-1).mean() / 2
    loss.backward()
    out |= {"twin_kl/logits": z, "twin_kl/loss": loss, "twin_kl/dlogits": z.grad}
    for name, shape in {"wide": (6, 20), "tall": (9, 4)}.items():
        x = torch.randn(shape, generator=g, dtype=torch.float32).double().requires_grad_()
        loss = (torch.linalg.svdvals(x)[-2:] ** 2).sum()
        loss.backward()
        out |= {f"tail_{name}/x": x, f"tail_{name}/loss": loss, f"tail_{name}/dx": x.grad}
    return out


def main():
    transformers.utils.logging.set_verbosity_error()
    batches = load_file(f"{RESNET}/train/batches.safetensors")
    inputs, labels = batches["inputs"], batches["labels"]
    tensors, cases = terms(), []
    for name, case in CASES.items():
        model = transformers.ResNetForImageClassification.from_pretrained(f"{RESNET}/{case['model']}")
        before = model.state_dict()
        exact, single = (run(model, case, inputs, labels, t) for t in (torch.float64, torch.float32))
        changed = [k for k, v in exact.items() if v.is_floating_point() and not torch.equal(v.float(), before[k])]
        error = max(worst(single[k], exact[k]) for k in changed)
        tensors |= {f"{name}/{k}": exact[k] for k in changed}
        cases.append(dict(case, name=name, steps=STEPS, n_changed=len(changed), pytorch_fp32=float(f"{error:.2e}")))
        print(f"{name:16} {len(changed)} tensors, PyTorch's own fp32 error {error:.1e}")
    write_tensors(f"{HERE}/regular.safetensors", tensors)
    write_json(f"{HERE}/regular.json", {"batches": "resnet/train/batches.safetensors", "cases": cases})


if __name__ == "__main__":
    main()
