"""Makes ops.json and ops.safetensors beside this script: each op's value and gradients by PyTorch in double precision.

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
SEED = [1000]


def draw(*shape, scale=1.0):
    SEED[0] += 1
    return normal(shape, SEED[0], scale)


def case(name, op, attrs, inputs, run, constant=(), extra=None):
    """Runs `run` on the inputs in double; stores inputs, output y, a random dy and the gradient of each input not constant."""
    exact = {k: v.double() if v.is_floating_point() else v for k, v in inputs.items()}
    grads = [k for k, v in exact.items() if v.is_floating_point() and k not in constant]
    for k in grads:
        exact[k].requires_grad_(True)
    y = run(**exact)
    dy = draw(*y.shape).double() if y.dim() else torch.ones((), dtype=torch.float64)
    y.backward(dy)
    tensors = dict(inputs) | {"y": y, "dy": dy} | {f"d{k}": exact[k].grad for k in grads}
    for k, v in (extra() if extra else {}).items():
        tensors[k] = v
    CASES.append({"name": name, "op": op, "attrs": attrs, "inputs": list(inputs), "outputs": ["y"] + list((extra or dict)()),
                  "gradients": [f"d{k}" for k in grads]})
    TENSORS.update({f"{name}/{k}": v for k, v in tensors.items()})


def convolutions():
    table = [  # name, N, C_in, C_out, H, W, kernel, stride, pad, dilation, groups, bias
        ("1x1", 2, 6, 5, 7, 6, (1, 1), (1, 1), (0, 0), (1, 1), 1, True),
        ("1x1_s2", 2, 6, 5, 7, 6, (1, 1), (2, 2), (0, 0), (1, 1), 1, False),
        ("3x3", 2, 4, 6, 7, 6, (3, 3), (1, 1), (1, 1), (1, 1), 1, True),
        ("3x3_s2", 2, 4, 6, 8, 7, (3, 3), (2, 2), (1, 1), (1, 1), 1, False),
        ("3x3_nopad", 1, 3, 4, 6, 5, (3, 3), (1, 1), (0, 0), (1, 1), 1, True),
        ("3x3_d2", 1, 3, 4, 9, 8, (3, 3), (1, 1), (2, 2), (2, 2), 1, True),
        ("3x3_g2", 2, 6, 4, 6, 6, (3, 3), (1, 1), (1, 1), (1, 1), 2, True),
        ("3x3_depthwise", 2, 5, 5, 6, 7, (3, 3), (2, 2), (1, 1), (1, 1), 5, False),
        ("5x3_uneven", 1, 3, 4, 9, 8, (5, 3), (2, 1), (2, 0), (1, 2), 1, True),
        ("7x7_s2", 1, 3, 8, 17, 15, (7, 7), (2, 2), (3, 3), (1, 1), 1, False),
        ("16_channels", 2, 16, 16, 5, 5, (3, 3), (1, 1), (1, 1), (1, 1), 1, True),
    ]
    for name, n, c_in, c_out, h, w, kernel, stride, pad, dilation, groups, bias in table:
        inputs = {"x": draw(n, c_in, h, w), "w": draw(c_out, c_in // groups, *kernel, scale=0.3)}
        if bias:
            inputs["b"] = draw(c_out)
        attrs = {"kernel": kernel, "stride": stride, "pad": pad, "dilation": dilation, "groups": groups}

        def run(x, w, b=None, s=stride, p=pad, d=dilation, g=groups):
            return F.conv2d(x, w, b, s, p, d, g)
        case(f"conv2d_{name}", "conv2d", attrs, inputs, run)


def pools():
    ties = torch.relu(torch.round(draw(2, 3, 8, 7)))
    for name, x in (("maxpool", draw(2, 3, 9, 8)), ("maxpool_ties", ties)):
        case(name, "max_pool2d", {"kernel": [3, 3], "stride": [2, 2], "pad": [1, 1]}, {"x": x}, lambda x: F.max_pool2d(x, 3, 2, 1))
    case("maxpool_2x2", "max_pool2d", {"kernel": [2, 2], "stride": [2, 2], "pad": [0, 0]}, {"x": draw(1, 2, 7, 6)},
         lambda x: F.max_pool2d(x, 2, 2))
    for count in (True, False):
        attrs = {"kernel": [3, 3], "stride": [2, 2], "pad": [1, 1], "count_include_pad": count}
        case(f"avgpool_{'with' if count else 'without'}_pad", "avg_pool2d", attrs, {"x": draw(2, 3, 7, 6)},
             lambda x, c=count: F.avg_pool2d(x, 3, 2, 1, count_include_pad=c))
    case("avgpool_2x2", "avg_pool2d", {"kernel": [2, 2], "stride": [2, 2], "pad": [0, 0], "count_include_pad": True},
         {"x": draw(2, 3, 6, 4)}, lambda x: F.avg_pool2d(x, 2, 2))
    case("global_avg_pool", "global_avg_pool", {}, {"x": draw(2, 5, 4, 3)}, lambda x: x.mean((2, 3)))


def norms():
    for train in (True, False):
        mean, var = draw(4).double(), draw(4).double().abs() + 0.3
        after = {}
        state = {"running_mean": mean.float(), "running_var": var.float()}

        def run(x, gamma, beta, running_mean, running_var, t=train, keep=after):
            m, v = running_mean.clone(), running_var.clone()
            y = F.batch_norm(x, m, v, gamma, beta, t, 0.1, 1e-5)
            keep.update(new_mean=m, new_var=v)
            return y
        name = "batch_norm_train" if train else "batch_norm_eval"
        inputs = {"x": draw(3, 4, 5, 3) * 1.7 + 0.4, "gamma": draw(4), "beta": draw(4)} | state
        case(name, "batch_norm", {"eps": 1e-5, "momentum": 0.1, "train": train}, inputs, run, tuple(state), lambda k=after: dict(k))


def dense():
    case("linear", "linear", {}, {"x": draw(3, 7), "w": draw(5, 7), "b": draw(5)},
         lambda x, w, b: F.linear(x, w, b))
    case("linear_nobias", "linear", {}, {"x": draw(4, 16), "w": draw(3, 16)}, lambda x, w: F.linear(x, w))
    case("relu", "relu", {}, {"x": draw(2, 3, 4, 5)}, torch.relu)
    case("add", "add", {}, {"x": draw(2, 3, 4), "z": draw(2, 3, 4)}, lambda x, z: x + z)


def losses():
    labels = torch.tensor([3, 0, 4, 1, 2, 4])
    weights = torch.tensor([0.5, 2.0, 1.0, 1.5, 0.25])
    soft = torch.softmax(draw(6, 5) * 2, 1)
    table = [("plain", labels, None, 0.0), ("smooth", labels, None, 0.1), ("weights", labels, weights, 0.0),
             ("smooth_weights", labels, weights, 0.2), ("soft", soft, None, 0.0), ("soft_smooth_weights", soft, weights, 0.1)]
    for name, target, weight, smoothing in table:
        inputs = {"x": draw(6, 5, scale=3.0), "target": target} | ({} if weight is None else {"class_weights": weight})

        def run(x, target, class_weights=None, s=smoothing):
            return F.cross_entropy(x, target, weight=class_weights, label_smoothing=s)
        case(f"cross_entropy_{name}", "cross_entropy", {"label_smoothing": smoothing}, inputs, run, ("target", "class_weights"))
    large = torch.tensor([[90.0, -80.0, 0.0], [-1e4, 1e4, 3.0]])
    case("cross_entropy_large", "cross_entropy", {"label_smoothing": 0.0}, {"x": large, "target": torch.tensor([0, 2])},
         lambda x, target: F.cross_entropy(x, target))
    case("bce_with_logits", "bce_with_logits", {}, {"x": draw(4, 5, scale=4.0), "target": (draw(4, 5) > 0).float()},
         lambda x, target: F.binary_cross_entropy_with_logits(x, target), ("target",))
    case("mse", "mse", {}, {"x": draw(4, 5), "target": draw(4, 5)}, lambda x, target: F.mse_loss(x, target), ("target",))


def imbalance():
    """Focal losses (as torchvision's sigmoid_focal_loss without alpha, and over a softmax) and logit adjustment."""
    labels = torch.tensor([3, 0, 4, 1, 2, 4])
    for gamma in (2.0, 0.5):
        def softmax_focal(x, target, g=gamma):
            log_p = F.log_softmax(x, 1).gather(1, target[:, None])[:, 0]
            return (-(1 - log_p.exp()) ** g * log_p).mean()

        def sigmoid_focal(x, target, g=gamma):
            p = torch.sigmoid(x)
            p_t = p * target + (1 - p) * (1 - target)
            return (F.binary_cross_entropy_with_logits(x, target, reduction="none") * (1 - p_t) ** g).mean()
        attrs = {"gamma": gamma, "label_smoothing": 0.0}
        case(f"focal_{gamma:g}", "focal", attrs, {"x": draw(6, 5, scale=3.0), "target": labels}, softmax_focal, ("target",))
        case(f"focal_logits_{gamma:g}", "focal_logits", attrs,
             {"x": draw(4, 5, scale=4.0), "target": (draw(4, 5) > 0).float()}, sigmoid_focal, ("target",))
    row = torch.log(torch.tensor([0.5, 0.25, 0.15, 0.07, 0.03]))
    case("logit_adjustment", "logit_adjustment", {"label_smoothing": 0.0}, {"x": draw(6, 5, scale=3.0), "target": labels, "row": row},
         lambda x, target, row: F.cross_entropy(x + row, target), ("target", "row"))


def main():
    for group in (convolutions, pools, norms, dense, losses, imbalance):
        group()
    write_tensors(f"{HERE}/ops.safetensors", TENSORS)
    write_json(f"{HERE}/ops.json", {"tensors": "ops.safetensors", "cases": CASES})
    print(f"{len(CASES)} cases, {sum(t.numel() for t in TENSORS.values()) * 4 // 1024} KiB")


if __name__ == "__main__":
    main()
