"""Texts to a right-padded token tensor, with its lengths and padding."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

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
    """Encode, truncate and right-pad the texts of a batch.

    Raises:
        Refusal: the texts do not fit the settings.
    """
    texts = checked_texts(batch.texts, settings)
    longest_allowed = min(shape.max_tokens, settings.max_tokens)
    encoded = tokenizer.encode(texts)
    rows = [[tokenizer.begin_id, *ids[: longest_allowed - 2], tokenizer.end_id] for ids in encoded]
    truncated = tuple(i for i, ids in enumerate(encoded) if len(ids) > longest_allowed - 2)
    tokens = right_padded(rows, tokenizer.padding_id)
    return TokenBatch(tokens, _measured(batch, rows, truncated), tokenizer.padding_id)


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
