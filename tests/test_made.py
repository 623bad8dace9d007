"""Made batches: the padding ratio is met as closely as whole tokens allow, or refused in a sentence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.alike import differing, experiment_key
from engine.errors import Refusal
from engine.made import made_batch
from engine.records import FEWEST_TOKENS, Batch, Experiment, MadeBatch

RATIOS = st.integers(0, 99).map(lambda percent: percent / 100)


@given(st.integers(1, 70), st.integers(FEWEST_TOKENS, 600), RATIOS)
def test_the_padding_ratio_is_met_as_closely_as_whole_tokens_allow(
    rows: int, length: int, ratio: float
) -> None:
    """For every size: one full text, no text without a token of its own, and at most half a token off."""
    hidden, room = round(ratio * rows * length), (rows - 1) * (length - FEWEST_TOKENS)
    if hidden > room:
        with pytest.raises(Refusal, match="impossible"):
            made_batch(rows, length, ratio)
        return
    batch = made_batch(rows, length, ratio)
    assert batch.shape == (rows, length)
    assert batch.lengths[0] == max(batch.lengths) == length
    assert len(batch.lengths) == batch.rows == rows
    assert min(batch.lengths) >= FEWEST_TOKENS
    assert batch.real_tokens == rows * length - hidden
    assert batch.padding_ratio == pytest.approx(ratio, abs=0.5 / (rows * length) + 1e-9)


def test_texts_differ_in_length() -> None:
    """Equally long texts would favour paths that group texts by length."""
    lengths = made_batch(32, 64, 0.3).lengths
    assert len(set(lengths)) > 20
    assert lengths == tuple(sorted(lengths, reverse=True))


@pytest.mark.parametrize(
    ("rows", "length", "ratio", "sentence"),
    [
        (1, 16, 0.3, "One text alone has no padding, so 30% padding is impossible."),
        (2, 16, 0.6, "2 texts of at most 16 tokens have at most 40.6% padding"),
    ],
)
def test_padding_that_does_not_fit_is_refused(rows: int, length: int, ratio: float, sentence: str) -> None:
    with pytest.raises(Refusal, match=sentence):
        made_batch(rows, length, ratio)


def test_two_made_batches_are_two_experiments() -> None:
    """A made batch has no texts, and without them any two would count as the same."""
    first, longer, other_ids = (
        Experiment(model="m", batch=made_batch(8, length, 0.3, seed), paths=("slow",))
        for length, seed in ((16, 0), (64, 0), (16, 1))
    )
    assert differing(first, longer) == differing(first, other_ids) == ("texts",)
    assert len({experiment_key(asked) for asked in (first, longer, other_ids)}) == 3
    assert differing(first, first.model_copy()) == ()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"texts": ("a",), "made": MadeBatch(rows=1, length=3, padding_ratio=0)},
        {"made": MadeBatch(rows=2, length=8, padding_ratio=0)},
        {"made": MadeBatch(rows=2, length=8, padding_ratio=0), "lengths": (7, 8)},
        {"made": MadeBatch(rows=2, length=8, padding_ratio=0), "lengths": (8, 2)},
        {"made": MadeBatch(rows=2, length=8, padding_ratio=0), "lengths": (8, 9)},
    ],
)
def test_a_batch_has_texts_or_lengths_that_fit_its_description(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Batch.model_validate({"name": "b", **fields})
