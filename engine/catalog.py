"""What is on offer: the models by name, and the execution paths with their words.

Plain data, free of torch, so that pages and the command line can list it at no cost.
"""

from pathlib import Path

from engine.errors import Refusal
from engine.records import EncoderShape, ModelSpec, Record

DEFAULT_MODEL = "minilm"

_MINILM = EncoderShape(
    vocab_size=30522,
    embedding_dim=384,
    ffn_dimension=1536,
    num_attention_heads=12,
    num_encoder_layers=6,
    padding_idx=0,
    max_seq_len=513,
    layer_norm_eps=1e-12,
)
_ROBERTA_BASE = EncoderShape(
    vocab_size=50265,
    embedding_dim=768,
    ffn_dimension=3072,
    num_attention_heads=12,
    num_encoder_layers=12,
    padding_idx=1,
    max_seq_len=514,
    layer_norm_eps=1e-5,
)
_LARGE = {"embedding_dim": 1024, "ffn_dimension": 4096, "num_attention_heads": 16, "num_encoder_layers": 24}
_ROBERTA_LARGE = _ROBERTA_BASE.model_copy(update=_LARGE)
_ROBERTA_DISTILLED = _ROBERTA_BASE.model_copy(update={"num_encoder_layers": 6})
_XLMR_BASE = _ROBERTA_BASE.model_copy(update={"vocab_size": 250002})
_XLMR_LARGE = _XLMR_BASE.model_copy(update=_LARGE)

_BUNDLES = {
    "xlmr-base": ("XLM-R base", _XLMR_BASE, 1113),
    "xlmr-large": ("XLM-R large, the tutorial's model", _XLMR_LARGE, 2240),
    "roberta-base": ("RoBERTa base", _ROBERTA_BASE, 499),
    "roberta-large": ("RoBERTa large", _ROBERTA_LARGE, 1422),
    "roberta-distilled": ("DistilRoBERTa", _ROBERTA_DISTILLED, 331),
}


def _bundle(name: str) -> ModelSpec:
    title, shape, download_mb = _BUNDLES[name]
    return ModelSpec(
        name=name,
        title=title,
        source="torchtext",
        shape=shape,
        download_mb=download_mb,
        note="Weights are fetched from torchtext's own address, or converted from Hugging Face's.",
    )


def _random(name: str) -> ModelSpec:
    title, shape, _ = _BUNDLES[name]
    return ModelSpec(
        name=f"{name}-random",
        title=f"{title.split(',')[0]}, random weights",
        source="random",
        shape=shape,
        note="The exact shape with seeded random weights: speed does not depend on the weights. "
        "Texts go through a stand-in tokenizer.",
    )


CATALOG: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec(
            name="minilm",
            title="all-MiniLM-L6-v2",
            source="embedded",
            shape=_MINILM,
            note="A real pretrained sentence encoder that comes with the packages: nothing to download.",
        ),
        *map(_bundle, _BUNDLES),
        *map(_random, _BUNDLES),
    )
}


def find_model(name: str) -> ModelSpec:
    """The model of this name: a catalogue entry, a local folder, or an `owner/name` on the hub.

    Raises:
        Refusal: no such model.
    """
    if name in CATALOG:
        return CATALOG[name]
    if (Path(name) / "config.json").is_file():
        return ModelSpec(name=name, title=Path(name).resolve().name, source="folder")
    if name and Path(name).is_dir():
        raise Refusal(
            f"The folder {name} holds no config.json; a model folder has config.json and model.safetensors."
        )
    if name.count("/") == 1 and not name.startswith((".", "/")) and not name.endswith("/"):
        return ModelSpec(name=name, title=name.split("/")[1], source="hub")
    raise Refusal(
        f"There is no model {name!r}. Choose one of {', '.join(CATALOG)}, "
        "a folder with config.json and model.safetensors, or an owner/name on the Hugging Face hub."
    )


class PathSpec(Record):
    """An execution path in words: what pages and tables say of it."""

    name: str
    title: str
    explanation: str


