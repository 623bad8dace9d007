"""Compiling the kernels: once, whole or not at all, and one sentence where it cannot be done."""

import os
from pathlib import Path

import pytest

from engine.packing import build as building
from engine.packing.build import NotCompiled, build, torchs_openmp


def script(folder: Path, text: str) -> str:
    file = folder / "compiler"
    file.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    file.chmod(0o755)
    return str(file)


def test_it_is_compiled_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = tmp_path / "calls"
    monkeypatch.setenv("CXX", script(tmp_path, f'echo "$@" >> {counter}; exec g++ "$@"'))
    first = build(tmp_path / "cache")
    calls = counter.read_text(encoding="utf-8")
    assert build(tmp_path / "cache") == first
    assert counter.read_text(encoding="utf-8") == calls + "--version\n"
    assert [file.name for file in (tmp_path / "cache").iterdir()] == [first.name]
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0


def test_another_processor_or_compiler_has_a_library_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", script(tmp_path, 'touch "$(eval echo \\${$#})"'))
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
    assert not list((tmp_path / "cache").iterdir())


def test_without_a_compiler_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(NotCompiled, match="no C\\+\\+ compiler is found here"):
        build(tmp_path)


def test_a_compiler_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", script(tmp_path, 'test "$1" = --version || sleep 60'))
    monkeypatch.setattr(building, "LONGEST_S", 0.2)
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

    load_kernels()
    maps = Path(f"/proc/{os.getpid()}/maps")
    if not maps.exists():
        pytest.skip("the system does not tell what is loaded")
    loaded = {line.split()[-1] for line in maps.read_text(encoding="utf-8").splitlines() if "libgomp" in line}
    assert {Path(file).resolve() for file in loaded} == {found.resolve()}
