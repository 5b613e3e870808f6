"""Makes the golden files of the text families with PyTorch, Transformers and sentence-transformers (../README.md says what
they hold). The same seeds give the same files."""

import copy
import os
import shutil
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from common import ensure, generator, make_optimizer, worst, write_json, write_tensors  # noqa: E402

VOCABULARY, FIRST_ID = 60, 5  # the ids before are those of [PAD], [UNK], [CLS], [SEP], [MASK]
CLASSES = ["bad", "fair", "good"]
TAGS = ["O", "B-place", "I-place", "B-name", "I-name"]
LENGTHS = [1, 7, 20, 3, 12, 5, 20, 2]

BERT = dict(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
            max_position_embeddings=40)
SMALL = dict(BERT, hidden_size=24, intermediate_size=40)  # heads of 6: no multiple of any vector
ROBERTA = dict(SMALL, max_position_embeddings=42, pad_token_id=1, type_vocab_size=1, layer_norm_eps=1e-5)
DISTIL = dict(vocab_size=VOCABULARY, dim=24, n_layers=2, n_heads=4, hidden_dim=40, max_position_embeddings=40)
GPT2 = dict(vocab_size=VOCABULARY, n_embd=24, n_layer=2, n_head=4, n_positions=40, bos_token_id=0, eos_token_id=0)

# folder: (class, options, labels or None for a bare backbone)
MODELS = {
    "bert_classes": ("BertForSequenceClassification", BERT, CLASSES),
    "bert_bare": ("BertModel", dict(SMALL, hidden_act="relu"), None),
    "bert_tags": ("BertForTokenClassification", dict(BERT, hidden_act="gelu_new", layer_norm_eps=1e-5), TAGS),
    "bert_regression": ("BertForSequenceClassification", dict(SMALL, problem_type="regression"), ["score"]),
    "bert_multilabel": ("BertForSequenceClassification", dict(SMALL, problem_type="multi_label_classification"), CLASSES),
    "bert_old": ("BertForSequenceClassification", dict(SMALL, hidden_act="silu"), CLASSES),
    "roberta_classes": ("RobertaForSequenceClassification", ROBERTA, CLASSES),
    "xlm_roberta_tags": ("XLMRobertaForTokenClassification", ROBERTA, TAGS),
    "distilbert_classes": ("DistilBertForSequenceClassification", DISTIL, CLASSES),
    "distilbert_tags": ("DistilBertForTokenClassification", dict(DISTIL, activation="relu"), TAGS),
    "gpt2_classes": ("GPT2ForSequenceClassification", GPT2, CLASSES),
    "gpt2_scaled": ("GPT2ForTokenClassification", dict(GPT2, scale_attn_by_inverse_layer_idx=True, n_inner=40,
                                                       activation_function="gelu"), TAGS),
}
# folder: (pooling, normalised, as versions before 6 write it)
SENTENCES = {"sentence_mean_unit": ("mean", True, False), "sentence_cls": ("cls", False, True),
             "sentence_max_unit": ("max", True, True)}

# AdamW's first step is the gradient's sign where eps is far below the gradient. A key's bias has no gradient at all, for
# softmax does not see what all scores have in common, and the sign of its rounding errors is nobody's result: eps is 1e-4.
ADAMW = dict(kind="adamw", lr=2e-3, betas=[0.9, 0.999], eps=1e-4, weight_decay=0.05)
TRAIN = {
    "bert_classes_adamw": dict(model="bert_classes", task="classes", optimizer=ADAMW, clip_norm=1.0),
    "bert_tags_adamw": dict(model="bert_tags", task="tags", optimizer=ADAMW, clip_norm=None),
    "bert_regression_adamw": dict(model="bert_regression", task="regression", optimizer=ADAMW, clip_norm=None),
    "bert_multilabel_adamw": dict(model="bert_multilabel", task="multilabel", optimizer=ADAMW, clip_norm=None),
    "distilbert_adamw": dict(model="distilbert_classes", task="classes", optimizer=ADAMW, clip_norm=None),
    "gpt2_adamw": dict(model="gpt2_classes", task="classes", optimizer=ADAMW, clip_norm=1.0),
}
N_STEPS, N_BATCHES, BATCH_LENGTHS = 10, 3, [[4, 9, 1, 12, 6, 3], [15, 2, 7, 7, 5, 11], [8, 3, 20, 6, 1, 10]]


def randomise(model, seed):
    """Weights at a scale that keeps hidden states apart, norms far from rest."""
    g = generator(seed)

    def draw(tensor, scale, mean=0.0):
        tensor.copy_(mean + scale * torch.randn(tensor.shape, generator=g))

    with torch.no_grad():
        for module in model.modules():
            kind = type(module).__name__
            if kind in ("Linear", "Conv1D"):
                fan_in = module.weight.shape[1 if kind == "Linear" else 0]
                draw(module.weight, fan_in ** -0.5)
                if module.bias is not None:
                    draw(module.bias, 0.1)
            elif kind == "LayerNorm":
                draw(module.weight, 0.2, 1.0)
                draw(module.bias, 0.2)
            elif kind == "Embedding":
                draw(module.weight, 0.5)


