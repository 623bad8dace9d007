"""Facts of the machine and its libraries, and how busy it is. Each reader copes with a platform that lacks its fact."""

import os
import platform
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil
import torch

from engine.allocator import allocator_settings, in_force
from engine.host import cpu_name, platform_name, usable_cores
from engine.models.torchtext import bridge as torchtext_bridge
from engine.records import MEGABYTE, Conditions, Environment

PULSE_SIZE, PULSE_CALLS = 384, 8
"""The pulse is a short test calculation: 8 fp32 products of 384 x 384 matrices, about 5 ms on two cores of 2024."""


def read_environment(device: str, load_before: float | None) -> Environment:
    """The environment now, at the end of a run.

    Args:
        device: "cpu", "cuda" or "cuda:N".
        load_before: load average at the start of the run; None if the platform has none.
    """
    cores = usable_cores()
    note = _quota_note(cores)
    on_cuda = device.startswith("cuda")
    return Environment(
        torch=torch.__version__,
        torchtext=version("torchtext"),
        bridge=torchtext_bridge.install(),
        python=platform.python_version(),
        platform=platform_name(),
        cpu=cpu_name(),
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        cores=cores,
        threads=torch.get_num_threads(),
        memory_mb=psutil.virtual_memory().total / MEGABYTE,
        machine=platform.node(),
        device_name=torch.cuda.get_device_name(device) if on_cuda else cpu_name(),
        cuda=torch.version.cuda,
        driver=gpu_driver() if on_cuda else None,
        libraries=library_versions(),
        allocator=allocator_settings(os.environ),
        allocator_in_force=in_force(os.environ, platform_name()),
        load_before=load_before,
        load_after=load_average(),
        quiet=not note,
        notes=(note,) if note else (),
        standing_notes=(note,) if note else (),
    )


def load_average() -> float | None:
    """Load average of the last minute; None if the platform has none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def cpu_quota(cpu_max: Path = Path("/sys/fs/cgroup/cpu.max")) -> float | None:
    """Number of cores that the control group may use, as a fraction; None without a quota (cgroup v2, cpu.max)."""
    try:
        quota, period = cpu_max.read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


def gpu_driver() -> str | None:
    """Version of the NVIDIA driver; None if nvidia-smi does not give it."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.partition("\n")[0].strip() or None


def library_versions() -> dict[str, str]:
    """Versions of numpy and of the CPU libraries that torch was built with (MKL, oneDNN)."""
    patterns = {"MKL": r"Math Kernel Library Version ([\d.]+)", "oneDNN": r"MKL-DNN v([\d.]+)"}
    found = {name: re.search(pattern, torch.__config__.show()) for name, pattern in patterns.items()}
    built_with = {name: match[1] for name, match in found.items() if match}
    return {**built_with, "numpy": version("numpy")}


def machine_pulse() -> Callable[[], None]:
    """The short test calculation (`PULSE_SIZE`, `PULSE_CALLS`). Its time shows how fast the machine is just now."""
    matrix = torch.full((PULSE_SIZE, PULSE_SIZE), 1 / PULSE_SIZE)

    def beat() -> None:
        with torch.no_grad():
            for _ in range(PULSE_CALLS):
                torch.mm(matrix, matrix)

    return beat


@dataclass(frozen=True)
class _Counters:
    wall_s: float
    own_s: float
    busy_s: float
    steal_s: float
    involuntary_switches: int

    @classmethod
    def read(cls, process: psutil.Process, clock: Callable[[], float]) -> "_Counters":
        machine, own = psutil.cpu_times(), process.cpu_times()
        idle = machine.idle + getattr(machine, "iowait", 0.0)
        steal = getattr(machine, "steal", 0.0)
        # User time already includes guest time (proc(5)).
        guest = getattr(machine, "guest", 0.0) + getattr(machine, "guest_nice", 0.0)
        switches = process.num_ctx_switches().involuntary
        return cls(clock(), own.user + own.system, sum(machine) - idle - steal - guest, steal, switches)


class Watch:
    """Records the conditions of each round, from the end of the round before."""

    def __init__(self, clock: Callable[[], float], pulse: Callable[[], None]) -> None:
        self._clock, self._pulse = clock, pulse
        self._process = psutil.Process()
        self._cores = psutil.cpu_count() or 1
        pulse()
        self._last = _Counters.read(self._process, clock)

    def round_over(self) -> Conditions:
        """Conditions since the last call, and the pulse now."""
        start = self._clock()
        self._pulse()
        pulse_ms = (self._clock() - start) * 1000
        now, last = _Counters.read(self._process, self._clock), self._last
        self._last = now
        wall_s = now.wall_s - last.wall_s
        all_cores_s = max(wall_s, 1e-9) * self._cores
        own_s = now.own_s - last.own_s
        return Conditions(
            wall_s=wall_s,
            load=load_average(),
            others_share=_share(now.busy_s - last.busy_s - own_s, all_cores_s),
            steal_share=_share(now.steal_s - last.steal_s, all_cores_s),
            own_share=_share(own_s, all_cores_s),
            involuntary_switches=now.involuntary_switches - last.involuntary_switches,
            pulse_ms=pulse_ms,
        )


def _share(part_s: float, whole_s: float) -> float:
    """A share, limited to 0 to 1: the kernel counts in ticks of 10 ms, so a short round can give less or more."""
    return min(1.0, max(0.0, part_s / whole_s))


def _quota_note(cores: int) -> str:
    quota = cpu_quota()
    if quota is None or quota >= cores:
        return ""
    return (
        f"a CPU quota limits the process to {quota:g} of {cores} cores, so it may be paused while it measures"
    )
