"""Makes the golden folders of low-rank adapters with peft, on the tiny models of ../text, ../resnet and ../vit (../README.md says
what they hold), and training steps of one of them (../text/train). The same seeds give the same files. An interpreter with
Transformers 4 makes the folders of that version's names alone."""

import copy
import importlib.util
import json
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import peft  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
PARITY = os.path.dirname(HERE)
sys.path.insert(0, PARITY)
from common import ensure, generator, normal, worst, write_json, write_tensors  # noqa: E402

spec = importlib.util.spec_from_file_location("text_make", f"{PARITY}/text/make.py")
text = importlib.util.module_from_spec(spec)
spec.loader.exec_module(text)

SEQUENCE, TOKENS, PICTURES = "AutoModelForSequenceClassification", "AutoModelForTokenClassification", "AutoModelForImageClassification"
# folder: (base, class, LoraConfig's options)
CASES = {
    "bert_query_value": ("text/bert_classes", SEQUENCE,
                         dict(task_type="SEQ_CLS", r=4, lora_alpha=8, target_modules=["query", "value"])),
    "roberta_all_linear": ("text/roberta_classes", SEQUENCE,
                           dict(task_type="SEQ_CLS", r=3, lora_alpha=5, use_rslora=True, target_modules="all-linear",
                                rank_pattern={"query": 2}, alpha_pattern={"layer.1.attention.self.key": 7})),
    "gpt2_attention": ("text/gpt2_classes", SEQUENCE,
                       dict(task_type="SEQ_CLS", r=4, lora_alpha=4, target_modules=["c_attn", "mlp.c_proj"],
                            fan_in_fan_out=True)),
    "distilbert_tags": ("text/distilbert_tags", TOKENS,
                        dict(task_type="TOKEN_CLS", r=2, lora_alpha=4, target_modules=["q_lin", "v_lin"])),
    "bert_dora": ("text/bert_classes", SEQUENCE,
                  dict(task_type="SEQ_CLS", r=4, lora_alpha=8, use_dora=True, target_modules=["query", "dense"],
                       modules_to_save=["classifier"], exclude_modules=["bert.pooler.dense"])),
    "bert_embeddings": ("text/bert_classes", SEQUENCE,
                        dict(task_type="SEQ_CLS", r=4, lora_alpha=8, target_modules=["word_embeddings", "key"])),
    "resnet_convolutions": ("resnet/hf_bottleneck", PICTURES,
                            dict(r=4, lora_alpha=8, target_modules=["convolution"], modules_to_save=["classifier.1"])),
    "vit_names_of_5": ("vit/vit_small", PICTURES,
                       dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "mlp.fc2"], modules_to_save=["classifier"],
                            rank_pattern={"q_proj": 2}, alpha_pattern={"layers.1.attention.v_proj": 3})),
}
CASES_OF_4 = {
    "vit_names_of_4": ("vit/vit_small", PICTURES,
                       dict(r=4, lora_alpha=8, target_modules=["query", "value", "attention.output.dense"],
                            modules_to_save=["classifier"], alpha_pattern={"layer.1.attention.attention.value": 3})),
}


