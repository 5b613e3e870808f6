"""Makes the golden files of ViT and DeiT with PyTorch, Transformers 5 and timm (../README.md says what they hold). The same seeds
give the same files."""

import copy
import importlib.util
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
PARITY = os.path.dirname(HERE)
sys.path.insert(0, PARITY)
from common import ensure, generator, normal, worst, write_json, write_tensors  # noqa: E402

spec = importlib.util.spec_from_file_location("resnet_make", f"{PARITY}/resnet/make.py")
resnet = importlib.util.module_from_spec(spec)
spec.loader.exec_module(resnet)

LABELS = resnet.LABELS[5]
SMALL = dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48, image_size=32, patch_size=8)
# folder: (class, config's options)
MODELS = {
    "vit_small": ("ViTForImageClassification", SMALL),
    "vit_odd": ("ViTForImageClassification",
                dict(SMALL, num_hidden_layers=2, num_attention_heads=2, image_size=[35, 26], patch_size=[8, 6], num_channels=1,
                     qkv_bias=False, hidden_act="quick_gelu", layer_norm_eps=1e-3)),
    "vit_bare": ("ViTModel", dict(SMALL, num_hidden_layers=2)),
    "deit_small": ("DeiTForImageClassification", dict(SMALL, num_hidden_layers=2, hidden_act="gelu_pytorch_tanh")),
}
# in memory: on disk
NAMES = {".layers.": ".encoder.layer.", ".attention.q_proj.": ".attention.attention.query.",
         ".attention.k_proj.": ".attention.attention.key.", ".attention.v_proj.": ".attention.attention.value.",
         ".attention.o_proj.": ".attention.output.dense.", ".mlp.fc1.": ".intermediate.dense.", ".mlp.fc2.": ".output.dense."}
TRAIN = {
    "vit_sgd": dict(resnet.PLAIN, model="vit_small", optimizer=resnet.SGD),
    "vit_adamw_clip": dict(resnet.PLAIN, model="vit_small", clip_norm=0.5,
                           optimizer=dict(resnet.ADAM, kind="adamw", eps=1e-4, weight_decay=0.1)),
    "timm_sgd": dict(resnet.PLAIN, model="timm_small", optimizer=resnet.SGD),
    "deit_sgd": dict(resnet.PLAIN, model="deit_small", optimizer=resnet.SGD),
}