PATHS: dict[str, PathSpec] = {
    spec.name: spec
    for spec in (
        PathSpec(
            name="slow-train",
            title="Slow path, train mode",
            explanation="The tutorial's first slow path: train mode, gradients recorded, dropout drawn.",
        ),
        PathSpec(
            name="slow-grad",
            title="Slow path, gradients on",
            explanation="The tutorial's later slow path: eval mode, but gradients still recorded.",
        ),
        PathSpec(
            name="slow",
            title="Slow path",
            explanation="The fair baseline: eval mode, no gradients, fastpath switched off.",
        ),
        PathSpec(
            name="fast-mha",
            title="Fastpath, native MHA",
            explanation="One fused operator a layer; padding is still computed.",
        ),
        PathSpec(
            name="fast-nested",
            title="Fastpath, native MHA + sparsity",
            explanation="One fused operator a layer on nested tensors: padding costs nothing.",
        ),
        PathSpec(
            name="tutorial-mha",
            title="The tutorial's 'MHA only'",
            explanation="The tutorial's own switch, enable_nested_tensor = False: a no-op, sparsity stays on.",
        ),
        PathSpec(
            name="bucketed",
            title="Batching by length",
            explanation="What people do today: texts sorted by length, a slow forward for each group of like length.",
        ),
        PathSpec(
            name="packed",
            title="Packed",
            explanation="Padding-free: real tokens only, on weights laid out once for this processor.",
        ),
        PathSpec(
            name="compile",
            title="torch.compile",
            explanation="The slow path compiled by torch.compile into one graph, for any shape.",
        ),
        PathSpec(
            name="hf-sdpa",
            title="Hugging Face, SDPA",
            explanation="Hugging Face's own code for the same encoder, on the same weights.",
        ),
        PathSpec(
            name="onnxruntime",
            title="ONNX Runtime",
            explanation="The encoder exported to ONNX and run by ONNX Runtime; CPU only.",
        ),
        PathSpec(
            name="openvino",
            title="OpenVINO",
            explanation="The encoder converted for OpenVINO and run by it in fp32; CPU only.",
        ),
        PathSpec(
            name="slow@bf16",
            title="Slow path, bf16",
            explanation="The slow path on a copy of the model in bfloat16.",
        ),
        PathSpec(
            name="fast-nested@bf16",
            title="Native MHA + sparsity, bf16",
            explanation="The fastpath with sparsity on a copy of the model in bfloat16.",
        ),
        PathSpec(
            name="bucketed@bf16",
            title="Batching by length, bf16",
            explanation="Groups of like length through the slow path, on a copy of the model in bfloat16.",
        ),
        PathSpec(
            name="packed@bf16",
            title="Packed, bf16",
            explanation="Padding-free with bfloat16 linear layers and attention; residuals and norms stay in fp32.",
        ),
        PathSpec(
            name="compile@bf16",
            title="torch.compile, bf16",
            explanation="The slow path compiled by torch.compile, on a copy of the model in bfloat16.",
        ),
        PathSpec(
            name="hf-sdpa@bf16",
            title="Hugging Face, SDPA, bf16",
            explanation="Hugging Face's own code, on a copy of the model in bfloat16.",
        ),
        PathSpec(
            name="openvino@bf16",
            title="OpenVINO, bf16",
            explanation="OpenVINO computing in bfloat16, where the processor can; CPU only.",
        ),
        PathSpec(
            name="onnxruntime@int8",
            title="ONNX Runtime, int8",
            explanation="ONNX Runtime's dynamic quantisation: 8-bit weights and activations, and their error.",
        ),
    )
}


def find_paths(names: tuple[str, ...]) -> tuple[PathSpec, ...]:
    """The execution paths of these names, in the order given.

    Raises:
        Refusal: a name is unknown.
    """
    unknown = [name for name in names if name not in PATHS]
    if unknown:
        raise Refusal(f"There is no path {unknown[0]!r}. Choose among {', '.join(PATHS)}.")
    return tuple(PATHS[name] for name in names)
