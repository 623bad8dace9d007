"""Reads the facts of encoders, layers and attentions from torch's modules; it runs only the activation."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.eligibility.facts import AttentionFacts, CallFacts, EncoderFacts, LayerFacts, OtherLayer

TENSORS = (
    "self_attn.in_proj_weight",
    "self_attn.in_proj_bias",
    "self_attn.out_proj.weight",
    "self_attn.out_proj.bias",
    "norm1.weight",
    "norm1.bias",
    "norm2.weight",
    "norm2.bias",
    "linear1.weight",
    "linear1.bias",
    "linear2.weight",
    "linear2.bias",
)
"""The tensors that the fused layer gets instead of modules (torch/nn/modules/transformer.py, `tensor_args`)."""

_PARTS: dict[str, type[nn.Module]] = {
    "self_attn": nn.MultiheadAttention,
    "norm1": nn.LayerNorm,
    "norm2": nn.LayerNorm,
    "linear1": nn.Linear,
    "linear2": nn.Linear,
}


def position_rows(module: nn.Module) -> int | None:
    """Number of positions of torchtext's PositionalEmbedding: the rows of its table after the padding row."""
    if type(module).__name__ != "PositionalEmbedding":
        return None
    table: Any = module.embedding
    pad_index: Any = module.pad_index
    return int(table.num_embeddings) - int(pad_index) - 1


def encoder_facts(encoder: Any, name: str, call: CallFacts | None) -> EncoderFacts:
    """The facts of an `nn.TransformerEncoder`."""
    return EncoderFacts(
        name=name,
        torch_forward=_runs(encoder, nn.TransformerEncoder),
        enable_nested=bool(getattr(encoder, "enable_nested_tensor", False)),
        use_nested=getattr(encoder, "use_nested_tensor", None),
        mask_check=bool(getattr(encoder, "mask_check", True)),
        layers=tuple(
            layer_facts(layer, _joined(name, f"layers.{i}"), None)
            if isinstance(layer, nn.TransformerEncoderLayer)
            else OtherLayer(_joined(name, f"layers.{i}"), type(layer).__name__)
            for i, layer in enumerate(encoder.layers)
        ),
        call=call,
    )


def layer_facts(layer: Any, name: str, call: CallFacts | None) -> LayerFacts:
    """The facts of an `nn.TransformerEncoderLayer`."""
    tensors = dict(_tensors(layer, TENSORS))
    code = int(getattr(layer, "activation_relu_or_gelu", 0))
    alike = _alike(layer.activation)
    return LayerFacts(
        name=name,
        type_name=type(layer).__name__,
        torch_forward=_runs(layer, nn.TransformerEncoderLayer),
        training=layer.training,
        norm_first=bool(layer.norm_first),
        activation_code=code,
        activation=_activation_name(layer.activation),
        activation_exact=code == alike,
        activation_alike=alike,
        approximates_gelu=_approximates_gelu(layer.activation),
        eps=(_eps(layer.norm1), _eps(layer.norm2)),
        width=int(layer.self_attn.embed_dim),
        ffn=int(getattr(layer.linear1, "out_features", 0) or 0),
        hooked=tuple(_hooked(layer)),
        replaced=tuple(_replaced(layer)),
        missing=tuple(path for path, value in tensors.items() if not isinstance(value, Tensor)),
        live_dropout=tuple(_live_dropout(layer)),
        attention=attention_facts(layer.self_attn, _joined(name, "self_attn"), None),
        call=call,
        **_tensor_facts(tensors),
    )


