"""`bucketed`: the common remedy for padding. Texts are sorted by length and grouped; each group is one slow forward.

A new group begins where padding would exceed a quarter of the group, as in the length-grouped batching of common
training loops.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from engine.catalog.operators import FUSED_LAYER, NESTED_CONVERSION, SDPA
from engine.models.encoder import RobertaModel
from engine.paths.execution import (
    ExecutionPath,
    Expectation,
    PreparedPath,
    Promise,
    layers_of,
    on_a_copy,
)
from engine.paths.switches import SLOW

MOST_PADDING = 0.25
"""Largest share of a group that may be padding."""


def buckets(lengths: Sequence[int], most_padding: float = MOST_PADDING) -> list[tuple[int, ...]]:
    """Indices of the texts in groups of similar length, longest first; a group has at least one text."""
    groups: list[list[int]] = []
    real = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if groups:
            padded = (len(groups[-1]) + 1) * lengths[groups[-1][0]]
            if 1 - (real + lengths[index]) / padded <= most_padding:
                groups[-1].append(index)
                real += lengths[index]
                continue
        groups.append([index])
        real = lengths[index]
    return [tuple(group) for group in groups]


def _prepare(model: RobertaModel, exports: Path | None) -> PreparedPath:
    inner = SLOW.prepare(model, exports)
    padding_id: int = model.encoder.transformer.padding_idx
    return PreparedPath(
        forward=lambda tokens: _by_buckets(inner.forward, tokens, padding_id),
        hidden=lambda tokens: _by_buckets(inner.hidden, tokens, padding_id, keep_length=True),
        promise=_promise(layers_of(model)),
        switches=inner.switches,
        encoder=model,
    )


def _promise(layers: int) -> Promise:
    return Promise(
        f"no fused layer, {layers} attentions by SDPA for each group",
        (
            Expectation(FUSED_LAYER, 0),
            Expectation(NESTED_CONVERSION, 0),
            Expectation(SDPA, layers, at_least=True),
        ),
    )


def _by_buckets(
    call: Callable[[Tensor], Tensor], tokens: Tensor, padding_id: int, *, keep_length: bool = False
) -> Tensor:
    """Call once per group and put the outputs back in the batch's order."""
    extents = _extents(tokens, padding_id)
    result: Tensor | None = None
    for group in buckets(extents):
        index = torch.tensor(group, device=tokens.device)
        longest = extents[group[0]]
        output = call(tokens.index_select(0, index)[:, :longest])
        if result is None:
            rest = (tokens.shape[1], *output.shape[2:]) if keep_length else output.shape[1:]
            result = output.new_zeros(len(tokens), *rest)
        if keep_length:
            result[index, :longest] = output
        else:
            result[index] = output
    assert result is not None  # noqa: S101  (a batch has at least one text)
    return result


def _extents(tokens: Tensor, padding_id: int) -> list[int]:
    """The length of each row up to its last real token, at least one."""
    places = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
    extents: list[int] = (tokens.ne(padding_id) * places).amax(1).clamp_(min=1).tolist()
    return extents


PATH = ExecutionPath("bucketed", _prepare)
IN_BF16 = on_a_copy(PATH, "bf16")
