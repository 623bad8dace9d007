"""Inputs: right padding to the longest text; lengths, padding and truncation are recorded."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.catalog.batches import PRESETS
from engine.catalog.models import CATALOG
from engine.errors import Refusal
from engine.models.inputs import tokenize
from engine.models.loading import LoadedModel
from engine.models.tokenizers import Tokenizer
from engine.records import Batch, EncoderShape
from engine.settings import Settings

SHAPE = CATALOG["minilm"].shape
assert SHAPE is not None


def _words(texts: Sequence[str]) -> list[list[int]]:
    return [[10 + len(word) for word in text.split()] for text in texts]


WORDS = Tokenizer(name="words", begin_id=1, end_id=2, padding_id=0, encode=_words)


def test_rows_are_padded_on_the_right_to_the_longest() -> None:
    batch = tokenize(Batch(name="b", texts=("a bb", "ccc")), WORDS, SHAPE, Settings())
    assert batch.tokens.tolist() == [[1, 11, 12, 2], [1, 13, 2, 0]]
    assert batch.record.lengths == (4, 3)
    assert batch.record.padding_ratio == pytest.approx(1 / 8)
    assert batch.record.shape == (2, 4)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=8).filter(any), st.integers(3, 20))
def test_real_marks_exactly_what_is_not_padding(words: list[int], max_tokens: int) -> None:
    texts = tuple(" ".join(["w"] * count) for count in words)
    batch = tokenize(Batch(name="b", texts=texts), WORDS, SHAPE, Settings(max_tokens=max_tokens))
    assert torch.equal(batch.real(), batch.tokens != 0)
    assert batch.record.real_tokens == int(batch.real().sum())
    assert batch.record.truncated == tuple(i for i, count in enumerate(words) if count + 2 > max_tokens)
    assert batch.tokens.shape[1] <= max_tokens
    assert bool((batch.tokens[torch.arange(len(words)), torch.tensor(batch.record.lengths) - 1] == 2).all())


def test_the_models_positions_are_never_exceeded(minilm: LoadedModel) -> None:
    long = Batch(name="long", texts=("word " * 600,))
    batch = tokenize(long, minilm.tokenizer, minilm.card.shape, Settings(max_tokens=10_000))
    assert batch.record.shape == (1, 512)
    assert batch.record.truncated == (0,)
    with torch.no_grad():
        assert bool(minilm.model(batch.tokens).isfinite().all())


def test_blank_texts_in_a_batch_run_on_every_path(minilm: LoadedModel) -> None:
    batch = tokenize(Batch(name="b", texts=("", "Hello")), minilm.tokenizer, minilm.card.shape, Settings())
    assert batch.record.lengths == (2, 3)


def test_texts_are_checked_here_too() -> None:
    with pytest.raises(Refusal, match="blank"):
        tokenize(Batch(name="b", texts=(" ",)), WORDS, SHAPE, Settings())


@pytest.mark.parametrize(
    ("name", "rows", "padding"),
    [
        ("tutorial-small", 2, 0.17),
        ("tutorial-big", 3, 0.65),
        ("dense", 4, 0.0),
        ("mixed", 8, 0.56),
        ("skewed-64", 64, 0.89),
    ],
)
def test_presets_have_the_intended_padding(name: str, rows: int, padding: float, minilm: LoadedModel) -> None:
    record = tokenize(PRESETS[name], minilm.tokenizer, minilm.card.shape, Settings()).record
    assert len(record.lengths) == rows
    assert record.padding_ratio == pytest.approx(padding, abs=0.01)
    assert record.truncated == ()


def test_the_dense_preset_has_no_padding_for_the_stand_in_tokenizer(minilm: LoadedModel) -> None:
    from engine.models.tokenizers import stand_in

    shape: EncoderShape | None = CATALOG["xlmr-base-random"].shape
    assert shape is not None
    tokenizer = stand_in(minilm.tokenizer, shape)
    assert tokenize(PRESETS["dense"], tokenizer, shape, Settings()).record.padding_ratio == 0
