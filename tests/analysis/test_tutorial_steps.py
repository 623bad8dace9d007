"""The tutorial's steps: each against the one before; Better Transformer's share is separate from the headline."""

import pytest

from engine.analysis.tutorial_steps import STEP_PATHS, tutorial_steps
from engine.records import Run
from tests.samples import sample_path, sample_run

TIMES = {"slow-train": 300.0, "slow-grad": 110.0, "slow": 100.0, "fast-mha": 125.0, "fast-nested": 50.0}


def _run(*names: str) -> Run:
    paths = tuple(sample_path(name, (TIMES[name],) * 12, 0) for name in names)
    return sample_run().model_copy(update={"paths": paths})


def test_the_steps_multiply_to_the_headline() -> None:
    *steps, headline, honest = tutorial_steps(_run(*STEP_PATHS))
    product = 1.0
    for step in steps:
        product *= step.speedup
    assert headline.speedup == pytest.approx(product) == pytest.approx(6.0)
    assert honest.speedup == pytest.approx(steps[2].speedup * steps[3].speedup) == pytest.approx(2.0)
    assert [step.meaning for step in steps] == [
        "no dropout (eval mode)",
        "no autograd",
        "native kernels",
        "sparsity",
    ]
    assert all(step.ci95 for step in steps)


def test_only_measured_steps_are_shown() -> None:
    assert [(step.start, step.end) for step in tutorial_steps(_run("slow", "fast-mha", "fast-nested"))] == [
        ("slow", "fast-mha"),
        ("fast-mha", "fast-nested"),
    ]
    assert tutorial_steps(_run("slow")) == ()
