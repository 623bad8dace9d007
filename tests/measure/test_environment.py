"""The environment: facts of this machine, and notes on why a result may be noisy."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from engine.host import allocator_settings
from engine.measure.environment import Watch, cpu_quota, machine_pulse, read_environment


def test_the_facts_are_those_of_this_process() -> None:
    environment = read_environment("cpu", load_before=0.5)
    assert environment.torch == torch.__version__
    assert environment.threads == torch.get_num_threads()
    assert environment.cores >= 1
    assert environment.memory_mb > 100
    assert environment.cpu
    assert environment.load_before == 0.5
    assert "oneDNN" in environment.libraries


def test_a_round_tells_who_had_the_cores() -> None:
    watch = Watch(time.perf_counter, machine_pulse())
    end = time.perf_counter() + 0.3
    while time.perf_counter() < end:
        pass
    seen = watch.round_over()
    assert seen.wall_s >= 0.3
    assert seen.own_share is not None
    assert seen.own_share > 0.1
    assert 0 <= (seen.others_share or 0) <= 1
    assert seen.pulse_ms > 0


def test_a_neighbour_that_works_is_heard() -> None:
    neighbours = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        watch = Watch(time.perf_counter, machine_pulse())
        time.sleep(1)
        seen = watch.round_over()
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()
    assert (seen.others_share or 0) > 0.25


@pytest.mark.parametrize(
    ("text", "cores"), [("max 100000\n", None), ("50000 100000\n", 0.5), ("what", None), (None, None)]
)
def test_the_control_groups_quota(tmp_path: Path, text: str | None, cores: float | None) -> None:
    if text is not None:
        (tmp_path / "cpu.max").write_text(text)
    assert cpu_quota(tmp_path / "cpu.max") == cores


def test_what_steers_the_allocator_is_kept_and_nothing_else() -> None:
    variables = {"MALLOC_TRIM_THRESHOLD_": "1", "LD_PRELOAD": "libjemalloc.so", "HOME": "x", "SECRET": "y"}
    assert allocator_settings(variables) == {"LD_PRELOAD": "libjemalloc.so", "MALLOC_TRIM_THRESHOLD_": "1"}
