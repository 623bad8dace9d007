"""Every chart of a run can be saved as SVG and PNG, and says what it shows."""

from io import BytesIO
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from engine.errors import Refusal
from engine.present.reports.figures import figure_of, figures
from engine.present.reports.images import FILE_WIDTH, PNG_SCALE, chart_png, chart_svg, source_words, vega_lite
from engine.records import Run
from tests.samples import an_eight_path_run

ALL = (
    "speedups",
    "operators",
    "operators-total",
    "waterfall",
    "steps",
    "roofline",
    "padding",
    "rounds",
)


@pytest.fixture(scope="module")
def run() -> Run:
    return an_eight_path_run()


def test_an_eight_path_run_has_every_chart(run: Run) -> None:
    assert tuple(figures(run)) == ALL


def test_a_run_has_only_the_charts_that_its_data_allow(run: Run) -> None:
    bare = run.model_copy(
        update={
            "paths": tuple(
                path.model_copy(update={"profile": None}) for path in (run.path("slow"), run.path("packed"))
            ),
            "roofline": None,
        }
    )
    assert tuple(figures(bare)) == ("speedups", "padding", "rounds")
    with pytest.raises(Refusal, match="has no chart 'waterfall'; it has speedups, padding, rounds"):
        figure_of((bare,), "waterfall")


@pytest.mark.parametrize("name", ALL)
def test_a_chart_is_an_svg_with_its_message_and_its_run(name: str, run: Run) -> None:
    figure = figures(run)[name]
    svg = chart_svg(figure, source_words(run))
    text = " ".join(
        "".join(part.itertext())
        for part in ET.fromstring(svg).iter()  # noqa: S314  (our own)
        if part.tag.endswith("}text")
    )
    assert all(word in text for word in figure.message.split()[:5])
    assert run.id in text
    assert "NaN" not in svg


def test_a_png_has_two_pixels_for_one_on_white(run: Run) -> None:
    image = Image.open(BytesIO(chart_png(figures(run)["speedups"], source_words(run))))
    assert image.width > PNG_SCALE * FILE_WIDTH
    assert image.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)


def test_a_chart_of_many_rounds_is_drawn(run: Run) -> None:
    """Altair refuses more than 5,000 rows unless the data are taken out of its hands."""
    many = 1000
    longer = run.model_copy(
        update={
            "paths": tuple(
                path.model_copy(update={"samples_ms": (path.samples_ms[0],) * many}) for path in run.paths
            ),
            "rounds": many,
        }
    )
    (rows,) = vega_lite(figures(longer)["rounds"].draw(), 700)["datasets"].values()
    assert len(rows) == many * len(run.paths)


def test_a_chart_draws_what_altair_would_draw(run: Run) -> None:
    for figure in figures(run).values():
        ours, altairs = vega_lite(figure.draw(), 700), figure.draw().properties(width=700).to_dict()
        assert sorted(map(str, _values(ours))) == sorted(map(str, _values(altairs)))


def _values(spec: dict[str, dict[str, list[object]]]) -> list[object]:
    return [row for rows in spec["datasets"].values() for row in rows]


def test_two_allocators_make_a_chart_of_two_runs(run: Run) -> None:
    kept = run.model_copy(
        update={"id": "kept", "experiment": run.experiment.model_copy(update={"allocator": "kept"})}
    )
    assert "allocator" in figure_of((run, kept), "allocators").message
    with pytest.raises(Refusal, match="two runs"):
        figure_of((run,), "allocators")
    with pytest.raises(Refusal, match="one run"):
        figure_of((run, kept), "speedups")
    with pytest.raises(Refusal, match="not one experiment"):
        figure_of((run, run), "allocators")


def test_the_waterfall_leads_to_the_path_that_is_asked_for(run: Run) -> None:
    assert "native MHA alone" in figure_of((run,), "waterfall", "fast-mha").message
    with pytest.raises(Refusal, match="no profile of a path 'compile'"):
        figure_of((run,), "waterfall", "compile")
