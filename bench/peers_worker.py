"""One peer in one process: makes itself ready, then measures whenever the orchestrator (peers.py) writes a line "go SECONDS".

    peers_worker.py KIND JSON      KIND: prepare, forward, train, fit, predict, and text_… of them; JSON: its options

Answers are JSON lines on stdout: {"ready": seconds}, {"images_per_second": …, "peak_mib": …} or {"error": …}.
"""

import json
import os
import statistics
import sys
import time

import peers_text

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def say(**answer):
    print(json.dumps(answer), flush=True)


def peak_mib():
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM:")) / 1024


def timm_model(folder):
    import timm
    with open(f"{folder}/config.json") as f:
        config = json.load(f)
    return timm.create_model(config["architecture"], pretrained=True, num_classes=config["num_classes"],
                             pretrained_cfg_overlay={"file": f"{folder}/model.safetensors", "num_classes": config["num_classes"]})


def prepare(o):
    """A timm folder with random weights, and the same model in ONNX."""
    import timm
    import torch
    from safetensors.torch import save_file
    torch.manual_seed(0)
    model = timm.create_model(o["architecture"], num_classes=o["classes"]).eval()
    os.makedirs(o["folder"], exist_ok=True)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, f"{o['folder']}/model.safetensors", metadata={"format": "pt"})
    config = {"architecture": o["architecture"], "num_classes": o["classes"], "num_features": model.num_features,
              "global_pool": "avg", "label_names": [f"class{i}" for i in range(o["classes"])],
              "pretrained_cfg": {"input_size": [3, 224, 224], "pool_size": [7, 7], "crop_pct": 0.875, "crop_mode": "center",
                                 "interpolation": "bilinear", "mean": MEAN, "std": STD, "num_classes": o["classes"],
                                 "first_conv": "conv1", "classifier": "fc"}}
    with open(f"{o['folder']}/config.json", "w") as f:
        json.dump(config, f, indent=2)
    batch = torch.export.Dim("batch", min=1, max=256)
    torch.onnx.export(model, (torch.randn(2, 3, 224, 224),), f"{o['folder']}/model.onnx", input_names=["x"], output_names=["y"],
                      dynamic_shapes=({0: batch},), dynamo=True, external_data=False, verbose=False)
    say(done=True)


def autocast(o):
    import torch
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=o["dtype"] == "bf16")


def torch_step_forward(o):
    import torch
    model = timm_model(o["folder"]).eval().to(memory_format=torch.channels_last)
    x = torch.randn(o["batch"], 3, 224, 224).to(memory_format=torch.channels_last)
    run = torch.compile(model) if o["peer"] == "torch.compile" else model

    def step():
        with torch.no_grad(), autocast(o):
            return run(x)
    return step


def onnxruntime_step(o):
    import numpy as np
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = o["threads"]
    session = onnxruntime.InferenceSession(f"{o['folder']}/model.onnx", options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).standard_normal((o["batch"], 3, 224, 224), dtype=np.float32)
    return lambda: session.run(None, {"x": x})


