"""Runs one profiled forward: counts the operators and captures torch's internal reasons.

torch stores its reason for leaving the fastpath in a local variable and never shows it (pytorch#82919). A profile
function reads that variable when torch's function returns.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity

from engine.catalog.operators import FUSED_LAYER, NESTED_CONVERSION
from engine.diagnosis import Counts, Proof, TorchReason
from engine.eligibility.reading import bound_call
from engine.eligibility.subject import Setting, Subject
from engine.errors import first_line

NATIVE_ATTENTION = "aten::_native_multi_head_attention"

_WATCHED: dict[CodeType, tuple[str, str]] = {
    nn.TransformerEncoder.forward.__code__: ("nn.TransformerEncoder", "why_not_sparsity_fast_path"),
    nn.TransformerEncoderLayer.forward.__code__: (
        "nn.TransformerEncoderLayer",
        "why_not_sparsity_fast_path",
    ),
    nn.MultiheadAttention.forward.__code__: ("nn.MultiheadAttention", "why_not_fast_path"),
}


@dataclass
class ObservedForward:
    """The results of one profiled forward.

    Attributes:
        proof: operator counts, error and torch's reasons.
        outputs: floating-point outputs of every encoder, or of the model itself if it has no encoder.
        real: the real tokens of every encoder's call, (batch, length) bool; None if the call had no padding mask.
    """

    proof: Proof
    outputs: list[Tensor] = field(default_factory=list)
    real: list[Tensor | None] = field(default_factory=list)


def observe_forward(subject: Subject) -> ObservedForward:
    """Run one profiled forward and capture torch's internal reasons. An exception of the forward becomes `error`.

    The subject's settings are held. torch's random state is restored, and no gradient graph is kept.
    """
    observed = subject.changed(lambda _model: None)
    outputs, reasons = list[Tensor](), Counter[tuple[str, str]]()
    given, seen = list[Tensor | None](), list[Tensor | None]()
    encoders = [module for module in observed.model.modules() if isinstance(module, nn.TransformerEncoder)]
    for encoder in encoders:
        # The first hook runs before the hooks of cures; the other two run after them.
        encoder.register_forward_pre_hook(_real_tokens_to(given), with_kwargs=True, prepend=True)
        encoder.register_forward_pre_hook(_real_tokens_to(seen), with_kwargs=True)
        encoder.register_forward_hook(lambda _m, _a, output: outputs.append(output))
    forward, error = observed.forward(), ""
    if subject.compiled:
        _compile(forward, observed.setting)
        for noted in (outputs, given, seen):
            noted.clear()
    profiler = torch.profiler.profile(activities=[ProfilerActivity.CPU])
    with torch.random.fork_rng(devices=[]), observed.setting.held(), profiler, _noted_reasons(reasons):
        try:
            result = forward()
        except Exception as raised:  # the forward of a user may raise anything; the error is a result
            error = first_line(raised)
        else:
            outputs = outputs if encoders else list(_tensors(result))
    proof = Proof(counts=_counts(profiler), error=error, torch_reasons=_reasons(reasons))
    return ObservedForward(
        proof, [output.detach() for output in outputs if _is_plain(output)], _real(given, seen)
    )


def _real(given: list[Tensor | None], seen: list[Tensor | None]) -> list[Tensor | None]:
    """The real tokens at their positions in the caller's call; if a cure changed which tokens are real, the cure's."""
    return [
        last if first is None or last is None or not _as_many(first, last) else first
        for first, last in zip(given, seen, strict=True)
    ]


def _as_many(first: Tensor, last: Tensor) -> bool:
    return first.numel() == last.numel() and torch.equal(first.reshape(last.shape).sum(-1), last.sum(-1))


def _real_tokens_to(real: list[Tensor | None]) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        padding = bound_call(module, args, kwargs).get("src_key_padding_mask")
        real.append(None if padding is None else padding == 0)

    return hook


def reference(subject: Subject) -> list[Tensor]:
    """The same outputs by the slow path in eval mode; empty if the slow path cannot run this call."""
    try:
        seen = observe_forward(subject.slow())
    except RuntimeError:  # a model whose copy cannot switch modes has no reference
        return []
    return [] if seen.proof.error else seen.outputs


def _compile(forward: Callable[[], Any], setting: Setting) -> None:
    """Compile by one call beforehand, because tracing runs operators that do not belong to the forward."""
    with torch.random.fork_rng(devices=[]), setting.held(), suppress(Exception):
        forward()


def _is_plain(output: Any) -> bool:
    is_values = isinstance(output, Tensor) and output.is_floating_point() and not output.is_nested
    return is_values and output.device.type != "meta"


def _tensors(result: Any) -> Iterator[Tensor]:
    if isinstance(result, Tensor):
        yield result
    elif isinstance(result, dict):
        for value in result.values():
            yield from _tensors(value)
    elif isinstance(result, tuple | list):
        for value in result:
            yield from _tensors(value)


def _counts(profiler: Any) -> Counts:
    calls = {event.key: event.count for event in profiler.key_averages()}
    fused = calls.get(FUSED_LAYER, 0)
    return Counts(
        fused_layers=fused,
        nested_conversions=calls.get(NESTED_CONVERSION, 0),
        # Every fused layer calls the native attention itself.
        native_attentions=max(0, calls.get(NATIVE_ATTENTION, 0) - fused),
    )


def _reasons(reasons: Counter[tuple[str, str]]) -> tuple[TorchReason, ...]:
    return tuple(
        TorchReason.model_validate({"where": where, "reason": reason, "calls": calls})
        for (where, reason), calls in reasons.items()
    )


@contextmanager
def _noted_reasons(reasons: Counter[tuple[str, str]]) -> Iterator[None]:
    """Count the reason of every function in `_WATCHED` that returns with one."""

    def note(frame: FrameType, event: str, _argument: Any) -> None:
        if event == "return" and frame.f_code in _WATCHED:
            where, variable = _WATCHED[frame.f_code]
            reason = frame.f_locals.get(variable)
            if reason:
                reasons[where, " ".join(str(reason).split())] += 1

    before: Callable[..., Any] | None = sys.getprofile()
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(before)
