"""The command line as a person meets it: real processes, exit codes, one sentence on standard error, no traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

from engine.records import read_run

ROOT = Path(__file__).parents[1]


def _engine(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "engine", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=300)


def test_models_lists_every_model() -> None:
    done = _engine("models")
    assert done.returncode == 0
    assert all(name in done.stdout for name in ("minilm", "xlmr-large-random", "roberta-distilled"))


def test_run_measures_real_weights_and_writes_the_run(tmp_path: Path) -> None:
    done = _engine(
        "run",
        *("--model", "minilm", "--batch", "tutorial-small", "--paths", "slow,fast-mha,fast-nested"),
        *("--iterations", "6", "--threads", "1", "--seed", "7"),
        *("--json", str(tmp_path / "out.json"), "--trace", str(tmp_path / "traces")),
    )
    assert done.returncode == 0, done.stderr
    run = read_run((tmp_path / "out.json").read_bytes())
    assert [(path.name, path.evidence and path.evidence.ok) for path in run.paths] == [
        ("slow", True),
        ("fast-mha", True),
        ("fast-nested", True),
    ]
    assert run.environment.threads == 1
    assert run.experiment.seed == 7
    assert len(list((tmp_path / "traces").iterdir())) == 3
    assert "aten::addmm" in done.stdout
    assert "Warning" not in done.stderr


def test_own_texts_come_from_options_and_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("one line\n\nanother line\n")
    done = _engine(
        "run",
        *("--text", "typed", "--texts", str(tmp_path / "texts.txt"), "--paths", "fast-nested"),
        *("--iterations", "1", "--json", str(tmp_path / "out.json")),
    )
    assert done.returncode == 0, done.stderr
    experiment = read_run((tmp_path / "out.json").read_bytes()).experiment
    assert experiment.batch.texts == ("typed", "one line", "another line")
    assert experiment.paths == ("slow", "fast-nested")


def test_tutorial_makes_the_six_runs_in_order_and_names_the_three_traps() -> None:
    done = _engine("tutorial", "--batch", "tutorial-small")
    assert done.returncode == 0, done.stderr
    headings = [
        f"{section} {path}" for section in ("2.1", "2.2", "2.3") for path in ("slow path", "fastpath")
    ]
    places = [done.stdout.index(heading) for heading in headings]
    assert places == sorted(places)
    for clue in ("enable_nested_tensor = False does nothing", "is in train mode", "first 100 events"):
        assert clue in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--model", "nope"), "There is no model 'nope'"),
        (("--batch", "nope"), "There is no batch 'nope'"),
        (("--paths", "slow,nope"), "There is no path 'nope'"),
        (("--dtype", "fp8"), "dtype"),
        (("--threads", "0"), "threads"),
        (("--iterations", "0"), "iterations"),
        (("--device", "tpu"), "tpu"),
        (("--text", " "), "blank"),
        (("--text", "x" * 20_001), "20,001 characters"),
        (("--texts", "no-such-file"), "no-such-file"),
        (("--json", "no/such/folder/out.json"), "nothing was measured"),
        (("--budget", "-1"), "budget_s"),
        (("--frobnicate",), "frobnicate"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(arguments: tuple[str, ...], words: str) -> None:
    done = _engine("run", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    done = _engine("run", "--texts", str(tmp_path / "latin.txt"))
    assert (done.returncode, "not UTF-8" in done.stderr) == (2, True)