def attention_facts(attention: Any, name: str, call: CallFacts | None) -> AttentionFacts:
    """The facts of an `nn.MultiheadAttention`."""
    tensors = dict(
        _tensors(attention, ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"))
    )
    weight = tensors["in_proj_weight"]
    return AttentionFacts(
        name=name,
        training=attention.training,
        batch_first=attention.batch_first,
        num_heads=attention.num_heads,
        same_widths=attention._qkv_same_embed_dim,
        has_weight=weight is not None,
        has_bias=attention.in_proj_bias is not None,
        weight_dtype=short(weight.dtype) if isinstance(weight, Tensor) else "",
        bias_kv=attention.bias_k is not None or attention.bias_v is not None,
        zero_attention=attention.add_zero_attn,
        call=call,
        **_tensor_facts(tensors),
    )


def _tensor_facts(tensors: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    real = {path: value for path, value in tensors.items() if isinstance(value, Tensor)}
    return {
        "requires_grad": tuple(path for path, value in real.items() if value.requires_grad),
        "devices": tuple(sorted({value.device.type for value in real.values()})),
        "subclasses": tuple(path for path, value in real.items() if is_subclass(value)),
    }


def is_subclass(tensor: Tensor) -> bool:
    """Whether a tensor is neither a plain tensor nor a plain parameter."""
    with torch._C.DisableTorchFunction():
        return type(tensor) not in (Tensor, nn.Parameter)


def _tensors(module: nn.Module, paths: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for path in paths:
        value: Any = module
        for part in path.split("."):
            value = getattr(value, part, None)
        yield path, value


def _runs(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether calling this module runs the forward of this class of torch, directly or through super()."""
    if "forward" in vars(module):
        return False
    return type(module).forward is kind.forward or _calls_super(type(module).forward)


def _calls_super(function: Any) -> bool:
    code = getattr(function, "__code__", None)
    return code is not None and "super" in code.co_names and "__class__" in code.co_freevars


def _hooked(layer: nn.Module) -> Iterator[str]:
    for name, module in layer.named_modules():
        if module._forward_hooks or module._forward_pre_hooks:
            yield name or "the layer itself"


def _replaced(layer: nn.Module) -> Iterator[str]:
    for name, kind in _PARTS.items():
        part = getattr(layer, name)
        if not _runs(part, kind):
            yield f"{name} ({type(part).__name__})"


def _live_dropout(layer: nn.Module) -> Iterator[str]:
    if not layer.training:
        yield from (name for name, module in layer.named_modules() if draws_dropout(module))


def draws_dropout(module: nn.Module) -> bool:
    """Whether the module itself applies dropout in a forward."""
    rate = module.p if isinstance(module, nn.Dropout) else getattr(module, "dropout", 0.0)
    return isinstance(module, nn.Dropout | nn.MultiheadAttention) and module.training and rate > 0


def _eps(norm: nn.Module) -> float:
    return float(getattr(norm, "eps", 0.0) or 0.0)


def _approximates_gelu(activation: Any) -> bool:
    return isinstance(activation, nn.GELU) and activation.approximate != "none"


def _activation_name(activation: Any) -> str:
    if _approximates_gelu(activation):
        return f"gelu, approximated by {activation.approximate}"
    if isinstance(activation, nn.Module):
        return type(activation).__name__.lower()
    return str(getattr(activation, "__name__", type(activation).__name__)).strip("<>")


def _alike(activation: Any) -> int:
    """1 if a callable computes relu, 2 if it computes the exact gelu, else 0: judged by its values on a grid."""
    grid = torch.linspace(-6.0, 6.0, 97, device="cpu")
    try:
        with torch.no_grad(), torch._C.DisableTorchFunction():
            values = activation(grid)
    except Exception:  # a user's callable that does not take a plain tensor is neither
        return 0
    if not isinstance(values, Tensor) or values.shape != grid.shape:
        return 0
    for code, function in ((1, functional.relu), (2, functional.gelu)):
        if torch.allclose(values.float(), function(grid), atol=1e-6, rtol=0):
            return code
    return 0


def _joined(*names: str) -> str:
    return ".".join(name for name in names if name)


def short(value: object) -> str:
    """A dtype or layout without the prefix "torch."."""
    return str(value).removeprefix("torch.")
