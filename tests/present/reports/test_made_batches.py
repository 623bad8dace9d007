"""A run on a made batch, which has no texts, is told, linked and exported as any other run."""

import pytest

from engine.present.links.codec import link_of, read_link
from engine.present.reports.embedded import runs_of_report, without_texts
from engine.present.reports.html import html_report
from engine.present.reports.script import script_of
from engine.present.reports.summary import report_markdown
from engine.records import Run
from tests.sweep_samples import a_sweep


@pytest.fixture
def run() -> Run:
    return a_sweep().measured[-1][1]


def test_its_report_opens_again_as_the_same_run(run: Run) -> None:
    html = html_report((run,))
    assert "drawn token ids" in html
    assert runs_of_report(html) == (run,)
    assert without_texts(run) == run


def test_its_link_has_its_shape(run: Run) -> None:
    shared = read_link(link_of(run)[0])
    assert (shared.experiment.batch.texts, shared.experiment.batch.longest) == run.experiment.batch.shape


def test_its_script_and_its_markdown_have_its_lengths(run: Run) -> None:
    lengths = run.experiment.batch.lengths
    assert ", ".join(map(str, lengths)) in script_of(run, "fast-nested")
    assert f"{len(lengths)} texts of {min(lengths)} to {max(lengths)} tokens" in report_markdown(run)
