"""graft next to its peers, in pairs: A B A within seconds, the median ratio of several rounds (peers.sh starts it).

    peers.py --graft build/release/graft [forward] [train] [fit] [predict] [decode] [text] [lora] [sentences] [--rounds N] [--seconds S] [--threads T]

A processor's speed drifts by up to two within minutes; so each measurement of a peer stands between two of graft, and only
their ratio counts. Every program gets the same number of threads. All models have random weights, made here: speed does not
depend on them. Photos: --photos DIR (class folders train/ and val/), else ../shared/data/hymenoptera.tar, else synthetic.
Prints Markdown; --json FILE keeps every single measurement.
"""

import argparse
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SECTIONS = ("forward", "train", "fit", "predict", "decode", "text", "lora", "sentences")
FORWARD = {"fp32": ["torch", "torch.compile", "onnxruntime", "openvino"], "bf16": ["torch", "torch.compile", "openvino"]}
TRAIN = ["torch", "torch.compile"]
PEERS_DTYPE = {"fp32": "fp32", "bf16x3": "fp32", "bf16": "bf16"}  # what a peer computes in beside graft's --dtype: bf16x3 stands for fp32
NAMES = {"torch": "PyTorch eager, channels_last", "torch.compile": "torch.compile", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


class Failed(Exception):
    pass


class Bench:
    def __init__(self, args):
        self.args, self.log = args, []
        self.folder = args.work or tempfile.mkdtemp(prefix="graft-peers-")
        self.env = dict(os.environ, OMP_NUM_THREADS=str(args.threads), HF_HUB_OFFLINE="1", PYTHONWARNINGS="ignore",
                        GRAFT_CACHE=f"{self.folder}/cache", TORCHINDUCTOR_CACHE_DIR=f"{self.folder}/inductor")

    def note(self, text):
        print(text, file=sys.stderr, flush=True)

    def worker(self, kind, **options):
        options |= {"threads": self.args.threads}
        return [sys.executable, f"{HERE}/peers_worker.py", kind, json.dumps(options)]

    def model(self, architecture, classes=1000, kind="prepare"):
        folder = f"{self.folder}/{architecture}"
        if not os.path.exists(f"{folder}/model.onnx"):
            self.note(f"making {architecture} with random weights")
            answer = run_json(self.worker(kind, architecture=architecture, classes=classes, folder=folder), self.env)
            if "error" in answer:
                raise Failed(f"no {architecture}: {answer['error']}")
        return folder

    def graft(self, program, *options):
        path = os.path.join(os.path.dirname(self.args.graft) or ".", program)
        if not os.path.exists(path):
            raise Failed(f"{path} is not built")
        return run_json([path, *map(str, options), "--threads", str(self.args.threads)], self.env)


def run_json(command, env):
    """The last JSON line that a program prints."""
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise Failed(f"{os.path.basename(command[0])}: {(done.stderr.strip().splitlines() or ['no answer'])[-1][:200]}")
    return json.loads(lines[-1])


def run_timed(command, env):
    """Wall seconds and peak MiB of a whole process (its children included), which has to succeed."""
    begun = time.perf_counter()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            text = errors.read().decode(errors="replace").strip().splitlines() or [""]
            raise Failed(f"{os.path.basename(command[0])} ended with {process.returncode}: {text[-1][:160]}")
    return seconds, usage.ru_maxrss / 1024


class Peer:
    """A worker process that waits, ready, until it is asked to measure."""

    def __init__(self, bench, kind, **options):
        self.process = subprocess.Popen(bench.worker(kind, **options), env=bench.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        self.error = None
        self.answer()

    def answer(self):
        for line in self.process.stdout:
            if line.startswith("{"):
                answer = json.loads(line)
                self.error = answer.get("error")
                return answer
        self.error = self.error or f"ended with {self.process.wait()}"
        return {}

    def measure(self, seconds):
        self.process.stdin.write(f"go {seconds}\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def pairs(bench, graft, peers, seconds):
    """G P1 G P2 G … in rounds; for each peer the ratios graft / peer, speeds and peaks."""
    results = {name: [] for name in peers}
    before = graft()
    for _ in range(bench.args.rounds):
        for name, peer in peers.items():
            if peer.error:
                continue
            theirs = peer.measure(seconds)
            if peer.error:
                continue
            after = graft()
            ours = (before["images_per_second"] + after["images_per_second"]) / 2
            results[name].append({"graft": ours, "peer": theirs["images_per_second"],
                                  "ratio": ours / theirs["images_per_second"],
                                  "graft_mib": max(before["peak_mib"], after["peak_mib"]), "peer_mib": theirs["peak_mib"]})
            before = after
    return results


def rows(bench, what, results, peers):
    for name, found in results.items():
        bench.log.append({"what": what, "peer": name, "pairs": found})
        label = NAMES.get(name, name)
        if not found:
            print(f"| {what} | {label} | not measured: {peers[name].error} | | | | |", flush=True)
            continue
        m = {k: statistics.median(f[k] for f in found) for k in found[0]}
        low, high = min(f["ratio"] for f in found), max(f["ratio"] for f in found)
        print(f"| {what} | {label} | {m['graft']:.1f} | {m['peer']:.1f} | **{m['ratio']:.2f}** ({low:.2f}–{high:.2f}) | "
              f"{m['graft_mib']:.0f} / {m['peer_mib']:.0f} | {m['graft_mib'] / m['peer_mib']:.2f} |", flush=True)


def compare(bench, what, kind, names, graft, seconds, **options):
    bench.note(f"{what}: making the peers ready")
    peers = {name: Peer(bench, kind, peer=name, **options) for name in names if name not in bench.args.without}
    try:
        rows(bench, what, pairs(bench, graft, peers, seconds), peers)
    except Failed as failure:
        print(f"| {what} | | not measured: {failure} | | | | |", flush=True)
    finally:
        for peer in peers.values():
            peer.close()


def head(title, unit):
    print(f"\n### {title}\n\n| what | peer | graft, {unit} | peer, {unit} | ratio (range) | peak MiB, graft / peer | memory ratio |\n"
          "|---|---|---:|---:|---:|---:|---:|", flush=True)


def forward(bench):
    folder = bench.model("resnet50")
    head("Forward, ResNet-50 at 224×224", "pictures/s")
    for dtype, names in FORWARD.items():
        for batch in (1, 8, 32):
            seconds = bench.args.seconds if batch < 32 else 2 * bench.args.seconds
            compare(bench, f"batch {batch}, {dtype}", "forward", names,
                    lambda b=batch, d=dtype, s=seconds: bench.graft("bench_forward", folder, "--batch", b, "--dtype", d, "--seconds", s),
                    seconds, folder=folder, batch=batch, dtype=dtype)


def train(bench):
    folder = bench.model("resnet50")
    head("Training step, ResNet-50 at 224×224, batch 16", "pictures/s")
    for part, title in (("full", "everything"), ("top:1", "last stage + head")):
        for dtype in ("fp32", "bf16"):
            seconds = 4 * bench.args.seconds if part == "full" else 2 * bench.args.seconds
            compare(bench, f"{title}, {dtype}", "train", TRAIN,
                    lambda p=part, d=dtype, s=seconds: bench.graft("bench_train", folder, "--train", p, "--batch", 16, "--dtype", d, "--seconds", s),
                    seconds, folder=folder, batch=16, dtype=dtype, train=part)


def whole(bench, what, ours, theirs, rounds):
    """Whole processes: seconds of graft and of each peer in turn; `ours()` makes graft's command afresh."""
    results = {name: [] for name in theirs}
    try:
        for _ in range(rounds):
            for name, command in theirs.items():
                a, b = run_timed(ours(), bench.env), run_timed(command, bench.env)
                c = run_timed(ours(), bench.env)
                mine = (a[0] + c[0]) / 2
                results[name].append({"graft": mine, "peer": b[0], "ratio": b[0] / mine, "graft_mib": max(a[1], c[1]), "peer_mib": b[1]})
    except Failed as failure:
        print(f"| {what} | | not measured: {failure} | | | | |", flush=True)
        return
    for name, found in results.items():
        bench.log.append({"what": what, "peer": name, "pairs": found})
        m = {k: statistics.median(f[k] for f in found) for k in found[0]}
        low, high = min(f["ratio"] for f in found), max(f["ratio"] for f in found)
        print(f"| {what} | {name} | {m['graft']:.2f} | {m['peer']:.2f} | **{m['ratio']:.1f}** ({low:.1f}–{high:.1f}) | "
              f"{m['graft_mib']:.0f} / {m['peer_mib']:.0f} | {m['graft_mib'] / m['peer_mib']:.2f} |", flush=True)


def photos(bench):
    """train/ and val/ class folders of photos; says where they are from."""
    if bench.args.photos:
        return bench.args.photos, "your photos"
    target, tar = f"{bench.folder}/photos", os.path.join(HERE, "../../shared/data/hymenoptera.tar")
    if os.path.exists(tar):
        if not os.path.exists(target):
            with tarfile.open(tar) as t:
                t.extractall(target, filter="data")
        found = next(d for d, folders, _ in os.walk(target) if {"train", "val"} <= set(folders))
        return found, "ants and bees"
    if not os.path.exists(target):
        synthetic(target, {"train": 120, "val": 75}, (427, 320))
    return target, "synthetic photos"


def synthetic(target, counts, size):
    from PIL import Image, ImageFilter
    rng = random.Random(0)
    for part, n in counts.items():
        for name in ("a", "b"):
            os.makedirs(f"{target}/{part}/{name}", exist_ok=True)
            for i in range(n):
                small = Image.frombytes("RGB", (40, 30), rng.randbytes(3600)).resize(size, Image.Resampling.BICUBIC)
                small.filter(ImageFilter.GaussianBlur(1)).save(f"{target}/{part}/{name}/{i:04}.jpg", quality=90)


def resized(bench, size):
    """The same photos at one size, as class folders without a split."""
    from PIL import Image
    source, name = photos(bench)
    target = f"{bench.folder}/photos-{size[0]}x{size[1]}"
    if not os.path.exists(target):
        for folder, _, files in os.walk(f"{source}/train"):
            for file in files:
                into = f"{target}/{os.path.basename(folder)}"
                os.makedirs(into, exist_ok=True)
                Image.open(f"{folder}/{file}").convert("RGB").resize(size, Image.Resampling.LANCZOS).save(f"{into}/{file}", quality=90)
    return target, name


def fit(bench):
    data, name = photos(bench)
    head(f"Ten epochs of head-only fine-tuning on {name}, decoding included", "s")
    for architecture in ("resnet18", "resnet50"):
        folder = bench.model(architecture)
        for dtype in ("fp32", "bf16"):
            def ours(f=folder, d=dtype):
                shutil.rmtree(bench.env["GRAFT_CACHE"], ignore_errors=True)
                out = tempfile.mkdtemp(dir=bench.folder) + "/out"
                return [bench.args.graft, "fit", f, data, "-o", out, "--train", "head", "--epochs", "10", "--early-stop", "0", "--augment",
                        "none", "--batch", "32", "--dtype", d, "--threads", str(bench.args.threads), "-q"]
            theirs = bench.worker("fit", folder=folder, data=data, batch=32, epochs=10, dtype=dtype, peer="torch")
            whole(bench, f"{architecture}, {dtype}", ours, {"PyTorch, the tutorial's loop": theirs}, max(1, bench.args.rounds // 3))


def predict(bench):
    folder = bench.model("resnet50")
    data, _ = resized(bench, (500, 375))
    photo = next(os.path.join(d, f) for d, _, files in sorted(os.walk(data)) for f in sorted(files))
    head("One photo, ResNet-50, whole process from a warm disk", "s")
    peers = {"PyTorch + timm": bench.worker("predict", folder=folder, photo=photo, peer="torch"),
             "ONNX Runtime from Python": bench.worker("predict", folder=folder, photo=photo, peer="onnxruntime")}
    command = [bench.args.graft, "predict", folder, photo, "--threads", str(bench.args.threads), "-q"]
    whole(bench, "predict", lambda: command, peers, bench.args.rounds)
    shown = []
    for _ in range(10):
        shown.append(run_timed([bench.args.graft, "--help"], bench.env)[0])
    print(f"\n`graft --help`: {statistics.median(shown) * 1000:.1f} ms")


def decode(bench):
    photos, name = resized(bench, (500, 375))
    archive = f"{photos}.tar"
    if not os.path.exists(archive):
        with tarfile.open(archive, "w") as t:
            t.add(photos, "photos")
    program = os.path.join(os.path.dirname(bench.args.graft), "bench_decode")
    seconds, threads, found = str(bench.args.seconds), str(bench.args.threads), []
    ours = [program, "--tar", archive, "--threads", threads, "--seconds", seconds]
    theirs = [sys.executable, f"{HERE}/decode_peer.py", archive, threads, seconds, "eval"]
    print(f"\n### Decoding + preprocessing, {name} at 500×375 to 224×224\n", flush=True)
    try:
        before = rate(ours, r"graft ([0-9.]+)/s", bench.env)
        for _ in range(bench.args.rounds):
            peer, after = rate(theirs, r"([0-9.]+)", bench.env), rate(ours, r"graft ([0-9.]+)/s", bench.env)
            found.append({"graft": (before + after) / 2, "peer": peer, "ratio": (before + after) / 2 / peer})
            before = after
    except Failed as failure:
        print(f"not measured: {failure}")
        return
    bench.log.append({"what": "decode", "peer": "torchvision + PIL", "pairs": found})
    m = {k: statistics.median(f[k] for f in found) for k in found[0]}
    print(f"graft {m['graft']:.0f} pictures/s, torchvision + PIL {m['peer']:.0f}: ratio **{m['ratio']:.2f}** "
          f"({min(f['ratio'] for f in found):.2f}–{max(f['ratio'] for f in found):.2f})", flush=True)


def text(bench):
    """Texts of 128 tokens: forward, and steps of everything."""
    for architecture, train_batch in (("bert-base", 8), ("minilm", 32)):
        folder = bench.model(architecture, kind="text_prepare")
        head(f"{architecture}, 128 tokens", "texts/s")
        for dtype, theirs in PEERS_DTYPE.items():
            for batch in (1, 8, 32):
                compare(bench, f"forward, batch {batch}, {dtype}", "text_forward", FORWARD[theirs],
                        lambda b=batch, d=dtype: bench.graft("bench_forward", folder, "--batch", b, "--length", 128, "--dtype", d,
                                                             "--seconds", bench.args.seconds),
                        bench.args.seconds, folder=folder, batch=batch, length=128, dtype=theirs)
        for dtype, theirs in PEERS_DTYPE.items():
            compare(bench, f"step, batch {train_batch}, {dtype}", "text_train", TRAIN,
                    lambda d=dtype: bench.graft("bench_train", folder, "--train", "full", "--batch", train_batch, "--length", 128, "--dtype", d,
                                                "--seconds", 2 * bench.args.seconds),
                    2 * bench.args.seconds, folder=folder, batch=train_batch, length=128, dtype=theirs)


def lora(bench):
    """Steps of LoRA, rank 8 on query and value, on texts of 128 tokens."""
    for architecture, batch in (("bert-base", 8), ("minilm", 32)):
        folder = bench.model(architecture, kind="text_prepare")
        head(f"LoRA (r=8, query and value) on {architecture}, 128 tokens", "texts/s")
        for dtype, theirs in PEERS_DTYPE.items():
            compare(bench, f"step, batch {batch}, {dtype}", "lora_train", ["peft"],
                    lambda d=dtype: bench.graft("bench_train", folder, "--train", "lora:r=8,alpha=16,targets=query+value", "--batch", batch,
                                                "--length", 128, "--dtype", d, "--seconds", 2 * bench.args.seconds),
                    2 * bench.args.seconds, folder=folder, batch=batch, length=128, dtype=theirs)


def sentences(bench):
    """Embeddings of real sentences by all-MiniLM-L6-v2 (--minilm DIR): graft's whole process, the peer without its start."""
    source = os.path.join(HERE, "../../shared/data/sst2/train.tsv")
    if not bench.args.minilm or not os.path.exists(source):
        raise Failed("needs --minilm DIR and the sentences of SST-2")
    path = f"{bench.folder}/sentences.txt"
    with open(source, encoding="utf-8") as f, open(path, "w", encoding="utf-8") as g:
        g.writelines(line.rsplit("\t", 1)[0] + "\n" for line in list(f)[:2000])
    head("Embeddings of 2,000 sentences of SST-2, all-MiniLM-L6-v2", "s")
    for dtype, theirs in PEERS_DTYPE.items():
        found = []
        command = [bench.args.graft, "embed", bench.args.minilm, path, "-o", f"{bench.folder}/e.npy", "--no-cache", "--dtype", dtype, "-q",
                   "--threads", str(bench.args.threads)]
        for _ in range(bench.args.rounds):
            a = run_timed(command, bench.env)
            b = run_json(bench.worker("text_encode", folder=bench.args.minilm, sentences=path, dtype=theirs, peer="torch"), bench.env)
            c = run_timed(command, bench.env)
            if "error" in b:
                raise Failed(b["error"])
            mine = (a[0] + c[0]) / 2
            found.append({"graft": mine, "peer": b["seconds"], "ratio": b["seconds"] / mine, "graft_mib": max(a[1], c[1]), "peer_mib": b["peak_mib"]})
        rows(bench, dtype, {"sentence-transformers": found}, {})


def rate(command, pattern, env):
    """The number that a program prints."""
    try:
        done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except OSError as error:
        raise Failed(f"{command[0]}: {error.strerror}") from error
    match = re.search(pattern, done.stdout)
    if not match:
        raise Failed(f"{os.path.basename(command[0])}: {(done.stdout + done.stderr).strip()[-200:] or 'no answer'}")
    return float(match.group(1))


def processor():
    with open("/proc/cpuinfo") as f:
        return next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), "unknown processor")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all by default")
    parser.add_argument("--graft", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of one measurement")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--photos", metavar="DIR")
    parser.add_argument("--minilm", metavar="DIR", help="all-MiniLM-L6-v2's folder, for the section sentences")
    parser.add_argument("--work", metavar="DIR", help="kept between runs; a temporary folder by default")
    parser.add_argument("--without", action="append", default=[], metavar="PEER", help=f"leave a peer out: {', '.join(NAMES)}")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    for section in args.sections:
        if section not in SECTIONS:
            parser.error(f"unknown section '{section}', one of: {', '.join(SECTIONS)}")
    args.graft = os.path.abspath(args.graft)
    if args.work:
        args.work = os.path.abspath(args.work)
        os.makedirs(args.work, exist_ok=True)
    bench = Bench(args)
    print(f"{processor()}, {args.threads} threads; median of {args.rounds} A B A pairs; a ratio above 1: graft is faster; "
          "a memory ratio below 1: graft needs less")
    try:
        for section in args.sections or SECTIONS:
            try:
                globals()[section](bench)
            except Failed as failure:
                print(f"\n{section}: {failure}")
        if args.json:
            with open(args.json, "w") as f:
                json.dump(bench.log, f, indent=1)
    finally:
        if not args.work:
            shutil.rmtree(bench.folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
