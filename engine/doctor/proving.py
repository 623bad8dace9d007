"""Proves every state by one profiled forward, and compares its answer with the slow path's on real tokens."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from engine.doctor.curing import JudgedSubject, by_the_slow_path
from engine.doctor.proof import observe_forward, reference
from engine.doctor.values import ProvedState
from engine.eligibility.dangers import first_error
from engine.eligibility.module_reading import draws_dropout
from engine.eligibility.plan import predicted
from engine.measure.agreement import compare
from engine.records import Agreement, DType

_DTYPES: dict[torch.dtype, DType] = {torch.bfloat16: "bf16", torch.float16: "fp16"}


def prove(first: JudgedSubject, judged: Sequence[JudgedSubject]) -> Iterator[ProvedState]:
    """Run one profiled forward for the slow path, then for every state, and compare each state's answer."""
    slow = by_the_slow_path(first)
    slow_seen = observe_forward(slow.subject)
    original = [] if slow_seen.proof.error else slow_seen.outputs
    yield ProvedState(slow, predicted(slow.plan, first_error(slow.dangers)), slow_seen, None, None)
    for state in judged:
        right = original if state is first else reference(state.subject)
        seen = observe_forward(state.subject)
        yield ProvedState(
            state,
            predicted(state.plan, first_error(state.dangers)),
            seen,
            None if _draws(state.subject.model) else _compared(right, seen.outputs, seen.real, state),
            None if state is first else _compared(original, right, seen.real, state),
        )


def _draws(model: nn.Module) -> bool:
    """Whether a forward draws dropout, so that two of them cannot be compared."""
    return any(draws_dropout(module) for module in model.modules())


def _compared(
    right: Sequence[Tensor], outputs: Sequence[Tensor], real: Sequence[Tensor | None], judged: JudgedSubject
) -> Agreement | None:
    """Compare outputs with the right ones on real tokens; None if their shapes differ or there are none."""
    if not right or [output.shape for output in right] != [output.shape for output in outputs]:
        return None
    masks = real if len(real) == len(right) else [None] * len(right)
    dtype = _DTYPES.get(outputs[0].dtype, "bf16" if judged.facts.setting.cpu_autocast else "fp32")
    rows = [
        (_real_rows(a, mask), _real_rows(b, mask)) for a, b, mask in zip(right, outputs, masks, strict=True)
    ]
    found = [compare(a, b, dtype) for a, b in rows if a.numel()]
    return max(found, key=lambda one: (not one.ok, one.max_abs_error or 0.0), default=None)


def _real_rows(states: Tensor, real: Tensor | None) -> Tensor:
    """The states of real tokens, (tokens, width) float32; of all tokens if the mask has another shape."""
    if real is not None and states.shape[:-1] == real.shape:
        return states[real].float()
    if real is not None and states.ndim == 3 and states.shape[:2] == real.T.shape:
        return states[real.T].float()
    return states.reshape(-1, states.shape[-1]).float() if states.ndim else states.reshape(1, 1).float()
