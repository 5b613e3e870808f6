"""Makes text_ops.json and text_ops.safetensors beside this script: the ops of texts and their gradients by PyTorch in double
precision, texts lying one after the other.

../README.md says what the files hold. The same seeds give the same files.
"""

import os
import sys

import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from common import normal, write_json, write_tensors  # noqa: E402

CASES, TENSORS = [], {}
SEED = [8000]
LENGTHS, ROWS = [5, 1, 0, 4], 12  # the last two rows are padding
SPANS = torch.tensor([[0, 5], [5, 1], [6, 0], [6, 4]], dtype=torch.int32)


def draw(*shape, scale=1.0):
    SEED[0] += 1
    return normal(shape, SEED[0], scale)


def case(name, op, attrs, inputs, run):
    exact = {k: v.double().requires_grad_(True) if v.is_floating_point() else v for k, v in inputs.items()}
    y = run(**exact)
    dy = draw(*y.shape).double()
    y.backward(dy)
    grads = [k for k, v in exact.items() if v.is_floating_point()]
    CASES.append({"name": name, "op": op, "attrs": attrs, "gradients": [f"d{k}" for k in grads]})
    tensors = dict(inputs) | {"y": y, "dy": dy} | {f"d{k}": exact[k].grad for k in grads}
    TENSORS.update({f"{name}/{k}": v for k, v in tensors.items()})


def per_text(x, spans, one):
    """`one` of each text's rows, stacked; zeros for a text without any."""
    rows = [one(x[first:first + n]) if n else x.new_zeros(x.shape[1]) for first, n in spans.tolist()]
    return torch.stack(rows)


def convolve(x, spans, w, width):
    """Conv1d over each text alone; w is (O, width D), as token_window lays a window out."""
    kernel = w.view(w.shape[0], width, -1).transpose(1, 2)
    before = (width - 1) // 2
    out = x.new_zeros(x.shape[0], w.shape[0])
    for first, n in spans.tolist():
        if n:
            padded = F.pad(x[first:first + n].T, (before, width - 1 - before))
            text = F.conv1d(padded.unsqueeze(0), kernel)[0].T
            out = torch.cat([out[:first], text, out[first + n:]])
    return out


def main():
    ids = torch.tensor([3, 0, 8, 3, 3, 5], dtype=torch.int32)
    case("embedding", "embedding", {}, {"table": draw(9, 7), "ids": ids}, lambda table, ids: F.embedding(ids.long(), table))
    for name, eps, beta in (("layer_norm", 1e-12, True), ("layer_norm_without_beta", 1e-5, False)):
        inputs = {"x": draw(5, 24) * 1.5 + 0.7, "gamma": draw(24)} | ({"beta": draw(24)} if beta else {})
        case(name, "layer_norm", {"eps": eps}, inputs,
             lambda x, gamma, beta=None, e=eps: F.layer_norm(x, (24,), gamma, beta, e))
    acts = {"gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "tanh": torch.tanh,
            "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x), "silu": F.silu}
    for name, act in acts.items():
        case(name, "activation", {"act": name}, {"x": draw(6, 17, scale=2.5)}, lambda x, a=act: a(x))
    case("linear_in_out", "linear_in_out", {}, {"x": draw(4, 7), "w": draw(7, 5), "b": draw(5)}, lambda x, w, b: x @ w + b)
    case("columns", "columns", {"first": 3, "count": 8}, {"x": draw(5, 17)}, lambda x: x[:, 3:11])
    kinds = {"mean": lambda r: r.sum(0) / max(len(r), 1e-9), "first": lambda r: r[0], "last": lambda r: r[-1],
             "max": lambda r: r.max(0).values}
    for name, one in kinds.items():
        case(f"span_{name}", "span_pool", {"kind": name}, {"x": draw(ROWS, 9), "spans": SPANS},
             lambda x, spans, o=one: per_text(x, spans, o))
    case("unit_rows", "unit_rows", {}, {"x": draw(4, 16, scale=3.0)}, lambda x: F.normalize(x, p=2, dim=1))
    for width in (3, 4, 5):
        case(f"convolution_{width}", "convolution", {"width": width},
             {"x": draw(ROWS, 6), "spans": SPANS, "w": draw(4, width * 6, scale=0.3)},
             lambda x, spans, w, k=width: convolve(x, spans, w, k))
    write_tensors(f"{HERE}/text_ops.safetensors", TENSORS)
    write_json(f"{HERE}/text_ops.json", {"tensors": "text_ops.safetensors", "cases": CASES})
    print(f"{len(CASES)} cases, {sum(t.numel() for t in TENSORS.values()) * 4 // 1024} KiB")


if __name__ == "__main__":
    main()
