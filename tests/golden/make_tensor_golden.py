"""Writes tests/golden/tensor/: small files by the real libraries, and broken ones made of bytes.

Needs torch, numpy and safetensors (made with torch 2.15.0, numpy 2.4.6, safetensors 0.8.0).
Run from the repository's root: python tests/golden/make_tensor_golden.py
"""

import argparse
import collections
import io
import json
import os
import pathlib
import pickle
import shutil
import struct
import zipfile

import numpy as np
import safetensors.torch
import torch

OUT = pathlib.Path("tests/golden/tensor")
TYPES = ["float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8",
         "uint64", "uint32", "uint16", "uint8", "bool"]


def typed():
    """One tensor [2, 3] of each type, with the values 0 to 5 (bool: their parity)."""
    out = {}
    for name in TYPES:
        x = torch.arange(6).reshape(2, 3)
        out["t." + name] = (x % 2 == 1) if name == "bool" else x.to(getattr(torch, name))
    out["scalar"] = torch.tensor(2.5)
    out["empty"] = torch.zeros(0, 4)
    return out


def halves():
    """f16 and bf16 patterns with their float values, and floats with the halves they round to."""
    patterns = np.concatenate([np.arange(0, 64), np.arange(1000, 1060), np.arange(0x3BF0, 0x3C10),
                               np.arange(0x7BF0, 0x7C08), np.arange(0x8000, 0x8020), np.arange(0xFBFF, 0xFC02)])
    bits = torch.from_numpy(patterns.astype(np.uint16))
    rng = np.random.default_rng(0)
    random_bits = rng.integers(0, 2**32, 200, dtype=np.uint32)
    exact = np.ldexp(1.0 + np.arange(16) / 4096, -15)  # around the least normal f16
    tiny = np.ldexp(np.arange(0, 80) / 8.0, -24)  # ties among subnormals of f16
    large = np.array([65504, 65519.996, 65520, 65535, 65536, 3.3895314e38, 3.4e38, np.inf, -np.inf, np.nan, -0.0])
    near = rng.normal(size=200)
    ties = np.float32(1) + np.arange(64, dtype=np.float32) * np.float32(2.0**-12)
    floats = np.concatenate([random_bits.view(np.float32), exact.astype(np.float32), tiny.astype(np.float32),
                             large.astype(np.float32), near.astype(np.float32), ties])
    f = torch.from_numpy(floats)
    f = f[~f.isnan() | (f.view(torch.int32) == 0x7FC00000)]
    return {
        "f16": bits.view(torch.float16), "f16.f32": bits.view(torch.float16).float(),
        "bf16": bits.clone().view(torch.bfloat16), "bf16.f32": bits.view(torch.bfloat16).float(),
        "floats": f, "floats.f16": f.to(torch.float16), "floats.bf16": f.to(torch.bfloat16),
    }


