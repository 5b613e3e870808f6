"""Adapts one model of texts to one data set, by graft and by PyTorch with the same hyper-parameters, and prints both scores.

    adapt_text.py GRAFT MODEL DATA [--task classes|tags] [--plans head,top:2,full] [--heads linear] [--seeds 0,1,2] [--n-train 2000]
                  [--n-dev 0]

MODEL is a folder of BERT that sentence-transformers reads; DATA holds train and dev as .tsv (text, class) or as .conll. Both sides
train on the first n_train texts (0: all) and answer the first n_dev of the dev part after each epoch. AdamW with a rate for the
head and one for trained layers (no decay of norms and biases), a linear schedule with a warm-up, clipping, dropout as in config.json
in trained layers alone. Classes: mean of the tokens, scaled to length 1, a linear layer. Tags: the state of each word's first token,
a linear layer, perhaps a conditional random field over the steps of IOB2. Scores are accuracy, or entity F1 as seqeval counts it, of
the best epoch and of the last. What is random (first weights, order, dropout) is not the same, so that single runs differ by the
spread over seeds.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import tempfile
import time

os.environ.update(HF_HUB_OFFLINE="1", TQDM_DISABLE="1")
import torch  # noqa: E402
from torch import nn  # noqa: E402
from transformers import AutoModel, AutoTokenizer  # noqa: E402

FORBIDDEN = -1e4


class Field(nn.Module):
    """A linear-chain conditional random field (Lafferty et al. 2001) that knows which tags may follow each other."""

    def __init__(self, labels):
        super().__init__()
        k = len(labels)
        for name, shape in (("transitions", (k, k)), ("start", (k,)), ("end", (k,))):
            setattr(self, name, nn.Parameter(torch.empty(shape).uniform_(-0.1, 0.1)))
        inside = lambda a, b: b[0] != "I" or (a != "O" and a[2:] == b[2:])  # noqa: E731
        self.register_buffer("allowed", torch.tensor([[inside(a, b) for b in labels] for a in labels]))
        self.register_buffer("begins", torch.tensor([b[0] != "I" for b in labels]))

    def steps(self):
        return (torch.where(self.allowed, self.transitions, torch.full_like(self.transitions, FORBIDDEN)),
                torch.where(self.begins, self.start, torch.full_like(self.start, FORBIDDEN)))

    def losses(self, emissions, tags, lengths):
        """The sum over texts, emissions [b, n, k] padded behind their lengths."""
        steps, start = self.steps()
        b, longest, _ = emissions.shape
        rows, at = torch.arange(b), torch.arange(longest)
        inside = (at[None] < lengths[:, None]).float()
        path = start[tags[:, 0]] + (emissions.gather(2, tags[..., None])[..., 0] * inside).sum(1)
        path = path + (steps[tags[:, :-1], tags[:, 1:]] * inside[:, 1:]).sum(1) + self.end[tags[rows, lengths - 1]]
        alpha = start + emissions[:, 0]
        for t in range(1, longest):
            moved = torch.logsumexp(alpha[:, :, None] + steps, 1) + emissions[:, t]
            alpha = torch.where(at[t] < lengths[:, None], moved, alpha)
        return (torch.logsumexp(alpha + self.end, 1) - path).sum()

    def decode(self, emissions):
        steps, start = self.steps()
        best, came = start + emissions[0], []
        for e in emissions[1:]:
            best, at = (best[:, None] + steps).max(0)
            best = best + e
            came.append(at)
        tags = [int((best + self.end).argmax())]
        for at in reversed(came):
            tags.append(int(at[tags[-1]]))
        return tags[::-1]


class Net(nn.Module):
    def __init__(self, path, task, plan, head, labels):
        super().__init__()
        self.backbone = AutoModel.from_pretrained(path)
        self.tags, self.known = task == "tags", {}
        self.head = nn.Linear(self.backbone.config.hidden_size, len(labels))
        self.dropout = nn.Dropout(self.backbone.config.hidden_dropout_prob)
        self.field = Field(labels) if head == "crf" else None
        layers = list(self.backbone.encoder.layer)
        n = {"head": 0, "full": len(layers)}.get(plan)
        self.trained = layers[len(layers) - (int(plan.partition(":")[2]) if n is None else n):]
        if plan == "full":
            self.trained = [self.backbone.embeddings, *self.trained]
        for p in self.backbone.parameters():
            p.requires_grad = False
        for p in (p for m in self.trained for p in m.parameters()):
            p.requires_grad = True

    def training_mode(self):
        self.train()
        self.backbone.eval()
        for m in self.trained:
            m.train()

    def features(self, ids, mask):
        """States of all tokens, or one vector a text."""
        states = self.backbone(input_ids=ids, attention_mask=mask).last_hidden_state
        if self.tags:
            return states
        return nn.functional.normalize((states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True), dim=1)

    def forward(self, samples):
        if not self.trained and not self.tags:  # nothing below the head changes: once is enough
            for s in (s for s in samples if s[0] not in self.known):
                with torch.no_grad():
                    self.known[s[0]] = self.features(**collate([s]))
            return self.head(torch.cat([self.known[s[0]] for s in samples]))
        features = self.features(**collate(samples))
        return self.head(self.dropout(features) if self.tags else features)


def read_tsv(path, n):
    with open(path, encoding="utf-8") as f:
        rows = [line.rstrip("\n").rsplit("\t", 1) for line in f][:n]
    return [r[0] for r in rows], [r[1] for r in rows]


def read_conll(path, n):
    with open(path, encoding="utf-8") as f:
        lines = [line.split() for line in f]
    blocks = [list(g) for has_words, g in itertools.groupby(lines, bool) if has_words][:n]
    return [[w for w, *_ in b] for b in blocks], [[t[-1] for t in b] for b in blocks]


def write_subset(o, scratch):
    """The folder that graft reads; the same rows as Python reads."""
    ending = "conll" if o.task == "tags" else "tsv"
    read = read_conll if o.task == "tags" else read_tsv
    parts = {}
    for part, n in (("train", o.n_train or None), ("dev", o.n_dev or None)):
        parts[part] = read(f"{o.data}/{part}.{ending}", n)
        with open(f"{scratch}/{part}.{ending}", "w", encoding="utf-8") as f:
            for x, y in zip(*parts[part]):
                f.write("".join(f"{w}\t{t}\n" for w, t in zip(x, y)) + "\n" if o.task == "tags" else f"{x}\t{y}\n")
    return parts


def encode(o, tokenizer, texts, answers, labels):
    """Of each text its ids and either its class, or the places of its words' first tokens and their tags."""
    index, samples = {label: i for i, label in enumerate(labels)}, []
    for x, y in zip(texts, answers):
        e = tokenizer(x, is_split_into_words=o.task == "tags", truncation=True, max_length=o.max_length)
        if o.task == "classes":
            samples.append((tuple(e["input_ids"]), index[y], None))
            continue
        words = e.word_ids()
        first = [i for i, w in enumerate(words) if w is not None and w != words[i - 1]]
        samples.append((tuple(e["input_ids"]), first, [index[y[words[i]]] for i in first]))
    return samples


