"""Which models can be packed.

A packed module reads weights and calls none of the model's own code. So every part, in every layer, must be of exactly
a type whose code is known here. Each refusal is one sentence that names the part and what it has.
"""

import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as all_modules
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from engine.errors import Refusal
from engine.packing.activation import activation_of
from engine.packing.precisions import TORCH_DTYPES

_NOT_IN_EVAL_MODE = (nn.TransformerEncoderLayer, nn.MultiheadAttention, _DropoutNd, _BatchNorm)
"""Parts that compute something else in training mode."""
_DROPOUT = (
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
    nn.Identity,
)
"""Parts that compute nothing in eval mode."""
_TORCHTEXT = "torchtext.models.roberta."


def check_eval_mode(model: nn.Module) -> None:
    """Refuse a model that would draw dropout: a packed module never does, so its results would differ.

    Raises:
        Refusal: the model, or a part of it that computes something else then, is in training mode.
    """
    differing = (part for part in model.modules() if isinstance(part, _NOT_IN_EVAL_MODE))
    if model.training or any(part.training for part in differing):
        raise Refusal(
            "Cannot pack a model in training mode: call eval() first. Packed modules draw no dropout."
        )


def check_encoder(encoder: nn.TransformerEncoder, prefix: str = "") -> None:
    """Refuse an encoder whose result the packed one would not give, before anything is changed.

    Args:
        prefix: where the encoder is in the model, such as "encoder.transformer.layers.".

    Raises:
        Refusal: it has no layers, or a part that is not supported; it is named.
    """
    _check_surroundings()
    _check_type(encoder, prefix.rstrip(".") or "the model", nn.TransformerEncoder)
    if type(encoder.layers) not in (nn.ModuleList, nn.Sequential):
        raise _wrong_type(encoder.layers, f"{prefix}layers", nn.ModuleList)
    layers: list[Any] = list(encoder.layers)
    if not layers:
        raise Refusal("Cannot pack an encoder without layers.")
    for number, layer in enumerate(layers):
        _check_layer(layer, f"{prefix}layers.{number}")
    _check_alike(layers, prefix)
    if encoder.norm is not None:
        _check_norm(encoder.norm, f"{prefix}norm", layers[0].self_attn.embed_dim)
    _check_device(encoder)


def is_roberta(model: object) -> bool:
    """Whether a model is torchtext's RobertaModel or a subclass; torchtext is not imported."""
    known = _torchtext("model", "RobertaModel")
    return known is not None and isinstance(model, known)


def check_roberta(model: Any) -> None:
    """Refuse a RobertaModel whose result the packed one would not give, before anything is changed.

    Raises:
        Refusal: a part of it is not supported; it is named.
    """
    _check_type(model, "the model", _torchtext("model", "RobertaModel"))
    _check_type(_part(model, "encoder"), "encoder", _torchtext("model", "RobertaEncoder"))
    place, body = "encoder.transformer", _part(model.encoder, "transformer")
    _check_type(body, place, _torchtext("modules", "TransformerEncoder"))
    check_encoder(body.layers, f"{place}.layers.")
    attention: Any = body.layers.layers[0].self_attn
    if not attention.batch_first:
        raise Refusal(f"Cannot pack: {place}.layers is not batch_first, so texts would attend to each other.")
    _check_embeddings(body, place, attention.embed_dim)
    if getattr(body, "return_all_layers", False) and body.layers.norm is not None:
        raise Refusal(f"Cannot pack: {place} has return_all_layers, which leaves out the norm of its layers.")
    if model.head is not None and not isinstance(model.head, nn.Module):
        raise _wrong_type(model.head, "head", nn.Module)
    _check_device(model)


def is_known_head(head: nn.Module | None) -> bool:
    """Whether a head is torchtext's own classification head, whose dense layer can be laid out.

    Any other head is called as it is.
    """
    known = _torchtext("model", "RobertaClassificationHead")
    if known is None or type(head) is not known:
        return False
    try:
        _check_type(head, "head", known)
        for name in ("dense", "out_proj"):
            _check_linear(_part(head, name), f"head.{name}", (None, None))
        _check_type(_part(head, "dropout"), "head.dropout", *_DROPOUT)
    except Refusal:
        return False
    return True


