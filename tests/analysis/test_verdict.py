"""The verdict: faster and slower only beyond the margin and the noise floor; "not sure" has one next step."""

import pytest

from engine.analysis.verdict import Situation, decide, rounds_needed
from engine.records import Interval

QUIET = Situation(rounds=20, round_s=0.5)


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
    verdict = decide(interval, floor, QUIET)
    assert verdict.word == word
    assert verdict.reason
    assert bool(verdict.next_step) == (word == "not sure")


def test_the_next_step_is_so_many_rounds_and_about_so_long() -> None:
    # The middle is 1.0493 and the half-width 4.83 %. To lie above 1.02, the half-width may be 2.88 %.
    # With 20 rounds the interval spans 9/21 of the sorted ratios, and 0.255 is allowed. With 58 rounds it spans
    # the 22nd to the 37th ratio, 15/59, for the first time less.
    verdict = decide((1.001, 1.10), None, QUIET)
    assert verdict.next_step == "Measure 38 more rounds, about 19 s."
    assert verdict.more_rounds == 38


def test_rounds_that_are_added_are_judged_more_strictly_so_more_are_needed() -> None:
    again = QUIET.model_copy(update={"confidence_next": 0.975})
    assert decide((1.001, 1.10), None, again).more_rounds > decide((1.001, 1.10), None, QUIET).more_rounds


def test_with_many_paths_more_rounds_are_needed_for_an_interval_at_all() -> None:
    many = Situation(rounds=3, round_s=1, confidence=1 - 0.05 / 8, confidence_next=1 - 0.025 / 8)
    assert decide(None, None, many).more_rounds == 9, "ten give one, and two to spare"


def test_too_few_rounds_are_told_apart() -> None:
    verdict = decide(None, None, Situation(rounds=3, round_s=10))
    assert "3 rounds are too few" in verdict.reason
    assert verdict.next_step == "Measure 5 more rounds, about 50 s."


def test_a_busy_machine_is_the_first_thing_to_mend() -> None:
    busy = Situation(rounds=20, round_s=1, disturbance="other processes used 38% of the CPU")
    for interval in ((0.9, 1.1), None):
        assert decide(interval, None, busy).next_step == (
            "Measure again when the machine is quiet: other processes used 38% of the CPU."
        )


def test_a_difference_too_small_for_the_machine_is_not_worth_more_rounds() -> None:
    assert "take the two as equal" in decide((1.0199, 1.0401), (0.97, 1.03), QUIET).next_step


def test_more_rounds_are_never_fewer_than_one() -> None:
    for low in (0.9, 0.95, 0.99, 1.0, 1.01):
        for high in (1.02, 1.05, 1.2):
            needed = rounds_needed((low, high), (1 / 1.02, 1.02), 0.02, QUIET)
            assert needed is None or 20 < needed <= 200
