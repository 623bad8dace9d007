"""Comparing runs: regressions by interval, runs of different experiments refused, four exit codes."""

import random

import pytest

from engine.analysis.compare import Gate, compare_runs, gate, gate_ratio
from engine.analysis.conclude import concluded
from engine.errors import Refusal
from engine.records import Conditions, Run
from tests.samples import sample_run


def _run(fast_ms: float, noise: float = 0.005, seed: int = 0, slow_ms: float = 10.0, rounds: int = 20) -> Run:
    draw = random.Random(seed)

    def samples(ms: float) -> tuple[float, ...]:
        return tuple(ms * draw.uniform(1 - noise, 1 + noise) for _ in range(rounds))

    return concluded(sample_run(samples(slow_ms), samples(fast_ms)))


@pytest.mark.parametrize(
    ("after", "word", "code"),
    [
        (_run(5.0, seed=1), "same", Gate.OK),
        (_run(4.0, seed=1), "improved", Gate.OK),
        (_run(6.0, seed=1), "regressed", Gate.REGRESSED),
        (_run(5.1, noise=0.2, seed=1), "not sure", Gate.INCONCLUSIVE),
    ],
)
def test_words_and_exit_codes(after: Run, word: str, code: Gate) -> None:
    changes = compare_runs(_run(5.0), after)
    assert changes[1].word == word
    if word != "not sure":
        assert changes[0].word == "same"
    assert gate(changes) is code


def test_a_machine_that_is_slower_as_a_whole_is_seen_at_the_baseline_alone() -> None:
    baseline, fast = compare_runs(_run(5.0), _run(6.0, slow_ms=12.0, seed=1))
    assert (baseline.basis, baseline.word) == ("time", "regressed")
    assert (fast.basis, fast.word) == ("speedup", "same")


def test_a_path_that_was_not_measured_is_neither_good_nor_regressed() -> None:
    after = _run(5.0, seed=1)
    failed = after.paths[1].model_copy(update={"status": "failed", "samples_ms": (), "speedup": None})
    after = after.model_copy(update={"paths": (after.paths[0], failed)})
    assert gate(compare_runs(_run(5.0), after)) is Gate.NOT_MEASURED
    assert gate_ratio(after, "fast-nested", 1.0) is Gate.NOT_MEASURED
    assert gate_ratio(after, "fast-mha", 1.0) is Gate.NOT_MEASURED


def test_runs_of_different_experiments_are_refused_unless_asked_for() -> None:
    before, after = _run(5.0), _run(5.0, seed=1)
    other = after.experiment.model_copy(update={"dtype": "bf16", "model": "xlmr-base-random"})
    after = after.model_copy(update={"experiment": other})
    with pytest.raises(Refusal, match=r"model minilm against xlmr-base-random; precision fp32 against bf16"):
        compare_runs(before, after)
    assert compare_runs(before, after, unlike_allowed=True)[1].word == "same"


def test_the_gate_of_a_ratio_needs_the_whole_interval() -> None:
    run = _run(5.0, noise=0.02)
    low, high = run.paths[1].speedup_ci95 or (0, 0)
    assert low < 2.0 < high
    assert gate_ratio(run, "fast-nested", low - 0.01) is Gate.OK
    assert gate_ratio(run, "fast-nested", 2.0) is Gate.INCONCLUSIVE
    assert gate_ratio(run, "fast-nested", high + 0.01) is Gate.REGRESSED


def test_a_time_that_the_machine_may_have_changed_is_no_regression() -> None:
    before, after = _run(5.0), _run(5.0, slow_ms=12.0, seed=1)
    slower = (Conditions(wall_s=1.0, pulse_ms=6.0),) * 20
    before = before.model_copy(update={"conditions": (Conditions(wall_s=1.0, pulse_ms=5.0),) * 20})
    baseline = compare_runs(before, after.model_copy(update={"conditions": slower}))[0]
    assert (baseline.word, baseline.note) == (
        "not sure",
        "a short test calculation took 5.0 ms in the first run and 6.0 ms in the second",
    )
