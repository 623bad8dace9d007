"""Reads the facts of a model and a call: one forward of a copy by the slow path shows the call of each module.

The slow path accepts every input, so the conditions are judged before anything can go wrong on the fastpath.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from engine.eligibility.facts import CallFacts, MaskFacts, ModelFacts, PaddingFacts, SettingFacts
from engine.eligibility.module_reading import (
    attention_facts,
    encoder_facts,
    is_subclass,
    layer_facts,
    position_rows,
    short,
)
from engine.eligibility.subject import Subject
from engine.errors import first_line


@dataclass(frozen=True)
class _Modes:
    """torch's modes when a module was called."""

    gradients: bool
    autocast_seen: bool
    cpu_autocast: str


@dataclass
class _WatchedCalls:
    """First call, its modes, and number of calls of each observed module, while the slow path runs.

    Gradients are off inside observed modules, so that the graph of a large encoder takes no memory.
    """

    first: dict[nn.Module, tuple[tuple[Any, ...], dict[str, Any], _Modes]] = field(default_factory=dict)
    calls: dict[nn.Module, int] = field(default_factory=dict)
    _gradients: list[bool] = field(default_factory=list)

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        modes = _Modes(torch.is_grad_enabled(), torch.is_autocast_enabled(), _cpu_autocast())
        self.first.setdefault(module, (args, dict(kwargs), modes))
        self.calls[module] = self.calls.get(module, 0) + 1
        self._gradients.append(modes.gradients)
        torch.set_grad_enabled(False)

    def leave(self, _module: nn.Module, _args: tuple[Any, ...], _output: Any) -> None:
        torch.set_grad_enabled(self._gradients.pop())


def read_facts(subject: Subject) -> ModelFacts:
    """Observe one call by the slow path and return the facts that the conditions need."""
    # Gradients stay as the call has them: this shows whether the encoder's input would get one.
    watched = subject.slow().with_setting(gradients=subject.setting.gradients)
    seen, error = _watch(watched)
    slow_error = first_line(error) if error else ""
    names = {module: name for name, module in watched.model.named_modules()}
    original = dict(subject.model.named_modules())

    def call_of(module: nn.Module) -> CallFacts | None:
        if module not in seen.first:
            return None
        args, kwargs, modes = seen.first[module]
        arguments = bound_call(module, args, kwargs)
        return _call_facts(arguments, seen.calls[module], modes) if arguments else None

    encoders = _outermost(watched.model, nn.TransformerEncoder, ())
    layers = _outermost(watched.model, nn.TransformerEncoderLayer, tuple(encoders))
    attentions = _outermost(watched.model, nn.MultiheadAttention, (*encoders, *layers))
    with subject.setting.held():
        setting = _setting_facts(subject)
    return ModelFacts(
        setting=setting,
        encoders=tuple(
            encoder_facts(original[names[encoder]], names[encoder], call_of(encoder)) for encoder in encoders
        ),
        layers=tuple(layer_facts(original[names[layer]], names[layer], call_of(layer)) for layer in layers),
        attentions=tuple(
            attention_facts(original[names[attention]], names[attention], call_of(attention))
            for attention in attentions
        ),
        slow_error=slow_error,
        position_error=slow_error if isinstance(error, IndexError) else "",
    )


def presumed_facts(model: nn.Module, tokens: Tensor, padding_id: int) -> ModelFacts:
    """The same for a torchtext encoder under the present settings, without running anything.

    Args:
        tokens: (batch, length) int64; in torchtext every `padding_id` is padding.
    """
    padding = replace(_padding_facts(tokens == padding_id), from_ids=True)
    encoders = {
        name: module for name, module in model.named_modules() if isinstance(module, nn.TransformerEncoder)
    }
    return ModelFacts(
        setting=_setting_facts(Subject(model)),
        encoders=tuple(
            encoder_facts(encoder, name, _presumed_call(encoder, tokens, padding))
            for name, encoder in encoders.items()
        ),
        layers=(),
        attentions=(),
        position_error=beyond_positions(model, max(padding.lengths)),
    )


def _presumed_call(encoder: Any, tokens: Tensor, padding: PaddingFacts) -> CallFacts:
    weight = encoder.layers[0].linear1.weight
    return CallFacts(
        shape=(*tokens.shape, weight.shape[1]),
        dtype=short(weight.dtype),
        device=tokens.device.type,
        requires_grad=torch.is_grad_enabled() and weight.requires_grad,
        padding=padding,
        gradients=torch.is_grad_enabled(),
        autocast_seen=torch.is_autocast_enabled(),
        cpu_autocast=_cpu_autocast(),
    )


def beyond_positions(model: nn.Module, longest: int) -> str:
    """Why a torchtext encoder has too few positions for a text of `longest` real tokens; empty if it has enough."""
    for module in model.modules():
        rows = position_rows(module)
        if rows is not None and longest > rows:
            return f"a text of {longest} tokens, and positions for {rows}"
    return ""


