"""The kernels of packed execution are compiled while the model loads, and never during a measurement.

A shell script replaces the compiler. It records when it starts and ends, and it fails once the file `go` exists.
"""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.catalog.batches import PRESETS
from engine.paths import packed
from engine.paths.packed import kernels_compiled_meanwhile
from engine.records import Experiment
from tests.samples import standing_compiler

LONG_S = 60.0


def _experiment(*paths: str, device: str = "cpu") -> Experiment:
    return Experiment(model="minilm", batch=PRESETS["tutorial-small"], paths=paths, device=device)


def _until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG_S
    while not reached():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a compiler that waits for the file `go`."""
    monkeypatch.setenv("CXX", str(standing_compiler(tmp_path)))
    monkeypatch.setattr(packed, "gain_here", lambda: True)
    return tmp_path


def test_nothing_is_compiled_for_a_processor_on_which_the_kernels_do_not_gain(
    compiler: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "gain_here", lambda: False)
    (compiler / "go").touch()
    with kernels_compiled_meanwhile(_experiment("slow", "packed"), compiler / "kernels", lambda: None):
        pass
    assert not (compiler / "started").exists()


def test_the_compiler_runs_while_the_model_loads_and_ends_before_the_block_does(compiler: Path) -> None:
    waited: list[bool] = []

    def on_wait() -> None:
        waited.append((compiler / "ended").exists())
        (compiler / "go").touch()

    with kernels_compiled_meanwhile(_experiment("slow", "packed"), compiler / "kernels", on_wait):
        _until((compiler / "started").exists)
    assert waited == [False], "called once, while the compiler was still running"
    assert (compiler / "ended").exists()


def test_the_compiler_ends_before_a_failed_loading_is_reported(compiler: Path) -> None:
    def fail_to_load() -> None:
        experiment = _experiment("slow", "packed@bf16")
        with kernels_compiled_meanwhile(experiment, compiler / "kernels", lambda: None):
            _until((compiler / "started").exists)
            (compiler / "go").touch()
            raise MemoryError

    with pytest.raises(MemoryError):
        fail_to_load()
    assert (compiler / "ended").exists()


@pytest.mark.parametrize(
    "experiment", [_experiment("slow", "fast-nested"), _experiment("slow", "packed", device="cuda")]
)
def test_kernels_are_compiled_only_if_the_experiment_needs_them(
    experiment: Experiment, compiler: Path
) -> None:
    (compiler / "go").touch()
    with kernels_compiled_meanwhile(experiment, compiler / "kernels", lambda: None):
        pass
    assert not (compiler / "started").exists()


def test_without_a_compiler_the_model_is_still_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    loaded = False
    with kernels_compiled_meanwhile(_experiment("slow", "packed"), tmp_path, lambda: None):
        loaded = True
    assert loaded
