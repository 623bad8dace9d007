"""Every chart is rendered, and no axis has more than six grid lines, whatever the size of its figures."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import vl_convert

from engine.analysis.allocators import both_allocators
from engine.analysis.conclude import concluded
from engine.present.charts.allocators import allocator_chart
from engine.present.charts.axes import few_ticks
from engine.present.charts.doctor import crossover_chart, states_chart
from engine.present.charts.explanations import steps_chart, waterfall_chart
from engine.present.charts.repeats import repeats_chart
from engine.present.charts.roofline import roofline_chart
from engine.present.charts.runs import (
    closing_in_spec,
    operator_chart,
    padding_map,
    samples_chart,
    speedup_chart,
)
from engine.records import Allocator, Run, read_run
from tests.present.charts.test_repeats import POINTS
from tests.samples import a_broken_diagnosis, a_run_with_costs, sample_run, some_sparsity

DATA = Path(__file__).parents[2] / "data"
MOST_LINES = 6
Spec = dict[str, Any]


def recorded() -> Run:
    return concluded(read_run((DATA / "run_minilm_tutorial_big.json").read_bytes()))


def of_allocator(allocator: Allocator) -> Run:
    run = recorded()
    experiment = run.experiment.model_copy(update={"allocator": allocator})
    return run.model_copy(update={"experiment": experiment})


def crossover() -> Spec:
    found = some_sparsity().crossover
    assert found is not None
    return crossover_chart(found, 0.65).to_dict()


CHARTS: dict[str, Callable[[], Spec]] = {
    "speedups": lambda: speedup_chart(recorded()).to_dict(),
    "operators": lambda: operator_chart(recorded(), ("slow", "fast-nested")).to_dict(),
    "rounds": lambda: samples_chart(recorded()).to_dict(),
    "padding": lambda: padding_map(recorded().experiment.batch).to_dict(),
    "live": lambda: closing_in_spec([{"fast-nested": (0.8 + i / 40, 2.05 - i / 40)} for i in range(12)]),
    "waterfall": lambda: waterfall_chart(recorded().baseline, recorded().path("fast-nested")).to_dict(),
    "steps": lambda: steps_chart(recorded()).to_dict(),
    "allocators": lambda: allocator_chart(
        both_allocators(of_allocator("kept"), of_allocator("system"))
    ).to_dict(),
    "roofline": lambda: roofline_chart(a_run_with_costs()).to_dict(),
    "repeats": lambda: repeats_chart(POINTS, "run1").to_dict(),
    "states": lambda: states_chart(a_broken_diagnosis()).to_dict(),
    "crossover": crossover,
}


def grid_lines(spec: Spec) -> list[int]:
    """How many grid lines each axis of a chart has."""
    grids = re.findall(r'class="mark-rule role-axis-grid"[^>]*>(.*?)</g>', vl_convert.vegalite_to_svg(spec))
    return [grid.count("<line") for grid in grids]


@pytest.mark.parametrize("name", CHARTS)
def test_an_axis_has_few_grid_lines(name: str) -> None:
    lines = grid_lines(CHARTS[name]())
    assert lines, "no grid was found in the picture"
    assert max(lines) <= MOST_LINES


@pytest.mark.parametrize("slow_ms", [1.0, 1.21, 1.4, 1.75, 2.3, 3.1, 3.6, 4.4, 5.3, 6.1, 7.0, 7.2, 8.0, 9.9])
def test_so_it_has_for_figures_of_any_size(slow_ms: float) -> None:
    """Seven seconds are as well drawn as ten: Vega rounds the step between two lines, and never to too many."""
    run = concluded(sample_run(slow_ms=(slow_ms,) * 8, fast_ms=(1.0,) * 8))
    for chart in (speedup_chart(run), samples_chart(run), operator_chart(run, ("slow", "fast-nested"))):
        lines = grid_lines(chart.to_dict())
        assert 2 <= max(lines) <= MOST_LINES


def test_an_axis_keeps_its_other_options() -> None:
    assert few_ticks(format="%").to_dict() == {"format": "%", "tickCount": 3}
