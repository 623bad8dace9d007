"""The memory allocator of a measuring process: which one is asked for, how a child gets it, and which one is in force.

glibc gives large freed blocks back to the system, and the next forward has a page fault for each of their pages. glibc
reads its variables when a process starts, so the parent sets them for the child. Pure: variables and platform are
arguments.
"""

import re
from collections.abc import Mapping
from pathlib import PurePath

from engine.records import Allocator, Environment

KEPT_BYTES = 1_073_741_824
"""Blocks up to this size stay in the process when they are freed (mallopt(3): M_MMAP_THRESHOLD, M_TRIM_THRESHOLD)."""
STARTED_FOR = "FASTPATH_STARTED_FOR"
"""This variable tells a child which allocator it was started for; without it, the system's."""
KEPT, DEFAULTS = "glibc, freed memory kept", "glibc's defaults"
_MMAP, _TRIM, _MMAP_MAX = "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_"
_TUNABLES, _PRELOAD = "GLIBC_TUNABLES", "LD_PRELOAD"
_TAKES_LARGE_THRESHOLDS = (2, 36)
"""This version of glibc and later ones accept KEPT_BYTES (tested); older ones may refuse more than 32 MiB
(HEAP_MAX_SIZE / 2)."""
_OTHER_ALLOCATORS = ("jemalloc", "tcmalloc", "mimalloc", "snmalloc", "hoard", "tbbmalloc")


def child_environment(allocator: Allocator, variables: Mapping[str, str], platform: str) -> dict[str, str]:
    """The environment to start a measuring process in.

    Args:
        allocator: what the experiment asks for; "system" changes nothing.
        variables: the parent's environment. Settings that the user has made there are kept.
        platform: `platform.platform(terse=True)`, which names the C library.
    """
    wanted = _kept_variables(variables, platform) if allocator == "kept" else {}
    return {**variables, **wanted, STARTED_FOR: allocator}


def started_for(variables: Mapping[str, str]) -> Allocator:
    """Which allocator a process with this environment was started for."""
    return "kept" if variables.get(STARTED_FOR) == "kept" else "system"


def has_a_choice(variables: Mapping[str, str], platform: str) -> bool:
    """Whether "kept" and "system" differ on this platform in this environment."""
    return bool(_kept_variables(variables, platform))


def _kept_variables(variables: Mapping[str, str], platform: str) -> dict[str, str]:
    """The variables to add so that freed memory is kept; none if that is impossible or the user has set others."""
    version = _glibc_version(platform)
    if version is None or _preloaded(variables) or _thresholds_are_set(variables):
        return {}
    kept = {_MMAP: str(KEPT_BYTES), _TRIM: str(KEPT_BYTES)}
    # If glibc refuses the first threshold, setting the second one fixes the first at 128 KiB: worse than the defaults.
    return kept if version >= _TAKES_LARGE_THRESHOLDS else {**kept, _MMAP_MAX: "0"}


def _thresholds_are_set(variables: Mapping[str, str]) -> bool:
    tunables = variables.get(_TUNABLES, "")
    return any(name in variables for name in (_MMAP, _TRIM, _MMAP_MAX)) or any(
        f"glibc.malloc.{name}" in tunables for name in ("mmap_threshold", "trim_threshold", "mmap_max")
    )


def allocator_settings(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables that configure malloc: a preloaded allocator, or glibc's own settings.

    They decide whether freed memory goes back to the system, which causes page faults in the next forward.
    """
    names = (name for name in variables if name.startswith(("MALLOC_", _TUNABLES)) or name == _PRELOAD)
    return {name: variables[name] for name in sorted(names)}


def in_force(variables: Mapping[str, str], platform: str) -> str:
    """Which allocator a process with this environment has, in words."""
    if other := _preloaded(variables):
        return f"{other} (preloaded)"
    if _glibc_version(platform) is None:
        system = platform.partition("-")[0]
        return f"{system}'s own" if system in ("macOS", "Windows") else "the C library's own"
    kept = all(_number(variables.get(name, "")) >= KEPT_BYTES for name in (_MMAP, _TRIM))
    ours = (_MMAP, _TRIM, _MMAP_MAX) if kept else ()
    rest = {
        name: value
        for name, value in allocator_settings(variables).items()
        if name not in ours and name != _PRELOAD and (name != _TUNABLES or "glibc.malloc." in value)
    }
    told = ", ".join(f"{name}={value}" for name, value in rest.items())
    if kept:
        return f"{KEPT}, {told}" if told else KEPT
    return f"glibc, with {told}" if told else DEFAULTS


def allocator_words(environment: Environment) -> str:
    """Which allocator a run had, in words; for an older run, derived from its variables."""
    return environment.allocator_in_force or in_force(environment.allocator, environment.platform)


def _preloaded(variables: Mapping[str, str]) -> str:
    """The name of the allocator among the preloaded libraries; empty if there is none."""
    libraries = [PurePath(library).name for library in re.split(r"[ :]+", variables.get(_PRELOAD, ""))]
    return next((name for name in _OTHER_ALLOCATORS if any(name in library for library in libraries)), "")


def _glibc_version(platform: str) -> tuple[int, int] | None:
    found = re.search(r"glibc(\d+)\.(\d+)", platform)
    return (int(found[1]), int(found[2])) if found else None


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0