def collate(samples):
    longest = max(len(s[0]) for s in samples)
    fill = lambda values: torch.tensor([[*v] + [0] * (longest - len(v)) for v in values])  # noqa: E731
    return {"ids": fill([s[0] for s in samples]), "mask": fill([[1] * len(s[0]) for s in samples])}


def loss_of(o, net, logits, samples):
    if o.task == "classes":
        return nn.functional.cross_entropy(logits, torch.tensor([s[1] for s in samples]))
    n = sum(len(s[1]) for s in samples)
    if net.field is None:
        rows = torch.cat([z[s[1]] for z, s in zip(logits, samples)])
        return nn.functional.cross_entropy(rows, torch.tensor([t for s in samples for t in s[2]]))
    words = nn.utils.rnn.pad_sequence([z[s[1]] for z, s in zip(logits, samples)], batch_first=True)
    tags = nn.utils.rnn.pad_sequence([torch.tensor(s[2]) for s in samples], batch_first=True)
    return net.field.losses(words, tags, torch.tensor([len(s[1]) for s in samples])) / n


@torch.no_grad()
def score_of(o, net, samples, labels):
    net.eval()
    truth, told = [], []
    order = sorted(range(len(samples)), key=lambda i: len(samples[i][0]))
    for at in range(0, len(order), 64):
        batch = [samples[i] for i in order[at:at + 64]]
        logits = net(batch)
        for z, s in zip(logits, batch):
            if o.task == "classes":
                truth.append(s[1])
                told.append(int(z.argmax()))
                continue
            tags = net.field.decode(z[s[1]]) if net.field else z[s[1]].argmax(1).tolist()
            truth.append([labels[t] for t in s[2]])
            told.append([labels[t] for t in tags])
    if o.task == "classes":
        return sum(a == b for a, b in zip(truth, told)) / len(truth)
    from seqeval.metrics import f1_score
    return float(f1_score(truth, told))


