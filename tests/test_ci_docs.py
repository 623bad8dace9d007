"""The workflow of docs/ci.md: its YAML is valid, and its steps run here as far as they need no GitHub."""

import json
import os
import re
import shlex
import stat
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import playwright
import pytest
import yaml

from engine.analysis.compare import Comparison
from engine.records import read_run

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
TINY = {
    "MODEL": "minilm",
    "BATCH": "tutorial-small",
    "PATHS": "slow,fast-nested",
    "ROUNDS": "8",
    "MARGIN": "0.5",
    "LEAST": "fast-nested=0.01",
}


TOGETHER = pytest.mark.xdist_group("measured for the workflow")
"""Tests of one of pytest's processes, so that their runs are measured once."""


@cache
def workflow() -> dict[Any, Any]:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
    parsed: dict[Any, Any] = yaml.safe_load(text)
    return parsed


def step(name: str) -> dict[str, Any]:
    (found,) = (step for step in workflow()["jobs"]["speed"]["steps"] if step["name"] == name)
    return dict(found)


def installed(folder: Path) -> Path:
    """The folder as the job has it after `Install`: two environments, whose Python is this one."""
    for side in ("base", "head"):
        python = folder / side / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return folder


@pytest.fixture
def runner(tmp_path: Path) -> Path:
    """A folder before anything is measured."""
    return installed(tmp_path)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of each side, measured once for the steps that come after."""
    folder = installed(tmp_path_factory.mktemp("measured"))
    run_step("Measure the base", folder)
    assert run_step("Measure the head", folder)["code"] == "0"
    return folder


def run_step(name: str, runner: Path, **variables: str) -> dict[str, str]:
    """Run a step's commands as GitHub does, and return its outputs.

    Raises:
        AssertionError: it ended with another exit code than 0.
    """
    output = runner / "output"
    output.write_text("")
    files = {"GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(runner / "summary.md")}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step(name)["run"]],
        cwd=runner,
        env={**os.environ, "PYTHONPATH": str(ROOT), **TINY, **files, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
    return dict(line.split("=", 1) for line in output.read_text().splitlines())


def test_the_workflow_is_valid_and_asks_for_no_more_rights_than_it_needs() -> None:
    parsed = workflow()
    assert list(parsed[True]) == ["pull_request"], "`on` is a boolean in YAML 1.1"
    assert parsed["permissions"] == {"contents": "read", "pull-requests": "write"}
    assert set(TINY) == set(parsed["env"])
    for found in parsed["jobs"]["speed"]["steps"]:
        assert ("run" in found) != ("uses" in found), found["name"]
        # An expression inside commands would be pasted into the shell: values come through variables.
        assert "${{" not in found.get("run", ""), found["name"]
        if "checkout" in found.get("uses", ""):
            assert found["with"]["persist-credentials"] is False


@TOGETHER
def test_the_steps_measure_compare_and_write_the_table(measured: Path) -> None:
    run_step("Compare", measured)
    before, after = (read_run((measured / f"{side}.json").read_bytes()) for side in ("base", "head"))
    assert before.experiment.batch.name == "tutorial-small"
    assert {path.name for path in after.paths} == {"slow", "fast-nested"}
    table = (measured / "summary.md").read_text()
    assert table == (measured / "comparison.md").read_text()
    assert "**What differs:** Nothing" in table
    assert "| fast-nested |" in table
    comparison = Comparison.model_validate_json((measured / "comparison.json").read_bytes())
    assert comparison.one_machine
    assert [before.rounds, after.rounds] == [8 * before.looks, 8 * after.looks]
    assert before.looks == after.looks, "an open comparison continues both"


@pytest.mark.parametrize(
    ("compared", "limit", "passes"),
    [("0", "0", True), ("3", "3", True), ("1", "0", False), ("2", "0", False), ("0", "1", False)],
)
def test_the_decision_fails_on_a_regression_and_not_on_noise(
    runner: Path, compared: str, limit: str, passes: bool
) -> None:
    if passes:
        run_step("Decide", runner, COMPARED=compared, LIMIT=limit)
        return
    with pytest.raises(AssertionError, match="exit code"):
        run_step("Decide", runner, COMPARED=compared, LIMIT=limit)


def test_an_open_comparison_gets_more_rounds_once(runner: Path) -> None:
    """Two rounds give no interval, so the first comparison must be open, and each run must be continued."""
    run_step("Measure the base", runner, ROUNDS="2")
    base = read_run((runner / "base.json").read_bytes())
    (runner / "head.json").write_text(base.model_copy(update={"id": "head"}).model_dump_json())
    codes = run_step("Compare", runner, ROUNDS="2")
    runs = [read_run((runner / f"{side}.json").read_bytes()) for side in ("base", "head")]
    assert [run.rounds for run in runs] == [4, 4]
    assert codes == {"code": "3", "limit": "3"}, "four rounds are too few as well"


def test_runs_that_cannot_be_compared_leave_a_sentence_to_post(runner: Path) -> None:
    (runner / "base.json").write_text("{}")
    (runner / "head.json").write_text("{}")
    assert run_step("Compare", runner)["code"] == "2"
    assert "could not be compared" in (runner / "comparison.md").read_text()


@pytest.mark.parametrize("earlier", [True, False])
def test_the_table_is_posted_once_and_then_updated(runner: Path, earlier: bool) -> None:
    """The script runs in Playwright's Node.js, with a service that only records what it is asked."""
    (runner / "comparison.md").write_text("the table")
    posted = "<!-- encoder-speed -->\nan older table" if earlier else "somebody's words"
    service = (
        "const asked = [];"
        f"const comments = [{{id: 7, user: {{type: 'Bot'}}, body: {json.dumps(posted)}}}];"
        "const note = (name) => async (fields) => asked.push([name, fields]);"
        "const issues = {updateComment: note('update'), createComment: note('create'), listComments: 0};"
        "const github = {rest: {issues}, paginate: async () => comments};"
        "const context = {repo: {owner: 'o', repo: 'r'}, issue: {number: 5}};"
    )
    script = step("Post the table")["with"]["script"]
    program = f"{service} (async () => {{ {script} }})().then(() => console.log(JSON.stringify(asked)));"
    node = Path(playwright.__file__).parent / "driver" / "node"
    done = subprocess.run(
        [str(node), "-e", program], cwd=runner, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    ((name, fields),) = json.loads(done.stdout)
    assert name == ("update" if earlier else "create")
    assert fields["body"] == "<!-- encoder-speed -->\nthe table"
    assert fields.get("comment_id") == (7 if earlier else None)


@TOGETHER
def test_the_report_step_writes_a_page(measured: Path) -> None:
    run_step("Write the report", measured)
    assert "<html" in (measured / "report.html").read_text(encoding="utf-8")[:2000].lower()