def draw(model, seed):
    """Adapters and heads that matter."""
    g = generator(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if ".lora_" in name and "magnitude" not in name:
                p.copy_(0.3 * torch.randn(p.shape, generator=g))
            elif p.requires_grad and "magnitude" not in name:
                p.add_(0.2 * torch.randn(p.shape, generator=g))
            elif "magnitude" in name:
                p.mul_(1 + 0.2 * torch.rand(p.shape, generator=g))


def open_base(base, kind):
    options = {} if kind == PICTURES else dict(attn_implementation="eager")
    return getattr(transformers, kind).from_pretrained(f"{PARITY}/{base}", **options).eval()


def run_texts(model, texts):
    rows = []
    for x in text.each(texts):
        if not hasattr(model.config, "type_vocab_size"):
            x.pop("token_type_ids")
        rows.append(model(**x).logits.flatten(0, -2))
    return torch.cat(rows)


def sort_targets(path):
    """peft writes sets, in an order of the moment."""
    with open(path) as file:
        config = json.load(file)
    for key in ("target_modules", "modules_to_save"):
        if isinstance(config[key], list):
            config[key].sort()
    with open(path, "w") as file:
        file.write(json.dumps(config, indent=2, sort_keys=True))


def make(name, seed):
    base, kind, options = (CASES | CASES_OF_4)[name]
    folder = ensure(f"{HERE}/{name}")
    model = peft.get_peft_model(open_base(base, kind), peft.LoraConfig(**options)).eval()
    draw(model, seed)
    if kind == PICTURES:
        config = model.config
        inputs = {"inputs": normal((3, config.num_channels, 32, 32), seed + 1)}
        run = lambda m, x: m(pixel_values=x["inputs"].to(next(m.parameters()).dtype)).logits  # noqa: E731
    else:
        inputs = text.make_texts(text.LENGTHS, seed + 1, 2 if "roberta" in name else 0,
                                 getattr(model.config, "type_vocab_size", 1))
        run = run_texts
    with torch.no_grad():
        exact, single = run(copy.deepcopy(model).double(), inputs), run(model, inputs)
    model.peft_config["default"].base_model_name_or_path = f"../../{base}"
    model.save_pretrained(folder)
    os.remove(f"{folder}/README.md")
    sort_targets(f"{folder}/adapter_config.json")
    os.chmod(f"{folder}/adapter_model.safetensors", 0o644)
    write_tensors(f"{folder}/golden.safetensors", inputs | {"logits": exact})
    print(f"{name:24} PyTorch's own fp32 error on logits {worst(single, exact):.1e}")
    return model


def published(name):
    """A parameter's name in graft: that of the base, with lora_A and lora_B beside the weight."""
    return (name.replace("base_model.model.", "").replace(".default", "").replace(".modules_to_save", "")
            .replace(".base_layer", ""))


def run_for_training(model, x):
    x = dict(x)
    return None, model(**x).logits.flatten(0, -2)


def train(model, batches):
    """Ten steps of adapters and head, as graft fit --train lora has them."""
    folder = ensure(f"{PARITY}/text/train")
    case = dict(model="../lora/bert_query_value", task="classes", optimizer=text.ADAMW, clip_norm=1.0)

    def steps(dtype):
        m = copy.deepcopy(model).to(dtype).eval()
        params = [(n, p) for n, p in m.named_parameters() if p.requires_grad]
        for n, p in params:
            assert ".lora_" in n or "classifier" in n, n
        optimizer = text.make_optimizer(case["optimizer"], [p for _, p in params])
        losses, norms, after = [], [], None
        for step in range(text.N_STEPS):
            texts, answers = batches[step % text.N_BATCHES]
            optimizer.zero_grad()
            logits = torch.cat([run_for_training(m, x)[1] for x in text.each(texts)])
            loss = text.loss_of("classes", logits, answers["classes"])
            loss.backward()
            norms.append(torch.nn.utils.clip_grad_norm_([p for _, p in params], case["clip_norm"]).item())
            optimizer.step()
            losses.append(loss.item())
            if step == 0:
                after = {published(n): p.detach().clone() for n, p in params}
        return losses, norms, after

    losses, norms, after = steps(torch.float64)
    single_losses, _, single = steps(torch.float32)
    write_tensors(f"{folder}/bert_lora_adamw.safetensors",
                  {"losses": torch.tensor(losses), "grad_norms": torch.tensor(norms)}
                  | {f"after.{k}": v for k, v in after.items()})
    error = max(worst(single[k], v) for k, v in after.items())
    drift = max(abs(a - b) / abs(b) for a, b in zip(single_losses, losses))
    write_json(f"{folder}/bert_lora_adamw.json", case | {
        "name": "bert_lora_adamw", "steps": text.N_STEPS, "batches": "batches.safetensors", "unchanged": [],
        "pytorch_fp32": {"weights": float(f"{error:.2e}"), "losses": float(f"{drift:.2e}")}})
    print(f"bert_lora_adamw          loss {losses[0]:.4f} -> {losses[-1]:.4f}  weights {error:.1e} losses {drift:.1e}")


def read_batches():
    """As text/make.py wrote them."""
    from safetensors.torch import load_file
    stored = load_file(f"{PARITY}/text/train/batches.safetensors")
    batches = []
    for b in range(text.N_BATCHES):
        own = {k.split(".", 1)[1]: v for k, v in stored.items() if k.startswith(f"{b}.")}
        names = ("input_ids", "token_type_ids", "position_ids", "spans")
        batches.append(({k: own[k] for k in names}, {k: v for k, v in own.items() if k not in names}))
    return batches


def main():
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    cases = list(CASES) + list(CASES_OF_4)
    of_4 = transformers.__version__.startswith("4.")
    for i, name in enumerate(cases):
        if (name in CASES_OF_4) != of_4:
            continue
        torch.manual_seed(700 + i)
        model = make(name, 710 + 10 * i)
        if name == "bert_query_value":
            train(model, read_batches())


if __name__ == "__main__":
    main()
