"""The downloads contain what the run contains."""

import csv
from io import StringIO
from pathlib import Path

import pytest

from engine.present.reports.summary import OPERATOR_COLUMNS, operators_csv, report_markdown
from engine.present.words.runs import recommendation_sentences, verdict_sentence
from engine.records import PathResult, Run, read_run
from tests.samples import a_run_with_costs

SAMPLE = Path(__file__).parents[2] / "data" / "run_minilm_tutorial_big.json"


@pytest.fixture(scope="module")
def run() -> Run:
    return read_run(SAMPLE.read_bytes())


def test_the_csv_has_every_operator_of_every_path(run: Run) -> None:
    rows = list(csv.DictReader(StringIO(operators_csv(run))))
    expected = [
        (path.name, op.name, op.self_ms) for path in run.paths if path.profile for op in path.profile.ops
    ]
    assert tuple(rows[0]) == OPERATOR_COLUMNS
    assert [(row["path"], row["operator"], float(row["profiler_self_ms"])) for row in rows] == expected


def test_the_report_has_verdict_medians_machine_and_the_size_of_the_batch(run: Run) -> None:
    report = report_markdown(run)
    assert verdict_sentence(run) in report
    assert run.environment.device_name in report
    assert "65% of the padded batch is padding" in report
    for path in run.paths:
        assert f"{path.median_ms:.1f} ms" in report


def test_a_path_that_failed_is_in_the_report_with_its_reason(run: Run) -> None:
    lost = PathResult(name="fast-mha", dtype="fp32", status="failed", reason="left | right\nnext")
    report = report_markdown(run.model_copy(update={"paths": (run.paths[0], lost)}))
    row = next(line for line in report.splitlines() if "left" in line)
    assert row.endswith("| failed: left \\| right next |"), "a bar or a line break must not break the table"


def test_the_report_has_the_recommendation_the_costs_and_the_peaks() -> None:
    run = a_run_with_costs()
    report = report_markdown(run)
    assert all(sentence in report for sentence in recommendation_sentences(run))
    assert "| Packed | fp32 | 1.0e-06 | 40 ms | 30 ms | 42 MB | 11 batches |" in report
    assert "## How close to this machine's peak" in report


def test_an_older_run_is_reported_without_the_fields_it_lacks(run: Run) -> None:
    report = report_markdown(run)
    assert "What each path costs" not in report
    assert "peak" not in report
