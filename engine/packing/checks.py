"""The precisions and calls of packed modules: one sentence for everything that they do not take."""

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from engine.errors import Refusal
from engine.packing.precisions import TORCH_DTYPES
from engine.records import DType

_INPUT_DTYPES = tuple(TORCH_DTYPES.values())


def check_precision(dtype: object) -> None:
    """Refuse a precision that does not exist here.

    Raises:
        Refusal: it is not one of "fp32", "bf16", "fp16" or None.
    """
    if dtype is not None and (not isinstance(dtype, str) or dtype not in TORCH_DTYPES):
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


def check_call(src: Tensor, mask: Tensor | None, is_causal: bool | None) -> None:
    """Refuse what a packed encoder cannot compute.

    Raises:
        Refusal: an attention mask, causal attention, gradients, a nested tensor, or no plain tensor.
    """
    _check_is_tensor(src, "input")
    if mask is not None or is_causal:
        raise Refusal("A packed encoder attends to all real tokens: it takes no attention mask.")
    if src.is_nested:
        raise Refusal(
            "A packed encoder takes a padded batch and src_key_padding_mask instead of a nested tensor: "
            "call to_padded_tensor() first."
        )
    _check_plain(src, "input")
    if (src.requires_grad and torch.is_grad_enabled()) or _has_tangent(src):
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
    _check_is_tensor(padding, "padding mask")
    _check_plain(padding, "padding mask")
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
    _check_is_tensor(tokens, "input")
    _check_plain(tokens, "input")
    if tokens.dim() != 2 or tokens.dtype not in (torch.int64, torch.int32):
        raise Refusal(
            "A packed RobertaModel takes tokens (batch, length) as int64 or int32; these have the shape "
            f"{tuple(tokens.shape)} and are {tokens.dtype}."
        )
    _check_device(tokens, device, "input")


def _check_device(given: Tensor, device: torch.device, name: str) -> None:
    if given.device != device:
        raise Refusal(f"The {name} is on {given.device}, the packed weights are on {device}.")


def _has_tangent(src: Tensor) -> bool:
    """Whether a derivative is computed forward along with the input (torch.func.jvp)."""
    if forward_ad._current_level < 0:
        return False
    return forward_ad.unpack_dual(src).tangent is not None  # type: ignore[no-untyped-call]


def _check_is_tensor(given: object, name: str) -> None:
    if not isinstance(given, Tensor):
        raise Refusal(
            f"The {name} of a packed module is a tensor; this one is of type {type(given).__name__}."
        )


def _check_plain(given: Tensor, name: str) -> None:
    """Refuse what the kernels cannot read by its address, and a trace, which would keep one call's values."""
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        raise Refusal("A packed module cannot be traced or exported: trace the original instead.")
    if given.is_nested or given.layout != torch.strided:
        raise Refusal(f"The {name} of a packed module is a dense tensor; this one is {given.layout}.")
    if type(given).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        raise Refusal(
            f"The {name} of a packed module is a plain tensor; this one is a {type(given).__name__}."
        )
