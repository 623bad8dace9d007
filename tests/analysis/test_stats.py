"""Statistics: exact ranks, and intervals that contain the true value as often as they claim (seeded Monte Carlo)."""

from math import comb, log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.analysis.stats import (
    MOST_HALVINGS,
    fewest_samples,
    half_width,
    interval_rank,
    median_interval,
    middle_share,
    paired_ratios,
    percentile,
    samples_needed,
    shared_confidence,
    speedup,
)
from engine.records import MOST_PATHS, MOST_ROUNDS


def test_ranks_of_the_95_percent_interval_are_the_tabled_ones() -> None:
    # Conover, Practical Nonparametric Statistics, binomial quantiles: n = 10 -> 2nd to 9th, n = 20 -> 6th to 15th.
    assert [interval_rank(n) for n in (5, 6, 8, 10, 20)] == [None, 1, 1, 2, 6]


@given(st.integers(fewest_samples(), 80))
def test_the_rank_is_the_largest_that_keeps_the_confidence(count: int) -> None:
    rank = interval_rank(count)
    assert rank is not None

    def outside(k: int) -> float:
        return float(2 * sum(comb(count, i) for i in range(k)) / 2**count)

    assert outside(rank) <= 0.05 < outside(rank + 1)


def test_too_few_samples_have_no_interval() -> None:
    assert median_interval([1.0] * (fewest_samples() - 1)) is None


def _coverage(count: int) -> float:
    """Share of 4,000 seeded experiments whose interval contains the true median, ln 2, of skewed noise."""
    random = Random(count)
    intervals = (median_interval([random.expovariate(1.0) for _ in range(count)]) for _ in range(4000))
    return sum(low <= log(2) <= high for low, high in filter(None, intervals)) / 4000


@pytest.mark.parametrize("count", [9, 12, 20, 40, 60])
def test_the_interval_holds_the_true_median_93_to_98_percent_of_the_time(count: int) -> None:
    assert 0.93 <= _coverage(count) <= 0.98


def test_with_few_rounds_the_interval_errs_on_the_safe_side() -> None:
    # Ranks are whole numbers: with 8 samples the next narrower interval would hold only 93 %, so this one holds 99 %.
    assert _coverage(8) >= 0.98


def test_a_speedup_is_the_median_of_paired_ratios_not_the_ratio_of_medians() -> None:
    ratios = paired_ratios([10.0, 20.0, 90.0], [5.0, 10.0, 30.0])
    assert speedup(ratios) == pytest.approx(2.0)


def test_an_even_number_of_rounds_takes_the_geometric_middle() -> None:
    assert speedup([0.5, 2.0]) == 1.0
    assert speedup([1.0, 8.0, 2.0, 100.0]) == 4.0


def test_half_width_is_symmetric_on_the_log_scale() -> None:
    assert half_width((1 / 1.03, 1.03)) == pytest.approx(0.03)


def test_pairs_of_unequal_length_are_a_defect() -> None:
    with pytest.raises(ValueError, match="zip"):
        paired_ratios([1.0], [1.0, 2.0])


def test_percentiles_need_the_samples_that_mlperf_asks_for_at_95_percent() -> None:
    assert [samples_needed(q) for q in (0.9, 0.95, 0.99)] == [29, 59, 299]


def test_a_percentile_without_enough_samples_says_how_many_are_missing() -> None:
    assert percentile([1.0] * 20, 0.9).missing == 9
    assert percentile([1.0] * 20, 0.9).value is None
    assert percentile([float(i) for i in range(1, 101)], 0.9).value == 90.0


def test_several_intervals_share_the_error_between_them() -> None:
    assert [shared_confidence(k) for k in (0, 1, 2, 5)] == pytest.approx([0.95, 0.95, 0.975, 0.99])


def test_every_further_look_may_be_wrong_half_as_often() -> None:
    assert [shared_confidence(1, looks) for looks in (1, 2, 3)] == pytest.approx([0.95, 0.975, 0.9875])
    assert shared_confidence(5, 2) == pytest.approx(0.995)
    assert sum(1 - shared_confidence(1, looks) for looks in range(1, 60)) < 0.1


def test_however_often_a_run_is_continued_its_judgements_are_wrong_in_less_than_ten_percent_together() -> (
    None
):
    halved = sum(1 - shared_confidence(1, looks) for looks in range(1, MOST_HALVINGS + 2))
    after = 1 - shared_confidence(MOST_PATHS, MOST_HALVINGS + 2)
    assert after > 0
    assert halved + MOST_ROUNDS * MOST_PATHS * after < 0.1


def _ever_wrong(looks: int, per_look: int, shared: bool) -> float:
    """Share of 4,000 seeded experiments in which the interval misses the true median, 0, at one or more looks."""
    random, wrong = Random(looks), 0
    for _ in range(4000):
        samples = [random.gauss(0, 1) for _ in range(looks * per_look)]
        found = (
            median_interval(samples[: look * per_look], shared_confidence(1, look if shared else 1))
            for look in range(1, looks + 1)
        )
        wrong += any(not low <= 0 <= high for low, high in filter(None, found))
    return wrong / 4000


def test_who_looks_and_measures_on_is_wrong_seldom_where_the_looks_share_the_error_and_often_where_not() -> (
    None
):
    assert _ever_wrong(8, 20, shared=True) <= 0.08
    assert _ever_wrong(8, 20, shared=False) >= 0.12


def test_the_fewest_samples_and_the_share_that_an_interval_spans() -> None:
    assert [fewest_samples(1 - 0.05 / k) for k in (1, 2, 8)] == [6, 7, 9]
    assert middle_share(20) == 9 / 21
    assert middle_share(5) == 1.0
