"""Makes attention.json and attention.safetensors beside this script: PyTorch's scaled_dot_product_attention and its gradients
over texts that lie one after the other, in double precision.

../README.md says what the files hold. The same seeds give the same files.
"""

import os
import sys

import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from common import normal, write_json, write_tensors  # noqa: E402

# name, heads, width of a head, lengths of the texts, rows after the last, causal, scale (None: 1/sqrt(width))
TABLE = [
    ("sentences", 2, 16, [7, 1, 0, 12], 3, False, None),
    ("sentences_causal", 2, 16, [7, 1, 0, 12], 3, True, None),
    ("one_head", 1, 24, [17, 5], 0, False, 0.3),
    ("odd_width", 3, 5, [33], 2, False, None),
    ("odd_width_causal", 3, 5, [33], 2, True, None),
    ("large_scores", 2, 16, [16, 9], 0, False, 4.0),
]


def main():
    cases, tensors = [], {}
    for index, (name, heads, width, lengths, rest, causal, scale) in enumerate(TABLE):
        scale = scale or width ** -0.5
        rows, d = sum(lengths) + rest, heads * width
        q, k, v = (normal((rows, d), 7000 + 10 * index + i).double().requires_grad_(True) for i in range(3))
        y, spans, first = torch.zeros(rows, d, dtype=torch.float64), [], 0
        for n in lengths:
            spans.append([first, n])
            if n:
                heads_of = [x[first:first + n].view(n, heads, width).transpose(0, 1) for x in (q, k, v)]
                text = F.scaled_dot_product_attention(*heads_of, is_causal=causal, scale=scale)
                y = torch.cat([y[:first], text.transpose(0, 1).reshape(n, d), y[first + n:]])
            first += n
        dy = normal((rows, d), 7005 + 10 * index).double()
        y.backward(dy)
        cases.append({"name": name, "heads": heads, "causal": causal, "scale": scale, "spans": spans})
        tensors.update({f"{name}/{role}": x for role, x in
                        {"q": q, "k": k, "v": v, "y": y, "dy": dy, "dq": q.grad, "dk": k.grad, "dv": v.grad}.items()})
    write_tensors(f"{HERE}/attention.safetensors", tensors)
    write_json(f"{HERE}/attention.json", {"tensors": "attention.safetensors", "cases": cases})


if __name__ == "__main__":
    main()