def groups_of(o, net):
    """Head and backbone at rates of their own; norms and biases do not decay."""
    groups = []
    for name, p in net.named_parameters():
        if not p.requires_grad:
            continue
        backbone = name.startswith("backbone.")
        decays = p.dim() > 1 and not name.startswith("field.")
        groups.append({"params": [p], "lr": o.lr * 0.1 if backbone else o.head_lr, "weight_decay": o.weight_decay if decays else 0.0})
    return groups


def run_torch(o, plan, head, seed, parts, labels):
    torch.manual_seed(seed)
    tokenizer, net = AutoTokenizer.from_pretrained(o.model), Net(o.model, o.task, plan, head, labels)
    train, dev = (encode(o, tokenizer, *parts[p], labels) for p in ("train", "dev"))
    optimizer = torch.optim.AdamW(groups_of(o, net), eps=1e-8)
    steps = -(-len(train) // o.batch) * o.epochs
    rising = -(-steps // 10)
    rate = lambda i: i / rising if i < rising else (steps - i) / (steps - rising)  # noqa: E731
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    scores = []
    for _ in range(o.epochs):
        net.training_mode()
        order = torch.randperm(len(train)).tolist()
        for at in range(0, len(order), o.batch):
            batch = [train[i] for i in order[at:at + o.batch]]
            loss = loss_of(o, net, net(batch), batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_([p for p in net.parameters() if p.requires_grad], 1.0)
            optimizer.step()
            schedule.step()
        scores.append(score_of(o, net, dev, labels))
    return scores


def run_graft(o, plan, head, seed, folder, scratch):
    out = f"{scratch}/out"
    environment = dict(os.environ, XDG_CACHE_HOME=f"{scratch}/cache", OMP_WAIT_POLICY="passive")
    command = [o.graft, "fit", o.model, folder, "-o", out, "--restart", "--json", "-q", "--train", plan, "--head", head, "--epochs", o.epochs,
               "--batch", o.batch, "--lr", o.lr, "--head-lr", o.head_lr, "--backbone-lr-scale", 0.1, "--optimizer", "adamw",
               "--schedule", "linear", "--warmup", 0.1, "--clip-norm", 1, "--weight-decay", o.weight_decay, "--early-stop", 0,
               "--max-length", o.max_length, "--seed", seed, "--threads", o.threads]
    subprocess.run(list(map(str, command)), stdout=subprocess.DEVNULL, env=environment, check=True)
    with open(f"{out}/graft.json", encoding="utf-8") as f:
        history = json.load(f)["history"]
    name = "val_f1" if o.task == "tags" else "val_accuracy"
    return [e[name] for e in history]


def main():
    a = argparse.ArgumentParser(usage=__doc__)
    for name in ("graft", "model", "data"):
        a.add_argument(name)
    a.add_argument("--task", choices=("classes", "tags"), default="classes")
    for name, kind, value in (("plans", str, "head,top:2,full"), ("heads", str, "linear"), ("seeds", str, "0,1,2"), ("n-train", int, 2000), ("n-dev", int, 0),
                              ("epochs", int, 3), ("batch", int, 32), ("lr", float, 5e-4), ("head-lr", float, 0.03),
                              ("weight-decay", float, 0.01), ("max-length", int, 128), ("threads", int, 1)):
        a.add_argument(f"--{name}", type=kind, default=value)
    o = a.parse_args()
    torch.set_num_threads(o.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = f"{scratch}/data"
        os.mkdir(folder)
        parts = write_subset(o, folder)
        flat = parts["train"][1] + parts["dev"][1]
        labels = sorted({t for y in flat for t in (y if o.task == "tags" else [y])})
        print(f"{len(parts['train'][0])} texts to train, {len(parts['dev'][0])} to judge; best epoch (last), means over seeds {o.seeds}")
        for plan in o.plans.split(","):
            for head in o.heads.split(","):
                table = {}
                for side in ("graft", "PyTorch"):
                    begun, runs = time.perf_counter(), []
                    for seed in map(int, o.seeds.split(",")):
                        runs.append(run_graft(o, plan, head, seed, folder, scratch) if side == "graft" else
                                    run_torch(o, plan, head, seed, parts, labels))
                    best, last = [100 * max(r) for r in runs], [100 * r[-1] for r in runs]
                    spread = statistics.stdev(best) if len(best) > 1 else 0.0
                    table[side] = statistics.mean(best)
                    print(f"{plan:6} {head:6} {side:8} {table[side]:6.2f} +- {spread:.2f} ({statistics.mean(last):6.2f})"
                          f"  {(time.perf_counter() - begun) / len(runs):6.1f} s a run", flush=True)
                print(f"{plan:6} {head:6} difference {table['graft'] - table['PyTorch']:+.2f}", flush=True)


if __name__ == "__main__":
    main()
