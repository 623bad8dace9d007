"""The machine and the build on it, read without torch: what a stored run must share to answer for a new one.

The server never imports torch, so torch's version comes from its files.
"""

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import psutil

from engine.allocator import allocator_settings, child_environment
from engine.errors import Refusal
from engine.records import Allocator, Experiment


@dataclass(frozen=True)
class Host:
    """The facts of a machine and its build that decide how fast a forward is.

    Attributes:
        torch, torchtext: versions; empty if not installed.
        cores: cores this process may use.
        allocator: environment variables that steer malloc in a child that measures.
        machine: host name.
    """

    torch: str
    torchtext: str
    cpu: str
    cores: int
    allocator: dict[str, str]
    machine: str


def this_host(allocator: Allocator) -> Host:
    """The machine as it is now, for a child that this process starts for this allocator."""
    return Host(
        torch=torch_version(),
        torchtext=_installed("torchtext"),
        cpu=cpu_name(),
        cores=usable_cores(),
        allocator=allocator_settings(measuring_environment(allocator)),
        machine=this_machine(),
    )


def measuring_environment(allocator: Allocator) -> dict[str, str]:
    """The environment in which this process starts a child that measures."""
    return child_environment(allocator, os.environ, platform_name())


def this_machine() -> str:
    """Host name of this machine."""
    return platform.node()


def platform_name() -> str:
    """System, version and C library in a few words."""
    return platform.platform(terse=True)


def torch_version() -> str:
    """`torch.__version__` without importing torch; empty if it is not installed.

    Read from torch/version.py, because the package's metadata do not name the wheel's CUDA version.
    """
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return ""
    found = re.search(r"^__version__ = '(.+)'$", Path(spec.origin).with_name("version.py").read_text(), re.M)
    return found[1] if found else ""


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def default_threads(variables: Mapping[str, str], usable: int, physical: int | None) -> int:
    """Default number of threads of torch's intra-op pool, by the rule of OpenMP and MKL.

    Args:
        variables: the environment, whose OMP_NUM_THREADS comes first and MKL_NUM_THREADS second.
        usable: cores that this process may use.
        physical: cores of the machine without hyper-threading; None if unknown.
    """
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        if variables.get(name, "").isdecimal() and int(variables[name]):
            return int(variables[name])
    return min(usable, physical or usable)


def threads_here() -> int:
    """Threads that torch chooses by itself on this machine."""
    return default_threads(os.environ, usable_cores(), psutil.cpu_count(logical=False))


def with_threads(experiment: Experiment) -> Experiment:
    """The experiment with its threads named: those it asks for, or torch's own choice on this machine."""
    return experiment.model_copy(update={"threads": experiment.threads or threads_here()})


def usable_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_threads(asked: int | None, usable: int) -> None:
    """Let a number of threads pass that this machine has cores for; a pool of 100,000 ends the process without a word.

    Args:
        asked: threads of torch's pool; None for torch's own choice.
        usable: cores that this process may use.

    Raises:
        Refusal: more threads than cores.
    """
    if asked is not None and asked > usable:
        cores = "1 core" if usable == 1 else f"{usable} cores"
        raise Refusal(
            f"{asked:,} threads are more than the {cores} that may be used on this machine, so nothing was measured: "
            f"ask for {usable} or fewer."
        )


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name as the system gives it."""
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