def safetensors_bytes(header, data, size=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + data


def entry(begin, end, shape, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def bad_safetensors():
    ab = {"a": entry(0, 8, [2]), "b": entry(8, 16, [2])}
    one = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'
    return {
        "header_past_end": safetensors_bytes(ab, bytes(16), size=10000),
        "header_huge": safetensors_bytes(ab, bytes(16), size=2**63),
        "header_space_first": safetensors_bytes(b" " + json.dumps(ab).encode(), bytes(16)),
        "header_not_json": safetensors_bytes(b"{\"a\":", bytes(16)),
        "header_list": safetensors_bytes(b"[]", b""),
        "overlap": safetensors_bytes({"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}, bytes(12)),
        "gap": safetensors_bytes({"a": entry(0, 8, [2]), "b": entry(12, 20, [2])}, bytes(20)),
        "gap_at_start": safetensors_bytes({"a": entry(4, 12, [2])}, bytes(12)),
        "duplicate": safetensors_bytes(one + b"," + one[1:] + b"}", bytes(8)),
        "trailing": safetensors_bytes(ab, bytes(17)),
        "truncated": safetensors_bytes(ab, bytes(15)),
        "wrong_size": safetensors_bytes({"a": entry(0, 8, [3])}, bytes(8)),
        "overflow": safetensors_bytes({"a": entry(0, 8, [2**40, 2**40])}, bytes(8)),
        "overflow_bytes": safetensors_bytes({"a": entry(0, 8, [2**62])}, bytes(8)),
        "negative_shape": safetensors_bytes({"a": entry(0, 8, [-2])}, bytes(8)),
        "negative_offset": safetensors_bytes({"a": entry(-8, 0, [2])}, bytes(8)),
        "reversed": safetensors_bytes({"a": entry(8, 0, [2])}, bytes(8)),
        "real_shape": safetensors_bytes({"a": entry(0, 8, [2.0])}, bytes(8)),
        "no_dtype": safetensors_bytes({"a": {"shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
        "no_offsets": safetensors_bytes({"a": {"dtype": "F32", "shape": [2]}}, bytes(8)),
        "entry_number": safetensors_bytes({"a": 3}, b""),
        "metadata_number": safetensors_bytes({"__metadata__": {"x": 1}, **ab}, bytes(16)),
        "unsupported_f8": safetensors_bytes({"a": entry(0, 2, [2], "F8_E4M3")}, bytes(2)),
        "unsupported_rank": safetensors_bytes({"a": entry(0, 4, [1] * 9)}, bytes(4)),
        "empty_file": b"",
        "short_file": b"\x02\0\0\0\0\0\0\0{",
    }


class Call:
    def __init__(self, fn, *args):
        self.call = (fn, args)

    def __reduce__(self):
        return self.call


COMMAND = "touch graft-pickle-ran"


def checkpoint():
    """What training scripts save: a state dict in a dict, with all that lies around it."""
    base = torch.arange(24, dtype=torch.float32)
    sd = collections.OrderedDict()
    for name, t in typed().items():
        sd["module." + name] = t
    sd["module.transposed"] = base.reshape(4, 6).t()
    sd["module.sliced"] = base.reshape(4, 6)[1:3, 2:5]
    sd["module.tail"] = base[20:]
    sd["module.expanded"] = torch.tensor([7.0]).expand(3, 2)
    sd["module.channels_last"] = base.reshape(1, 2, 3, 4).contiguous(memory_format=torch.channels_last)
    sd["module.parameter"] = torch.nn.Parameter(torch.full((2,), 1.5))
    sd._metadata = collections.OrderedDict({"": {"version": 1}})
    model = torch.nn.Linear(2, 2)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return {
        "epoch": 3, "best": 91.5, "big": 2**80, "negative": -5, "name": "réseau", "args": argparse.Namespace(lr=0.1),
        "state_dict": sd, "optimizer": optimiser.state_dict(), "set": {1, 2}, "numpy": np.float64(0.5),
        "path": pathlib.PurePosixPath("a/b"), "array": np.arange(3), "size": torch.Size([1, 2]), "none": None,
    }


def deflate(path, out):
    with zipfile.ZipFile(path) as a, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as b:
        for info in a.infolist():
            b.writestr(info.filename, a.read(info))


def zip_with_pickle(path, data, members=()):
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("archive/data.pkl", data)
        z.writestr("archive/byteorder", "little")
        for name, content in members:
            z.writestr("archive/" + name, content)


def tensor_pickle(offset, size, stride, n=4):
    """A state dict of one tensor, made of opcodes so that it can lie."""
    def ints(values):
        return b"(" + b"".join(b"J" + struct.pack("<i", v) for v in values) + b"t"
    return (b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n"
            b"X\x01\0\0\0" + b"0X\x03\0\0\0cpuJ" + struct.pack("<i", n) + b"tQJ" + struct.pack("<i", offset)
            + ints(size) + ints(stride) + b"\x89}tRs.")


def torch_files():
    value = checkpoint()
    torch.save(value, OUT / "checkpoint_zip.pth")
    torch.save(value, OUT / "checkpoint_protocol4.pth", pickle_protocol=4)
    torch.save(value, OUT / "checkpoint_legacy.pth", _use_new_zipfile_serialization=False)
    deflate(OUT / "checkpoint_zip.pth", OUT / "checkpoint_deflated.pth")
    torch.save({"w": torch.tensor([1.0, 2.0]), "step": 5}, OUT / "plain.pth")
    torch.save({"_orig_mod.module.w": torch.tensor([1.0])}, OUT / "wrapped.pth")
    torch.save({"w": torch.tensor([1 + 2j])}, OUT / "bad_complex.pth")
    torch.save(torch.nn.Linear(2, 2), OUT / "bad_whole_model.pth")
    torch.save({"epoch": 3}, OUT / "bad_no_tensors.pth")
    torch.save({"w": torch.zeros(2), "x": Call(os.system, COMMAND)}, OUT / "evil_system.pth")
    torch.save({"x": Call(os.system, COMMAND)}, OUT / "evil_legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(Call(eval, "__import__('os').system('%s')" % COMMAND), OUT / "evil_eval.pth", pickle_protocol=4)
    zip_with_pickle(OUT / "evil_inst.pth", b"(S'%s'\nios\nsystem\n." % COMMAND.encode())
    zip_with_pickle(OUT / "evil_getattr.pth",
                    b"cbuiltins\ngetattr\n(cbuiltins\n__import__\nS'os'\ntRS'system'\ntR(S'%s'\ntR." % COMMAND.encode())
    zip_with_pickle(OUT / "evil_storage_class.pth", b"\x80\x02(X\x07\0\0\0storagecos\nsystem\nX\x01\0\0\0" b"0X\x03\0\0\0cpuK\x04tQ.")
    four = [("data/0", struct.pack("<4f", 0, 1, 2, 3))]
    lies = {"past_end": (2, [3], [1]), "stride": (0, [2, 2], [3, 1]), "negative": (0, [-1], [1]),
            "bomb": (0, [2**30, 2**30], [0, 0]), "bomb_bytes": (0, [2**28], [0]), "overflow": (0, [2**30] * 4, [2**30] * 4)}
    for name, (offset, size, stride) in lies.items():
        zip_with_pickle(OUT / f"bad_view_{name}.pth", tensor_pickle(offset, size, stride), four)
    zip_with_pickle(OUT / "good_view.pth", tensor_pickle(1, [3], [1]), four)
    zip_with_pickle(OUT / "bad_storage_missing.pth", tensor_pickle(0, [4], [1]))
    zip_with_pickle(OUT / "bad_pickle_cut.pth", tensor_pickle(0, [4], [1])[:-9], four)
    zip_with_pickle(OUT / "bad_memo.pth", b"\x80\x02h\x05.", four)
    good = (OUT / "good_view.pth").read_bytes()
    at = good.index(struct.pack("<4f", 0, 1, 2, 3))
    (OUT / "bad_checksum.pth").write_bytes(good[:at + 5] + b"\xff" + good[at + 6:])
    (OUT / "bad_zip_cut.pth").write_bytes(good[:-40])
    legacy = (OUT / "checkpoint_legacy.pth").read_bytes()
    (OUT / "bad_legacy_cut.pth").write_bytes(legacy[:-30])
    (OUT / "bad_plain_pickle.pkl").write_bytes(pickle.dumps({"w": [1.0]}, protocol=2))
    script = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), script)
    (OUT / "bad_torchscript.pt").write_bytes(script.getvalue())


def npy_bytes(header, data=b""):
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def numpy_files():
    x = np.arange(24).reshape(2, 3, 4)
    for name in ["float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8"]:
        np.save(OUT / f"{name}.npy", x.astype(name)[0, :2])
    np.save(OUT / "bool.npy", (x % 2 == 1)[0, :2])
    np.save(OUT / "fortran.npy", np.asfortranarray(x.astype("<f4")))
    np.save(OUT / "big.npy", x.astype(">f8"))
    np.save(OUT / "big_fortran.npy", np.asfortranarray(x.astype(">i2")))
    np.save(OUT / "scalar.npy", np.float32(2.5))
    np.save(OUT / "empty.npy", np.zeros((0, 5), "<f4"))
    np.save(OUT / "bad_record.npy", np.zeros(2, dtype=[("a", "<f4"), ("b", "<i4")]))
    np.save(OUT / "bad_object.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(OUT / "bad_text.npy", np.array(["ab"]))
    with open(OUT / "version2.npy", "wb") as f:
        np.lib.format.write_array(f, x.astype("<f4")[0, :2], version=(2, 0))
    np.savez(OUT / "stored.npz", x=x.astype("<f4"), y=np.arange(3))
    np.savez_compressed(OUT / "deflated.npz", x=x.astype("<f4"), y=np.arange(3))
    good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"
    bad = {
        "cut": npy_bytes(good, bytes(7)), "trailing": npy_bytes(good, bytes(9)),
        "no_shape": npy_bytes("{'descr': '<f4', 'fortran_order': False}", bytes(8)),
        "negative": npy_bytes(good.replace("2,", "-2,"), bytes(8)),
        "overflow": npy_bytes(good.replace("2,", "4294967296, 4294967296, 4294967296"), bytes(8)),
        "huge_dimension": npy_bytes(good.replace("2,", "99999999999999999999,"), bytes(8)),
        "call": npy_bytes("{'descr': __import__('os'), 'fortran_order': False, 'shape': (2,)}", bytes(8)),
        "rank": npy_bytes(good.replace("2,", "1," * 9), bytes(4)),
        "header_past_end": b"\x93NUMPY\x01\x00\xff\xff{}", "version": b"\x93NUMPY\x09\x00\x02\x00{}  ",
        "repeated": npy_bytes("{'shape': (2,), 'shape': (2,), 'descr': '<f4', 'fortran_order': False}", bytes(8)),
    }
    for name, data in bad.items():
        (OUT / f"bad_{name}.npy").write_bytes(data)


def shard_files():
    folder = OUT / "sharded"
    folder.mkdir()
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    safetensors.torch.save_file({"a": torch.tensor([1.0]), "b": torch.tensor([2.0, 3.0])}, folder / names[0])
    safetensors.torch.save_file({"c": torch.tensor([4], dtype=torch.int64)}, folder / names[1])
    weight_map = {"a": names[0], "b": names[0], "c": names[1]}

    def index(path, changed):
        path.write_text(json.dumps({"metadata": {"total_size": 20}, "weight_map": {**weight_map, **changed}}, indent=2))
    index(folder / "model.safetensors.index.json", {})
    index(folder / "bad_escape.safetensors.index.json", {"c": "../all_types.safetensors"})
    index(folder / "bad_absent.safetensors.index.json", {"d": names[1]})
    index(folder / "bad_no_shard.safetensors.index.json", {"c": "model-00003-of-00003.safetensors"})
    shutil.copy(folder / names[0], folder / "copy.safetensors")
    index(folder / "bad_twice.safetensors.index.json", {"b": "copy.safetensors"})


def main():
    torch.manual_seed(0)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    safetensors.torch.save_file(typed(), OUT / "all_types.safetensors", metadata={"format": "pt"})
    safetensors.torch.save_file(halves(), OUT / "halves.safetensors")
    (OUT / "unordered.safetensors").write_bytes(safetensors_bytes(
        {"b/ü": entry(4, 12, [2]), "": entry(12, 12, [0]), "a": entry(0, 4, [])}, struct.pack("<3f", 1, 2, 3)))
    for name, data in bad_safetensors().items():
        (OUT / f"bad_{name}.safetensors").write_bytes(data)
    torch_files()
    numpy_files()
    shard_files()


if __name__ == "__main__":
    main()
