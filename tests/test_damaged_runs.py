"""A stored run that cannot be concluded is refused in a sentence with exit code 2, which no regression has."""

import copy
import json
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.analysis.conclude import concluded
from engine.cli.comparing import compare, conclude
from engine.cli.exporting import report, script
from engine.errors import Refusal
from engine.records import MOST_BYTES, MOST_ROUNDS, read_run
from tests.samples import a_run_with_costs, sample_run

ROOT = Path(__file__).parents[1]
WHOLE: dict[str, Any] = json.loads(a_run_with_costs().model_dump_json())
ODD = st.sampled_from(
    [
        None,
        0,
        -1,
        1e-300,
        1e300,
        float("inf"),
        float("nan"),
        10**30,
        "",
        "[/]",
        "slow",
        [],
        {},
        True,
        [0],
        [1.0],
    ]
)


def changed(**places: Any) -> str:
    """The whole run with other values; a place is its keys joined by two underscores."""
    run = copy.deepcopy(WHOLE)
    for place, value in places.items():
        *way, last = (int(key) if key.isdecimal() else key for key in place.split("__"))
        target: Any = run
        for key in way:
            target = target[key]
        target[last] = value
    return json.dumps(run)


@pytest.mark.parametrize(
    ("text", "clue"),
    [
        (changed(paths__1__samples_ms__3=0), "paths.1.samples_ms.3"),
        (changed(paths__1__samples_ms__3=-5.0), "paths.1.samples_ms.3"),
        (changed(paths__1__samples_ms__3=float("nan")), "paths.1.samples_ms.3"),
        (changed(paths__1__samples_ms__3=float("inf")).replace("Infinity", "1e999"), "finite"),
        (changed(paths__1__samples_ms=[]), "the path 'fast-nested' has no samples"),
        (changed(paths__0__samples_ms=[], paths__0__status="failed"), "the path 'slow' has no samples"),
        (changed(paths__1__samples_ms=[5.0] * 7), "7 samples of the path 'fast-nested', but 8 rounds"),
        (changed(noise_floor__samples_ms=[5.0] * 9), "9 samples of the noise floor, but 8 rounds"),
        (changed(rounds=9), "8 samples of the path 'slow', but 9 rounds"),
        (changed(order=[["slow"]]), "1 rounds in the order, but 8 rounds"),
        (changed(paths=WHOLE["paths"][1:]), "the path 'slow' of the experiment has no result"),
        (changed(paths=WHOLE["paths"][:2]), "the path 'packed' of the experiment has no result"),
        (changed(paths=[*WHOLE["paths"], WHOLE["paths"][1]]), "'fast-nested' has two results"),
        (changed(paths__1__samples_ms=[5.0] * (MOST_ROUNDS + 1)), "at most 10000"),
        (changed(paths__1__agreement__max_abs_error=None), "cannot agree"),
        (changed(title="x" * MOST_BYTES), "64 MB"),
    ],
)
def test_a_run_that_cannot_be_concluded_is_refused_where_it_is_read(text: str, clue: str) -> None:
    with pytest.raises(Refusal) as refusal:
        read_run(text)
    assert clue in str(refusal.value)
    assert "left as it is" in str(refusal.value) or "was not changed" in str(refusal.value)
    assert len(str(refusal.value)) < 300


def test_what_the_lab_itself_writes_stays_readable() -> None:
    run = a_run_with_costs()
    failed = run.paths[1].model_copy(update={"status": "failed", "reason": "why", "samples_ms": ()})
    stopped = concluded(sample_run((10.0,), (5.0,)))
    for kept in (run, stopped, run.model_copy(update={"paths": (run.paths[0], failed, *run.paths[2:])})):
        assert read_run(kept.model_dump_json()) == kept


def test_a_million_samples_are_refused_at_once() -> None:
    samples = [5.0] * 1_000_000
    text = changed(rounds=1_000_000, paths__0__samples_ms=samples, paths__1__samples_ms=samples)
    start = time.process_time()
    with pytest.raises(Refusal):
        read_run(text)
    assert time.process_time() - start < 20, "it took no answer in 150 s"


@pytest.mark.parametrize("command", ["conclude", "compare", "report", "script"])
def test_a_damaged_file_ends_a_command_with_exit_code_2(command: str, tmp_path: Path) -> None:
    whole, damaged = tmp_path / "whole.json", tmp_path / "damaged.json"
    whole.write_text(json.dumps(WHOLE))
    damaged.write_text(changed(paths__1__samples_ms__3=0))
    files = (whole, damaged) if command == "compare" else (damaged,)
    options = ("--format", "md") if command == "report" else ()
    done = subprocess.run(
        [sys.executable, "-m", "engine", command, *map(str, files), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "paths.1.samples_ms.3" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_looks_like_markup_in_a_run_is_printed_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.json"
    file.write_text(changed(paths__1__status="failed", paths__1__samples_ms=[], paths__1__reason="odd [/b]"))
    conclude(file)
    assert "[/b]" in capsys.readouterr().out


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value in a JSON document."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way, *(deeper for key, inner in pairs for deeper in places(inner, (*way, key)))][not way :]


PLACES = places(WHOLE)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """The whole run with one to three of its values replaced, dropped or doubled."""
    run = copy.deepcopy(WHOLE)
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(PLACES))
        target: Any = run
        try:
            for key in way:
                target = target[key]
            match draw(st.sampled_from(["replace", "drop", "double"])):
                case "replace":
                    target[last] = draw(ODD)
                case "drop":
                    del target[last]
                case _ if isinstance(target, list):
                    target.append(target[last])
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took this place away
    return json.dumps(run)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(text=mutated())
def test_no_damage_makes_a_command_raise_anything_but_a_refusal(text: str, tmp_path: Path) -> None:
    whole, damaged = tmp_path / "whole.json", tmp_path / "damaged.json"
    whole.write_text(json.dumps(WHOLE))
    damaged.write_text(text)
    for command in (
        lambda: conclude(damaged),
        lambda: compare([whole, damaged], anyway=True),
        lambda: compare([damaged, whole, whole], anyway=True, markdown=True),
        lambda: script(damaged),
        lambda: report([damaged], output=tmp_path / "report.md"),
        lambda: report([damaged], output=tmp_path / "rounds.csv", table="rounds"),
    ):
        with suppress(Refusal, typer.Exit):
            command()
