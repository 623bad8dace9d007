"""The bars show each path's share of the peak, and the sentences say the same."""

import json

from engine.analysis.conclude import concluded
from engine.present.charts.roofline import has_roofline, roofline_chart, roofline_data
from engine.present.words.roofline import memory_words, peaks_words, roofline_words, useful_words
from tests.samples import a_run_with_costs, sample_run


def test_every_path_is_a_bar_in_the_order_of_its_useful_work() -> None:
    data = roofline_data(a_run_with_costs())
    assert list(data["name"]) == ["packed@bf16", "packed", "fast-nested", "slow"]
    shares = dict(zip(data["name"], data["share"], strict=True))
    assert round(shares["packed"] / shares["slow"], 6) == 2.5
    assert shares["packed@bf16"] == shares["packed"], "twice the work of twice the peak"


def test_the_limit_of_memory_is_drawn_where_it_is_below_the_peak() -> None:
    """Each weight that is read serves only ten tokens, so memory is the limit on every machine."""
    spec = json.loads(roofline_chart(a_run_with_costs()).to_json())
    ticks = next(layer for layer in spec["layer"] if layer["mark"]["type"] == "tick")
    assert len(spec["datasets"][ticks["data"]["name"]]) == 4


def test_the_words_say_what_the_bars_show() -> None:
    run = a_run_with_costs()
    assert "200 in fp32, 400 in bf16 GFLOP/s" in peaks_words(run)
    assert roofline_words(run).startswith("In useful work packed execution in bf16 reaches")
    assert "of this machine's peak, the slow path reaches" in roofline_words(run)
    assert memory_words(run).startswith("A tick is the limit set by memory")
    assert "computing padding does not count" in useful_words(run)


def test_peaks_of_a_busy_machine_are_called_so() -> None:
    run = a_run_with_costs()
    busy = run.model_copy(update={"environment": run.environment.model_copy(update={"quiet": False})})
    quiet = run.model_copy(update={"environment": run.environment.model_copy(update={"quiet": True})})
    assert peaks_words(busy).endswith("so its true peaks are higher.")
    assert peaks_words(quiet).endswith("GB/s of memory.")


def test_a_precision_without_a_peak_is_named_and_not_drawn() -> None:
    run = a_run_with_costs()
    integers = run.path("packed@bf16").model_copy(update={"dtype": "int8", "name": "onnxruntime@int8"})
    run = run.model_copy(update={"paths": (*run.paths[:3], integers)})
    assert "onnxruntime@int8" not in set(roofline_data(run)["name"])
    assert useful_words(run).endswith("no peak was measured in its precision: ONNX Runtime in int8.")


def test_an_older_run_has_no_roofline() -> None:
    run = concluded(sample_run())
    assert not has_roofline(run)
    assert roofline_words(run) == peaks_words(run) == memory_words(run) == ""
