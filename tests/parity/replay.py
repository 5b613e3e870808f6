"""Loads a model folder that graft wrote in Transformers (or timm) and replays the probe inputs it carries.

    replay.py OUT... [--tolerance 1e-5]

OUT/graft_probe.safetensors holds "inputs" [n,C,H,W], already preprocessed, and "logits" [n,K]. Prints one line a folder;
exit status 0 when every folder loads without a missing, unexpected or mis-shaped key and gives the same logits.
"""

import argparse
import json
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import numpy as np  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402


def open_transformers(folder, config, shape):
    from PIL import Image
    from transformers import AutoImageProcessor, AutoModelForImageClassification
    from transformers.utils import logging
    logging.set_verbosity_error()
    model, info = AutoModelForImageClassification.from_pretrained(folder, output_loading_info=True)
    problems = [f"{kind}: {sorted(map(str, names))}" for kind, names in info.items() if names]
    labels = [config["id2label"][k] for k in config["id2label"]]
    if [model.config.id2label[i] for i in range(model.config.num_labels)] != labels:
        problems.append("id2label is read in another order")
    if {v: k for k, v in model.config.id2label.items()} != dict(model.config.label2id):
        problems.append("label2id does not mirror id2label")
    processor = AutoImageProcessor.from_pretrained(folder)
    grey = shape[0] == 1
    noise = np.random.default_rng(0).integers(0, 256, (70, 90) if grey else (70, 90, 3), dtype=np.uint8)
    try:
        pixels = processor(Image.fromarray(noise), return_tensors="pt")["pixel_values"]
        if tuple(pixels.shape[1:]) != tuple(shape):
            problems.append(f"the processor gives {tuple(pixels.shape[1:])}, the probes are {tuple(shape)}")
    except (ValueError, RuntimeError) as error:
        if not grey:
            raise
        print(f"note: {folder}: Transformers' processor does not take grey pictures ({error})", file=sys.stderr)
    model.eval()
    return (lambda x: model(x).logits), problems


def open_timm(folder, config, shape):
    import timm
    problems = []
    model = timm.create_model(f"local-dir:{folder}", pretrained=True)
    state = load_file(f"{folder}/model.safetensors")
    names = set(model.state_dict())
    if names ^ set(state):
        problems.append(f"names differ: {sorted(names ^ set(state))[:6]}")
    data = timm.data.resolve_data_config({}, model=model)
    if tuple(data["input_size"]) != tuple(shape):
        problems.append(f"timm's input_size is {data['input_size']}, the probes are {tuple(shape)}")
    model.eval()
    return model, problems


def replay(folder, tolerance):
    with open(f"{folder}/config.json") as f:
        config = json.load(f)
    probe = load_file(f"{folder}/graft_probe.safetensors")
    inputs, logits = probe["inputs"], probe["logits"]
    kind = "Transformers" if "model_type" in config else "timm"
    run, problems = (open_transformers if kind == "Transformers" else open_timm)(folder, config, inputs.shape[1:])
    with torch.no_grad():
        theirs = run(inputs)
    if theirs.shape != logits.shape:
        problems.append(f"logits are {tuple(theirs.shape)}, the probes say {tuple(logits.shape)}")
        error = float("nan")
    else:
        error = ((theirs - logits).abs().max() / theirs.abs().max().clamp_min(1e-30)).item()
        if not error <= tolerance:
            problems.append(f"logits differ by {error:.2e} relative, more than {tolerance:.0e}")
    for problem in problems:
        print(f"{folder}: {kind}: {problem}")
    if not problems:
        print(f"OK {folder}: {kind} gives the same logits on {len(inputs)} probes, largest relative difference {error:.1e}")
    return not problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="OUT")
    parser.add_argument("--tolerance", type=float, default=1e-5)
    args = parser.parse_args()
    return 0 if all([replay(f.rstrip("/"), args.tolerance) for f in args.folders]) else 1


if __name__ == "__main__":
    sys.exit(main())
