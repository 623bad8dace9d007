"""Compiling the kernels: once, whole or not at all, and one sentence where it cannot be done."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock

from engine.packing import build as building
from engine.packing.build import LOCK, NotCompiled, are_compiled, build, default_folder, torchs_openmp
from engine.paths.packed import kernels_folder
from engine.settings import load_settings

ROOT = str(Path(__file__).parents[2])
TOUCH = 'touch "$(eval echo \\${$#})"'
"""Creates the output, which is a compiler's last argument here. What g++ makes is tested in test_kernels.py."""


def script(folder: Path, text: str) -> str:
    file = folder / "compiler"
    file.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    file.chmod(0o755)
    return str(file)


def test_it_is_compiled_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = tmp_path / "calls"
    monkeypatch.setenv("CXX", script(tmp_path, f'echo "$@" >> {counter}; {TOUCH}'))
    first = build(tmp_path / "cache")
    calls = counter.read_text(encoding="utf-8")
    assert build(tmp_path / "cache") == first
    assert counter.read_text(encoding="utf-8") == calls + "--version\n"
    assert {file.name for file in (tmp_path / "cache").iterdir()} == {LOCK, first.name}
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0


def test_another_processor_or_compiler_has_a_library_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", script(tmp_path, TOUCH))
    here = build(tmp_path / "cache")
    assert build(tmp_path / "cache", "x86-64-v2") != here
    monkeypatch.setattr(building, "_processor", lambda: "another")
    assert build(tmp_path / "cache") != here


@pytest.mark.parametrize(
    ("compiler", "words"),
    [
        (
            "echo 'kernels.cpp:1: error: no such thing' >&2; exit 1",
            "fails: kernels.cpp:1: error: no such thing",
        ),
        ("echo 'out of luck' >&2; exit 1", "fails: out of luck"),
    ],
)
def test_a_compiler_that_fails_is_named_with_its_first_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiler: str, words: str
) -> None:
    monkeypatch.setenv("CXX", script(tmp_path, compiler))
    with pytest.raises(NotCompiled, match=words):
        build(tmp_path / "cache")
    assert [file.name for file in (tmp_path / "cache").iterdir()] == [LOCK]


def test_without_a_compiler_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(NotCompiled, match="no C\\+\\+ compiler is found here"):
        build(tmp_path)


def test_a_compiler_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", script(tmp_path, 'test "$1" = --version || sleep 60'))
    monkeypatch.setattr(building, "COMPILER_TIMEOUT_S", 0.2)
    with pytest.raises(NotCompiled, match="took more than"):
        build(tmp_path / "cache")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(NotCompiled, match="cannot be written"):
        build(tmp_path / "file" / "cache")


def test_the_threads_are_torchs_own() -> None:
    """A second OpenMP library would keep threads of its own, which wait for work beside torch's."""
    found = torchs_openmp()
    if found is None:
        pytest.skip("this torch brings no OpenMP library along")
    from engine.packing.kernels import load_kernels

    load_kernels(default_folder())
    maps = Path(f"/proc/{os.getpid()}/maps")
    if not maps.exists():
        pytest.skip("the system does not tell what is loaded")
    loaded = {line.split()[-1] for line in maps.read_text(encoding="utf-8").splitlines() if "libgomp" in line}
    assert {Path(file).resolve() for file in loaded} == {found.resolve()}


def test_threads_that_build_at_once_compile_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = tmp_path / "calls"
    pretend = f'case "$*" in *" -c "*) echo >> {counter}; sleep 0.5;; esac; touch "$(eval echo \\${{$#}})"'
    monkeypatch.setenv("CXX", script(tmp_path, pretend))
    folder = tmp_path / "cache"
    assert not are_compiled(folder)
    with ThreadPoolExecutor(4) as threads:
        found = set(threads.map(build, [folder] * 4))
    assert len(found) == 1
    assert counter.read_text(encoding="utf-8") == "\n"
    assert are_compiled(folder)


def test_processes_that_build_at_once_compile_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = tmp_path / "calls"
    pretend = f'case "$*" in *" -c "*) echo >> {counter}; sleep 2;; esac; touch "$(eval echo \\${{$#}})"'
    monkeypatch.setenv("CXX", script(tmp_path, pretend))
    command = "from pathlib import Path; from engine.packing.build import build; print(build(Path('cache')))"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", command],
            stdout=subprocess.PIPE,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": ROOT},
        )
        for _ in range(2)
    ]
    found = {process.communicate()[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    assert len(found) == 1
    assert counter.read_text(encoding="utf-8") == "\n"


def test_a_compiled_library_is_found_in_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where an administrator has compiled for everybody: no lock is taken."""
    monkeypatch.setenv("CXX", script(tmp_path, 'touch "$(eval echo \\${$#})"'))
    library = build(tmp_path / "cache")
    (tmp_path / "cache" / LOCK).unlink()
    (tmp_path / "cache" / LOCK).mkdir()
    assert build(tmp_path / "cache") == library


def test_a_lock_that_is_never_released_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", script(tmp_path, 'touch "$(eval echo \\${$#})"'))
    monkeypatch.setattr(building, "COMPILER_TIMEOUT_S", 0.1)
    with FileLock(tmp_path / LOCK), pytest.raises(NotCompiled, match="another program has been compiling"):
        build(tmp_path)


def test_the_default_folder_is_the_labs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user of `pack` alone and the lab share what is compiled, wherever the lab's data lie."""
    for folder in (str(tmp_path), None):
        if folder is None:
            monkeypatch.delenv("FASTPATH_DATA_FOLDER")
        else:
            monkeypatch.setenv("FASTPATH_DATA_FOLDER", folder)
        assert default_folder() == kernels_folder(load_settings())
