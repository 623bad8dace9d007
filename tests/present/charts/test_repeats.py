"""The chart of repeated runs: only comparable points, and a message that names what changed."""

from datetime import UTC, datetime, timedelta

from engine.catalog.paths import path_spec
from engine.present.charts.repeats import of_this_machine, repeats_chart, repeats_data, repeats_words
from engine.records import VerdictWord
from engine.store.queries import PathSpeedup

START = datetime(2026, 11, 23, tzinfo=UTC)


def a_point(
    run: int,
    path: str,
    speedup: float,
    verdict: VerdictWord | None = "faster",
    machine: str = "lab",
    interval: float | None = 0.1,
) -> PathSpeedup:
    return PathSpeedup(
        run_id=f"run{run}",
        created_at=START + timedelta(hours=run),
        machine=machine,
        path=path,
        speedup=speedup,
        low=speedup - interval if interval else None,
        high=speedup + interval if interval else None,
        verdict=verdict,
    )


POINTS = (
    *(a_point(0, "packed", 3.0), a_point(0, "fast-mha", 1.1, "faster")),
    *(a_point(1, "packed", 3.24), a_point(1, "fast-mha", 1.0, "not sure", interval=None)),
    *(a_point(2, "packed", 3.1), a_point(2, "fast-mha", 0.9, "slower")),
)


def test_points_of_other_machines_and_of_one_run_alone_are_left_out() -> None:
    odd = (a_point(3, "packed", 9.0, machine="other"), a_point(2, "compile", 1.5))
    assert of_this_machine((*POINTS, *odd), "lab") == POINTS
    assert of_this_machine(POINTS[:2], "lab") == ()
    assert of_this_machine((), "lab") == ()


def test_the_message_gives_the_span_of_the_fastest_path_and_every_change_of_verdict() -> None:
    words = repeats_words(POINTS)
    assert words == (
        "In 3 runs packed execution was 3.0x to 3.2x as fast as the slow path. "
        "Native MHA alone: faster, then not sure, then slower."
    )
    equal = (a_point(0, "packed", 3.01), a_point(1, "packed", 3.02))
    assert repeats_words(equal) == "In 2 runs packed execution was 3.0x as fast as the slow path."


def test_each_point_tells_its_run() -> None:
    data = repeats_data(POINTS, shown="run1")
    assert list(data["run"]) == [1, 1, 2, 2, 3, 3]
    assert set(data[data["shown"] == "this run"]["id"]) == {"run1"}
    assert data["when"][0] == "2026-11-23T00:00:00+00:00"


def test_the_chart_has_the_paths_own_colours_and_intervals() -> None:
    chart = repeats_chart(POINTS, "run1").to_dict()
    colours = chart["layer"][1]["encoding"]["color"]["scale"]["range"]
    assert set(colours) == {path_spec("packed").colour, path_spec("fast-mha").colour}
    assert {"low", "high"} == {chart["layer"][1]["encoding"][end]["field"] for end in ("y", "y2")}
