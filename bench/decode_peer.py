"""Pictures a second through torchvision and PIL, in worker processes as PyTorch's DataLoader uses them.

Usage: decode_peer.py FILE.tar WORKERS SECONDS eval|train      (prints
pictures a second and processor milliseconds a picture)
"""
import io
import multiprocessing
import sys
import tarfile
import time

import torch
from PIL import Image
from torchvision import transforms


def work(pictures, seconds, training, start, results):
    torch.set_num_threads(1)
    norm = [transforms.ToTensor(), transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
    first = ([transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()] if training
             else [transforms.Resize(256), transforms.CenterCrop(224)])
    t = transforms.Compose(first + norm)

    def once():
        for data in pictures:
            t(Image.open(io.BytesIO(data)).convert("RGB"))

    once()
    start.wait()
    begun, cpu, done = time.perf_counter(), time.process_time(), 0
    while True:
        once()
        done += len(pictures)
        now = time.perf_counter()
        if now - begun >= seconds:
            break
    results.put((done / (now - begun), (time.process_time() - cpu) / done * 1e3))


def main():
    tar, workers, seconds, mode = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
    with tarfile.open(tar) as f:
        pictures = [f.extractfile(m).read() for m in f if m.isfile() and m.name.lower().endswith((".jpg", ".jpeg"))]
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(workers), context.Queue()
    processes = [context.Process(target=work, args=(pictures[i::workers], seconds, mode == "train", start, results))
                 for i in range(workers)]
    for p in processes:
        p.start()
    got = [results.get() for _ in processes]
    print(sum(r for r, _ in got), sum(c for _, c in got) / workers)
    for p in processes:
        p.join()


if __name__ == "__main__":
    main()
