"""The child: real processes that answer JSON lines, survive bad requests and end when their input ends."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest

from engine.analysis.continuing import More, continuation
from engine.catalog.batches import PRESETS
from engine.child.lock import machine_lock
from engine.child.process import raise_oom_score, sort_line, until_memory_is_short
from engine.events import (
    ENDINGS,
    Diagnosed,
    DoctorRequest,
    Event,
    Finished,
    Loaded,
    LoadRequest,
    Refused,
    Request,
    RunRequest,
    Step,
    StopRequest,
    Tokenized,
    TokenizeRequest,
    read_event,
)
from engine.host import threads_here
from engine.packing.build import gain_here
from engine.paths.packed import NO_GAIN
from engine.records import Experiment
from tests.samples import standing_compiler

SMALL = PRESETS["tutorial-small"]
ROOT = Path(__file__).parents[2]


class Child:
    def __init__(self, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "engine", "child"],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, request: Request | str) -> list[Event]:
        assert self.process.stdin is not None
        line = request if isinstance(request, str) else request.model_dump_json()
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return list(self.events())

    def write(self, request: Request) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(request.model_dump_json() + "\n")
        self.process.stdin.flush()

    def events(self) -> Iterator[Event]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event = read_event(line)
            yield event
            if isinstance(event, ENDINGS):
                return


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    child = Child()
    yield child
    child.process.kill()
    child.process.wait()


def test_a_model_is_loaded_only_once(child: Child) -> None:
    first, second = (child.ask(LoadRequest(model="minilm")) for _ in range(2))
    assert isinstance(second[-1], Loaded)
    assert len(second) == 1
    assert isinstance(first[-1], Loaded)
    assert first[-1].card == second[-1].card


def test_texts_become_lengths(child: Child) -> None:
    ending = child.ask(TokenizeRequest(model="minilm", batch=PRESETS["tutorial-small"]))[-1]
    assert isinstance(ending, Tokenized)
    assert ending.batch.lengths == (4, 6)


def test_an_experiment_becomes_a_run(child: Child) -> None:
    experiment = Experiment(
        model="minilm", batch=PRESETS["tutorial-small"], paths=("slow", "fast-nested"), iterations=6
    )
    ending = child.ask(RunRequest(experiment=experiment))[-1]
    assert isinstance(ending, Finished)
    assert ending.run.path("fast-nested").status == "ok"
    longer = child.ask(continuation(ending.run, More(rounds=3, seconds=1), most_s=60))[-1]
    assert isinstance(longer, Finished)
    assert (longer.run.continues, longer.run.sessions) == (ending.run.id, (6, 3))


def test_the_kernels_are_compiled_before_anything_is_measured_and_the_step_is_told(tmp_path: Path) -> None:
    """The compiler waits for this test, so the step must have been told while it was at work."""
    child = Child(FASTPATH_DATA_FOLDER=str(tmp_path), CXX=str(standing_compiler(tmp_path)))
    child.write(
        RunRequest(
            experiment=Experiment(
                model="minilm", batch=PRESETS["tutorial-small"], paths=("slow", "packed"), iterations=1
            )
        )
    )
    steps, ending = list[str](), None
    for ending in child.events():
        if isinstance(ending, Step):
            steps.append(ending.name)
            if ending.name == "compile":
                (tmp_path / "go").touch()
    child.process.kill()
    child.process.wait()
    assert isinstance(ending, Finished)
    packed = ending.run.path("packed")
    assert packed.status == "ok"
    if gain_here():
        assert steps[:3] == ["load", "compile", "tokenize"]
        assert "compiler" in packed.prepare_note, "without kernels it runs on torch's operators, and says why"
    else:
        assert "compile" not in steps
        assert packed.prepare_note == NO_GAIN


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (LoadRequest(model="nope"), "There is no model 'nope'"),
        ("not json", "cannot be read"),
        (json.dumps({"do": "dance"}), "cannot be read"),
        (LoadRequest(model="minilm", device="tpu"), "tpu"),
        (
            RunRequest(experiment=Experiment(model="minilm", batch=SMALL, paths=("slow",), threads=8000)),
            "ask for",
        ),
        (DoctorRequest(model="minilm", batch=SMALL, threads=8000), "ask for"),
    ],
)
def test_a_bad_request_is_refused_and_the_child_goes_on(
    child: Child, request_: Request | str, words: str
) -> None:
    ending = child.ask(request_)[-1]
    assert isinstance(ending, Refused)
    assert words in ending.message
    assert isinstance(child.ask(LoadRequest(model="minilm"))[-1], Loaded)


def test_the_end_of_input_ends_a_child_in_the_middle_of_a_run() -> None:
    child = Child()
    assert child.process.stdin is not None
    assert child.process.stdout is not None
    experiment = Experiment(model="minilm", batch=PRESETS["mixed"], paths=("slow",), iterations=1000)
    child.process.stdin.write(RunRequest(experiment=experiment).model_dump_json() + "\n")
    child.process.stdin.flush()
    assert next(line for line in child.process.stdout if '"kind":"round"' in line)
    child.process.stdin.close()
    assert child.process.wait(timeout=10) == 75


def test_a_bad_setting_is_refused_before_anything_else() -> None:
    child = Child(FASTPATH_MAX_TEXTS="many")
    assert child.process.stdout is not None
    event = read_event(child.process.stdout.readline())
    assert isinstance(event, Refused)
    assert "FASTPATH_MAX_TEXTS" in event.message
    assert child.process.wait(timeout=10) == 2


def test_the_number_of_threads_is_set_and_recorded_for_runs_and_examinations(child: Child) -> None:
    batch, chosen = PRESETS["tutorial-small"], threads_here()
    experiment = Experiment(model="minilm", batch=batch, paths=("slow",), iterations=1)
    for asked, used in ((2, 2), (None, chosen)):
        run = child.ask(RunRequest(experiment=experiment.model_copy(update={"threads": asked})))[-1]
        assert isinstance(run, Finished)
        assert (run.run.experiment.threads, run.run.environment.threads) == (used, used)
        ending = child.ask(DoctorRequest(model="minilm", batch=batch, threads=asked, budget_s=0))[-1]
        assert isinstance(ending, Diagnosed)
        assert ending.diagnosis.environment.threads == used


def test_a_child_waits_until_another_program_has_measured_and_loads_meanwhile(
    tmp_path: Path,
) -> None:
    lock = tmp_path / "lock"
    waiting = Child(FASTPATH_LOCK_FILE=str(lock))
    assert waiting.process.stdout is not None
    experiment = Experiment(model="minilm", batch=PRESETS["tutorial-small"], paths=("slow",), iterations=1)
    with machine_lock(lock, lambda _event: None):
        assert isinstance(waiting.ask(LoadRequest(model="minilm"))[-1], Loaded)
        waiting.write(RunRequest(experiment=experiment))
        step = read_event(waiting.process.stdout.readline())
        assert isinstance(step, Step)
        assert step.name == "wait"
    assert isinstance(list(waiting.events())[-1], Finished)
    waiting.process.kill()
    waiting.process.wait()


def test_the_kernel_ends_a_child_first(child: Child) -> None:
    score = Path(f"/proc/{child.process.pid}/oom_score_adj")
    child.ask(LoadRequest(model="minilm"))
    assert not score.exists() or score.read_text().strip() == "1000"


def test_where_there_is_no_such_score_nothing_is_written(tmp_path: Path) -> None:
    raise_oom_score(tmp_path / "no" / "score")
    assert list(tmp_path.iterdir()) == []


def test_an_idle_child_exits_when_memory_is_short_and_not_before_it_has_answered() -> None:
    lines: SimpleQueue[str] = SimpleQueue()
    looks = iter((False, False, True))
    lines.put("first")
    lines.put("second")
    assert list(until_memory_is_short(lines, lambda: next(looks), 0.01)) == ["first", "second"]
    assert next(looks, "all looks taken") == "all looks taken"


def test_a_child_exits_quietly_when_memory_is_short() -> None:
    child = Child(FASTPATH_MEMORY_RESERVE_MB="1000000000")
    assert child.process.wait(timeout=60) == 0


def test_the_end_of_input_ends_a_child_that_is_still_loading_torch(tmp_path: Path) -> None:
    began = tmp_path / "began"
    endless = f"import pathlib, time\npathlib.Path({str(began)!r}).touch()\ntime.sleep(600)\n"
    (tmp_path / "torch.py").write_text(endless, encoding="utf-8")
    child = Child(PYTHONPATH=str(tmp_path))
    deadline = time.monotonic() + 60
    while not began.exists():
        assert time.monotonic() < deadline, "torch was never asked for"
        time.sleep(0.01)
    assert child.process.stdin is not None
    child.process.stdin.close()
    assert child.process.wait(timeout=60) == 75


def test_a_child_that_was_started_for_another_allocator_measures_nothing(child: Child) -> None:
    batch = PRESETS["tutorial-small"]
    asked = Experiment(model="minilm", batch=batch, paths=("slow",), iterations=1, allocator="kept")
    for request in (
        RunRequest(experiment=asked),
        DoctorRequest(model="minilm", batch=batch, allocator="kept"),
    ):
        ending = child.ask(request)[-1]
        assert isinstance(ending, Refused)
        assert "nothing was measured" in ending.message


def test_a_wish_to_stop_belongs_to_the_request_before_it() -> None:
    lines: SimpleQueue[str] = SimpleQueue()
    stop = threading.Event()
    for line, wanted in (("first", False), (StopRequest().model_dump_json(), True), ("second", False)):
        sort_line(line, lines, stop)
        assert stop.is_set() is wanted
    assert [lines.get_nowait(), lines.get_nowait()] == ["first", "second"]
    assert lines.empty()