def make_texts(lengths, seed, offset=0, n_types=2):
    """Random ids of texts one after the other; every other text that is long enough is a pair."""
    g = generator(seed)
    ids, types, positions, spans = [], [], [], []
    for i, n in enumerate(lengths):
        spans.append([len(ids), n])
        ids += torch.randint(FIRST_ID, VOCABULARY, (n,), generator=g).tolist()
        first = n // 2 if n_types > 1 and n > 3 and i % 2 else n
        types += [0] * first + [1] * (n - first)
        positions += range(offset, offset + n)
    named = {"input_ids": ids, "token_type_ids": types, "position_ids": positions, "spans": spans}
    return {k: torch.tensor(v, dtype=torch.int32) for k, v in named.items()}


def each(texts):
    """What Transformers takes of one text after the other, alone and whole."""
    for first, n in texts["spans"].tolist():
        yield {"input_ids": texts["input_ids"][None, first:first + n].long(),
               "attention_mask": torch.ones((1, n), dtype=torch.int64),
               "token_type_ids": texts["token_type_ids"][None, first:first + n].long()}


def run_model(model, x):
    """Hidden states [T,D] and logits, [1,K] or [T,K], of one text; None for the logits of a backbone."""
    x = dict(x)
    if not hasattr(model.config, "type_vocab_size"):
        x.pop("token_type_ids")
    states = model.base_model(**x).last_hidden_state[0]
    logits = model(**x).logits.flatten(0, -2) if model.base_model is not model else None
    return states, logits


def run_all(model, texts, pool):
    rows = [run_model(model, x) for x in each(texts)]
    out = {"hidden": torch.cat([h for h, _ in rows]), "features": torch.stack([pool(h) for h, _ in rows])}
    if rows[0][1] is not None:
        out["logits"] = torch.cat([z for _, z in rows])
    return out


def write_golden(folder, model, texts, run):
    """Writes golden.safetensors from a run in double precision."""
    with torch.no_grad():
        exact, single = run(copy.deepcopy(model).double(), texts), run(model, texts)
    write_tensors(f"{folder}/golden.safetensors", texts | exact)
    last = "logits" if "logits" in exact else "features"
    print(f"{os.path.basename(folder):24} PyTorch's own fp32 error on {last} {worst(single[last], exact[last]):.1e}")


def make_model(name, seed):
    kind, options, labels = MODELS[name]
    cls = getattr(transformers, kind)
    named = {} if labels is None else dict(id2label=dict(enumerate(labels)), label2id={n: i for i, n in enumerate(labels)})
    model = cls(cls.config_class(**options, **named, attn_implementation="eager")).eval()
    randomise(model, seed)
    return model


def age(folder):
    """Rewrites a folder as the first releases left it: gamma and beta, a buffer of positions, the other heads."""
    tensors = {}
    for name, value in load_file(f"{folder}/model.safetensors").items():
        if "LayerNorm" in name:
            name = name.replace(".weight", ".gamma").replace(".bias", ".beta")
        tensors[name] = value
    tensors["bert.embeddings.position_ids"] = torch.arange(40)[None]
    tensors["cls.seq_relationship.bias"] = torch.zeros(2)
    write_tensors(f"{folder}/model.safetensors", tensors)


def save(model, folder):
    model.save_pretrained(ensure(folder))
    os.chmod(f"{folder}/model.safetensors", 0o644)


def make_models():
    models = {}
    for i, name in enumerate(MODELS):
        folder = f"{HERE}/{name}"
        model = models[name] = make_model(name, 400 + i)
        save(model, folder)
        if name == "bert_old":
            age(folder)
        roberta, gpt2 = "roberta" in name, "gpt2" in name
        n_types = getattr(model.config, "type_vocab_size", 1)
        texts = make_texts(LENGTHS, 430 + i, 2 if roberta else 0, n_types)
        pool = (lambda h: h[-1]) if gpt2 else (lambda h: h[0])
        write_golden(folder, model, texts, lambda m, t, pool=pool: run_all(m, t, pool))
    return models


def write_tokenizer(folder):
    letters = [chr(ord("a") + i) for i in range(26)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + c for c in letters)]
    with open(f"{folder}/vocab.txt", "w") as f:
        f.write("\n".join(words) + "\n")
    transformers.BertTokenizerFast(f"{folder}/vocab.txt", model_max_length=40).save_pretrained(folder)


def age_sentence(folder, pooling):
    """The side files as sentence-transformers before 6 wrote them."""
    modules = ["Transformer", "Pooling"] + (["Normalize"] if os.path.isdir(f"{folder}/2_Normalize") else [])
    paths = ["", "1_Pooling", "2_Normalize"]
    write_json(f"{folder}/modules.json", [{"idx": i, "name": str(i), "path": paths[i],
                                           "type": f"sentence_transformers.models.{kind}"} for i, kind in enumerate(modules)])
    keys = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens", "sqrt": "mean_sqrt_len_tokens"}
    write_json(f"{folder}/1_Pooling/config.json",
               {"word_embedding_dimension": 24} | {f"pooling_mode_{v}": k == pooling for k, v in keys.items()})
    write_json(f"{folder}/sentence_bert_config.json", {"max_seq_length": 24, "do_lower_case": False})
    os.remove(f"{folder}/config_sentence_transformers.json")


