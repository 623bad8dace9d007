"""The Markdown reports contain what the run contains, and nothing in a run becomes HTML, a link or a row."""

from pathlib import Path

import pytest

from engine.present.reports.summary import pull_request_markdown, report_markdown, reports_markdown
from engine.present.words.runs import recommendation_sentences, verdict_sentence
from engine.records import PathResult, Run, read_run
from tests.samples import a_run_with_costs

SAMPLE = Path(__file__).parents[2] / "data" / "run_minilm_tutorial_big.json"


@pytest.fixture(scope="module")
def run() -> Run:
    return read_run(SAMPLE.read_bytes())


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


def test_the_report_has_memory_and_tokens_a_second() -> None:
    run = a_run_with_costs()
    packed = run.path("packed")
    assert packed.real_tokens_per_s is not None
    row = next(line for line in report_markdown(run).splitlines() if line.startswith("| Packed | 4.0 ms"))
    assert f"| {packed.real_tokens_per_s:,.0f} | {packed.peak_memory_mb:,.0f} MB |" in row


def test_a_pull_request_gets_verdict_and_table_at_once_and_the_proof_folded_up(run: Run) -> None:
    short = pull_request_markdown((run,))
    shown, folded = short.split("<details><summary>")
    assert verdict_sentence(run) in shown
    assert all(f"{path.median_ms:.1f} ms" in shown for path in run.paths)
    assert "6 of 6 layers ran fused" in folded
    assert "6 of 6 layers ran fused" not in shown
    assert folded.rstrip().endswith("</details>")
    assert len(short) < len(report_markdown(run)) / 2


def test_several_runs_follow_one_another(run: Run) -> None:
    other = a_run_with_costs()
    both = reports_markdown((run, other))
    assert both.index(run.title) < both.index(other.title)
    assert pull_request_markdown((run, other)).count("<details>") == 2


def test_a_strangers_text_stays_text(run: Run) -> None:
    nasty = "<script>alert(1)</script>\n# [x](javascript:alert(1)) | `"
    batch = run.experiment.batch.model_copy(update={"name": nasty})
    experiment = run.experiment.model_copy(update={"model": nasty, "batch": batch})
    environment = run.environment.model_copy(update={"notes": (nasty,)})
    lost = PathResult(name=nasty, dtype="fp32", status="failed", reason=nasty)
    hostile = run.model_copy(
        update={
            "title": nasty,
            "experiment": experiment,
            "environment": environment,
            "paths": (*run.paths, lost),
        }
    )
    for written in (report_markdown(hostile), pull_request_markdown((hostile,))):
        assert "<script" not in written
        assert "[x](" not in written.replace("\\[x](", "")
        assert not any(line.startswith("# [") for line in written.splitlines())
