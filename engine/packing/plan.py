"""The order of a batch's real tokens in the packed matrix: text by text, the longest text first.

Torch's operators compute attention in groups of texts of nearly the same length: a few masked places cost less than
more calls of small operators.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor

SPREAD = 8
"""A text joins a group if it is at most 1/SPREAD, or NEAR tokens, shorter than the group's longest."""
NEAR = 3
MOST_SCORES = 130_000
"""Most attention scores of a group, per head: more do not fit into the cache."""


@dataclass(frozen=True)
class Group:
    """Texts that attention computes together.

    Attributes:
        first, last: its rows of the packed matrix are first, ..., last - 1.
        texts: how many texts.
        longest: tokens of the longest one.
        spread: (texts * longest,) int64: the packed row, counted from `first`, at each place of the padded group.
            None if all texts are equally long, which needs no padding.
        masked: (texts, longest) bool, True after a text's end; None likewise.
        kept: int64, places of the padded group that hold a token, in order; None likewise.
    """

    first: int
    last: int
    texts: int
    longest: int
    spread: Tensor | None = None
    masked: Tensor | None = None
    kept: Tensor | None = None


@dataclass(frozen=True)
class Plan:
    """The rows of each text in the packed matrix.

    Attributes:
        texts: indices of the texts that have a token, in packed order.
        places: (real tokens,) int64, each token's place in the flattened (batch, length), in packed order.
        starts: row of each text's first token, then the number of rows.
    """

    texts: tuple[int, ...]
    places: Tensor
    starts: tuple[int, ...]

    @property
    def lengths(self) -> list[int]:
        """Tokens of each text, in packed order, which is descending."""
        return [stop - start for start, stop in pairwise(self.starts)]

    @property
    def longest(self) -> int:
        """Tokens of the longest text; 0 if there is none."""
        return max(self.lengths, default=0)


def plan_of(real: Tensor) -> Plan:
    """Plan a batch from (batch, length) bool, True on real tokens, at any places of a row."""
    lengths: list[int] = real.sum(1).tolist()
    texts = tuple(sorted((i for i, n in enumerate(lengths) if n), key=lambda i: -lengths[i]))
    starts = accumulate((lengths[i] for i in texts), initial=0)
    return Plan(texts, _places(real, texts), tuple(starts))


def groups_of(plan: Plan) -> tuple[Group, ...]:
    """The groups of texts that attention computes together."""
    lengths, device = plan.lengths, plan.places.device
    return tuple(
        _group(lengths[first:last], plan.starts[first : last + 1], device) for first, last in cut(lengths)
    )


def cut(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Groups of texts as (first, last + 1), for lengths in descending order."""
    groups, first = [], 0
    while first < len(lengths):
        longest, last = lengths[first], first + 1
        shortest = longest - max(NEAR, longest // SPREAD)
        most = max(1, MOST_SCORES // longest**2)
        while last < len(lengths) and lengths[last] >= shortest and last - first < most:
            last += 1
        groups.append((first, last))
        first = last
    return groups


def _places(real: Tensor, texts: tuple[int, ...]) -> Tensor:
    if texts == tuple(range(real.shape[0])):
        return real.reshape(-1).nonzero().view(-1)
    order = torch.tensor(texts, dtype=torch.int64, device=real.device)
    places = torch.arange(real.numel(), device=real.device).view(real.shape)
    return places[order][real[order]]


def _group(lengths: Sequence[int], starts: Sequence[int], device: torch.device) -> Group:
    first, last, longest = starts[0], starts[-1], lengths[0]
    if lengths[-1] == longest:
        return Group(first, last, len(lengths), longest)
    places = torch.arange(longest, device=device)
    masked = places >= torch.tensor(lengths, device=device)[:, None]
    offsets = torch.tensor([start - first for start in starts[:-1]], device=device)
    # A masked place may hold any row: its weight is zero.
    spread = (offsets[:, None] + places).clamp_(max=last - first - 1).view(-1)
    return Group(first, last, len(lengths), longest, spread, masked, (~masked).view(-1).nonzero().view(-1))
