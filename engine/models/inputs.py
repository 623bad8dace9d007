"""Texts, or a made batch's lengths, to a right-padded token tensor."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from engine.errors import Refusal
from engine.models.tokenizers import Tokenizer
from engine.records import Batch, EncoderShape
from engine.settings import Settings
from engine.texts import checked_texts


@dataclass(frozen=True)
class TokenBatch:
    """A batch as the encoder takes it.

    Attributes:
        tokens: (texts, longest length) int64; `tokenize` pads them on the right.
        record: the same batch in numbers.
        padding_id: the id that the model takes for padding, wherever it stands.
    """

    tokens: torch.Tensor
    record: Batch
    padding_id: int

    def real(self) -> torch.Tensor:
        """(texts, longest length) bool: True on real tokens."""
        return self.tokens != self.padding_id


def tokenize(batch: Batch, tokenizer: Tokenizer, shape: EncoderShape, settings: Settings) -> TokenBatch:
    """Encode, truncate and right-pad the texts of a batch; the ids of a made batch are drawn.

    Raises:
        Refusal: the texts do not fit the settings, or a made batch is longer than the model allows.
    """
    longest_allowed = min(shape.max_tokens, settings.max_tokens)
    if batch.made is not None:
        return _drawn(batch, batch.made.seed, tokenizer, shape.vocab_size, longest_allowed)
    texts = checked_texts(batch.texts, settings)
    encoded = tokenizer.encode(texts)
    rows = [[tokenizer.begin_id, *ids[: longest_allowed - 2], tokenizer.end_id] for ids in encoded]
    truncated = tuple(i for i, ids in enumerate(encoded) if len(ids) > longest_allowed - 2)
    tokens = right_padded(rows, tokenizer.padding_id)
    return TokenBatch(tokens, _measured(batch, rows, truncated), tokenizer.padding_id)


def _drawn(
    batch: Batch, seed: int, tokenizer: Tokenizer, vocabulary: int, longest_allowed: int
) -> TokenBatch:
    """Random ids of the vocabulary between the two special ones; none of these, and no padding, inside a text."""
    longest = max(batch.lengths)
    if longest > longest_allowed:
        raise Refusal(
            f"A length of {longest} tokens is more than the {longest_allowed} allowed for this model: choose less."
        )
    special = {tokenizer.begin_id, tokenizer.end_id, tokenizer.padding_id}
    ordinary = torch.tensor([token for token in range(vocabulary) if token not in special])
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for length in batch.lengths:
        drawn = ordinary[torch.randint(len(ordinary), (length - 2,), generator=generator)]
        rows.append([tokenizer.begin_id, *drawn.tolist(), tokenizer.end_id])
    return TokenBatch(right_padded(rows, tokenizer.padding_id), batch, tokenizer.padding_id)


def right_padded(rows: Sequence[Sequence[int]], padding_id: int) -> torch.Tensor:
    """(rows, longest row) int64, each row followed by padding."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[padding_id] * (longest - len(row))] for row in rows], dtype=torch.int64)


def _measured(batch: Batch, rows: Sequence[Sequence[int]], truncated: tuple[int, ...]) -> Batch:
    lengths = tuple(map(len, rows))
    shape = (len(rows), max(lengths))
    return batch.model_copy(
        update={
            "lengths": lengths,
            "padding_ratio": 1 - sum(lengths) / (shape[0] * shape[1]),
            "shape": shape,
            "truncated": truncated,
        }
    )
