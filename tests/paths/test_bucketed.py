"""Batching by length: each text once, little padding per group, and no token lost on either side of padding."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.measure.agreement import hidden_states
from engine.models.inputs import TokenBatch
from engine.models.loading import LoadedModel
from engine.paths import EXECUTION_PATHS
from engine.paths.bucketed import MOST_PADDING, buckets
from engine.records import Batch


@given(st.lists(st.integers(1, 512), min_size=1, max_size=80))
def test_every_text_is_in_one_group_and_groups_have_little_padding(lengths: list[int]) -> None:
    groups = buckets(lengths)
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    for group in groups:
        inside = [lengths[index] for index in group]
        assert 1 - sum(inside) / (len(group) * max(inside)) <= MOST_PADDING


def test_texts_of_one_length_stay_together() -> None:
    assert buckets([5, 5, 5]) == [(0, 1, 2)]


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_answer_equals_the_slow_paths(minilm: LoadedModel, side: str) -> None:
    rows = [[101, 7592, 102], [101, 2129, 2024, 2017, 999, 102], [101, 7592, 2088, 999, 999, 999, 999, 102]]
    padding = [[0] * (8 - len(row)) for row in rows]
    padded = [gap + row if side == "left" else row + gap for row, gap in zip(rows, padding, strict=True)]
    batch = TokenBatch(torch.tensor(padded), Batch(name="three", texts=("a", "b", "c")), 0)
    slow, bucketed = (
        hidden_states(EXECUTION_PATHS[name].prepare(minilm.model), batch) for name in ("slow", "bucketed")
    )
    assert float((slow - bucketed).abs().max()) < 1e-5
