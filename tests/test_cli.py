"""The command line in real processes: exit codes, one sentence on standard error, no traceback."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest
from filelock import FileLock

from engine.allocator import allocator_settings, in_force
from engine.analysis.compare import Comparison
from engine.analysis.conclude import concluded
from engine.cli.progress import stop_on_interrupt
from engine.host import measuring_environment, platform_name
from engine.records import Allocator, read_run
from tests.samples import sample_run

ROOT = Path(__file__).parents[1]
LONG_S = 180.0
SHORTEST = ("--batch", "tutorial-small", "--paths", "slow", "--rounds", "1")


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


def test_rounds_are_added_to_a_run_in_a_file(tmp_path: Path) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    asked = ("--batch", "tutorial-small", "--paths", "fast-nested", "--threads", "1", "--rounds", "6")
    assert _engine("run", *asked, "--json", str(first)).returncode == 0
    done = _engine("run", "--continue", str(first), "--rounds", "4", "--json", str(second))
    assert done.returncode == 0, done.stderr
    before, after = (read_run(file.read_bytes()) for file in (first, second))
    assert (after.continues, after.sessions) == (before.id, (6, 4))
    assert "Continued once after its result was seen" in " ".join(done.stdout.split())
    other = _engine("run", "--continue", str(first), "--model", "minilm")
    assert (other.returncode, other.stdout) == (2, "")
    assert "--model does not go with --continue" in other.stderr


def test_no_rounds_are_added_to_a_run_of_another_machine(tmp_path: Path) -> None:
    done = _engine("run", "--continue", _stored(tmp_path, "elsewhere", 10.0, 5.0), "--rounds", "2")
    assert (done.returncode, done.stdout) == (2, "")
    assert "This run cannot be continued, because the machine was not recorded" in done.stderr
    assert "Traceback" not in done.stderr


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
        (("--trace", "README.md"), "nothing was measured"),
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


def _stored(folder: Path, name: str, slow_ms: float, fast_ms: float) -> str:
    draw = Random(name)
    samples = [tuple(ms * draw.uniform(0.998, 1.002) for _ in range(20)) for ms in (slow_ms, fast_ms)]
    file = folder / f"{name}.json"
    file.write_text(concluded(sample_run(*samples)).model_dump_json())
    return str(file)


@pytest.mark.parametrize(
    ("fast_ms", "code", "word"), [(5.0, 0, "same"), (6.0, 1, "regressed"), (4.0, 0, "improved")]
)
def test_compare_has_an_exit_code_per_result(tmp_path: Path, fast_ms: float, code: int, word: str) -> None:
    before, after = _stored(tmp_path, "before", 10.0, 5.0), _stored(tmp_path, "after", 10.0, fast_ms)
    done = _engine("compare", before, after)
    assert (done.returncode, word in done.stdout) == (code, True)
    markdown = _engine("compare", before, after, "--markdown")
    assert markdown.returncode == code
    assert f"| {word} |" in markdown.stdout


def test_compare_says_what_differs_and_writes_a_record(tmp_path: Path) -> None:
    before, after = _stored(tmp_path, "before", 10.0, 5.0), _stored(tmp_path, "after", 10.0, 6.0)
    third = read_run(Path(after).read_bytes())
    environment = third.environment.model_copy(update={"threads": 8})
    (tmp_path / "third.json").write_text(
        third.model_copy(update={"environment": environment}).model_dump_json()
    )
    files = (before, after, str(tmp_path / "third.json"))
    done = _engine("compare", *files, "--anyway", "--json", str(tmp_path / "comparison.json"))
    assert done.returncode == 1
    assert "Threads 2 (A, B), 8 (C)." in done.stdout
    comparison = Comparison.model_validate_json((tmp_path / "comparison.json").read_bytes())
    assert [len(pair.changes) for pair in comparison.against] == [2, 2]
    assert f"The comparison is in {tmp_path}" in done.stderr


def test_compare_refuses_files_that_are_not_runs_and_unlike_runs(tmp_path: Path) -> None:
    before = _stored(tmp_path, "before", 10.0, 5.0)
    (tmp_path / "no-run.json").write_text("{}")
    other = read_run(Path(before).read_bytes())
    unlike = other.model_copy(update={"experiment": other.experiment.model_copy(update={"dtype": "bf16"})})
    (tmp_path / "unlike.json").write_text(unlike.model_dump_json())
    for file, words in (
        ("no-run.json", "no-run.json: This run cannot be used"),
        ("unlike.json", "(precision fp32 -> bf16)"),
        ("unlike.json", "--anyway"),
        ("none.json", "No such file"),
    ):
        done = _engine("compare", before, str(tmp_path / file))
        assert (done.returncode, words in done.stderr, "Traceback" in done.stderr) == (2, True, False)
    assert _engine("compare", before, str(tmp_path / "unlike.json"), "--anyway").returncode == 0


@pytest.mark.parametrize("count", [1, 7])
def test_compare_takes_two_to_six_files(tmp_path: Path, count: int) -> None:
    done = _engine("compare", *[_stored(tmp_path, "run", 10.0, 5.0)] * count)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"2 to 6 runs can be compared at once, not {count}" in done.stderr


def test_conclude_says_whether_a_stored_runs_conclusions_change(tmp_path: Path) -> None:
    file = Path(_stored(tmp_path, "run", 10.0, 5.0))
    assert "Identical" in _engine("conclude", str(file)).stdout
    file.write_text(file.read_text().replace('"verdict":"faster"', '"verdict":"slower"'))
    done = _engine("conclude", str(file), "--json", str(tmp_path / "again.json"))
    assert "Different" in done.stdout
    assert read_run((tmp_path / "again.json").read_bytes()).path("fast-nested").verdict == "faster"


@pytest.mark.parametrize(
    ("limit", "code"), [("fast-nested=0.01", 0), ("fast-nested=99", 1), ("fast-mha=1", 2)]
)
def test_fail_under_gates_a_run(limit: str, code: int) -> None:
    done = _engine(
        "run",
        *("--batch", "tutorial-small", "--paths", "fast-nested", "--rounds", "8", "--fail-under", limit),
    )
    assert done.returncode == code, done.stderr
    assert limit.partition("=")[0] in done.stderr


@pytest.mark.parametrize(
    "limit",
    [
        "fast-nested",
        "fast-nested=fast",
        "fast-nested=nan",
        "fast-nested=-1",
        "fastest=1",
        "slow=1",
        "slow-grad=1",
    ],
)
def test_a_bad_limit_is_refused_before_measuring(limit: str) -> None:
    done = _engine("run", "--fail-under", limit)
    assert (done.returncode, done.stdout) == (2, "")


def test_the_first_interrupt_ends_the_rounds_and_the_second_drops_everything() -> None:
    before = signal.getsignal(signal.SIGINT)
    asked: list[bool] = []
    with stop_on_interrupt(lambda: asked.append(True)):
        assert not asked
        signal.raise_signal(signal.SIGINT)
        assert asked == [True]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


class _InterruptedWhileWriting(io.RawIOBase):
    """A standard error during whose writes Ctrl-C is pressed."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        signal.raise_signal(signal.SIGINT)
        return memoryview(data).nbytes


