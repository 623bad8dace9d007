"""The tokens of a made batch: exactly its shape, real ids inside every text, the same for the same seed."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.catalog.models import CATALOG
from engine.errors import Refusal
from engine.made import made_batch
from engine.models.inputs import tokenize
from engine.models.tokenizers import Tokenizer
from engine.settings import Settings
from tests.models.test_inputs import WORDS

SHAPE = CATALOG["minilm"].shape
assert SHAPE is not None
SMALL = SHAPE.model_copy(update={"vocab_size": 12})


@given(st.integers(2, 20), st.integers(8, 64), st.integers(0, 30).map(lambda percent: percent / 100))
def test_the_tensor_has_the_lengths_of_its_batch(rows: int, length: int, ratio: float) -> None:
    """Special ids at the ends only, so that no path takes a token inside a text for padding."""
    batch = made_batch(rows, length, ratio, seed=3)
    made = tokenize(batch, WORDS, SMALL, Settings())
    assert made.record == batch
    assert made.tokens.shape == (rows, length)
    assert made.real().sum(1).tolist() == list(batch.lengths)
    for row, count in zip(made.tokens.tolist(), batch.lengths, strict=True):
        assert (row[0], row[count - 1], set(row[count:]) <= {0}) == (1, 2, True)
        assert set(row[1 : count - 1]) <= set(range(3, 12))


def test_the_seed_decides_the_ids() -> None:
    first, again, other = (
        tokenize(made_batch(4, 32, 0.2, seed), WORDS, SHAPE, Settings()).tokens for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_padding_id_that_is_not_0_is_never_drawn() -> None:
    """RoBERTa pads with 1; a drawn 1 inside a text would make the nested path silently wrong."""
    roberta = Tokenizer(name="r", begin_id=0, end_id=2, padding_id=1, encode=WORDS.encode)
    made = tokenize(made_batch(8, 200, 0.3), roberta, SMALL, Settings())
    assert made.real().sum(1).tolist() == list(made.record.lengths)


def test_a_length_beyond_the_model_is_refused() -> None:
    with pytest.raises(Refusal, match="513 tokens is more than the 512 allowed"):
        tokenize(made_batch(2, 513, 0.0), WORDS, SHAPE, Settings())
