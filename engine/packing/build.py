"""Compiles kernels.cpp for this very processor, once; the library is kept in the lab's data folder.

It has a plain C interface and no torch header, so that it takes seconds and fits every version of torch. Its name holds
everything that it depends on, and it appears whole or not at all.
"""

import os
import subprocess
from hashlib import sha256
from pathlib import Path
from platform import machine, processor
from shutil import which
from tempfile import TemporaryDirectory

import torch

from engine.errors import Refusal

SOURCE = Path(__file__).with_name("kernels.cpp")
FLAGS = ("-O3", "-std=c++17", "-fPIC", "-fopenmp", "-mprefer-vector-width=512", "-Wno-psabi")
LONGEST_S = 120.0


class NotCompiled(Refusal):
    """The kernels cannot be built here; one sentence that says why."""


def build(folder: Path, march: str = "native") -> Path:
    """The shared library of the kernels: found in `folder`, or compiled into it.

    Args:
        folder: made where it is missing, for its owner alone.
        march: the processor to compile for, as the compiler names it.

    Raises:
        NotCompiled: there is no compiler, or it fails, or the folder cannot be written.
    """
    library = library_in(folder, march)
    if not library.is_file():
        try:
            _compile(_compiler(), march, library)
        except OSError as error:
            raise NotCompiled(f"its folder {folder} cannot be written ({error.strerror})") from None
    return library


def library_in(folder: Path, march: str = "native") -> Path:
    """Where the library of these kernels, this compiler and this processor lies, once it is compiled.

    Raises:
        NotCompiled: there is no compiler.
    """
    return folder / f"packing-{_key(_compiler(), march)}.so"


def _compiler() -> str:
    compiler = which(os.environ.get("CXX") or "g++")
    if compiler is None:
        raise NotCompiled("no C++ compiler is found here (g++, or what CXX names)")
    return compiler


def torchs_openmp() -> Path | None:
    """The OpenMP library that torch brings along: a second one beside it would have threads of its own."""
    package = Path(torch.__file__).parent
    found = [*package.glob("lib/libgomp*.so*"), *package.parent.glob("torch.libs/libgomp*.so*")]
    return min(found, default=None)


def _key(compiler: str, march: str) -> str:
    version = subprocess.run([compiler, "--version"], capture_output=True, check=False).stdout
    parts = (
        SOURCE.read_bytes(),
        version,
        *map(str.encode, (*FLAGS, march, str(torchs_openmp()), _processor())),
    )
    return sha256(b"\0".join(parts)).hexdigest()[:20]


def _processor() -> str:
    """What `-march=native` depends on, as far as the system tells it: a home folder may be shared by machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    told = sorted(
        {line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}
    )
    return "\n".join([machine(), processor(), *told])


def _compile(compiler: str, march: str, library: Path) -> None:
    library.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with TemporaryDirectory(dir=library.parent, prefix=".partial-") as folder:
        compiled, linked = Path(folder, "kernels.o"), Path(folder, library.name)
        _run([compiler, *FLAGS, f"-march={march}", "-c", str(SOURCE), "-o", str(compiled)])
        threads = str(torchs_openmp() or "-fopenmp")
        _run([compiler, "-shared", str(compiled), threads, "-o", str(linked)])
        linked.replace(library)


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        raise NotCompiled(f"the compiler {command[0]} took more than {LONGEST_S:.0f} s") from None
    if done.returncode:
        first = next(
            (line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip()[:200]
        )
        raise NotCompiled(f"the compiler {command[0]} fails: {first}")
