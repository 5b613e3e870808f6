"""Loads a text model's folder that graft wrote in Transformers (or sentence-transformers) and replays the probe texts it
carries, one by one and in a padded batch.

    replay_text.py OUT... [--tolerance 1e-5]

OUT/graft_probe.safetensors holds "input_ids", "token_type_ids" [T], "spans" [N,2] (first token, number of tokens) and
"logits" [N,K], of a model that answers for each token [T,K]. Prints one line a folder; exit status 0 when every folder loads
without a missing, unexpected or mis-shaped key and gives the same logits.
"""

import argparse
import json
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import load_file  # noqa: E402


def batches(probe):
    """Every text alone, then all of them filled up to the longest: rows of ids, types and mask, and where each lies."""
    ids, types, spans = probe["input_ids"].long(), probe["token_type_ids"].long(), probe["spans"].tolist()
    for first, n in spans:
        yield ids[None, first:first + n], types[None, first:first + n], torch.ones((1, n), dtype=torch.int64)
    longest = max(n for _, n in spans)
    rows = [[torch.nn.functional.pad(v[first:first + n], (0, longest - n)) for first, n in spans]
            for v in (ids, types, torch.ones_like(ids))]
    yield tuple(torch.stack(r) for r in rows)


def open_transformers(folder, config):
    kind = config["architectures"][0]
    auto = transformers.AutoModelForTokenClassification if kind.endswith("ForTokenClassification") else \
        transformers.AutoModelForSequenceClassification
    model, info = auto.from_pretrained(folder, output_loading_info=True)
    problems = [f"{what}: {sorted(map(str, names))}" for what, names in info.items() if names]
    if type(model).__name__ != kind:
        problems.append(f"it is a {type(model).__name__}, the config says {kind}")
    if list(model.config.id2label.values()) != list(config["id2label"].values()):
        problems.append("id2label is read in another order")
    if {v: k for k, v in model.config.id2label.items()} != dict(model.config.label2id):
        problems.append("label2id does not mirror id2label")
    model.eval()
    pad = model.config.pad_token_id

    def run(ids, types, mask):
        extra = {"token_type_ids": types} if getattr(model.config, "type_vocab_size", 1) > 1 else {}
        filled = ids if pad is None else ids.masked_fill(mask == 0, pad)
        logits = model(input_ids=filled, attention_mask=mask, **extra).logits
        return logits if logits.dim() == 2 else logits[mask == 1]

    return run, problems


def open_sentence(folder):
    from sentence_transformers import SentenceTransformer
    problems = []
    model = SentenceTransformer(folder, device="cpu").eval()
    names, held = set(load_file(f"{folder}/model.safetensors")), set(model[0].state_dict())
    strip = lambda name: name.removeprefix("auto_model.").removeprefix("model.").removeprefix("bert.")  # noqa: E731
    missing = {n for n in {strip(n) for n in held} ^ {strip(n) for n in names} if "position_ids" not in n}
    if missing:
        problems.append(f"names differ: {sorted(missing)[:6]}")

    def run(ids, types, mask):
        return model({"input_ids": ids, "token_type_ids": types, "attention_mask": mask})["sentence_embedding"]

    return run, problems


def replay(folder, tolerance):
    with open(f"{folder}/config.json") as f:
        config = json.load(f)
    probe = load_file(f"{folder}/graft_probe.safetensors")
    sentence = os.path.exists(f"{folder}/modules.json")
    name = "sentence-transformers" if sentence else "Transformers"
    run, problems = open_sentence(folder) if sentence else open_transformers(folder, config)
    with torch.no_grad():
        *alone, together = [run(*b) for b in batches(probe)]
    logits, error = probe["logits"], 0.0
    for how, theirs in (("one by one", torch.cat(alone)), ("in a batch", together)):
        if theirs.shape != logits.shape:
            problems.append(f"logits are {tuple(theirs.shape)}, the probes say {tuple(logits.shape)}")
            continue
        difference = ((theirs - logits).abs().max() / theirs.abs().max().clamp_min(1e-30)).item()
        error = max(error, difference)
        if not difference <= tolerance:
            problems.append(f"logits {how} differ by {difference:.2e} relative, more than {tolerance:.0e}")
    for problem in problems:
        print(f"{folder}: {name}: {problem}")
    if not problems:
        print(f"OK {folder}: {name} gives the same logits on {len(probe['spans'])} texts, largest relative difference {error:.1e}")
    return not problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="OUT")
    parser.add_argument("--tolerance", type=float, default=1e-5)
    args = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return 0 if all([replay(f.rstrip("/"), args.tolerance) for f in args.folders]) else 1


if __name__ == "__main__":
    sys.exit(main())