def make_sentences():
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    for i, (name, (pooling, unit, old)) in enumerate(SENTENCES.items()):
        folder = f"{HERE}/{name}"
        cls = transformers.BertModel
        bare = cls(cls.config_class(**SMALL, attn_implementation="eager")).eval()
        randomise(bare, 460 + i)
        with tempfile.TemporaryDirectory() as scratch:
            bare.save_pretrained(scratch)
            write_tokenizer(scratch)
            modules = [Transformer(scratch), Pooling(24, pooling)] + ([Normalize()] if unit else [])
            model = SentenceTransformer(modules=modules, device="cpu").eval()
            shutil.rmtree(folder, ignore_errors=True)
            model.save(folder, create_model_card=False)
        if old:
            age_sentence(folder, pooling)
        os.chmod(f"{folder}/model.safetensors", 0o644)

        def run(model, texts):
            rows = [model(dict(x)) for x in each(texts)]
            return {"hidden": torch.cat([r["token_embeddings"][0] for r in rows]),
                    "features": torch.cat([r["sentence_embedding"] for r in rows])}

        write_golden(folder, model, make_texts(LENGTHS, 470 + i), run)


def make_batches(path):
    """Texts of every batch, and answers to them of every kind; a token without a tag has -1."""
    g, out, batches = generator(500), {}, []
    for b, lengths in enumerate(BATCH_LENGTHS):
        n, texts = len(lengths), make_texts(lengths, 501 + b)
        tags = torch.randint(-1, len(TAGS), (sum(lengths),), generator=g)
        tags[0] = 1
        answers = {"classes": torch.randint(0, len(CLASSES), (n,), generator=g), "tags": tags,
                   "regression": torch.randn((n, 1), generator=g),
                   "multilabel": torch.randint(0, 2, (n, len(CLASSES)), generator=g).float()}
        batches.append((texts, answers))
        out |= {f"{b}.{k}": v for k, v in (texts | answers).items()}
    write_tensors(path, out)
    return batches


def loss_of(task, logits, answer):
    if task == "classes":
        return F.cross_entropy(logits, answer)
    if task == "tags":
        return F.cross_entropy(logits, answer, ignore_index=-1)
    return (F.mse_loss if task == "regression" else F.binary_cross_entropy_with_logits)(logits, answer.to(logits.dtype))


def train(model, case, batches, dtype):
    """Losses, norms before clipping, and the state after the first step; evaluation mode, for that is without dropout."""
    model = copy.deepcopy(model).to(dtype).eval()
    optimizer = make_optimizer(case["optimizer"], model.parameters())
    losses, norms, after = [], [], None
    for step in range(N_STEPS):
        texts, answers = batches[step % N_BATCHES]
        optimizer.zero_grad()
        logits = torch.cat([run_model(model, x)[1] for x in each(texts)])
        loss = loss_of(case["task"], logits, answers[case["task"]])
        loss.backward()
        limit = case["clip_norm"]
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), float("inf") if limit is None else limit).item())
        optimizer.step()
        losses.append(loss.item())
        if step == 0:
            after = {name: value.detach().clone() for name, value in model.state_dict().items()}
    return losses, norms, after


def train_case(folder, name, case, model, batches):
    losses, norms, after = train(model, case, batches, torch.float64)
    single_losses, _, single = train(model, case, batches, torch.float32)
    before = model.state_dict()
    changed = {k: v for k, v in after.items() if not torch.equal(v.to(before[k].dtype), before[k])}
    write_tensors(f"{folder}/{name}.safetensors", {"losses": torch.tensor(losses), "grad_norms": torch.tensor(norms)}
                  | {f"after.{k}": v for k, v in changed.items()})
    error = max(worst(single[k], v) for k, v in changed.items())
    drift = max(abs(a - b) / abs(b) for a, b in zip(single_losses, losses))
    write_json(f"{folder}/{name}.json", case | {
        "name": name, "steps": N_STEPS, "batches": "batches.safetensors",
        "unchanged": sorted(k for k in after if k not in changed),
        "pytorch_fp32": {"weights": float(f"{error:.2e}"), "losses": float(f"{drift:.2e}")}})
    print(f"{name:24} loss {losses[0]:.4f} -> {losses[-1]:.4f}  PyTorch's own fp32 error: weights {error:.1e} losses {drift:.1e}")


def main():
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    models = make_models()
    make_sentences()
    folder = ensure(f"{HERE}/train")
    batches = make_batches(f"{folder}/batches.safetensors")
    for name, case in TRAIN.items():
        train_case(folder, name, case, models[case["model"]], batches)


if __name__ == "__main__":
    main()
