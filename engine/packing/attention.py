"""Attention over packed rows with torch's operators, one group of texts at a time.

A group takes two batched matrix products with a softmax between them. On a CPU that is faster than
scaled_dot_product_attention for texts of up to about 350 tokens (1.0-1.4x in fp32, 1.2-1.8x in bf16, measured on
AVX512-BF16). On CUDA, torch's varlen attention (torch 2.10 and later) computes all texts in one call.
"""

from functools import cache, cached_property
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from engine.packing.plan import Group, Plan, groups_of

FP32_ROWS, FP32_HEAD_WIDTH, FP32_LENGTH = 256, 32, 190
"""Up to these sizes, half-precision rows go through attention in fp32 on a CPU: FP32_ROWS rows in a group, or heads up
to FP32_HEAD_WIDTH wide over texts up to FP32_LENGTH tokens. oneDNN's half-precision products are faster only above, and
fp32 is more exact (measured on AVX512-BF16, torch 2.13)."""


class Attention:
    """Multi-head attention for one batch.

    Args:
        plan: the rows of each text.
        heads: number of attention heads.
        width: width of all heads together.
    """

    def __init__(self, plan: Plan, heads: int, width: int) -> None:
        self._plan, self._heads, self._width = plan, heads, width
        self._masks: dict[int, Tensor] = {}

    @cached_property
    def _groups(self) -> tuple[Group, ...]:
        return groups_of(self._plan)

    def all_tokens(self, q: Tensor, kv: Tensor) -> Tensor:
        """(rows, width) queries, (rows, 2 * width) keys and values -> (rows, width)."""
        if takes_varlen(q):
            return self._varlen(q, kv, self._plan.starts)
        return _joined([self._group(q, kv, group) for group in self._groups])

    def first_tokens(self, q: Tensor, kv: Tensor) -> Tensor:
        """(texts, width) queries, (rows, 2 * width) keys and values -> (texts, width); varlen attention only."""
        return self._varlen(q, kv, range(len(self._plan.texts) + 1))

    def _group(self, q: Tensor, kv: Tensor, group: Group) -> Tensor:
        (queries,), (k, v) = self._batched(q, group, 1), self._batched(kv, group, 2)
        mixed = self._mixed(queries, k, v, group).view(group.texts, self._heads, group.longest, -1)
        rows = mixed.transpose(1, 2).to(kv.dtype, memory_format=torch.contiguous_format)
        rows = rows.reshape(group.texts * group.longest, self._width)
        return rows if group.kept is None else rows.index_select(0, group.kept)

    def _batched(self, rows: Tensor, group: Group, parts: int) -> tuple[Tensor, ...]:
        """(rows, parts * width) -> for each part (texts * heads, longest, width of a head)."""
        own = rows[group.first : group.last]
        if group.spread is not None:
            own = own.index_select(0, group.spread)
        split = own.view(group.texts, group.longest, parts, self._heads, -1).permute(2, 0, 3, 1, 4)
        if self._goes_in_fp32(rows, group):
            split = split.to(torch.float32, memory_format=torch.contiguous_format)
        return split.reshape(parts, group.texts * self._heads, group.longest, -1).unbind(0)

    def _goes_in_fp32(self, rows: Tensor, group: Group) -> bool:
        narrow = self._width <= FP32_HEAD_WIDTH * self._heads and group.longest <= FP32_LENGTH
        return not rows.is_cuda and (narrow or group.texts * group.longest <= FP32_ROWS)

    def _mixed(self, q: Tensor, k: Tensor, v: Tensor, group: Group) -> Tensor:
        mask = self._mask(group, q)
        scores = torch.baddbmm(
            mask, q, k.transpose(1, 2), beta=float(group.masked is not None), alpha=1 / sqrt(q.shape[-1])
        )
        return torch.bmm(torch.softmax(scores, -1), v)

    def _mask(self, group: Group, like: Tensor) -> Tensor:
        """What is added to the scores: (texts * heads, 1, longest), or an unused scalar if nothing is masked."""
        # Made once a batch for all layers: a group has the same precision in each.
        if group.first not in self._masks:
            mask = like.new_zeros(())
            if group.masked is not None:
                mask = like.new_zeros(group.masked.shape).masked_fill_(group.masked, float("-inf"))
                mask = mask.repeat_interleave(self._heads, 0)[:, None]
            self._masks[group.first] = mask
        return self._masks[group.first]

    def _by_head(self, rows: Tensor, parts: int) -> tuple[Tensor, ...]:
        return rows.view(len(rows), parts, self._heads, -1).unbind(1)

    def _varlen(self, q: Tensor, kv: Tensor, query_starts: Any) -> Tensor:
        (queries,), (k, v) = self._by_head(q, 1), self._by_head(kv, 2)
        longest = self._plan.longest
        starts_q = torch.tensor(tuple(query_starts), dtype=torch.int32, device=q.device)
        starts_k = torch.tensor(self._plan.starts, dtype=torch.int32, device=q.device)
        longest_q = 1 if len(q) == len(self._plan.texts) else longest
        mixed = _varlen_attn()(queries, k, v, starts_q, starts_k, longest_q, longest)
        assert isinstance(mixed, Tensor)  # noqa: S101  (a pair only where more is asked for)
        return mixed.reshape(len(q), self._width)


def takes_varlen(rows: Tensor) -> bool:
    """Whether torch's varlen attention serves rows on this device, in this precision."""
    if not rows.is_cuda or rows.dtype not in (torch.float16, torch.bfloat16):
        return False
    return _varlen_attn() is not None


@cache
def _varlen_attn() -> Any:
    """Torch's varlen attention, or None. Imported on first use: importing it sets TORCHINDUCTOR_CACHE_DIR."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
