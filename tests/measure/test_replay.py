"""Replay: a recorded run, repeated by the real rounds, gives the same conclusions, bit for bit."""

from collections.abc import Iterator
from math import inf, nextafter
from pathlib import Path

import pytest

from engine.analysis.conclude import concluded
from engine.measure.rounds import BASELINE_AGAIN, Block, Rounds, StopRule, Timed, run_rounds
from engine.records import NoiseFloor, Run, read_run

RECORDED = Path(__file__).parents[1] / "data" / "run_minilm_tutorial_big.json"


@pytest.fixture(scope="module")
def recorded() -> Run:
    return read_run(RECORDED.read_bytes())


def _elapsed(sample_ms: float, calls: int) -> float:
    """The elapsed time that gives exactly the recorded sample."""
    guess = sample_ms / 1000 * calls
    candidates = [guess, nextafter(guess, inf), nextafter(guess, -inf)]
    candidates += [nextafter(candidates[1], inf), nextafter(candidates[2], -inf)]
    return next(second for second in candidates if second / calls * 1000 == sample_ms)


def _clock_readings(run: Run) -> Iterator[float]:
    calls = {path.name: path.calls_per_sample for path in run.paths}
    samples = {path.name: path.samples_ms for path in run.paths}
    samples[BASELINE_AGAIN] = run.noise_floor.samples_ms
    calls[BASELINE_AGAIN] = calls[run.experiment.baseline]
    yield 0.0
    for number, order in enumerate(run.order):
        for name in order:
            yield 0.0
            yield _elapsed(samples[name][number], calls[name])
        yield 0.0


def _replayed(run: Run) -> Rounds:
    blocks = {path.name: Block(Timed(lambda: None), path.calls_per_sample) for path in run.paths}
    # The rule of its time: 3 %, and 60 rounds at most.
    rule = StopRule(run.experiment.budget_s, run.experiment.iterations, max_rounds=60, precision=0.03)
    readings = _clock_readings(run)
    return run_rounds(blocks, run.experiment.baseline, rule, lambda: next(readings), iter(run.order))


def test_the_recorded_rounds_are_played_back_exactly(recorded: Run) -> None:
    rounds = _replayed(recorded)
    assert rounds.stop_reason == recorded.stop_reason
    assert tuple(rounds.order) == recorded.order
    assert {name: tuple(samples) for name, samples in rounds.samples_ms.items()} == {
        **{path.name: path.samples_ms for path in recorded.paths},
        BASELINE_AGAIN: recorded.noise_floor.samples_ms,
    }


def test_the_verdict_is_identical_bit_for_bit(recorded: Run) -> None:
    rounds = _replayed(recorded)
    paths = tuple(
        path.model_copy(
            update={
                "samples_ms": tuple(rounds.samples_ms[path.name]),
                "median_ms": None,
                "ci95_ms": None,
                "speedup": None,
                "speedup_ci95": None,
                "verdict": None,
                "verdict_reason": "",
                "next_step": "",
            }
        )
        for path in recorded.paths
    )
    floor = NoiseFloor(samples_ms=tuple(rounds.samples_ms[BASELINE_AGAIN]))
    again = concluded(recorded.model_copy(update={"paths": paths, "noise_floor": floor}))
    assert again.model_dump_json() == recorded.model_dump_json()
