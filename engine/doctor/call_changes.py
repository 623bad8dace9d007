"""The changes that cures make to a call: to its settings, its arguments, and the arguments of encoders inside it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from engine.doctor.module_changes import Apply, decide_nested_again, encoders, layers
from engine.eligibility.facts import ModelFacts
from engine.eligibility.module_reading import position_rows
from engine.eligibility.subject import Subject


def around_encoders(
    before: Callable[[dict[str, Any], dict[str, Any]], None],
    after: Callable[[Tensor, dict[str, Any]], Tensor] = lambda output, _notes: output,
) -> Callable[[nn.Module], None]:
    """Change the arguments and the outputs of encoders by hooks on the encoders themselves.

    A hook on an `nn.TransformerEncoder` does not disable the fastpath; a hook on one of its layers does.

    Args:
        before: changes the keyword arguments in place, and may store values for `after` in the second dict.
        after: changes the output, with those values.
    """

    def change(model: nn.Module) -> None:
        for encoder in encoders(model):
            notes: dict[str, Any] = {}
            encoder.register_forward_pre_hook(_pre_hook(before, notes), with_kwargs=True)
            encoder.register_forward_hook(lambda _m, _a, output, notes=notes: after(output, notes))

    return change


def _pre_hook(
    before: Callable[[dict[str, Any], dict[str, Any]], None], notes: dict[str, Any]
) -> Callable[..., Any]:
    def hook(
        _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        names = ("src", "mask", "src_key_padding_mask", "is_causal")
        call = {**dict(zip(names, args, strict=False)), **kwargs}
        before(call, notes)
        return (), call

    return hook


def setting(**settings: Any) -> Apply:
    """A change of the settings around the call."""
    return lambda subject, _facts: subject.with_setting(**settings)


def texts_first(subject: Subject, _facts: ModelFacts) -> Subject:
    """Call the encoder with the texts first, and transpose its output back."""

    def swap(call: dict[str, Any], _notes: dict[str, Any]) -> None:
        call["src"] = call["src"].transpose(0, 1)

    def change(model: nn.Module) -> None:
        around_encoders(swap, lambda output, _notes: output.transpose(0, 1))(model)
        for layer in layers(model):
            layer.self_attn.batch_first = True
        decide_nested_again(model)

    return subject.changed(change)


def as_batch(call: dict[str, Any], notes: dict[str, Any]) -> None:
    """Make a single text a batch of one."""
    notes["single"] = call["src"].dim() == 2
    if notes["single"]:
        call["src"] = call["src"].unsqueeze(0)
        if call.get("src_key_padding_mask") is not None:
            call["src_key_padding_mask"] = call["src_key_padding_mask"].unsqueeze(0)


def real_tokens_first(call: dict[str, Any], notes: dict[str, Any]) -> None:
    """Move each row's real tokens to its front. An encoder does not use positions, so its outputs move with them."""
    padding = call.get("src_key_padding_mask")
    if padding is None:
        return
    order = (padding != 0).int().argsort(dim=1, stable=True)
    notes["order"] = order
    call["src"] = _taken(call["src"], order)
    call["src_key_padding_mask"] = padding.gather(1, order)


def inverted(call: dict[str, Any], _notes: dict[str, Any]) -> None:
    """Invert the padding mask."""
    call["src_key_padding_mask"] = call["src_key_padding_mask"] == 0


def put_back(output: Tensor, notes: dict[str, Any]) -> Tensor:
    """Undo `real_tokens_first` in the output."""
    return _taken(output, notes["order"].argsort(dim=1)) if "order" in notes else output


def _taken(rows: Tensor, order: Tensor) -> Tensor:
    return rows.gather(1, order[:, :, None].expand_as(rows))


def drop_clear_mask(subject: Subject, facts: ModelFacts) -> Subject | str:
    """Remove an attention mask that masks nothing."""
    masks = [encoder.call.mask for encoder in facts.encoders if encoder.call and encoder.call.mask]
    if not all(mask.clear for mask in masks):
        return "the attention mask masks something, so the answer needs it; nested attention has no such mask"

    def drop(call: dict[str, Any], _notes: dict[str, Any]) -> None:
        call["mask"] = None

    return subject.changed(around_encoders(drop))


def drop_masks(subject: Subject, _facts: ModelFacts) -> Subject:
    """Remove every mask."""
    kwargs = {name: value for name, value in subject.kwargs.items() if "mask" not in name}
    return replace(subject, args=subject.args[:1], kwargs=kwargs)


def causal_mask(call: dict[str, Any], _notes: dict[str, Any]) -> None:
    """Pass the causal mask itself instead of the hint `is_causal`."""
    if call.get("mask") is None:
        length = call["src"].shape[-2]
        call["mask"] = torch.ones(length, length, dtype=torch.bool, device=call["src"].device).triu(1)
    call["is_causal"] = False


def cut(subject: Subject, _facts: ModelFacts) -> Subject | str:
    """Cut the texts to the number of positions that the model has."""
    rows = next(filter(None, map(position_rows, subject.model.modules())), None)
    tokens = subject.args[0] if subject.args else None
    if rows is None or not isinstance(tokens, Tensor) or tokens.is_floating_point() or tokens.ndim != 2:
        return "the doctor cannot know where the texts may be cut"
    if tokens.shape[1] <= rows:
        return "a token id is outside the vocabulary: the tokenizer belongs to another model"
    return replace(subject, args=(tokens[:, :rows], *subject.args[1:]))


def input_precision(subject: Subject, facts: ModelFacts) -> Subject | str:
    """Convert the encoder's input to the precision of its weights."""
    dtypes = {layer.attention.weight_dtype for layer in facts.all_layers}
    if len(dtypes) != 1:
        return "the layers have different precisions"
    target: torch.dtype = getattr(torch, dtypes.pop())

    def convert(call: dict[str, Any], _notes: dict[str, Any]) -> None:
        call["src"] = call["src"].to(target)

    return subject.changed(around_encoders(convert))
