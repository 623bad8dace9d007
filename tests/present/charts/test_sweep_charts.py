"""The heat map of a sweep: a row a cell, marked where it is not sure, and the line where sparsity becomes faster."""

import re
from typing import Any

import pytest
import vl_convert

from engine.analysis.sweeps import shown_cells, sparsity_lines
from engine.present.charts.sweeps import Figure, heat_data, heat_map
from engine.sweeps import Axis, Sweep, SweepCell
from tests.sweep_samples import a_sweep

AXES: tuple[Axis, Axis] = ("length", "padding")


def the_map(sweep: Sweep, figure: Figure, path: str = "fast-nested", axes: tuple[Axis, Axis] = AXES) -> Any:
    cells = shown_cells(sweep, {"batch_size": 8})
    lines = [line for line in sparsity_lines(sweep) if line.at.batch_size == 8]
    return heat_map(cells, sweep.plan, axes, figure, path, lines).to_dict()


def test_every_cell_is_a_row_whether_it_is_measured_or_not() -> None:
    sweep = a_sweep(cells=4).with_cell(SweepCell(number=4, reason="no memory"))
    data = heat_data(shown_cells(sweep, {"batch_size": 4}), AXES, "speedup", "packed")
    assert list(data["kind"]) == ["measured"] * 4 + ["none", "missing"]
    assert list(data["label"])[4:] == ["–", "…"]
    assert list(data["note"])[4:] == ["no memory", "not measured yet"]


def test_a_cell_that_is_not_sure_is_marked() -> None:
    cells = shown_cells(a_sweep(), {"length": 64, "padding": 0.3})
    data = heat_data(cells, ("batch_size", "padding"), "speedup", "packed")
    assert list(data["unsure"]) == [True, False]
    assert [label.endswith("?") for label in data["label"]] == [True, False]
    best = heat_data(cells, ("batch_size", "padding"), "best", "")
    assert list(best["label"]) == ["fast-nested", "packed"]
    assert [words.endswith("?") for words in best["below"]] == [True, False]


def test_the_time_of_tokens_is_no_verdict() -> None:
    data = heat_data(shown_cells(a_sweep(), {"batch_size": 4}), AXES, "tokens", "packed")
    assert not any(data["unsure"])
    assert all(label.endswith(" ms") for label in data["label"])


def test_the_line_is_drawn_at_the_first_ratio_that_is_faster_on_either_axis() -> None:
    for axes in (AXES, ("padding", "length")):
        spec = the_map(a_sweep(), "speedup", axes=axes)
        rules = [layer for layer in spec["layer"] if layer["mark"]["type"] == "rule"]
        (rows,) = {str(spec["datasets"][rule["data"]["name"]]) for rule in rules}
        assert rows.count("'from': '30%'") == 2


def test_without_padding_on_an_axis_there_is_no_line() -> None:
    spec = the_map(a_sweep(), "speedup", axes=("length", "batch_size"))
    assert all(layer["mark"]["type"] != "rule" for layer in spec["layer"])


@pytest.mark.parametrize("figure", ["best", "speedup", "tokens"])
def test_every_figure_can_be_drawn_with_and_without_cells(figure: Figure) -> None:
    """By Vega itself: if it cannot join the layers, the page goes on showing the chart before."""
    for cells, dots in ((0, 6), (7, 5), (12, 0)):
        svg = vl_convert.vegalite_to_svg({**the_map(a_sweep(cells=cells), figure), "width": 600})
        texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
        assert texts.count("…") == dots


def test_values_ascend_upwards_and_the_line_lies_between_the_rows_it_parts() -> None:
    """Layers with different orders of the same values lose them, and the line would lie elsewhere."""
    svg = vl_convert.vegalite_to_svg(the_map(a_sweep(), "speedup"))
    at = {words: float(y) for y, words in re.findall(r"translate\([-\d.]+,([\d.]+)\)[^>]*>(\d+%)<", svg)}
    assert at["60%"] < at["30%"] < at["0%"]
    (line,) = {
        float(y)
        for block in re.findall(r"mark-rule.*?</g>", svg, re.S)
        for y in re.findall(r"translate\([-\d.]+,([\d.]+)\)", block)
    }
    assert at["30%"] < line < at["0%"]


def test_a_path_without_a_result_has_a_reason() -> None:
    sweep = a_sweep(cells=1)
    (_, run), *_ = sweep.measured
    failed = run.path("packed").model_copy(
        update={"samples_ms": (), "status": "failed", "reason": "too wide", "speedup": None, "verdict": None}
    )
    paths = tuple(failed if path.name == "packed" else path for path in run.paths)
    cell = SweepCell(number=0, run=run.model_copy(update={"paths": paths}))
    data = heat_data(shown_cells(sweep.with_cell(cell), {"batch_size": 4}), AXES, "speedup", "packed")
    assert (data["kind"][0], data["note"][0]) == ("none", "too wide")
