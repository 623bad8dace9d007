"""Whether a model fits: the memory that loading takes, and the memory that this process may still use.

Checked before anything is downloaded or loaded: otherwise a small machine would swap, or the system would kill the
process while it loads.
"""

from pathlib import Path, PurePosixPath

import psutil

from engine.errors import Refusal
from engine.records import BYTES_PER_VALUE, MEGABYTE, DType, EncoderShape

# While a layer's projections are joined: the parts and the joined tensor.
WORKING_COPIES = 2
CGROUP_ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


class NotEnoughMemory(Refusal):
    """The model does not fit into the free memory; it may fit once other models are dropped."""


def memory_needed_mb(shape: EncoderShape, dtype: DType) -> float:
    """Peak memory in MB while a model is loaded: its weights with the 2-class head, and a layer's joined tensors.

    Files are mapped, so the system can take their pages back; only a layer's tensors are ever joined or converted.
    """
    head = (shape.embedding_dim + 3) * shape.embedding_dim + 2
    weights = (shape.parameters + head) * BYTES_PER_VALUE[dtype]
    rows = max(shape.max_seq_len, shape.ffn_dimension, 3 * shape.embedding_dim)
    return (weights + WORKING_COPIES * rows * shape.embedding_dim * BYTES_PER_VALUE["fp32"]) / MEGABYTE


def memory_available_mb() -> float:
    """Memory in MB that this process can still use: the machine's, or its container's if that is less."""
    machine = float(psutil.virtual_memory().available)
    container = container_available_bytes(CGROUP_ROOT, MEMBERSHIP)
    return min([machine, *container]) / MEGABYTE


def container_available_bytes(root: Path, membership: Path) -> list[float]:
    """Bytes left in each control group of this process; empty if none has a limit.

    Args:
        root: where the groups are mounted: version 2 directly, version 1 under `memory/`.
        membership: lines `number:controllers:path` of the process (man 7 cgroups).
    """
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    available = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            available += _available_in(root, path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            usage = "memory.usage_in_bytes"
            available += _available_in(
                root / "memory", path, "memory.limit_in_bytes", usage, "total_inactive_file"
            )
    return available


def check_memory(title: str, needed_mb: float, available_mb: float, reserve_mb: float) -> None:
    """Check that a model fits and leaves the reserve free.

    Raises:
        NotEnoughMemory: with the figures.
    """
    if needed_mb + reserve_mb > available_mb:
        raise NotEnoughMemory(
            f"{title} needs {needed_mb:,.0f} MB to load and {reserve_mb:,.0f} MB must stay free, but only "
            f"{available_mb:,.0f} MB are available; nothing was loaded or fetched. Choose a smaller model or precision."
        )


def _available_in(root: Path, path: str, limit: str, usage: str, reclaimable: str) -> list[float]:
    # Inside a container the path may be the host's, which is not mounted here; the root then is the own group.
    inner = PurePosixPath(path.lstrip("/"))
    folders = [root / inner, *((root / parent) for parent in inner.parents), root]
    return [
        _number(folder / limit) - _number(folder / usage) + _stat(folder / "memory.stat", reclaimable)
        for folder in dict.fromkeys(folders)
        if _is_limited(folder / limit)
    ]


def _is_limited(limit: Path) -> bool:
    # Version 2 writes "max" for no limit, version 1 a number beyond any machine.
    return limit.is_file() and limit.read_text(encoding="ascii").strip() != "max" and _number(limit) < 1 << 60


def _number(file: Path) -> float:
    return float(file.read_text(encoding="ascii"))


def _stat(file: Path, name: str) -> float:
    for line in file.read_text(encoding="ascii").splitlines():
        key, value = line.split()
        if key == name:
            # Pages of files are given back when memory is short, so they are not taken.
            return float(value)
    return 0.0
