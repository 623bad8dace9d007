"""Hostile names, files and streams: the command line ends with one sentence and the code 2, never with a traceback."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from engine.analysis.conclude import concluded
from engine.cli.files import check_writable, written
from engine.errors import Refusal
from engine.models.huggingface_weights import read_config, shape_of
from engine.models.tokenizers import gpt2_bpe
from engine.records import MOST_ROUNDS, read_run
from tests.samples import a_run_with_costs, sample_run

ROOT = Path(__file__).parents[1]
LONG_S = 180.0
LONG_NAME = "n" * 5000
STORED = ROOT / "tests" / "data" / "run_minilm_tutorial_big.json"
SHORTEST = ("--batch", "tutorial-small", "--paths", "slow", "--rounds", "1", "--threads", "1")


def engine(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    command = [sys.executable, "-m", "engine", *arguments]
    return subprocess.run(command, cwd=ROOT, text=True, check=False, timeout=LONG_S, **options)


def one_sentence(done: subprocess.CompletedProcess[str], code: int = 2) -> str:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert len(done.stderr) < 1200, "a long name is shortened"
    return done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "--model", LONG_NAME), "There is no model"),
        (("run", "--model", f"{LONG_NAME}/x/y"), "There is no model"),
        (("run", "--batch", LONG_NAME), "batch"),
        (("run", "--paths", LONG_NAME), "path"),
        (("run", "--device", LONG_NAME), "device"),
        (("run", "--dtype", LONG_NAME), "fp32"),
        (("run", "--allocator", LONG_NAME), "allocator"),
        (("run", "--json", LONG_NAME), "cannot be written"),
        (("run", "--trace", LONG_NAME), "cannot be made"),
        (("run", "--texts", LONG_NAME), "cannot be read"),
        (("run", "--continue", LONG_NAME), "cannot be read"),
        (("run", "--fail-under", LONG_NAME), "path"),
        (("tutorial", "--json", LONG_NAME), "cannot be written"),
        (("doctor", "--json", LONG_NAME), "cannot be written"),
        (("doctor", "--with", LONG_NAME), "modification"),
        (("doctor", "--python", f"{LONG_NAME}.py:make"), "There is no file"),
        (("doctor", "--python", f"{LONG_NAME}:make"), "There is no module"),
        (("conclude", LONG_NAME), "cannot be read"),
        (("conclude", str(STORED), "--json", LONG_NAME), "cannot be written"),
        (("conclude", str(STORED), "--json", "/proc/nothing/here.json"), "cannot be written"),
        (("conclude", str(STORED), "--json", "/"), "cannot be written"),
        (("compare", str(STORED), LONG_NAME), "cannot be read"),
        (("script", str(STORED), "--path", LONG_NAME), "path"),
        (("run", "--threads", "100000"), "threads"),
        (("doctor", "--threads", "100000"), "threads"),
        (("tutorial", "--threads", "100000"), "threads"),
        (("conclude", "/dev/zero"), "longer than 64 MB"),
        (("run", "--texts", "/dev/zero"), "longer than 64 MB"),
        (("conclude", "/dev/null"), "cannot be used"),
        (("conclude", "/"), "cannot be read"),
    ],
)
def test_a_hostile_argument_is_refused_in_one_sentence(arguments: tuple[str, ...], words: str) -> None:
    done = engine(*arguments)
    assert words in one_sentence(done)
    assert done.stdout == "", "it is refused before anything is measured or computed"


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize("depth", [300, 100_000])
def test_a_deeply_nested_run_is_refused(depth: int, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text(STORED.read_text().replace("{", f'{{"deep": {nested(depth)}, ', 1))
    assert "cannot be used" in one_sentence(engine("conclude", str(file)))


@pytest.mark.parametrize(
    "text",
    [
        nested(100_000),
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        '{"vocab_size": ' + "9" * 5000 + "}",
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    ],
    ids=["lists", "objects", "digits", "no text"],
)
def test_a_hostile_config_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(Refusal, match="cannot be read as JSON"):
        read_config(tmp_path / "config.json")


def test_an_endless_config_is_not_read_to_its_end() -> None:
    with pytest.raises(Refusal, match="cannot be read as JSON"):
        read_config(Path("/dev/zero"))


@pytest.mark.parametrize(
    "field", ["vocab_size", "hidden_size", "num_hidden_layers", "max_position_embeddings"]
)
def test_sizes_beyond_any_machine_are_refused(field: str) -> None:
    config = {
        "model_type": "bert", "vocab_size": 10, "hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1,
        "num_hidden_layers": 1, "max_position_embeddings": 8,
    }  # fmt: skip
    shape_of(config)
    with pytest.raises(Refusal, match="less than or equal"):
        shape_of(config | {field: 10**400})


@pytest.mark.parametrize("text", ["5", "[]", '{"<s>": "0"}', '{"<s>": -1}', nested(100_000)])
def test_a_vocabulary_of_another_form_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text(text)
    (tmp_path / "merges.txt").write_text("#version\n")
    with pytest.raises(Refusal, match="cannot be read"):
        gpt2_bpe(tmp_path / "vocab.json", tmp_path / "merges.txt")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    "arguments", [("models",), ("--help",), ("conclude", str(STORED)), ("compare", str(STORED), str(STORED))]
)
def test_a_full_standard_output_is_told(arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = engine(*arguments, stdout=full)
    assert "No space left on device" in one_sentence(done)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_file_is_written_although_standard_output_is_full(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = engine("run", *SHORTEST, "--json", str(tmp_path / "run.json"), stdout=full)
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert "The run is in" in done.stderr
    assert read_run((tmp_path / "run.json").read_bytes()).rounds == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_standard_error_changes_no_exit_code() -> None:
    with Path("/dev/full").open("w") as full:
        assert engine("models", stderr=full).returncode == 0
        assert engine("conclude", "/", stderr=full).returncode == 2


@pytest.mark.parametrize("arguments", [("models",), ("conclude", str(STORED)), ("script", str(STORED))])
def test_a_reader_that_leaves_is_no_error_to_tell(arguments: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = engine(*arguments, stdout=writing)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (2, "")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_end_nothing(closed: str, tmp_path: Path) -> None:
    command = f"{sys.executable} -m engine run {' '.join(SHORTEST)} --json {tmp_path / 'run.json'} {closed}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, text=True, check=False, timeout=LONG_S, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    read_run((tmp_path / "run.json").read_bytes())


def test_many_samples_are_concluded_in_seconds() -> None:
    samples = tuple(5.0 + i % 7 / 10 for i in range(MOST_ROUNDS))
    run = sample_run(samples, tuple(value * 0.9 for value in samples))
    start = time.process_time()
    assert concluded(run).rounds == MOST_ROUNDS
    assert time.process_time() - start < 5


@pytest.mark.parametrize("sessions", [2, 49, 60, 2000])
def test_a_run_of_many_sessions_is_concluded(sessions: int) -> None:
    """Beyond 48 the search for the fewest samples never ended, beyond 1,000 a number was too large."""
    run = a_run_with_costs()
    many = run.model_copy(update={"sessions": (1,) * sessions})
    start = time.process_time()
    assert concluded(read_run(many.model_dump_json())).looks == sessions
    assert time.process_time() - start < 5


@pytest.mark.parametrize("sessions", [[0], [-5, 13], [1] * (MOST_ROUNDS + 1)])
def test_impossible_sessions_are_refused(sessions: list[int]) -> None:
    run = json.loads(a_run_with_costs().model_dump_json())
    with pytest.raises(Refusal, match="sessions"):
        read_run(json.dumps(run | {"sessions": sessions}))


def test_checking_a_file_changes_nothing(tmp_path: Path) -> None:
    kept, link, pipe = tmp_path / "kept.json", tmp_path / "link.json", tmp_path / "pipe"
    kept.write_text("kept")
    link.symlink_to(tmp_path / "target.json")
    os.mkfifo(pipe)
    for file in (kept, tmp_path / "new.json", link, pipe, Path("/dev/null"), None):
        check_writable(file)
    assert kept.read_text() == "kept"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["kept.json", "link.json", "pipe"]
    link.unlink()
    link.symlink_to(link)
    for file in (tmp_path, tmp_path / "no" / "folder.json", kept / "below.json", tmp_path / LONG_NAME, link):
        with pytest.raises(Refusal, match="cannot be written"):
            check_writable(file)


def test_a_file_that_cannot_be_written_at_the_end_is_told_after_the_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Refusal, match="printed above"), written(a_run_with_costs(), "run", tmp_path):
        sys.stdout.write("the result\n")
    assert capsys.readouterr().out == "the result\n"


IMPORTING = """
import os, signal, sys
{prelude}
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "{module}":
            os.kill(os.getpid(), signal.SIGINT)
            try:
                for _ in range(10_000):
                    pass
            except KeyboardInterrupt:
                pass  # as a library that catches everything
