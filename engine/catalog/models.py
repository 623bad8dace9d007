"""The models on offer, by name: plain data without torch, so that pages and the command line can list them fast."""

from collections.abc import Callable
from pathlib import Path

from engine.errors import Refusal
from engine.records import EncoderShape, ModelSpec

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
    if _exists(Path(name, "config.json"), Path.is_file):
        return ModelSpec(name=name, title=Path(name).resolve().name, source="folder")
    if name and _exists(Path(name), Path.is_dir):
        raise Refusal(
            f"The folder {name} holds no config.json; a model folder has config.json and model.safetensors."
        )
    if name.count("/") == 1 and not name.startswith((".", "/")) and not name.endswith("/"):
        return ModelSpec(name=name, title=name.split("/")[1], source="hub")
    raise Refusal(
        f"There is no model {name!r}. Choose one of {', '.join(CATALOG)}, "
        "a folder with config.json and model.safetensors, or an owner/name on the Hugging Face hub."
    )


def _exists(path: Path, kind: Callable[[Path], bool]) -> bool:
    try:
        return kind(path)
    except OSError:  # a name longer than the file system allows, or a folder that may not be read
        return False
