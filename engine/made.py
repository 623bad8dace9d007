"""Batches of an exact shape without texts: their number, their longest length, and how much of the batch is padding.

Pure: the lengths are computed here, and `engine/models/inputs.py` draws the token ids.
"""

from collections.abc import Sequence
from math import floor

from engine.errors import Refusal
from engine.records import FEWEST_TOKENS, Batch, MadeBatch


def made_batch(rows: int, length: int, padding_ratio: float, seed: int = 0) -> Batch:
    """A batch of this shape, with its lengths, longest text first.

    The first text has the full length. The others differ in length, evenly spread around their mean, because equally
    long texts would favour paths that group texts by length.

    Args:
        rows: number of texts.
        length: tokens of the longest text, special tokens included.
        padding_ratio: padding tokens / all tokens; met as closely as whole tokens allow.
        seed: of the token ids.

    Raises:
        Refusal: so much padding does not fit into the shape.
    """
    if not is_possible(rows, length, padding_ratio):
        raise Refusal(_too_much(rows, length, padding_ratio))
    hidden, room = _hidden(rows, length, padding_ratio), length - FEWEST_TOKENS
    lengths = (length, *(length - missing for missing in _spread(hidden, rows - 1, room)))
    return Batch(
        name=f"{rows} x {length}, {percent(padding_ratio)} padding",
        made=MadeBatch(rows=rows, length=length, padding_ratio=padding_ratio, seed=seed),
        lengths=lengths,
        padding_ratio=1 - sum(lengths) / (rows * length),
        shape=(rows, length),
    )


def is_possible(rows: int, length: int, padding_ratio: float) -> bool:
    """Whether so much padding fits into the shape: the first text is full, and every text has tokens of its own."""
    return _hidden(rows, length, padding_ratio) <= (rows - 1) * (length - FEWEST_TOKENS)


def _hidden(rows: int, length: int, padding_ratio: float) -> int:
    """Number of padding tokens."""
    return round(padding_ratio * rows * length)


def percent(ratio: float) -> str:
    """A ratio as a percentage with the digits that matter: 30%, 12.5%."""
    return f"{100 * ratio:.3g}%"


def _too_much(rows: int, length: int, padding_ratio: float) -> str:
    if rows == 1:
        return f"One text alone has no padding, so {percent(padding_ratio)} padding is impossible."
    most = (rows - 1) * (length - FEWEST_TOKENS) / (rows * length)
    return (
        f"{rows} texts of at most {length} tokens have at most {percent(most)} padding, because the first is full and "
        f"every text has {FEWEST_TOKENS} tokens or more; {percent(padding_ratio)} is impossible."
    )


def _spread(total: int, count: int, most: int) -> Sequence[int]:
    """`count` numbers from 0 to `most` with this sum, ascending and evenly spread around their mean."""
    if not count:
        return ()
    mean = total / count
    reach = min(mean, most - mean)
    wanted = [mean + reach * (2 * (i + 0.5) / count - 1) for i in range(count)]
    found = [min(most, max(0, floor(value))) for value in wanted]
    missing = total - sum(found)
    while missing > 0:  # one more for those that lost most by rounding down, as long as they have room
        by_loss = sorted(range(count), key=lambda i: found[i] - wanted[i])
        for i in [i for i in by_loss if found[i] < most][:missing]:
            found[i] += 1
            missing -= 1
    return sorted(found)
