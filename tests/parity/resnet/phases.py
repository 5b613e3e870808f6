"""Golden values of training in phases: which parameters train changes, the optimiser goes on.

    python phases.py        needs torch, transformers, safetensors (../requirements.txt); writes phases/

One PyTorch optimiser sees a run from start to end; parameters join it (add_param_group) in the phase that first trains
them, so that moments and Adam's step counts are by parameter. A parameter that rests has no gradient, and is left as it
is, moments too. Batch norms that have a trained scale use the batch's statistics where the case says so, all others the
running ones.
"""

import copy
import os
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers import ResNetForImageClassification

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from common import ensure, make_optimizer, worst, write_json, write_tensors  # noqa: E402

SGD = dict(kind="sgd", lr=0.02, momentum=0.9, weight_decay=1e-2, nesterov=True)
ADAMW = dict(kind="adamw", lr=1e-3, betas=[0.9, 0.999], eps=1e-6, weight_decay=0.1)
CASES = {
    "lp_ft_adamw": dict(optimizer=ADAMW, batch_norm="frozen", clip_norm=1.0, phases=[["head", 3], ["full", 3]]),
    "lp_ft_sgd": dict(optimizer=SGD, batch_norm="train", clip_norm=None, phases=[["head", 3], ["full", 3]]),
    "gradual_adamw": dict(optimizer=ADAMW, batch_norm="train", clip_norm=None,
                          phases=[["head", 2], ["top:1", 2], ["top:2", 2]]),
    "gradual_sgd": dict(optimizer=SGD, batch_norm="frozen", clip_norm=1.0,
                        phases=[["head", 2], ["top:1", 2], ["top:2", 2]]),
    "resting_adamw": dict(optimizer=ADAMW, batch_norm="frozen", clip_norm=None,
                          phases=[["top:1", 2], ["head", 2], ["top:1", 2]]),
    "norm_only": dict(optimizer=ADAMW, batch_norm="train", clip_norm=None, phases=[["norm-only", 2]]),
    "bias_only": dict(optimizer=ADAMW, batch_norm="train", clip_norm=None, phases=[["bias-only", 2]]),
    "surgical": dict(optimizer=SGD, batch_norm="train", clip_norm=1.0, phases=[["surgical:stage2", 2]]),
}


def stage_of(name, n_stages):
    if name.startswith("classifier"):
        return n_stages + 1
    return int(name.split(".")[3]) + 1 if name.startswith("resnet.encoder") else 0


def trains(plan, name, n_stages):
    stage, head = stage_of(name, n_stages), n_stages + 1
    kind, _, argument = plan.partition(":")
    if kind == "head":
        return stage == head
    if kind == "top":
        return stage >= head - int(argument)
    if kind == "surgical":
        return stage in (head, int(argument.removeprefix("stage")))
    if kind == "norm-only":
        return stage == head or "normalization" in name
    if kind == "bias-only":
        return stage == head or name.endswith(".bias")
    return True


def start(model, plan, optimizer, case):
    """Marks the parameters and norms of a phase; those that are new join the optimiser, which it returns."""
    n_stages = len(model.config.depths)
    known = {id(p) for group in optimizer.param_groups for p in group["params"]} if optimizer else set()
    new = []
    for name, p in model.named_parameters():
        p.requires_grad_(trains(plan, name, n_stages))
        p.grad = None
        if p.requires_grad and id(p) not in known:
            new.append(p)
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and (case["batch_norm"] == "frozen" or not module.weight.requires_grad):
            module.eval()
    if optimizer is None:
        return make_optimizer(case["optimizer"], new)
    if new:
        optimizer.add_param_group({"params": new})
    return optimizer


def run(model, case, inputs, labels, dtype):
    model = model.to(dtype)
    optimizer, losses, after, step = None, [], None, 0
    for plan, steps in case["phases"]:
        optimizer = start(model, plan, optimizer, case)
        for i in range(steps):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs[step % 2].to(dtype)).logits, labels[step % 2])
            loss.backward()
            limit = float("inf") if case["clip_norm"] is None else case["clip_norm"]
            torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], limit)
            optimizer.step()
            losses.append(loss.item())
            step += 1
            if i == 0:
                after = {k: v.detach().clone() for k, v in model.state_dict().items()}
    return losses, after


def main():
    folder = ensure(f"{HERE}/phases")
    batches = load_file(f"{HERE}/train/batches.safetensors")
    model = ResNetForImageClassification.from_pretrained(f"{HERE}/hf_basic")
    before = copy.deepcopy(model.state_dict())
    for name, case in CASES.items():
        losses, after = run(copy.deepcopy(model), case, batches["inputs"], batches["labels"], torch.float64)
        single = run(copy.deepcopy(model), case, batches["inputs"], batches["labels"], torch.float32)
        changed = {k: v for k, v in after.items() if not torch.equal(v.to(before[k].dtype), before[k])}
        changed = {k: v for k, v in changed.items() if not k.endswith("num_batches_tracked")}
        write_tensors(f"{folder}/{name}.safetensors",
                      {"losses": torch.tensor(losses)} | {f"after.{k}": v for k, v in changed.items()})
        error = max(worst(single[1][k], v) for k, v in changed.items())
        drift = max(abs(a - b) / abs(b) for a, b in zip(single[0], losses))
        write_json(f"{folder}/{name}.json", case | {
            "model": "hf_basic", "n_changed": len(changed),
            "pytorch_fp32": {"weights": float(f"{error:.2e}"), "losses": float(f"{drift:.2e}")}})
        print(f"{name:16} loss {losses[0]:.4f} -> {losses[-1]:.4f}, {len(changed)} tensors, fp32 {error:.1e} {drift:.1e}")


if __name__ == "__main__":
    main()
