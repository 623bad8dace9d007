"""The peaks of the machine: plausible on this machine, exact with a clock that the test controls."""

import time
from itertools import count

import pytest
import torch

from engine.measure import roofline
from engine.measure.roofline import SHAPES, measure_roofline
from engine.packing.linear import onednn_serves

CPU = torch.device("cpu")


def test_peaks_of_this_machine_are_found_in_a_moment() -> None:
    start = time.perf_counter()
    found = measure_roofline(CPU, time.perf_counter)
    assert time.perf_counter() - start < 5
    assert 1 < found.matmul_gflops["fp32"] < 1e6
    assert 0.1 < found.memory_gb_s < 1e5


def test_only_precisions_that_the_machine_has_units_for_have_a_peak() -> None:
    found = measure_roofline(CPU, time.perf_counter).matmul_gflops
    assert ("bf16" in found) == onednn_serves("bf16", CPU)
    assert ("fp16" in found) == onednn_serves("fp16", CPU)
    assert "int8" not in found


def test_the_fastest_repetition_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock advances 10 ms at each reading, so every call takes 10 ms and the largest shape gives the peak."""
    ticks = count()
    monkeypatch.setattr(roofline, "onednn_serves", lambda _dtype, _device: False)
    found = measure_roofline(CPU, lambda: next(ticks) * 0.01)
    rows, inner, outer = max(SHAPES, key=lambda shape: shape[0] * shape[1] * shape[2])
    assert found.matmul_gflops == {"fp32": pytest.approx(2 * rows * inner * outer / 0.01 / 1e9)}
    assert found.memory_gb_s == pytest.approx(2 * roofline.COPIED_BYTES / 0.01 / 1e9)
