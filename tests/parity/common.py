"""What the golden makers share: seeded tensors, safetensors files, training steps in double precision."""

import json
import os

import torch
import torch.nn.functional as F
from safetensors.torch import save_file


def generator(seed):
    return torch.Generator().manual_seed(seed)


def normal(shape, seed, scale=1.0):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float32) * scale


def write_tensors(path, tensors):
    """Writes a safetensors file of contiguous copies, floats as float32."""
    out = {}
    for name, value in tensors.items():
        value = value.detach()
        out[name] = (value.float() if value.is_floating_point() else value).contiguous().clone()
    save_file(out, path, metadata={"format": "pt"})
    os.chmod(path, 0o644)


def write_json(path, value):
    with open(path, "w") as f:
        json.dump(value, f, indent=2)
        f.write("\n")


def last_norms(model):
    """The batch norm that ends each residual branch, by Transformers' and by timm's names."""
    for module in model.modules():
        if hasattr(module, "shortcut") and hasattr(module, "layer"):
            yield module.layer[-1].normalization
        elif hasattr(module, "drop_path") and hasattr(module, "bn2"):
            yield getattr(module, "bn3", module.bn2)


def randomise(model, seed, residual=1.0):
    """Weights at Kaiming's scale, and batch norms as after training: statistics and affines far from 0 and 1.

    `residual` scales what each branch adds: deep random networks need it small, or their training is chaotic and no two
    correct implementations agree.
    """
    g = generator(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.copy_(0.5 + torch.rand(module.weight.shape, generator=g))
                module.bias.copy_(0.2 * torch.randn(module.bias.shape, generator=g))
                module.running_mean.copy_(0.2 * torch.randn(module.running_mean.shape, generator=g))
                module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=g))
                module.num_batches_tracked.fill_(7)
            elif isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
                fan_in = module.weight[0].numel()
                std = (2.0 / fan_in) ** 0.5 if isinstance(module, torch.nn.Conv2d) else (1.0 / fan_in) ** 0.5
                module.weight.copy_(std * torch.randn(module.weight.shape, generator=g))
                if module.bias is not None:
                    module.bias.copy_(0.1 * torch.randn(module.bias.shape, generator=g))
        for norm in last_norms(model):
            norm.weight.mul_(residual)


def make_optimizer(options, params):
    kind = options["kind"]
    lr, decay = options["lr"], options["weight_decay"]
    if kind == "sgd":
        return torch.optim.SGD(params, lr=lr, momentum=options["momentum"], weight_decay=decay, nesterov=options["nesterov"])
    cls = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[kind]
    return cls(params, lr=lr, betas=tuple(options["betas"]), eps=options["eps"], weight_decay=decay)


def train(model, logits_of, case, inputs, targets, dtype, steps):
    """Runs the case's steps in `dtype`; returns the losses, the norms before clipping and the state after step 1."""
    model = model.to(dtype)
    model.train()
    if case["batch_norm"] == "frozen":
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
    optimizer = make_optimizer(case["optimizer"], model.parameters())
    weights = case["class_weights"]
    weights = None if weights is None else torch.tensor(weights, dtype=dtype)
    losses, norms, after, first_logits = [], [], None, None
    for step in range(steps):
        x = inputs[step % len(inputs)].to(dtype)
        y = targets[step % len(targets)]
        y = y.to(dtype) if y.is_floating_point() else y
        optimizer.zero_grad()
        logits = logits_of(model, x)
        loss = F.cross_entropy(logits, y, weight=weights, label_smoothing=case["label_smoothing"])
        loss.backward()
        limit = case["clip_norm"]
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), float("inf") if limit is None else limit)
        optimizer.step()
        losses.append(loss.item())
        norms.append(norm.item())
        if step == 0:
            first_logits = logits.detach().clone()
            after = {name: value.detach().clone() for name, value in model.state_dict().items()}
    return losses, norms, first_logits, after


def worst(a, b):
    """Largest difference of two tensors relative to the second's largest magnitude."""
    a, b = a.double(), b.double()
    return ((a - b).abs().max() / b.abs().max().clamp_min(1e-30)).item()


def ensure(path):
    os.makedirs(path, exist_ok=True)
    return path
