"""Loads an adapter's folder that graft wrote in peft, on the base model that its config names, and replays the probe inputs it
carries.

    replay_adapter.py OUT... [--tolerance 1e-5]

Prints one line a folder; exit status 0 when every folder loads without a missing or unexpected key and gives the same logits.
A folder of sentence-transformers is opened by that package. Of models whose modules are called otherwise in Transformers 4 and 5
a folder holds both names of each tensor: run this with an interpreter of either version.
"""

import argparse
import json
import os
import sys
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import peft  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from replay_text import batches  # noqa: E402


# Parts of names in memory of ViT and DeiT, in Transformers 4 and 5.
VERSIONS = [("encoder.layer.", "layers."), ("attention.attention.query.", "attention.q_proj."),
            ("attention.attention.key.", "attention.k_proj."), ("attention.attention.value.", "attention.v_proj."),
            ("attention.output.dense.", "attention.o_proj."), ("intermediate.dense.", "mlp.fc1."),
            ("output.dense.", "mlp.fc2.")]


def other_name(name):
    """The name that the other version has for it."""
    old = VERSIONS[0][0] in name
    for four, five in VERSIONS:
        name = name.replace(four, five) if old else name.replace(five, four)
    return name


def open_base(base, folder, config):
    """The base under the class that the folder's config names, its head as wide as the folder's."""
    if "architectures" not in config:
        import timm
        return timm.create_model(f"local-dir:{base}", pretrained=True, num_classes=config["num_classes"])
    kind = getattr(transformers, config["architectures"][0])
    own = transformers.AutoConfig.from_pretrained(f"{folder}/graft_config.json")
    return kind.from_pretrained(base, config=own, ignore_mismatched_sizes=True)


def open_peft(folder, config, adapter):
    model = peft.PeftModel(open_base(adapter["base_model_name_or_path"], folder, config),
                           peft.LoraConfig.from_pretrained(folder))
    found = model.load_adapter(folder, "default")
    missing = [k for k in found.missing_keys if "lora_" in k or "modules_to_save" in k]
    problems = [f"missing: {missing[:6]}"] if missing else []
    stored = load_file(f"{folder}/adapter_model.safetensors")
    unexpected = [k for k in found.unexpected_keys if other_name(k) == k or other_name(k) in found.unexpected_keys
                  or other_name(k) not in stored or not torch.equal(stored[k], stored[other_name(k)])]
    problems += [f"unexpected: {unexpected[:6]}"] if unexpected else []
    return model.eval(), problems


def run_texts(model, probe):
    pad = model.config.pad_token_id
    for ids, types, mask in batches(probe):
        extra = {"token_type_ids": types} if getattr(model.config, "type_vocab_size", 1) > 1 else {}
        logits = model(input_ids=ids if pad is None else ids.masked_fill(mask == 0, pad), attention_mask=mask, **extra).logits
        yield logits if logits.dim() == 2 else logits[mask == 1]


def run_sentences(folder, probe):
    from sentence_transformers import SentenceTransformer
    model = SentenceTransformer(folder, device="cpu").eval()
    for ids, types, mask in batches(probe):
        yield model({"input_ids": ids, "token_type_ids": types, "attention_mask": mask})["sentence_embedding"]


def replay(folder, tolerance):
    with open(f"{folder}/graft_config.json") as f:
        config = json.load(f)
    with open(f"{folder}/adapter_config.json") as f:
        adapter = json.load(f)
    probe, problems = load_file(f"{folder}/graft_probe.safetensors"), []
    sentence = os.path.exists(f"{folder}/modules.json")
    with torch.no_grad():
        if sentence:
            rows = list(run_sentences(folder, probe))
        else:
            model, problems = open_peft(folder, config, adapter)
            rows = list(run_texts(model, probe)) if "spans" in probe else None
        if rows is None:
            out = model(probe["inputs"])
            theirs = [out.logits if hasattr(out, "logits") else out]
        else:
            theirs = [torch.cat(rows[:-1]), rows[-1]]
    error = max(((t - probe["logits"]).abs().max() / t.abs().max().clamp_min(1e-30)).item() for t in theirs)
    if not error <= tolerance:
        problems.append(f"logits differ by {error:.2e} relative, more than {tolerance:.0e}")
    name = "sentence-transformers" if sentence else "peft"
    for problem in problems:
        print(f"{folder}: {name}: {problem}")
    if not problems:
        print(f"OK {folder}: {name} gives the same logits, largest relative difference {error:.1e}")
    return not problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="OUT")
    parser.add_argument("--tolerance", type=float, default=1e-5)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.utils.logging.set_verbosity_error()
    return 0 if all([replay(f.rstrip("/"), args.tolerance) for f in args.folders]) else 1


if __name__ == "__main__":
    sys.exit(main())
