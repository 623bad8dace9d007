"""Charts show the run's numbers, add up, and have their message in words."""

import colorsys
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from engine.analysis.conclude import concluded
from engine.catalog.batches import find_preset
from engine.catalog.paths import OTHER_COLOUR
from engine.catalog.paths import PATHS as CATALOGUED_PATHS
from engine.present.charts import runs as charts
from engine.present.reports.summary import report_markdown
from engine.present.terminal.runs import conditions_words
from engine.present.words.runs import speedups_caption
from engine.records import PathResult, Run, read_run
from tests.samples import sample_run

ROOT = Path(__file__).parents[3]
PATHS = ("slow", "fast-mha", "fast-nested")


@pytest.fixture(scope="module")
def run() -> Run:
    return read_run((ROOT / "tests" / "data" / "run_minilm_tutorial_big.json").read_bytes())


def spec_of(chart: charts.Drawing) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(chart.to_json())
    return spec


def rows_of(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for rows in spec["datasets"].values() for row in rows]


def test_every_measured_path_has_a_bar_with_its_interval_and_the_noise_has_a_band(run: Run) -> None:
    rows = rows_of(spec_of(charts.speedup_chart(run)))
    bars = {row["name"]: row for row in rows if "name" in row}
    assert set(bars) == set(PATHS)
    for path in run.paths:
        expected = path.speedup_ci95 or (None, None)
        assert (bars[path.name]["low"], bars[path.name]["high"]) == pytest.approx(expected)
    assert run.noise_floor.ci95 is not None
    assert dict(zip(("low", "high"), run.noise_floor.ci95, strict=True)) in rows
    assert {"at": 1.0} in rows


def test_a_run_of_too_few_rounds_is_drawn_without_intervals() -> None:
    few = concluded(sample_run(slow_ms=(10.0,) * 2, fast_ms=(5.0,) * 2))
    bars = [row for row in rows_of(spec_of(charts.speedup_chart(few))) if "name" in row]
    assert [(bar["low"], bar["speedup"], bar["high"]) for bar in bars] == [
        (None, 2.0, None),
        (None, 1.0, None),
    ]
    assert [bar["interval"] for bar in bars] == ["none", "the baseline"]
    shown = f"{speedups_caption(few)} {report_markdown(few)} {conditions_words(few)}"
    assert "2 rounds are too few for an interval" in shown
    assert "Grey band" not in shown
    assert "2.0x to 2.0x" not in shown
    assert "noise floor unknown" in shown


def test_a_path_that_failed_does_not_break_the_charts_of_the_others(run: Run) -> None:
    lost = PathResult(name="fast-mha", dtype="fp32", status="failed", reason="no")
    partial = run.model_copy(update={"paths": (run.paths[0], lost, run.paths[2])})
    assert len(charts.speedup_data(partial)) == 2
    assert set(charts.operator_data(partial, PATHS, "self", 12)["path"]) == {
        "Slow path",
        "Native MHA + sparsity",
    }
    drawn = rows_of(spec_of(charts.samples_chart(partial)))
    assert {row["path"] for row in drawn} == {"Slow path", "Native MHA + sparsity"}


def test_a_name_with_a_dot_keeps_its_own_spelling() -> None:
    assert charts.chart_label("compile") == "torch.compile"


def test_self_times_of_a_path_add_up_to_its_measured_median(run: Run) -> None:
    data = charts.operator_data(run, PATHS, "self", top=10_000)
    for name in PATHS:
        total = data[data["path"] == charts.chart_label(name)]["ms"].sum()
        assert total == pytest.approx(run.path(name).median_ms)


def test_in_total_time_the_fused_layer_is_the_largest_operator(run: Run) -> None:
    data = charts.operator_data(run, PATHS, "total", top=12)
    fused = data[data["operator"] == "_transformer_encoder_layer_fwd"].set_index("path")["ms"]
    nested = run.path("fast-nested").median_ms
    assert nested is not None
    assert fused["Native MHA + sparsity"] > 0.7 * nested
    assert "Slow path" not in fused
    assert "_transformer_encoder_layer_fwd" in charts.operator_alt(run, PATHS, "total")


