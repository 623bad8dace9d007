"""Hugging Face's BERT and RoBERTa files as torchtext's encoder: sizes from config.json, tensors from model.safetensors.

Both libraries compute the same function; they differ in names, in one fused projection and in how positions are
counted. Tensors are copied one by one, so converting needs the model's memory and one tensor more.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from engine.errors import Refusal
from engine.records import EncoderShape, refusal_of

ModelType = Literal["bert", "roberta", "xlm-roberta"]

MOST_CONFIG_BYTES = 10_000_000
"""Longest config.json that is read; one with 100,000 labels has about 5 MB."""
MODEL_TYPES: tuple[ModelType, ...] = ("bert", "roberta", "xlm-roberta")
# AutoModel saves without a prefix; heads for masked words or classes put the encoder under its own name.
PREFIXES = ("", "bert.", "roberta.", "encoder.")
TORCHTEXT_ROOT = "encoder.transformer."
LAYER_NAMES = {
    "attention.output.dense": "self_attn.out_proj",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "linear1",
    "output.dense": "linear2",
    "output.LayerNorm": "norm2",
}
# Checkpoints converted from TensorFlow kept its names for the norms' two vectors.
OLD_NORM_NAMES = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
# The only values that torchtext's encoder can compute; a missing field means the same.
FIXED_FIELDS: dict[str, object] = {
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
}

Take = Callable[[str], Tensor]


def read_config(config_json: Path) -> dict[str, Any]:
    """The content of a config.json.

    Raises:
        Refusal: no JSON object, or quantized weights.
    """
    try:
        with config_json.open("rb") as source:
            config = json.loads(source.read(MOST_CONFIG_BYTES))
    except (OSError, ValueError, RecursionError):
        raise Refusal(f"{config_json} cannot be read as JSON; get the model's folder again.") from None
    if not isinstance(config, dict):
        raise Refusal(f"{config_json} holds no JSON object; get the model's folder again.")
    if "quantization_config" in config:
        raise Refusal(
            "The model's config.json has quantization_config; choose the model without quantization."
        )
    return config


def model_type_of(config: dict[str, Any]) -> ModelType:
    """The family of a config.

    Raises:
        Refusal: a family that torchtext's encoder cannot compute.
    """
    for model_type in MODEL_TYPES:
        if config.get("model_type") == model_type:
            return model_type
    raise Refusal(
        f"The model's config.json has model_type {config.get('model_type')!r}; "
        f"the lab runs {', '.join(MODEL_TYPES)}, so choose a model of these."
    )


def shape_of(config: dict[str, Any]) -> EncoderShape:
    """The encoder's sizes.

    Positions: torchtext and RoBERTa number the real tokens from padding_idx + 1 and count the rows below that in
    max_seq_len; BERT numbers from 0, so its table is moved down by padding_idx + 1 rows
    (transformers: `create_position_ids_from_input_ids`; torchtext: `PositionalEmbedding._make_positions`).

    Raises:
        Refusal: a field is missing, wrong, or needs something that torchtext's encoder does not compute.
    """
    model_type = model_type_of(config)
    _check_fixed_fields(config)
    padding_idx = _padding_idx(config, model_type)
    positions = _number(config, "max_position_embeddings")
    try:
        return EncoderShape(
            vocab_size=_number(config, "vocab_size"),
            embedding_dim=_number(config, "hidden_size"),
            ffn_dimension=_number(config, "intermediate_size"),
            num_attention_heads=_number(config, "num_attention_heads"),
            num_encoder_layers=_number(config, "num_hidden_layers"),
            padding_idx=padding_idx,
            max_seq_len=positions + padding_idx + 1 if model_type == "bert" else positions,
            # Configs leave out what equals the class's default: 1e-12 for all three families.
            layer_norm_eps=config.get("layer_norm_eps", 1e-12),
        )
    except ValidationError as error:
        raise refusal_of(error, "model's config.json") from None


def fill_from_safetensors(
    model: nn.Module, weights: Path, model_type: ModelType, shape: EncoderShape
) -> None:
    """Copy the encoder's weights from a model.safetensors into a model, in the model's own precision.

    The head is left alone. The model must not be used after a refusal.

    Raises:
        Refusal: the file is damaged, lacks a tensor, or has one of another shape or type; the tensor is named.
    """
    try:
        with safe_open(weights, framework="pt") as file:
            keys = frozenset(file.keys())
            take = _reader(keys, file.get_tensor, weights.name)
            fill_encoder(model, torchtext_tensors(take, model_type, shape), weights.name)
    except (SafetensorError, OSError) as error:
        raise Refusal(f"{weights} is damaged or incomplete ({error}); delete it and get it again.") from None


def torchtext_tensors(take: Take, model_type: ModelType, shape: EncoderShape) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of torchtext's encoder under torchtext's name, made from Hugging Face's.

    Args:
        take: Hugging Face's tensor of a name without prefix.
        model_type: decides how the position table is laid out.
        shape: gives the number of layers and the padding row.
    """
    root = TORCHTEXT_ROOT
    yield f"{root}token_embedding.weight", take("embeddings.word_embeddings.weight")
    yield f"{root}positional_embedding.embedding.weight", _positions(take, model_type, shape)
    for part in ("weight", "bias"):
        yield f"{root}embedding_layer_norm.{part}", take(f"embeddings.LayerNorm.{part}")
    for i in range(shape.num_encoder_layers):
        yield from _layer_tensors(take, f"encoder.layer.{i}.", f"{root}layers.layers.{i}.")