def _watch(subject: Subject) -> tuple[_WatchedCalls, Exception | None]:
    seen = _WatchedCalls()
    kinds = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention)
    for module in subject.model.modules():
        if isinstance(module, kinds):
            module.register_forward_pre_hook(seen.enter, with_kwargs=True)
            module.register_forward_hook(seen.leave)
    try:
        with torch.set_grad_enabled(torch.is_grad_enabled()), subject.setting.held():
            subject.forward()()
    except Exception as error:  # the user's own code may raise anything; it is part of the finding
        return seen, error
    return seen, None


def _outermost(
    model: nn.Module, kind: type[nn.Module], outside: tuple[nn.Module, ...]
) -> tuple[nn.Module, ...]:
    """Modules of a kind that are not inside the modules of `outside`, nor inside another of their kind."""
    inside = {part for module in outside for part in module.modules()}
    found = list[nn.Module]()
    for module in model.modules():
        if isinstance(module, kind) and module not in inside:
            found.append(module)
            inside |= set(module.modules())
    return tuple(found)


def _setting_facts(subject: Subject) -> SettingFacts:
    major, minor = torch.__version__.split(".")[:2]
    plain = torch.empty(0, device="cpu")
    hooks = nn.modules.module._global_forward_hooks or nn.modules.module._global_forward_pre_hooks
    return SettingFacts(
        version=(int(major), int(minor)),
        fastpath=torch.backends.mha.get_fastpath_enabled(),
        gradients=torch.is_grad_enabled(),
        autocast_seen=torch.is_autocast_enabled(),
        cpu_autocast=_cpu_autocast(),
        function_mode=torch.overrides.has_torch_function((plain,)),
        compiling=bool(subject.compiled),
        global_hooks=bool(hooks),
    )


def _cpu_autocast() -> str:
    # torch 2.3 has other names. Newer versions keep some of them, with a warning that a user can do nothing about.
    if torch.is_autocast_enabled("cpu") if _autocast_takes_a_device() else torch._C.is_autocast_cpu_enabled():
        dtype = (
            torch.get_autocast_dtype("cpu") if _autocast_takes_a_device() else torch.get_autocast_cpu_dtype()
        )
        return short(dtype)
    return ""


def _autocast_takes_a_device() -> bool:
    return hasattr(torch, "get_autocast_dtype")


def bound_call(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """A call's arguments by name; empty if they do not fit the module, whose forward then raises."""
    try:
        bound = inspect.signature(type(module).forward).bind(module, *args, **kwargs).arguments
    except TypeError:
        return {}
    return bound if isinstance(bound.get("src", bound.get("query")), Tensor) else {}


def _call_facts(bound: Mapping[str, Any], calls: int, modes: _Modes) -> CallFacts:
    first: Tensor = bound["src"] if "src" in bound else bound["query"]
    mask = next(
        (bound[name] for name in ("mask", "src_mask", "attn_mask") if bound.get(name) is not None), None
    )
    padding = bound.get("src_key_padding_mask", bound.get("key_padding_mask"))
    nested = first.is_nested
    same = bound.get("key", first) is first and bound.get("value", first) is first
    return CallFacts(
        shape=() if nested else tuple(first.shape),
        dtype=short(first.dtype),
        device=first.device.type,
        requires_grad=first.requires_grad,
        tensor_subclass=is_subclass(first) and not nested,
        nested=short(first.layout) if nested else "",
        mask=_mask_facts(mask) if mask is not None else None,
        padding=_padding_facts(padding) if padding is not None else None,
        is_causal=bound.get("is_causal"),
        self_attention=same,
        calls=calls,
        gradients=modes.gradients,
        autocast_seen=modes.autocast_seen,
        cpu_autocast=modes.cpu_autocast,
    )


def _mask_facts(mask: Tensor) -> MaskFacts:
    if mask.dtype == torch.bool:
        blocked, graded = mask, False
    else:
        blocked = mask == float("-inf")
        graded = bool(((mask != 0) & ~blocked).any())
    square = mask.ndim == 2 and mask.shape[0] == mask.shape[1]
    causal = square and torch.equal(blocked, torch.ones_like(blocked).triu(1)) and not graded
    return MaskFacts(short(mask.dtype), graded, not graded and not bool(blocked.any()), causal)


def _padding_facts(padding: Tensor) -> PaddingFacts:
    # As in torch's nested conversion, every value except zero is padding.
    real = (padding == 0).cpu() if padding.ndim == 2 else (padding == 0).cpu()[None]
    if not real.numel():
        return PaddingFacts(_mask_facts(padding), (0,) * real.shape[0], real.shape[1], 0, 0)
    lengths = real.sum(1)
    first = torch.where(lengths > 0, real.int().argmax(1), 0)
    last = torch.where(lengths > 0, real.shape[1] - 1 - real.flip(1).int().argmax(1), -1)
    inside = (lengths > 0) & (last - first + 1 > lengths)
    return PaddingFacts(
        mask=_mask_facts(padding),
        lengths=tuple(lengths.tolist()),
        length=real.shape[1],
        left_rows=int((first > 0).sum()),
        inside_rows=int(inside.sum()),
    )