def _torchtext(module: str, name: str) -> Any:
    """A class of torchtext if it is loaded, else None: then no object of it can exist."""
    return getattr(sys.modules.get(_TORCHTEXT + module), name, None)


def _check_surroundings() -> None:
    if all_modules._global_forward_hooks or all_modules._global_forward_pre_hooks:
        raise Refusal(
            "Cannot pack while forward hooks of all modules are registered, because a packed module would not call "
            "them for the parts of the model: remove them first."
        )
    made = type(torch.empty(0, device="cpu"))
    if made is not Tensor:
        raise Refusal(
            f"Cannot pack in a mode in which torch makes a {made.__name__} instead of a tensor: leave it first."
        )


def _check_layer(layer: Any, place: str) -> None:
    _check_type(layer, place, nn.TransformerEncoderLayer)
    width = _check_attention(_part(layer, "self_attn"), f"{place}.self_attn")
    up = _check_linear(_part(layer, "linear1"), f"{place}.linear1", (None, width))
    _check_linear(_part(layer, "linear2"), f"{place}.linear2", (width, up.shape[0]))
    for name in ("norm1", "norm2"):
        _check_norm(_part(layer, name), f"{place}.{name}", width)
    for name in ("dropout", "dropout1", "dropout2"):
        _check_type(_part(layer, name), f"{place}.{name}", *_DROPOUT)
    activation_of(layer.activation, f"{place}.activation")
    if isinstance(layer.activation, nn.Module):
        _check_type(layer.activation, f"{place}.activation", nn.ReLU, nn.GELU)


def _check_attention(attention: Any, place: str) -> int:
    """Check attention, and return its width."""
    _check_type(attention, place, nn.MultiheadAttention)
    width: int = attention.embed_dim
    if attention.in_proj_weight is None or not attention._qkv_same_embed_dim:
        raise Refusal(f"Cannot pack: {place} has keys or values of another width than its queries.")
    if attention.bias_k is not None or attention.bias_v is not None or attention.add_zero_attn:
        raise Refusal(f"Cannot pack: {place} adds keys and values to those of the tokens.")
    if attention.num_heads < 1 or width % attention.num_heads:
        raise Refusal(f"Cannot pack: {place} has {attention.num_heads} heads, which do not divide {width}.")
    _check_values(attention, "in_proj_weight", place, (3 * width, width))
    _check_optional(attention, "in_proj_bias", place, 3 * width)
    _check_linear(_part(attention, "out_proj"), f"{place}.out_proj", (width, width))
    return width


def _check_linear(linear: Any, place: str, shape: tuple[int | None, int | None]) -> Tensor:
    """Check a linear layer, and return its weight (outputs, inputs)."""
    _check_type(linear, place, nn.Linear, NonDynamicallyQuantizableLinear)
    weight = _check_values(linear, "weight", place, shape)
    _check_optional(linear, "bias", place, weight.shape[0])
    return weight


def _check_norm(norm: Any, place: str, width: int) -> None:
    _check_type(norm, place, nn.LayerNorm)
    if tuple(norm.normalized_shape) != (width,):
        raise Refusal(
            f"Cannot pack: {place} is a LayerNorm over {tuple(norm.normalized_shape)}, "
            f"not over the width alone, which is {width}."
        )
    for name in ("weight", "bias"):
        _check_optional(norm, name, place, width)


