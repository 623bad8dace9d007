"""Compiles kernels.cpp for this processor, once, and keeps the library in a folder.

The source has a plain C interface and no torch header, so one library fits every version of torch. The library's name
is a hash of all that its content depends on. It appears in the folder complete or not at all.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from platform import machine, processor
from shutil import which
from tempfile import TemporaryDirectory

import torch
from filelock import FileLock, Timeout
from platformdirs import user_data_path

from engine.errors import Refusal

SOURCE = Path(__file__).with_name("kernels.cpp")
FLAGS = ("-O3", "-std=c++17", "-fPIC", "-fopenmp", "-mprefer-vector-width=512", "-Wno-psabi")
COMPILER_TIMEOUT_S = 300.0
"""A busy machine takes minutes for what takes an idle one ten seconds."""
LOCK = ".lock"


class NotCompiled(Refusal):
    """The kernels cannot be built here; one sentence that says why."""


def default_folder() -> Path:
    """The folder for compiled kernels: FASTPATH_DATA_FOLDER or the platform's place for user data, then "kernels"."""
    data = os.environ.get("FASTPATH_DATA_FOLDER")
    return (Path(data) if data else user_data_path("fastpath-lab")) / "kernels"


def gain_here() -> bool:
    """Whether the kernels are faster than torch's operators on this processor: they are written for AVX-512.

    Measured on AVX2 (AMD Zen 3, two threads, MiniLM): 1.3 times torch's time on three batches, 0.8 times on two texts.
    """
    return torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def build(folder: Path, march: str = "native") -> Path:
    """The shared library of the kernels: found in `folder`, or compiled into it.

    Safe to call from several threads and processes at once: one compiles, the others wait for its result.

    Args:
        folder: created if it is missing, readable by its owner only.
        march: the processor to compile for, as the compiler names it.

    Raises:
        NotCompiled: there is no compiler, it fails, it takes too long, or the folder cannot be written.
    """
    library = library_in(folder, march)
    try:
        if not library.is_file():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _one_at_a_time(folder):
                if not library.is_file():
                    _compile(_compiler(), march, library)
    except OSError as error:
        raise NotCompiled(f"its folder {folder} cannot be written ({error.strerror})") from None
    return library


def are_compiled(folder: Path) -> bool:
    """Whether `build(folder)` would find the kernels for this processor without compiling them."""
    try:
        return library_in(folder).is_file()
    except (NotCompiled, OSError):
        return False


def library_in(folder: Path, march: str = "native") -> Path:
    """The file name of the library for these kernels, this compiler and this processor, compiled or not.

    Raises:
        NotCompiled: there is no compiler.
    """
    return folder / f"packing-{_key(_compiler(), march)}.so"


def torchs_openmp() -> Path | None:
    """The OpenMP library that torch ships: a second OpenMP library would start threads of its own."""
    package = Path(torch.__file__).parent
    found = [*package.glob("lib/libgomp*.so*"), *package.parent.glob("torch.libs/libgomp*.so*")]
    return min(found, default=None)


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. The system releases it if its holder dies.

    Raises:
        NotCompiled: another program holds it for longer than two calls of the compiler may take.
    """
    # Each call has a lock object of its own, so that threads exclude each other as processes do.
    lock = FileLock(folder / LOCK, is_singleton=False)
    try:
        lock.acquire(timeout=2 * COMPILER_TIMEOUT_S, poll_interval=0.05)
    except Timeout:
        raise NotCompiled(f"another program has been compiling into {folder} for too long") from None
    try:
        yield
    finally:
        lock.release()


def _compiler() -> str:
    compiler = which(os.environ.get("CXX") or "g++")
    if compiler is None:
        raise NotCompiled("no C++ compiler is found here (g++, or what CXX names)")
    return compiler


def _key(compiler: str, march: str) -> str:
    version = subprocess.run([compiler, "--version"], capture_output=True, check=False).stdout
    parts = (
        SOURCE.read_bytes(),
        version,
        *map(str.encode, (*FLAGS, march, str(torchs_openmp()), _processor())),
    )
    return sha256(b"\0".join(parts)).hexdigest()[:20]


def _processor() -> str:
    """What `-march=native` depends on, as far as the system tells: machines may share a home folder."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    told = sorted(
        {line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}
    )
    return "\n".join([machine(), processor(), *told])


def _compile(compiler: str, march: str, library: Path) -> None:
    with TemporaryDirectory(dir=library.parent, prefix=".partial-") as folder:
        compiled, linked = Path(folder, "kernels.o"), Path(folder, library.name)
        _run([compiler, *FLAGS, f"-march={march}", "-c", str(SOURCE), "-o", str(compiled)])
        openmp = str(torchs_openmp() or "-fopenmp")
        _run([compiler, "-shared", str(compiled), openmp, "-o", str(linked)])
        linked.replace(library)


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=COMPILER_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        raise NotCompiled(f"the compiler {command[0]} took more than {COMPILER_TIMEOUT_S:.0f} s") from None
    if done.returncode:
        first = next(
            (line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip()[:200]
        )
        raise NotCompiled(f"the compiler {command[0]} fails: {first}")