def test_an_interrupt_in_the_middle_of_a_write_ends_the_rounds_too(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Python refuses a second write to `sys.stderr` there: the command ended with "reentrant call" and code 70."""
    drawing = io.TextIOWrapper(io.BufferedWriter(_InterruptedWhileWriting()), line_buffering=True)
    monkeypatch.setattr(sys, "stderr", drawing)
    asked: list[bool] = []
    with stop_on_interrupt(lambda: asked.append(True)):
        drawing.write("progress\n")
    assert asked == [True]
    assert "Stopping after this round" in capfd.readouterr().err


def test_a_stored_run_is_printed_as_a_link_that_carries_it(tmp_path: Path) -> None:
    from engine.present.links.codec import LINK_PATH, read_link

    stored = str(ROOT / "tests" / "data" / "run_minilm_tutorial_big.json")
    done = _engine("link", stored, "--base", "https://lab.example/")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"https://lab.example{LINK_PATH}1.")
    assert read_link(done.stdout.strip().partition("run=")[2]).id == "b23266adfac4"
    assert "Left out: the texts of the batch" in done.stderr
    (tmp_path / "bad.json").write_text("{}")
    refused = _engine("link", str(tmp_path / "bad.json"))
    assert (refused.returncode, refused.stdout) == (2, "")


def test_the_command_line_waits_for_its_turn_on_the_machine(tmp_path: Path) -> None:
    """A run from a terminal and one of a server would disturb each other, so it starts when the lock is free."""
    lock = tmp_path / "machine.lock"
    environment = {**os.environ, "FASTPATH_LOCK_FILE": str(lock)}
    command = [sys.executable, "-m", "engine", "run", *SHORTEST]
    with FileLock(lock):
        child = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=8)
    output, _ = child.communicate(timeout=LONG_S)
    assert child.returncode == 0
    assert "slow path" in output.lower()


@pytest.mark.parametrize(
    ("arguments", "clue"),
    [
        (("run", "--threads", "100000"), "Input should be less than or equal to 8192"),
        (("run", "--threads", "8000"), "ask for"),
        (("doctor", "--threads", "8000"), "ask for"),
        (("run", "--threads", "9" * 30), "threads"),
        (("run", "--seed", "9" * 30), "seed"),
        (("doctor", "--seed", "9" * 30), "seed"),
        (("doctor", "--python", "x.py:make", "--seed", "9" * 30), "seed"),
    ],
)
def test_threads_and_seeds_that_no_machine_can_use_are_refused_in_one_sentence(
    arguments: tuple[str, ...], clue: str
) -> None:
    done = _engine(*arguments)
    assert done.returncode == 2
    assert clue in done.stderr
    assert done.stderr.count("\n") == 1


def test_no_model_is_loaded_while_another_program_measures(tmp_path: Path) -> None:
    """Loading uses every core for seconds. That a device does not exist is found while loading, so after the wait."""
    lock = tmp_path / "machine.lock"
    environment = {**os.environ, "FASTPATH_LOCK_FILE": str(lock)}
    command = [sys.executable, "-m", "engine", "run", "--device", "tpu"]
    with FileLock(lock):
        waiting = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(timeout=15)
    _, told = waiting.communicate(timeout=LONG_S)
    assert waiting.returncode == 2
    assert "tpu" in told


@pytest.mark.parametrize("allocator", ["kept", "system"])
def test_a_run_has_the_allocator_asked_for_and_records_it(tmp_path: Path, allocator: Allocator) -> None:
    """Started in the user's folder, not in the lab's."""
    done = subprocess.run(
        [sys.executable, "-m", "engine", "run", *SHORTEST, "--allocator", allocator, "--json", "out.json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=LONG_S,
    )
    assert done.returncode == 0, done.stderr
    run = read_run((tmp_path / "out.json").read_bytes())
    assert run.experiment.allocator == allocator
    wanted = measuring_environment(allocator)
    assert run.environment.allocator == allocator_settings(wanted)
    assert run.environment.allocator_in_force == in_force(wanted, platform_name())
    assert f"memory: {run.environment.allocator_in_force}" in " ".join(done.stdout.split())


def test_the_process_that_draws_the_progress_does_not_import_torch() -> None:
    code = (
        "import sys; from engine.cli import main\n"
        f"sys.argv = ['engine', 'run', *{SHORTEST!r}]\n"
        "try: main()\n"
        "except SystemExit as ended: print('code', ended.code, 'torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=LONG_S
    )
    assert done.stdout.splitlines()[-1] == "code 0 False", done.stderr


def test_an_interrupt_ends_the_rounds_and_keeps_what_was_measured(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "engine", "run", "--batch", "tutorial-big", "--paths", "slow"]
    command += ["--rounds", "1000", "--budget", "600", "--json", str(tmp_path / "out.json")]
    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": "200"}  # so that the progress is drawn
    measuring = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert measuring.stderr is not None
    seen = b""
    while b"easuring" not in seen:
        seen += measuring.stderr.read1()
    measuring.send_signal(signal.SIGINT)
    measuring.communicate(timeout=LONG_S)
    assert measuring.returncode == 0
    run = read_run((tmp_path / "out.json").read_bytes())
    assert 1 <= run.rounds < 1000


def test_an_unknown_allocator_is_refused() -> None:
    for command in ("run", "tutorial", "doctor"):
        done = _engine(command, "--allocator", "jemalloc")
        assert (done.returncode, done.stdout) == (2, "")
        assert "--allocator takes kept or system" in done.stderr
