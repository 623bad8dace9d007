"""What machine this is, what it runs, and how busy it was: each fact by one small reader that tolerates absence."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil
import torch

from engine.measure import torchtext_bridge
from engine.records import MEGABYTE, Environment

BUSY_SHARE = 0.15
"""Share of the cores at work while this process sleeps, above which somebody else is measuring along."""
LISTEN_S = 0.3


@dataclass(frozen=True)
class Before:
    """How busy the machine was just before the rounds: load average, and the cores' busy share while we slept."""

    load: float | None
    others_share: float


def listen() -> Before:
    """Sleep for a moment and see how busy others keep the cores."""
    return Before(load_average(), psutil.cpu_percent(LISTEN_S) / 100)


def read_environment(device: str, before: Before) -> Environment:
    """The environment as it is now, at the end of a run, with what was heard before it."""
    cores = usable_cores()
    notes = tuple(note for note in (_busy_note(before), _quota_note(cores)) if note)
    return Environment(
        torch=torch.__version__,
        torchtext=version("torchtext"),
        bridge=torchtext_bridge.install(),
        python=platform.python_version(),
        platform=platform.platform(terse=True),
        cpu=cpu_name(),
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        cores=cores,
        threads=torch.get_num_threads(),
        memory_mb=psutil.virtual_memory().total / MEGABYTE,
        device_name=torch.cuda.get_device_name(device) if device.startswith("cuda") else cpu_name(),
        cuda=torch.version.cuda,
        load_before=before.load,
        load_after=load_average(),
        quiet=not notes,
        notes=notes,
    )


def usable_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_average() -> float | None:
    """Load average of the last minute; None where the platform has none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cpu_quota(cpu_max: Path = Path("/sys/fs/cgroup/cpu.max")) -> float | None:
    """Cores' worth of time that the control group may use; None without a quota (cgroup v2, cpu.max)."""
    try:
        quota, period = cpu_max.read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


def _busy_note(before: Before) -> str:
    if before.others_share <= BUSY_SHARE:
        return ""
    return f"other work kept {before.others_share:.0%} of the cores busy when the rounds began"


def _quota_note(cores: int) -> str:
    quota = cpu_quota()
    if quota is None or quota >= cores:
        return ""
    return f"the process is held to {quota:g} of {cores} cores, so it may be paused while it measures"
