"""The exported scripts run unchanged, and each prints the shape of the answer and its time."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from engine.catalog.paths import PATHS
from engine.errors import Refusal
from engine.present.reports.script import MOST_TEXTS, script_of
from engine.records import Batch, Run
from tests.samples import sample_path, sample_run

ROOT = Path(__file__).parents[3]


def _run_with(*names: str, texts: tuple[str, ...] = ("Hello world", "How are you!")) -> Run:
    run = sample_run()
    experiment = run.experiment.model_copy(update={"batch": Batch(name="tutorial-small", texts=texts)})
    paths = tuple(sample_path(name, (1.0,), 0) for name in names)
    return run.model_copy(update={"paths": paths, "experiment": experiment})


def _printed_by(script: str) -> str:
    """What the script prints, run in the project's folder."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-"],
        input=script,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "name", ["slow", "fast-nested", "fast-nested@bf16", "bucketed", "packed", "packed@bf16", "tutorial-mha"]
)
def test_a_script_runs_as_it_is(name: str) -> None:
    printed = _printed_by(script_of(_run_with(name), name))
    assert re.fullmatch(r"\(2, 2\), \d+\.\d\d ms per forward\n", printed)


@pytest.mark.parametrize("name", PATHS)
def test_every_path_makes_a_script_that_python_can_parse(name: str) -> None:
    ast.parse(script_of(_run_with(name), name))


def test_texts_of_a_run_from_a_file_never_become_code() -> None:
    """A run may come from a file: nothing in it may become code."""
    nasty = ('"""\n)\nraise SystemExit(9)\n', "'\\", "{model!r} {0}")
    run = _run_with("slow", texts=nasty).model_copy(
        update={"title": "a title\nraise SystemExit(9)\x0c\u2028raise", "id": "x\rraise SystemExit(9)"}
    )
    tree = ast.parse(script_of(run, "slow"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Raise)]
    (texts,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "TEXTS"
    )
    assert texts == nasty


def test_a_large_batch_is_cut_to_its_first_texts() -> None:
    script = script_of(_run_with("slow", texts=tuple(f"text {number}" for number in range(64))), "slow")
    assert f"# The first {MOST_TEXTS} of 64 texts." in script
    assert ("'text 7'" in script, "'text 8'" in script) == (True, False)


def test_a_path_that_is_not_in_the_run_is_refused() -> None:
    with pytest.raises(Refusal, match="it has slow"):
        script_of(_run_with("slow"), "packed")
