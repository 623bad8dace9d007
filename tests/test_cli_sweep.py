"""`sweep` in real processes: a small sweep on real weights, resumed, stopped, and refused."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.sweeps import read_sweep
from tests.sweep_samples import a_sweep
from tests.test_cli import LONG_S, ROOT, _engine

SMALL = (
    *("sweep", "--paths", "fast-mha,fast-nested", "--batch-sizes", "4,5", "--lengths", "8"),
    *("--padding", "0,40%", "--threads", "1"),
)


def test_a_sweep_is_written_and_printed_and_its_missing_cells_are_measured_later(tmp_path: Path) -> None:
    file = tmp_path / "sweep.json"
    done = _engine(*SMALL, "--rounds", "7", "--json", str(file))
    assert done.returncode == 0, done.stderr
    sweep = read_sweep(file.read_bytes())
    assert sweep.finished
    assert [run.rounds for _, run in sweep.measured] == [7] * 4
    assert all(path.evidence and path.evidence.ok for _, run in sweep.measured for path in run.paths)
    assert "5 texts x 8 tokens, 40% padding" in done.stdout
    assert "Finished: 4 of 4 cells." in done.stdout
    assert "4 cells, about" in done.stderr
    assert not list(tmp_path.glob("*.part"))

    file.write_text(sweep.model_copy(update={"cells": sweep.cells[:1]}).model_dump_json())
    resumed = _engine("sweep", "--resume", str(file))
    assert resumed.returncode == 0, resumed.stderr
    again = read_sweep(file.read_bytes())
    assert again.finished
    assert again.cells[0] == sweep.cells[0]
    assert again.id == sweep.id
    assert again.cells[1:] != sweep.cells[1:]


def test_ctrl_c_keeps_the_complete_cells(tmp_path: Path) -> None:
    file = tmp_path / "sweep.json"
    command = [sys.executable, "-m", "engine", *SMALL, "--rounds", "200", "--json", str(file)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + LONG_S
    while not file.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=LONG_S)
    sweep = read_sweep(file.read_bytes())
    assert 1 <= len(sweep.cells) < 4
    assert process.returncode == 130
    assert f"Stopped after {len(sweep.cells)} of 4 cells" in out
    assert f"go on with --resume {file}" in " ".join(errors.split())
    assert "Traceback" not in errors


def test_a_finished_sweep_is_only_printed(tmp_path: Path) -> None:
    file = tmp_path / "sweep.json"
    file.write_text(a_sweep().model_dump_json())
    done = _engine("sweep", "--resume", str(file))
    assert done.returncode == 0
    assert "Finished: 12 of 12 cells." in done.stdout
    assert "packed" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--lengths", "16,600"), "600 tokens is more than the 512"),
        (("--lengths", "sixteen"), "--lengths takes whole numbers separated by commas; 'sixteen'"),
        (("--padding", "1.0"), "Input should be less than 1"),
        (("--paths", "fastest"), "no path 'fastest'"),
        (("--model", "no-model"), "no model 'no-model'"),
        (("--threads", "4000"), "4,000 threads are more than"),
        (("--batch-sizes", ",".join(map(str, range(1, 99)))), "588 cells are more than the 200"),
        (("--resume", "nowhere.json"), "nowhere.json cannot be read"),
        (("--resume", "tests/data/run_minilm_tutorial_big.json"), "This sweep cannot be used"),
        (("--resume", "x.json", "--lengths", "8"), "--lengths does not go with --resume"),
        (("--json", "no/such/folder.json"), "so nothing was measured: choose one in a folder"),
        (("--json", "/dev/null"), "/dev/null is no ordinary file"),
        (("--allocator", "mine"), "--allocator takes kept or system"),
    ],
)
def test_bad_input_is_one_sentence_and_code_2(arguments: tuple[str, ...], sentence: str) -> None:
    done = _engine("sweep", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