def fill_encoder(model: nn.Module, tensors: Iterator[tuple[str, Tensor]], file_name: str) -> None:
    """Copy named tensors into a model until every parameter of its encoder is filled.

    Raises:
        Refusal: a tensor has another shape, is not of floating point, or is missing; it is named.
    """
    missing = {name: value for name, value in model.named_parameters() if name.startswith("encoder.")}
    with torch.no_grad():
        for name, tensor in tensors:
            _copy(missing.pop(name), tensor, name, file_name)
    if missing:
        raise Refusal(f"{file_name} lacks {min(missing)}; it belongs to another model than its config.json.")


def _copy(parameter: Tensor, tensor: Tensor, name: str, file_name: str) -> None:
    if not tensor.is_floating_point():
        raise Refusal(f"{file_name} has {name} as {tensor.dtype}; choose the model without quantization.")
    if parameter.shape != tensor.shape:
        raise Refusal(
            f"{file_name} has {name} of shape {tuple(tensor.shape)} where {tuple(parameter.shape)} is expected; "
            "it belongs to another model."
        )
    parameter.copy_(tensor)


def _positions(take: Take, model_type: ModelType, shape: EncoderShape) -> Tensor:
    table = take("embeddings.position_embeddings.weight")
    # torchtext knows no token types; every token of a single text has type 0, so its row can be added here.
    folded = table.float() + take("embeddings.token_type_embeddings.weight")[0].float()
    if model_type != "bert":
        return folded
    unused = folded.new_zeros(shape.padding_idx + 1, folded.shape[1])
    return torch.cat([unused, folded])


def _layer_tensors(take: Take, source: str, target: str) -> Iterator[tuple[str, Tensor]]:
    for part in ("weight", "bias"):
        projections = [take(f"{source}attention.self.{name}.{part}") for name in ("query", "key", "value")]
        yield f"{target}self_attn.in_proj_{part}", torch.cat(projections)
        for theirs, ours in LAYER_NAMES.items():
            yield f"{target}{ours}.{part}", take(f"{source}{theirs}.{part}")


def _reader(keys: frozenset[str], get_tensor: Take, file_name: str) -> Take:
    prefix = _prefix(keys, file_name)

    def take(name: str) -> Tensor:
        key = prefix + name
        for new, old in OLD_NORM_NAMES.items():
            if key not in keys and key.endswith(new):
                key = key.removesuffix(new) + old
        if key not in keys:
            raise Refusal(
                f"{file_name} lacks {prefix + name}; it belongs to another model than its config.json."
            )
        return get_tensor(key)

    return take


def _prefix(keys: frozenset[str], file_name: str) -> str:
    for prefix in PREFIXES:
        if f"{prefix}embeddings.word_embeddings.weight" in keys:
            return prefix
    raise Refusal(
        f"{file_name} lacks embeddings.word_embeddings.weight; the lab reads encoders of the BERT and RoBERTa families."
    )


def _check_fixed_fields(config: dict[str, Any]) -> None:
    for field, expected in FIXED_FIELDS.items():
        found = config.get(field, expected)
        # transformers writes null where a field was never set.
        if found not in (expected, None):
            raise Refusal(
                f"The model's config.json has {field} {found!r}; torchtext's encoder computes {expected!r} only, "
                "so choose another model."
            )


def _padding_idx(config: dict[str, Any], model_type: ModelType) -> int:
    # The defaults of BertConfig and RobertaConfig; a config may leave them out.
    default = 0 if model_type == "bert" else 1
    return default if config.get("pad_token_id") is None else _number(config, "pad_token_id")


def _number(config: dict[str, Any], field: str) -> int:
    value = config.get(field)
    if type(value) is not int:
        raise Refusal(f"The model's config.json has {field} {value!r} where a whole number is expected.")
    return value