def randomise(model, seed):
    """Weights that matter everywhere: attention far from uniform, norms far from rest, tokens and positions of their own."""
    g = generator(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name and name.endswith("weight"):
                p.copy_(0.5 + torch.rand(p.shape, generator=g))
            elif p.dim() == 1:
                p.copy_(0.2 * torch.randn(p.shape, generator=g))
            elif p.dim() == 3:
                p.copy_(0.5 * torch.randn(p.shape, generator=g))
            else:
                p.copy_((2.0 / p[0].numel()) ** 0.5 * torch.randn(p.shape, generator=g))


def published(name):
    """A parameter's name on disk, which is Transformers 4's."""
    for new, old in NAMES.items():
        name = name.replace(new, old)
    return name


def folder_of(name, kind, options, seed):
    labels = dict(enumerate(LABELS))
    config_of = getattr(transformers, ("DeiT" if kind.startswith("DeiT") else "ViT") + "Config")
    config = config_of(**options, id2label=labels, label2id={v: k for k, v in labels.items()})
    config._attn_implementation = "eager"
    torch.manual_seed(seed)
    model = getattr(transformers, kind)(config).eval()
    randomise(model, seed)
    folder = ensure(f"{HERE}/{name}")
    model.save_pretrained(folder)
    os.chmod(f"{folder}/model.safetensors", 0o644)
    on_disk = load_file(f"{folder}/model.safetensors")
    if name == "vit_bare":  # as a file that keeps the names in memory, pooler and all
        write_tensors(f"{folder}/model.safetensors", model.state_dict())
    else:
        assert set(on_disk) == {published(n) for n in model.state_dict()}, sorted(on_disk)
    sides = options["image_size"] if isinstance(options["image_size"], list) else [options["image_size"]] * 2
    n_channels = options.get("num_channels", 3)
    write_json(f"{folder}/preprocessor_config.json", {
        "do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": [0.5] * n_channels,
        "image_processor_type": "ViTImageProcessor", "image_std": [0.5] * n_channels, "resample": 2,
        "rescale_factor": 1 / 255, "size": {"height": sides[0], "width": sides[1]}})
    return model, normal((3, n_channels, *sides), seed + 1)


def timm_folder(name, architecture, args, seed):
    import timm
    torch.manual_seed(seed)
    model = timm.create_model(architecture, num_classes=len(LABELS), **args).eval()
    randomise(model, seed)
    folder = ensure(f"{HERE}/{name}")
    write_tensors(f"{folder}/model.safetensors", model.state_dict())
    size = args["img_size"]
    write_json(f"{folder}/config.json", {
        "architecture": architecture, "num_classes": len(LABELS), "num_features": model.num_features, "global_pool": "token",
        "model_args": args, "label_names": LABELS,
        "pretrained_cfg": {"input_size": [3, size, size], "fixed_input_size": True, "crop_pct": 0.9, "crop_mode": "center",
                           "interpolation": "bicubic", "mean": [0.5] * 3, "std": [0.5] * 3, "num_classes": len(LABELS),
                           "first_conv": "patch_embed.proj", "classifier": "head"}})
    return model, normal((3, 3, size, size), seed + 1)


def timm_outputs(model, x):
    return {"pooled": model.forward_features(x)[:, 0], "logits": model(x)}


def outputs(model, x):
    """After the embeddings, after each layer, the first token after the last norm, and the logits."""
    backbone = getattr(model, model.base_model_prefix, model)
    out = backbone(x, output_hidden_states=True)
    named = {f"hidden{i}": h for i, h in enumerate(out.hidden_states)}
    named["pooled"] = out.last_hidden_state[:, 0]
    return named if backbone is model else named | {"logits": model(x).logits}


def golden(name, model, x, outputs=outputs):
    with torch.no_grad():
        exact, single = outputs(copy.deepcopy(model).double(), x.double()), outputs(model, x)
    write_tensors(f"{HERE}/{name}/golden.safetensors", {"input": x} | {k: exact[k] for k in ("pooled", "logits") if k in exact})
    print(f"{name:24} PyTorch's own fp32 error on features {worst(single['pooled'], exact['pooled']):.1e}")


class Published(torch.nn.Module):
    """A model whose tensors go by their names on disk, as resnet/make.py writes them after a step."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x).logits

    def state_dict(self, *args, **kwargs):
        return {published(k.removeprefix("model.")): v for k, v in super().state_dict(*args, **kwargs).items()}


def main():
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    assert transformers.__version__.startswith("5."), "these folders are as Transformers 5 saves them"
    models = {}
    for i, (name, (kind, options)) in enumerate(MODELS.items()):
        models[name], x = folder_of(name, kind, options, 800 + 10 * i)
        golden(name, models[name], x)
    model, x = timm_folder("timm_small", "vit_tiny_patch16_224",
                           dict(embed_dim=32, depth=2, num_heads=4, img_size=32, patch_size=8, mlp_ratio=1.5), 850)
    golden("timm_small", model, x, timm_outputs)
    models["timm_small"] = model
    folder = ensure(f"{HERE}/train")
    inputs, labels, _ = resnet.batches(f"{folder}/batches.safetensors", 2, 4, (32, 32), len(LABELS), 860)
    for name, case in TRAIN.items():
        model = models[case["model"]]
        if not case["model"].startswith("timm"):
            model = Published(model)
        resnet.train_case(folder, name, case, model, lambda m, x: m(x), inputs, labels)


if __name__ == "__main__":
    main()