def test_the_operator_chart_keeps_the_largest_operators_first(run: Run) -> None:
    data = charts.operator_data(run, PATHS, "self", top=5)
    largest = data.groupby("operator", sort=False)["ms"].max()
    assert len(largest) == 5
    assert list(largest) == sorted(largest, reverse=True)
    assert len(rows_of(spec_of(charts.operator_chart(run, PATHS, top=5)))) == len(data)


def test_a_path_has_the_same_colour_in_every_chart(run: Run) -> None:
    scales = []
    for chart in (charts.operator_chart(run, PATHS), charts.samples_chart(run)):
        scale = spec_of(chart)["encoding"]["color"]["scale"]
        scales.append(dict(zip(scale["domain"], scale["range"], strict=True)))
    assert scales[0] == scales[1]
    assert scales[0]["Native MHA + sparsity"] == charts.path_colour("fast-nested")


def test_the_app_theme_offers_the_colours_of_the_paths() -> None:
    theme = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())["theme"]
    bases = {spec.colour for spec in CATALOGUED_PATHS.values() if spec.name == spec.base}
    assert {*bases, OTHER_COLOUR} == set(theme["chartCategoricalColors"])


def test_a_variant_in_lower_precision_has_the_hue_of_its_base() -> None:
    variants = [spec for spec in CATALOGUED_PATHS.values() if spec.precision]
    assert {spec.precision for spec in variants} == {"bf16", "int8"}
    for spec in variants:
        own, base = charts.path_colour(spec.name), charts.path_colour(spec.base)
        assert own != base
        assert _hue(own) == pytest.approx(_hue(base), abs=0.01)


def _hue(colour: str) -> float:
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return colorsys.rgb_to_hls(red, green, blue)[0]


def test_every_path_has_its_own_colour_and_label() -> None:
    """Two paths with the same label or colour could not be distinguished in a chart."""
    assert len({charts.path_colour(name) for name in CATALOGUED_PATHS}) == len(CATALOGUED_PATHS)
    assert len({charts.chart_label(name) for name in CATALOGUED_PATHS}) == len(CATALOGUED_PATHS)
    assert charts.path_colour("of another version") == OTHER_COLOUR


def test_every_round_of_every_path_is_drawn(run: Run) -> None:
    rows = rows_of(spec_of(charts.samples_chart(run)))
    assert len(rows) == run.rounds * len(PATHS)
    assert "rounds" in charts.samples_alt(run)


def test_the_padding_map_adds_up_to_the_padded_batch() -> None:
    batch = find_preset("tutorial-big").model_copy(
        update={"lengths": (4, 6, 206), "padding_ratio": 1 - 216 / 618, "shape": (3, 206)}
    )
    data = charts.padding_data(batch)
    assert data["tokens"].sum() == 3 * 206
    assert data[data["kind"] == "real"]["tokens"].sum() == batch.real_tokens
    assert "65% padding" in charts.padding_alt(batch)
    assert len(rows_of(spec_of(charts.padding_map(batch)))) == 6


def test_the_live_chart_shows_the_narrowing_interval() -> None:
    """One point per round, at the geometric middle of its interval; the newest interval in words too."""
    history = [{"fast-nested": (1.0, 4.0)}, {"fast-nested": (1.5, 2.5)}]
    spec = charts.closing_in_spec(history)
    rows = spec["datasets"]["rounds"]
    assert {layer["mark"]["type"] for layer in spec["layer"]} == {"area", "line", "rule"}
    assert [row["round"] for row in rows] == [1, 2]
    assert rows[0]["middle"] == 2.0
    assert charts.closing_in_words(history[-1]) == "Native MHA + sparsity 1.50x to 2.5x"


def test_the_live_chart_is_empty_before_the_first_interval() -> None:
    """Before the first interval the chart has axes and no line."""
    assert charts.closing_in_spec([])["datasets"] == {"rounds": []}
