"""A path that is added as one ExecutionPath and one row appears everywhere: command line, page, chart, report."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from engine.analysis.conclude import concluded
from engine.analysis.recommend import recommend
from engine.catalog.operators import PACKED_ATTENTION, PACKED_ENCODER, PACKED_LINEAR
from engine.catalog.paths import PATHS, default_paths, path_row, variant
from engine.cli.commands import app as command_line
from engine.models.encoder import RobertaModel
from engine.packing import kernels, linear
from engine.paths import EXECUTION_PATHS
from engine.paths.execution import ExecutionPath, PreparedPath, Promise
from engine.present.charts.runs import speedup_chart
from engine.present.reports.script import script_of
from engine.present.reports.summary import report_markdown
from engine.present.words.runs import recommendation_sentences
from engine.records import Run
from tests.samples import sample_path, sample_run

TITLE, NOUN, COLOUR = "Toy path", "the toy's own way", "#123456"
ROW = path_row(
    "toy",
    title=TITLE,
    noun=NOUN,
    explanation="The encoder, by a toy.",
    group="beyond",
    kind="library",
    colour=COLOUR,
    simplicity_rank=1,
)


def _prepare(model: RobertaModel, _exports: Path | None) -> PreparedPath:
    return PreparedPath(model, model.encoder, Promise("it is a toy", ()))


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> str:
    """A new path, added to the two registries only."""
    monkeypatch.setitem(PATHS, "toy", ROW)
    monkeypatch.setitem(EXECUTION_PATHS, "toy", ExecutionPath("toy", _prepare))
    return "toy"


@pytest.fixture
def run(toy: str) -> Run:
    run = sample_run()
    measured = (*run.paths, sample_path(toy, (2.0,) * 8, 0))
    names = tuple(path.name for path in measured)
    experiment = run.experiment.model_copy(update={"paths": names})
    return concluded(run.model_copy(update={"paths": measured, "experiment": experiment}))


def test_the_two_registries_name_the_same_paths_in_the_same_precisions() -> None:
    assert list(PATHS) == list(EXECUTION_PATHS)
    for name, path in EXECUTION_PATHS.items():
        assert (path.name, path.precision) == (name, PATHS[name].precision)


def test_a_variant_is_recognised_by_its_fields() -> None:
    for spec in PATHS.values():
        assert (spec.base == spec.name) is (spec.precision is None)
        assert spec.base in PATHS
    assert variant(ROW, "bf16", "By a toy in half precision.").noun == f"{NOUN} in bf16"


def test_the_default_paths_are_the_baseline_the_fastpath_and_packed_execution() -> None:
    assert default_paths() == ("slow", "fast-mha", "fast-nested", "packed")


def test_packed_execution_names_its_operators_as_the_catalogue_does() -> None:
    assert (kernels.ATTENTION, kernels.ENCODER) == (PACKED_ATTENTION, PACKED_ENCODER)
    assert linear.PACKED_LINEAR == PACKED_LINEAR


def test_the_command_line_lists_it(toy: str) -> None:
    listed = CliRunner().invoke(command_line, ["paths"])
    assert listed.exit_code == 0
    assert all(word in listed.output for word in (toy, TITLE, "by a toy"))


@pytest.mark.usefixtures("toy")
def test_the_benchmark_page_offers_it() -> None:
    def page() -> None:
        from pages.kit.choosing import choose_paths

        choose_paths()

    app = AppTest.from_function(page, default_timeout=30).run()
    assert not app.exception
    assert TITLE in app.pills(key="bench_beyond").options
    assert app.pills(key="bench_beyond").value == ["packed"]


def test_charts_draw_it_in_its_colour(run: Run) -> None:
    scales = [
        layer["encoding"]["color"]["scale"]
        for layer in speedup_chart(run).to_dict()["layer"]
        if "scale" in layer.get("encoding", {}).get("color", {})
    ]
    assert [dict(zip(scale["domain"], scale["range"], strict=True))[TITLE] for scale in scales] == [COLOUR]


def test_it_is_recommended_and_reported(run: Run, toy: str) -> None:
    found = recommend(run)
    assert found is not None
    assert found.exact is not None
    assert found.exact.name == toy
    assert NOUN in recommendation_sentences(run)[0]
    assert TITLE in report_markdown(run)

    assert TITLE in script_of(run, toy)
