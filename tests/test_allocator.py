"""The allocator of a measuring process: what a parent sets, what users have set, and what is reported as in force."""

import os
import subprocess
import sys

import pytest

from engine.allocator import (
    DEFAULTS,
    KEPT,
    KEPT_BYTES,
    STARTED_FOR,
    allocator_settings,
    allocator_words,
    child_environment,
    has_a_choice,
    in_force,
    started_for,
)
from engine.host import platform_name
from engine.records import Allocator, Environment
from tests.samples import sample_environment

GLIBC = "Linux-6.1.0-x86_64-with-glibc2.36"
OLD_GLIBC = "Linux-5.4.0-x86_64-with-glibc2.31"
BOTH = {"MALLOC_MMAP_THRESHOLD_": str(KEPT_BYTES), "MALLOC_TRIM_THRESHOLD_": str(KEPT_BYTES)}
FAULTS = """
import ctypes, resource
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def touch():
    block = libc.malloc(64 << 20)
    ctypes.memset(block, 1, 64 << 20)
    libc.free(block)
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_kept_adds_both_thresholds_and_system_leaves_all_as_it_is() -> None:
    parent = {"PATH": "/bin"}
    assert child_environment("kept", parent, GLIBC) == {**parent, **BOTH, STARTED_FOR: "kept"}
    assert child_environment("system", parent, GLIBC) == {**parent, STARTED_FOR: "system"}
    assert started_for(child_environment("kept", parent, GLIBC)) == "kept"
    assert started_for(parent) == "system"


def test_an_older_glibc_that_refuses_large_thresholds_is_kept_from_mapping_blocks_at_all() -> None:
    assert child_environment("kept", {}, OLD_GLIBC)["MALLOC_MMAP_MAX_"] == "0"


@pytest.mark.parametrize(
    "own",
    [
        {"MALLOC_TRIM_THRESHOLD_": "131072"},
        {"MALLOC_MMAP_THRESHOLD_": "131072"},
        {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072"},
        {"LD_PRELOAD": "/usr/lib/libjemalloc.so.2"},
        BOTH,
    ],
    ids=str,
)
def test_what_people_have_set_themselves_comes_first(own: dict[str, str]) -> None:
    assert child_environment("kept", own, GLIBC) == {**own, STARTED_FOR: "kept"}
    assert not has_a_choice(own, GLIBC)


@pytest.mark.parametrize("platform", ["macOS-14.5", "Windows-10", "Linux-6.1.0-x86_64-with"])
def test_where_there_is_no_such_setting_nothing_is_added(platform: str) -> None:
    assert child_environment("kept", {}, platform) == {STARTED_FOR: "kept"}
    assert not has_a_choice({}, platform)
    assert has_a_choice({}, GLIBC)


@pytest.mark.parametrize(
    ("variables", "platform", "words"),
    [
        ({}, GLIBC, DEFAULTS),
        (BOTH, GLIBC, KEPT),
        (child_environment("kept", {}, OLD_GLIBC), OLD_GLIBC, KEPT),
        ({**BOTH, "MALLOC_ARENA_MAX": "2"}, GLIBC, f"{KEPT}, MALLOC_ARENA_MAX=2"),
        ({"MALLOC_TRIM_THRESHOLD_": "131072"}, GLIBC, "glibc, with MALLOC_TRIM_THRESHOLD_=131072"),
        ({"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F"}, GLIBC, DEFAULTS),
        ({"LD_PRELOAD": "/usr/lib/x86_64/libtcmalloc_minimal.so.4 other.so"}, GLIBC, "tcmalloc (preloaded)"),
        ({"LD_PRELOAD": "/opt/jemalloc/liblogger.so"}, GLIBC, DEFAULTS),
        ({}, "macOS-14.5", "macOS's own"),
        ({}, "Linux-6.1.0-x86_64-with", "the C library's own"),
    ],
)
def test_what_is_in_force_is_told(variables: dict[str, str], platform: str, words: str) -> None:
    assert in_force(variables, platform) == words


def test_an_older_run_is_told_by_its_variables() -> None:
    old = sample_environment().model_copy(update={"platform": GLIBC, "allocator": BOTH})
    assert allocator_words(old) == KEPT
    told: Environment = old.model_copy(update={"allocator_in_force": "jemalloc (preloaded)"})
    assert allocator_words(told) == "jemalloc (preloaded)"


@pytest.mark.skipif(
    not has_a_choice({}, platform_name()), reason="freed memory can be kept by glibc's variables alone"
)
@pytest.mark.parametrize(("allocator", "fetches"), [("kept", False), ("system", True)])
def test_a_real_process_keeps_its_freed_memory_or_fetches_it_again(
    allocator: Allocator, fetches: bool
) -> None:
    plain = {name: value for name, value in os.environ.items() if name not in allocator_settings(os.environ)}
    environment = child_environment(allocator, plain, platform_name())
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], env=environment, capture_output=True, text=True, check=True
    )
    assert (int(done.stdout) > 1000) == fetches