sys.meta_path.insert(0, Interrupting())
sys.argv = ["engine", *{arguments!r}]
from engine.cli import main
main()
"""


@pytest.mark.parametrize("module", ["typer", "rich.console", "engine.records"])
def test_an_interrupt_while_modules_are_imported_ends_the_command(module: str) -> None:
    code = IMPORTING.format(module=module, arguments=["models"], prelude="")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=LONG_S
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "Stopped; nothing was written.\n"


def test_an_interrupt_while_torch_is_imported_ends_an_examination(tmp_path: Path) -> None:
    arguments = ["doctor", "--python", f"{tmp_path}/own.py:make", "--allocator", "system"]
    code = IMPORTING.format(module="torch", arguments=arguments, prelude="")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=LONG_S
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "Stopped; nothing was written.\n"


def test_an_ignored_interrupt_stays_ignored() -> None:
    prelude = "signal.signal(signal.SIGINT, signal.SIG_IGN)"
    code = IMPORTING.format(module="typer", arguments=["models"], prelude=prelude)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=LONG_S
    )
    assert done.returncode == 0, done.stderr
    assert "minilm" in done.stdout


def test_an_interrupt_before_measuring_drops_everything(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "engine", "run", *SHORTEST, "--json", str(tmp_path / "run.json")]
    process = subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"FASTPATH_LOCK_FILE": str(tmp_path / "lock")},
    )  # fmt: skip
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=LONG_S)
    assert process.returncode in (0, 130), errors
    assert "Traceback" not in errors
    if process.returncode == 130:
        assert (out, errors) == ("", "Stopped; nothing was written.\n")


OWN = """
import torch
def make():
    layer = torch.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    made = torch.nn.TransformerEncoder(layer, 2).eval(), torch.randn(2, 6, 16)
    torch.set_default_device("meta")
    return made
"""


def test_code_that_leaves_meta_as_default_device_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    done = engine("doctor", "--python", f"{tmp_path}/own.py:make", "--no-measure")
    assert "default device is meta" in one_sentence(done)
