"""The child: real processes that answer JSON lines, survive bad requests and end when their input ends."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.events import (
    ENDINGS,
    Event,
    Finished,
    Loaded,
    LoadRequest,
    Refused,
    Request,
    RunRequest,
    Tokenized,
    TokenizeRequest,
    read_event,
)
from engine.presets import PRESETS
from engine.records import Experiment

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
        return list(self._events())

    def _events(self) -> Iterator[Event]:
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


def test_a_model_is_loaded_once_and_then_at_once(child: Child) -> None:
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


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (LoadRequest(model="nope"), "There is no model 'nope'"),
        ("not json", "cannot be read"),
        (json.dumps({"do": "dance"}), "cannot be read"),
        (LoadRequest(model="minilm", device="tpu"), "tpu"),
    ],
)
def test_a_bad_request_is_refused_and_the_child_lives_on(
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
