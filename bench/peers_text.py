"""The text part of peers_worker.py: BERT shapes with random weights, a batch of texts of one length, or a list of sentences."""

import json
import os
import time

SHAPES = {"bert-base": dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072),
          "minilm": dict(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)}


def prepare(o):
    """A Transformers folder with random weights, and the same model in ONNX."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(num_labels=2, **SHAPES[o["architecture"]])).eval()
    model.save_pretrained(o["folder"])
    batch, length = torch.export.Dim("batch", min=1, max=256), torch.export.Dim("length", min=2, max=512)
    ids = torch.ones(2, 16, dtype=torch.long)
    torch.onnx.export(model, (ids, torch.ones_like(ids)), f"{o['folder']}/model.onnx", input_names=["ids", "mask"], output_names=["y"],
                      dynamic_shapes=({0: batch, 1: length}, {0: batch, 1: length}), dynamo=True, external_data=False, verbose=False)


def ids_of(o):
    import numpy as np
    return np.random.default_rng(0).integers(1000, 30000, (o["batch"], o["length"]), dtype=np.int64)


def torch_model(o):
    from transformers import BertForSequenceClassification
    return BertForSequenceClassification.from_pretrained(o["folder"])


def autocast(o):
    import torch
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=o["dtype"] == "bf16")


def torch_forward(o):
    import torch
    model = torch_model(o).eval()
    ids = torch.from_numpy(ids_of(o))
    mask = torch.ones_like(ids)
    run = torch.compile(model) if o["peer"] == "torch.compile" else model

    def step():
        with torch.no_grad(), autocast(o):
            return run(input_ids=ids, attention_mask=mask).logits
    return step


def onnxruntime_forward(o):
    import numpy as np
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = o["threads"]
    session = onnxruntime.InferenceSession(f"{o['folder']}/model.onnx", options, providers=["CPUExecutionProvider"])
    ids = ids_of(o)
    return lambda: session.run(None, {"ids": ids, "mask": np.ones_like(ids)})


def openvino_forward(o):
    import numpy as np
    import openvino
    core = openvino.Core()
    model = core.read_model(f"{o['folder']}/model.onnx")
    shape = [o["batch"], o["length"]]
    model.reshape({"ids": shape, "mask": shape})
    compiled = core.compile_model(model, "CPU", {
        "INFERENCE_NUM_THREADS": o["threads"], "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if o["dtype"] == "bf16" else "f32"})
    request = compiled.create_infer_request()
    ids = ids_of(o)
    return lambda: request.infer({"ids": ids, "mask": np.ones_like(ids)})


def torch_train(o):
    """Every layer, SGD with momentum, dropout off as in graft's own bench."""
    import torch
    model = torch_model(o)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model.config.attention_probs_dropout_prob = 0.0
    model.train()
    ids, y = torch.from_numpy(ids_of(o)), torch.arange(o["batch"]) % 2
    mask = torch.ones_like(ids)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)
    run = torch.compile(model) if o["peer"] == "torch.compile" else model

    def step():
        with autocast(o):
            loss = torch.nn.functional.cross_entropy(run(input_ids=ids, attention_mask=mask).logits, y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return step


def peft_train(o):
    """LoRA of rank 8 on query and value, and the head; the base in bf16 where that is the type. SGD as in graft's own bench."""
    import peft
    import torch
    from transformers import BertForSequenceClassification
    bf16 = o["dtype"] == "bf16"
    model = BertForSequenceClassification.from_pretrained(o["folder"], dtype=torch.bfloat16 if bf16 else torch.float32)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model.config.attention_probs_dropout_prob = 0.0
    model = peft.get_peft_model(model, peft.LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16, target_modules=["query", "value"]))
    model.train()
    ids, y = torch.from_numpy(ids_of(o)), torch.arange(o["batch"]) % 2
    mask = torch.ones_like(ids)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3, momentum=0.9, weight_decay=1e-4)

    def step():
        with autocast(o):
            loss = torch.nn.functional.cross_entropy(model(input_ids=ids, attention_mask=mask).logits, y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return step


STEPS = {"text_forward": {"torch": torch_forward, "torch.compile": torch_forward, "onnxruntime": onnxruntime_forward,
                          "openvino": openvino_forward},
         "text_train": {"torch": torch_train, "torch.compile": torch_train}, "lora_train": {"peft": peft_train}}


def encode(o):
    """Sentences of real lengths through sentence-transformers; seconds without the start of the process."""
    from sentence_transformers import SentenceTransformer
    model = SentenceTransformer(o["folder"], device="cpu")
    with open(o["sentences"], encoding="utf-8") as f:
        sentences = f.read().splitlines()
    model.encode(sentences[:64])
    begun = time.perf_counter()
    with autocast(o):
        model.encode(sentences, batch_size=32)
    return {"seconds": time.perf_counter() - begun, "n": len(sentences)}
