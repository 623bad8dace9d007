"""What can be packed, and what a packed module takes: one sentence for everything else."""

from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import Refusal
from engine.packing.layer import check
from engine.packing.norm import Norm
from engine.packing.precisions import TORCH_DTYPES
from engine.records import DType

_DRAW_DROPOUT = (nn.TransformerEncoderLayer, nn.MultiheadAttention, nn.Dropout)
_INPUT_DTYPES = tuple(TORCH_DTYPES.values())


def check_precision(dtype: object) -> None:
    """Refuse a precision that does not exist here.

    Raises:
        Refusal: it is not one of "fp32", "bf16", "fp16" or None.
    """
    if dtype is not None and dtype not in TORCH_DTYPES:
        raise Refusal(f"Cannot pack in {dtype!r}: choose 'fp32', 'bf16' or 'fp16', or leave it out.")


def precision_of(model: nn.Module) -> DType:
    """The precision of a model's first parameter.

    Raises:
        Refusal: it is none of fp32, bf16, fp16.
    """
    own = next(model.parameters()).dtype
    for name, dtype in TORCH_DTYPES.items():
        if dtype == own:
            return name
    raise Refusal(f"Cannot pack a model of {own}: choose fp32, bf16 or fp16.")


def check_eval_mode(model: nn.Module) -> None:
    """Refuse a model that would draw dropout: a packed module never does, so its results would differ.

    Raises:
        Refusal: the model, or a part of it that draws dropout, is in training mode.
    """
    drawing = (part for part in model.modules() if isinstance(part, _DRAW_DROPOUT))
    if model.training or any(part.training for part in drawing):
        raise Refusal(
            "Cannot pack a model in training mode: call eval() first. Packed modules draw no dropout."
        )


def check_encoder(encoder: nn.TransformerEncoder) -> None:
    """Refuse an encoder whose result the packed one would not give, before anything is changed.

    Raises:
        Refusal: it has no layers, or one with something that is not supported; it is named.
    """
    layers: list[Any] = list(encoder.layers)
    if getattr(encoder.forward, "__func__", None) is not nn.TransformerEncoder.forward:
        raise Refusal(f"Cannot pack: {type(encoder).__name__} has a forward of its own.")
    if not layers:
        raise Refusal("Cannot pack an encoder without layers.")
    for layer in layers:
        check(layer)
    attentions = [layer.self_attn for layer in layers]
    if len({(each.embed_dim, each.num_heads, each.batch_first) for each in attentions}) > 1:
        raise Refusal("Cannot pack: its layers differ in width, number of heads or batch_first.")
    if encoder.norm is not None:
        Norm.of(encoder.norm)
    devices = {str(parameter.device) for parameter in encoder.parameters()}
    if len(devices) > 1:
        raise Refusal(
            f"Cannot pack a model on several devices ({', '.join(sorted(devices))}): move it to one."
        )


def check_call(src: Tensor, mask: Tensor | None, is_causal: bool | None) -> None:
    """Refuse what a packed encoder cannot compute.

    Raises:
        Refusal: an attention mask, causal attention, gradients or a nested tensor.
    """
    if mask is not None or is_causal:
        raise Refusal("A packed encoder attends to all real tokens: it takes no attention mask.")
    if src.is_nested:
        raise Refusal(
            "A packed encoder takes a padded batch and src_key_padding_mask instead of a nested tensor: "
            "call to_padded_tensor() first."
        )
    if src.requires_grad and torch.is_grad_enabled():
        raise Refusal(
            "A packed encoder computes no gradients: call it under torch.no_grad() or torch.inference_mode(), "
            "or pass src.detach()."
        )


def check_batch(src: Tensor, width: int, device: torch.device) -> None:
    """Refuse an input of another shape, precision or device.

    Raises:
        Refusal: what is wrong, and what is expected.
    """
    if src.dim() not in (2, 3) or src.shape[-1] != width:
        raise Refusal(
            f"A packed encoder of width {width} takes three dimensions, or (length, {width}) for one text; "
            f"the input has the shape {tuple(src.shape)}."
        )
    if src.dtype not in _INPUT_DTYPES:
        raise Refusal(f"A packed encoder takes float32, bfloat16 or float16; the input is {src.dtype}.")
    _check_device(src, device, "input")


def check_padding(padding: Tensor, shape: tuple[int, ...], device: torch.device) -> None:
    """Refuse a padding mask of another type, shape or device.

    Args:
        shape: (batch, length), or (length,) for one text.

    Raises:
        Refusal: what is wrong, and what is expected.
    """
    if padding.dtype != torch.bool:
        raise Refusal(
            f"A packed encoder takes a padding mask of booleans, True on padding; this one is {padding.dtype}."
        )
    if tuple(padding.shape) != shape:
        raise Refusal(f"The padding mask has the shape {tuple(padding.shape)}; this input needs {shape}.")
    _check_device(padding, device, "padding mask")


def check_tokens(tokens: Tensor, device: torch.device) -> None:
    """Refuse tokens of another shape, type or device.

    Raises:
        Refusal: what is wrong, and what is expected.
    """
    if tokens.dim() != 2 or tokens.dtype not in (torch.int64, torch.int32):
        raise Refusal(
            "A packed RobertaModel takes tokens (batch, length) as int64 or int32; these have the shape "
            f"{tuple(tokens.shape)} and are {tokens.dtype}."
        )
    _check_device(tokens, device, "input")


def _check_device(given: Tensor, device: torch.device, name: str) -> None:
    if given.device != device:
        raise Refusal(f"The {name} is on {given.device}, the packed weights are on {device}.")
