"""Where sparsity is faster is stated only from clear verdicts, never from noise."""

from random import Random

import pytest

from engine.analysis.crossover import faster_ratios, judged_point
from engine.analysis.verdict import Situation
from engine.diagnosis import SweepPoint
from engine.records import VerdictWord

RATIOS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7)
SITUATION = Situation(rounds=12, round_s=0.1)


def sweep(speedups: tuple[float, ...], noise: float, seed: int, rounds: int = 12) -> tuple[SweepPoint, ...]:
    """A simulated sweep: log-normal noise on every sample."""
    random = Random(seed)

    def samples(speedup: float) -> tuple[float, ...]:
        return tuple(100 / speedup * random.lognormvariate(0, noise) for _ in range(rounds))

    drawn = (
        SweepPoint(
            padding_ratio=ratio,
            speedup=1.0,
            dense_ms=samples(1.0),
            dense_again_ms=samples(1.0),
            sparse_ms=samples(speedup),
        )
        for ratio, speedup in zip(RATIOS, speedups, strict=True)
    )
    return tuple(judged_point(point, len(RATIOS), SITUATION) for point in drawn)


def point(ratio: float, verdict: VerdictWord) -> SweepPoint:
    return SweepPoint(padding_ratio=ratio, speedup=1.0, verdict=verdict)


@pytest.mark.parametrize("noise", [0.03, 0.1, 0.3])
def test_noise_states_nothing(noise: float) -> None:
    """In 500 sweeps of two equal paths, at most 5 % give a false statement, as the joint confidence promises."""
    found = [faster_ratios(sweep((1.0,) * 6, noise, seed)) for seed in range(500)]
    assert sum(one.faster_from is not None for one in found) <= 25
    assert sum(one.not_faster_up_to is not None for one in found) <= 25


def test_clear_data_states_both_ends() -> None:
    """Slower up to 10 %, faster from 30 % on; at 20 % the difference is within the noise."""
    for seed in range(20):
        found = faster_ratios(sweep((0.7, 0.8, 1.01, 1.5, 2.0, 3.0), 0.02, seed))
        assert (found.kind, found.not_faster_up_to, found.faster_from) == ("between", 0.1, 0.3)
        assert found.open_ratios == (0.2,)


def test_too_few_rounds_are_imprecise() -> None:
    """Seven rounds give no interval that holds for six points together, however large the gain."""
    found = sweep((1.5,) * 6, 0.001, 0, rounds=7)
    assert {one.ci95 for one in found} == {None}
    assert faster_ratios(found).kind == "imprecise"


def test_a_gain_that_is_lost_with_more_padding_is_said() -> None:
    """Faster at 10 % and slower at 50 %: there is no single crossover."""
    found = faster_ratios((point(0.1, "faster"), point(0.3, "not sure"), point(0.5, "slower")))
    assert (found.kind, found.faster_from, found.not_faster_up_to) == ("contradictory", 0.1, 0.5)


def test_the_order_of_the_points_does_not_matter() -> None:
    """They are sorted by their ratio."""
    points = (point(0.5, "faster"), point(0.0, "same"), point(0.3, "not sure"))
    assert faster_ratios(points) == faster_ratios(points[::-1])


def test_nothing_swept_is_imprecise() -> None:
    """A record without points states nothing."""
    assert faster_ratios(()).kind == "imprecise"
