"""The verdict: faster and slower only beyond the margin and the noise floor; open questions stay open."""

import pytest

from engine.analysis.verdict import decide
from engine.records import Interval


@pytest.mark.parametrize(
    ("interval", "floor", "word"),
    [
        ((1.5, 1.6), None, "faster"),
        ((0.6, 0.7), None, "slower"),
        ((0.99, 1.01), None, "same"),
        ((0.9, 1.1), None, "not sure"),
        ((1.01, 1.05), None, "not sure"),
        ((1.05, 1.10), (0.9, 1.2), "not sure"),
        ((0.90, 0.95), (0.8, 1.1), "not sure"),
        ((1.25, 1.30), (0.9, 1.2), "faster"),
        (None, None, "not sure"),
    ],
)
def test_words(interval: Interval | None, floor: Interval | None, word: str) -> None:
    verdict = decide(interval, floor, rounds=20)
    assert verdict.word == word
    assert verdict.reason
    assert bool(verdict.next_step) == (word == "not sure")