def openvino_step(o):
    import numpy as np
    import openvino
    core = openvino.Core()
    model = core.read_model(f"{o['folder']}/model.onnx")
    model.reshape([o["batch"], 3, 224, 224])
    compiled = core.compile_model(model, "CPU", {
        "INFERENCE_NUM_THREADS": o["threads"], "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if o["dtype"] == "bf16" else "f32"})
    request = compiled.create_infer_request()
    x = np.random.default_rng(0).standard_normal((o["batch"], 3, 224, 224), dtype=np.float32)
    return lambda: request.infer({0: x})


def torch_step_train(o):
    """SGD with momentum; what is not trained is frozen, its batch norms in inference mode."""
    import torch
    model = timm_model(o["folder"]).to(memory_format=torch.channels_last)
    trained = {"full": [model], "top:1": [model.layer4, model.fc], "head": [model.fc]}[o["train"]]
    model.requires_grad_(False)
    model.eval()
    for part in trained:
        part.requires_grad_(True)
        part.train()
    x = torch.randn(o["batch"], 3, 224, 224).to(memory_format=torch.channels_last)
    y = torch.randint(0, model.num_classes, (o["batch"],))
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3, momentum=0.9, weight_decay=1e-4)
    run = torch.compile(model) if o["peer"] == "torch.compile" else model

    def step():
        with autocast(o):
            loss = torch.nn.functional.cross_entropy(run(x), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return step


STEPS = {"forward": {"torch": torch_step_forward, "torch.compile": torch_step_forward, "onnxruntime": onnxruntime_step,
                     "openvino": openvino_step},
         "train": {"torch": torch_step_train, "torch.compile": torch_step_train}, **peers_text.STEPS}


def serve(kind, o):
    """Measures on demand: the median over steps, as the bench programs do."""
    start = time.perf_counter()
    step = STEPS[kind][o["peer"]](o)
    step()
    step()
    say(ready=time.perf_counter() - start)
    for line in sys.stdin:
        seconds, times = float(line.split()[1]), []
        begun = time.perf_counter()
        while not times or time.perf_counter() - begun < seconds:
            t = time.perf_counter()
            step()
            times.append(time.perf_counter() - t)
        say(images_per_second=o["batch"] / statistics.median(times), peak_mib=peak_mib())


def transform():
    from torchvision import transforms
    return transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), transforms.Normalize(MEAN, STD)])


def fit(o):
    """The transfer-learning tutorial's loop with a frozen backbone: a pass over train and val in each epoch."""
    import torch
    from torchvision.datasets import ImageFolder
    sets = {part: ImageFolder(f"{o['data']}/{part}", transform()) for part in ("train", "val")}
    loaders = {part: torch.utils.data.DataLoader(s, batch_size=o["batch"], shuffle=part == "train", num_workers=o["threads"])
               for part, s in sets.items()}
    model = timm_model(o["folder"]).to(memory_format=torch.channels_last)
    model.requires_grad_(False)
    model.fc = torch.nn.Linear(model.num_features, len(sets["train"].classes))
    optimizer = torch.optim.SGD(model.fc.parameters(), lr=1e-3, momentum=0.9)
    for _ in range(o["epochs"]):
        for part, loader in loaders.items():
            model.train(part == "train")
            right = 0
            for x, y in loader:
                x = x.to(memory_format=torch.channels_last)
                with torch.set_grad_enabled(part == "train"), autocast(o):
                    logits = model(x)
                    loss = torch.nn.functional.cross_entropy(logits, y)
                if part == "train":
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                right += (logits.argmax(1) == y).sum().item()
    say(accuracy=right / len(sets["val"]))


def predict(o):
    """One photo, as a script would do it."""
    from PIL import Image
    if o["peer"] == "onnxruntime":
        import numpy as np
        import onnxruntime
        picture = Image.open(o["photo"]).convert("RGB").resize((256, 256), Image.Resampling.BILINEAR).crop((16, 16, 240, 240))
        x = ((np.asarray(picture, np.float32) / 255 - MEAN) / STD).astype(np.float32).transpose(2, 0, 1)[None]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = o["threads"]
        session = onnxruntime.InferenceSession(f"{o['folder']}/model.onnx", options, providers=["CPUExecutionProvider"])
        say(best=int(session.run(None, {"x": x})[0].argmax()))
    else:
        import torch
        model = timm_model(o["folder"]).eval()
        with torch.no_grad():
            say(best=int(model(transform()(Image.open(o["photo"]).convert("RGB"))[None]).argmax()))


def text_prepare(o):
    peers_text.prepare(o)
    say(done=True)


def text_encode(o):
    say(**peers_text.encode(o), peak_mib=peak_mib())


def main():
    kind, o = sys.argv[1], json.loads(sys.argv[2])
    try:
        if kind in STEPS:
            serve(kind, o)
        else:
            {"prepare": prepare, "fit": fit, "predict": predict, "text_prepare": text_prepare, "text_encode": text_encode}[kind](o)
    except BrokenPipeError:
        pass
    except Exception as error:  # the orchestrator prints it in the row's place
        say(error=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200])
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
