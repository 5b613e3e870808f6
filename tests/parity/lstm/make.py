"""Makes lstm.safetensors beside this script: bidirectional torch.nn.LSTM layers over packed texts, in double precision.

../README.md says what the file holds. The same seeds give the same file.
"""

import os
import sys

import torch
from torch.nn.utils.rnn import pack_sequence, unpack_sequence

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from common import normal, write_tensors  # noqa: E402


def case(name, lengths, n_in, size, bias, seed):
    torch.manual_seed(seed)
    lstm = torch.nn.LSTM(n_in, size, bidirectional=True, bias=bias).double()
    with torch.no_grad():
        for p in lstm.parameters():
            p.copy_(p.float().double())
    x = normal((sum(lengths), n_in), seed).double().requires_grad_(True)
    dy = normal((sum(lengths), 2 * size), seed + 1).double()
    texts = pack_sequence(list(torch.split(x, [n for n in lengths if n])), enforce_sorted=False)
    y = torch.cat(unpack_sequence(lstm(texts)[0]))
    y.backward(dy)
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    found = {"x": x, "y": y, "dy": dy, "dx": x.grad,
             "spans": torch.tensor([[s, n] for s, n in zip(starts, lengths)], dtype=torch.int32)}
    for leaf, p in lstm.named_parameters():
        found[leaf], found[f"d{leaf}"] = p, p.grad
    return {f"{name}/{k}": v for k, v in found.items()}


if __name__ == "__main__":
    write_tensors(os.path.join(HERE, "lstm.safetensors"),
                  case("texts", [4, 1, 7, 0, 3], 5, 6, True, 70) | case("without_bias", [3, 2], 3, 2, False, 80))
