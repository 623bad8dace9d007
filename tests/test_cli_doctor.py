"""`python -m engine doctor` in real processes: real weights, users' classes, exit codes, one-sentence refusals."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.allocator import in_force
from engine.catalog.modifications import MODIFICATIONS
from engine.diagnosis import AS_IT_IS, SLOW, read_diagnosis
from engine.host import measuring_environment, platform_name
from engine.records import Allocator

ROOT = Path(__file__).parents[1]
UNTIMED = ("--batch", "tutorial-small", "--no-measure")
OWN = """
import torch
from torch import nn

class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, states, padding):
        return self.encoder(states, src_key_padding_mask=padding)

def make(gradients=False):
    torch.manual_seed(0)
    padding = torch.arange(6) >= torch.tensor([[6], [2]])
    model = Classifier().eval().requires_grad_(gradients)
    return model, {"states": torch.randn(2, 6, 16), "padding": padding}

def with_gradients():
    return make(gradients=True)
"""


@pytest.fixture(autouse=True)
def _own_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The sweeps stored on this machine are neither used nor overwritten."""
    monkeypatch.setenv("FASTPATH_DATA_FOLDER", str(tmp_path / "data"))


def _doctor(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "engine", "doctor", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def test_a_fastpath_that_is_taken_ends_with_exit_code_0_and_a_written_diagnosis(tmp_path: Path) -> None:
    done = _doctor(*UNTIMED, "--json", str(tmp_path / "out.json"))
    assert done.returncode == 0, done.stderr
    assert "The fastpath is taken" in done.stdout
    assert "conditions are met" in done.stdout
    assert "The diagnosis is in" in done.stderr
    diagnosis = read_diagnosis((tmp_path / "out.json").read_bytes())
    assert diagnosis.state(AS_IT_IS).proof.counts.fused_layers == 6
    assert all(state.timing is None for state in diagnosis.states)


def test_a_fastpath_that_is_not_taken_ends_with_exit_code_1_and_printed_cures(tmp_path: Path) -> None:
    done = _doctor(*UNTIMED, "--with", "train-mode, hook", "--json", str(tmp_path / "out.json"))
    assert done.returncode == 1, done.stderr
    assert "Modified on purpose: train-mode, hook." in done.stdout
    block = done.stdout[done.stdout.index("All cures together") :]
    assert "model.eval()" in block
    diagnosis = read_diagnosis((tmp_path / "out.json").read_bytes())
    assert diagnosis.modifications == ("train-mode", "hook")
    assert {check.key for check in diagnosis.failing} >= {"eval-mode", "no-hooks"}


def test_a_fastpath_with_wrong_answers_does_not_end_with_exit_code_0() -> None:
    done = _doctor("--batch", "tutorial-big", "--no-measure", "--with", "left-padding")
    assert done.returncode == 1, done.stderr
    assert "Silently wrong: left-padding" in done.stdout


def test_states_are_timed_within_the_budget_on_own_texts(tmp_path: Path) -> None:
    done = _doctor(
        *("--text", "short", "--text", "a text of a few more words", "--budget", "0.5", "--threads", "1"),
        *("--all", "--json", str(tmp_path / "out.json")),
    )
    assert done.returncode == 0, done.stderr
    diagnosis = read_diagnosis((tmp_path / "out.json").read_bytes())
    assert diagnosis.batch is not None
    assert diagnosis.batch.texts == ("short", "a text of a few more words")
    assert diagnosis.environment.threads == 1
    assert diagnosis.rounds > 0
    assert diagnosis.state(SLOW).timing is not None
    assert diagnosis.checks[0].key in done.stdout


@pytest.mark.parametrize(("name", "code"), [("make", 0), ("with_gradients", 1)])
def test_the_users_own_class_is_examined_in_its_folder(tmp_path: Path, name: str, code: int) -> None:
    (tmp_path / "my_model.py").write_text(OWN)
    done = _doctor("--python", f"my_model.py:{name}", "--no-measure", "--json", "out.json", cwd=tmp_path)
    assert done.returncode == code, done.stderr
    diagnosis = read_diagnosis((tmp_path / "out.json").read_bytes())
    assert diagnosis.title == f"my_model.py:{name}"
    assert diagnosis.state(AS_IT_IS).proof.counts.fused_layers == (0 if code else 2)
    assert ("with torch.inference_mode()" in done.stdout) == bool(code)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--model", "nope"), "There is no model 'nope'"),
        (("--batch", "nope"), "There is no batch 'nope'"),
        (("--with", "train-mode,nope"), "There is no modification 'nope'"),
        (("--with", "help"), ", ".join(MODIFICATIONS)),
        (("--dtype", "fp8"), "dtype"),
        (("--threads", "0"), "threads"),
        (("--seed", "-1"), "seed"),
        (("--budget", "-1"), "--budget takes seconds"),
        (("--budget", "nan"), "--budget takes seconds"),
        (("--text", " "), "blank"),
        (("--json", "no/such/folder/out.json"), "nothing was measured"),
        (("--python", "my_missing.py:make"), "There is no file my_missing.py"),
        (("--python", "my_missing.py:make", "--seed", "-1"), "seed"),
        (("--python", "my_model.py:make", "--model", "minilm"), "--model does not go with --python"),
        (("--python", "my_model.py:make", "--text", "x"), "--text does not go with --python"),
        (("--python", "my_model.py:make", "--with", "hook"), "--with does not go with --python"),
        (("--python", "my_model.py:make", "--threads", "1"), "--threads does not go with --python"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(arguments: tuple[str, ...], words: str) -> None:
    done = _doctor(*arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_an_error_in_the_users_code_is_one_sentence_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "my_model.py").write_text("def make():\n    return undefined, None\n")
    done = _doctor("--python", "my_model.py:make", cwd=tmp_path)
    assert done.returncode == 2
    assert "raised NameError in my_model.py, line 2: name 'undefined' is not defined." in done.stderr
    assert "Traceback" not in done.stderr


def test_help_warns_that_the_users_code_is_run_and_names_every_modification() -> None:
    told = " ".join(_doctor("--help").stdout.replace("│", " ").split())
    assert "This runs that file's code" in told
    assert all(name in told for name in MODIFICATIONS)


@pytest.mark.parametrize("allocator", ["kept", "system"])
def test_the_users_own_class_is_examined_with_the_allocator_asked_for(
    tmp_path: Path, allocator: Allocator
) -> None:
    (tmp_path / "my_model.py").write_text(OWN)
    done = _doctor(
        *("--python", "my_model.py:make", "--no-measure", "--allocator", allocator, "--json", "out.json"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    environment = read_diagnosis((tmp_path / "out.json").read_bytes()).environment
    assert environment.allocator_in_force == in_force(measuring_environment(allocator), platform_name())
