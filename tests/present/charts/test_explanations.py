"""Explanations: the waterfall's bars join without a gap, and every step from path to path is shown."""

import pytest

from engine.analysis.conclude import concluded
from engine.present.charts.explanations import (
    steps_chart,
    steps_data,
    steps_words,
    waterfall_chart,
    waterfall_data,
    waterfall_words,
)
from engine.records import Profile, Run
from tests.samples import sample_path, sample_run

GROUPS = {"slow": {"linear": 6.0, "attention": 2.0}, "fast-nested": {"linear": 2.0, "nested conversion": 1.0}}


@pytest.fixture
def run() -> Run:
    base = concluded(sample_run())
    paths = tuple(
        path.model_copy(
            update={"profile": Profile(iterations=1, overhead=1.0, ops=(), groups=GROUPS[path.name])}
        )
        for path in base.paths
    )
    return base.model_copy(update={"paths": paths})


def test_bars_go_from_the_baselines_time_to_the_paths(run: Run) -> None:
    data = waterfall_data(run.path("slow"), run.path("fast-nested"))
    changes = data[data["kind"] != "measured"]
    assert changes["start"].iloc[0] == 10.0
    assert changes["end"].iloc[-1] == pytest.approx(5.0)
    assert list(changes["start"].iloc[1:]) == list(changes["end"].iloc[:-1])
    assert set(changes["group"]) == {"linear", "attention", "nested conversion"}
    assert "linear" in waterfall_words(run.path("slow"), run.path("fast-nested"))
    waterfall_chart(run.path("slow"), run.path("fast-nested")).to_dict()


def test_every_step_is_shown_with_its_interval(run: Run) -> None:
    middle = sample_path("fast-mha", (12.0,) * 8, 6)
    run = run.model_copy(update={"paths": (run.paths[0], middle, run.paths[1])})
    data = steps_data(run)
    assert list(data["step"]) == ["Native kernels", "Sparsity"]
    assert list(data["speedup"]) == pytest.approx([10 / 12, 12 / 5])
    assert "native kernels 0.83x" in steps_words(run)
    steps_chart(run).to_dict()