def _check_embeddings(body: Any, place: str, width: int) -> None:
    positional = _part(body, "positional_embedding")
    _check_type(positional, f"{place}.positional_embedding", _torchtext("modules", "PositionalEmbedding"))
    if positional.pad_index != body.padding_idx:
        raise Refusal(
            f"Cannot pack: {place} has the padding id {body.padding_idx}, and its positional_embedding has "
            f"{positional.pad_index}."
        )
    for owner, name, at in (
        (body, "token_embedding", place),
        (positional, "embedding", f"{place}.positional_embedding"),
    ):
        table = _part(owner, name)
        _check_type(table, f"{at}.{name}", nn.Embedding)
        if table.max_norm is not None:
            raise Refusal(f"Cannot pack: {at}.{name} has max_norm, which changes its weights in every call.")
        _check_values(table, "weight", f"{at}.{name}", (None, width))
    _check_norm(_part(body, "embedding_layer_norm"), f"{place}.embedding_layer_norm", width)
    _check_type(_part(body, "dropout"), f"{place}.dropout", *_DROPOUT)


def _check_alike(layers: Sequence[Any], prefix: str) -> None:
    first = _common(layers[0])
    for number, layer in enumerate(layers):
        for name, value in _common(layer).items():
            if value != first[name]:
                raise Refusal(
                    f"Cannot pack: layers differ in their {name}, which is {first[name]} in {prefix}layers.0 and "
                    f"{value} in {prefix}layers.{number}."
                )


def _common(layer: Any) -> dict[str, object]:
    """What must be the same in all layers."""
    attention = layer.self_attn
    return {
        "width": attention.embed_dim,
        "number of heads": attention.num_heads,
        "batch_first": bool(attention.batch_first),
        "norm_first": bool(layer.norm_first),
    }


def _part(owner: Any, name: str) -> Any:
    return getattr(owner, name, None)


def _wrong_type(found: object, place: str, *kinds: Any) -> Refusal:
    known = " or ".join(kind.__name__ for kind in kinds)
    return Refusal(f"Cannot pack: {place} is of type {type(found).__name__}, and only {known} is supported.")


def _check_type(part: Any, place: str, *kinds: Any) -> None:
    """Refuse another type, a subclass too, and a part whose call does more than its class says."""
    if type(part) not in kinds:
        raise _wrong_type(part, place, kinds[0])
    own = next((name for name in vars(part) if callable(getattr(type(part), name, None))), None)
    if own is not None:
        raise Refusal(f"Cannot pack: {place} has a {own} of its own, which a packed module would not call.")
    if part._forward_hooks or part._forward_pre_hooks:
        raise Refusal(f"Cannot pack: {place} has forward hooks, which a packed module would not call.")


def _check_values(owner: Any, name: str, place: str, shape: tuple[int | None, ...]) -> Tensor:
    """Refuse values that are not a dense tensor of this shape in a precision that can be packed; None is any size."""
    found: Tensor = _part(owner, name)
    place = f"{place}.{name}"
    if type(found) not in (Tensor, nn.Parameter) or found.layout != torch.strided:
        kind = type(found).__name__ if type(found) not in (Tensor, nn.Parameter) else str(found.layout)
        raise Refusal(f"Cannot pack: {place} is of type {kind}, and only dense tensors are supported.")
    if tuple(found.shape) == (0,):
        raise Refusal("Cannot pack: an earlier pack(model, release=True) freed the weights of this model.")
    if found.is_meta:
        raise Refusal(f"Cannot pack: {place} is on the device meta, which holds no values: load the weights.")
    if found.dtype not in TORCH_DTYPES.values():
        raise Refusal(f"Cannot pack: {place} is {found.dtype}; choose fp32, bf16 or fp16.")
    if found.dim() != len(shape) or any(b not in (None, a) for a, b in zip(found.shape, shape, strict=True)):
        expected = ", ".join("any" if size is None else str(size) for size in shape)
        raise Refusal(
            f"Cannot pack: {place} has the shape {tuple(found.shape)}, and ({expected}) is expected."
        )
    return found


def _check_optional(owner: Any, name: str, place: str, size: int) -> None:
    if _part(owner, name) is not None:
        _check_values(owner, name, place, (size,))


def _check_device(model: nn.Module) -> None:
    devices = sorted({str(parameter.device) for parameter in model.parameters()})
    if len(devices) > 1:
        raise Refusal(f"Cannot pack a model on several devices ({', '.join(devices)}): move it to one.")
