"""Profiles: sums are right, operator counts prove a claim, memory is really held, traces can be opened."""

import gzip
import json
import mmap
import time
from pathlib import Path

import pytest
import torch

from engine.catalog.batches import PRESETS
from engine.measure.profiling import page_faults, peak_memory_mb, profile
from engine.models.inputs import tokenize
from engine.models.loading import LoadedModel
from engine.paths import EXECUTION_PATHS, PreparedPath
from engine.paths.execution import Expectation
from engine.settings import Settings


@pytest.fixture(scope="module")
def fast_nested(minilm: LoadedModel) -> PreparedPath:
    return EXECUTION_PATHS["fast-nested"].prepare(minilm.model)


@pytest.fixture(scope="module")
def tokens(minilm: LoadedModel) -> torch.Tensor:
    return tokenize(PRESETS["tutorial-small"], minilm.tokenizer, minilm.card.shape, Settings()).tokens


def test_shares_sum_to_one_and_self_time_never_exceeds_total(
    fast_nested: PreparedPath, tokens: torch.Tensor
) -> None:
    ops = profile(fast_nested, tokens, time.perf_counter, forwards=3).ops
    assert sum(op.share for op in ops) == pytest.approx(1)
    assert all(0 <= op.self_ms <= op.total_ms + 1e-9 for op in ops)
    assert [op.self_ms for op in ops] == sorted((op.self_ms for op in ops), reverse=True)


def test_the_fused_operator_covers_most_of_a_fast_forward(
    fast_nested: PreparedPath, tokens: torch.Tensor
) -> None:
    profiled = profile(fast_nested, tokens, time.perf_counter, forwards=3)
    fused = next(op for op in profiled.ops if op.name == "aten::_transformer_encoder_layer_fwd")
    assert fused.total_ms > 0.5 * sum(op.self_ms for op in profiled.ops)


def test_counts_are_per_forward(fast_nested: PreparedPath, tokens: torch.Tensor) -> None:
    profiled = [profile(fast_nested, tokens, time.perf_counter, forwards=n) for n in (1, 3)]
    assert profiled[0].calls("aten::addmm") == profiled[1].calls("aten::addmm") > 0
    assert profiled[0].calls("aten::no_such_operator") == 0


def test_a_trace_is_a_gzipped_chrome_trace(
    fast_nested: PreparedPath, tokens: torch.Tensor, tmp_path: Path
) -> None:
    profile(fast_nested, tokens, time.perf_counter, forwards=1, trace=tmp_path / "deep" / "fast.json.gz")
    trace = json.loads(gzip.decompress((tmp_path / "deep" / "fast.json.gz").read_bytes()))
    assert any(event.get("name") == "aten::_nested_tensor_from_mask" for event in trace["traceEvents"])
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["fast.json.gz"]


def test_peak_memory_counts_what_is_held_at_once(minilm: LoadedModel) -> None:
    def allocate(tokens: torch.Tensor) -> torch.Tensor:
        held = torch.zeros(1_000_000)
        held = held + torch.zeros(1_000_000)
        return held[: len(tokens)]

    switches = EXECUTION_PATHS["slow"].prepare(minilm.model).switches
    path = PreparedPath(forward=allocate, hidden=allocate, switches=switches)
    assert peak_memory_mb(path, torch.zeros(1, 1, dtype=torch.int64)) == pytest.approx(12, rel=0.01)


def test_an_expectation_is_exact_unless_it_is_a_lower_bound() -> None:
    assert Expectation("op", 6).met(6)
    assert not Expectation("op", 6).met(7)
    assert Expectation("op", 1, at_least=True).met(27)
    assert not Expectation("op", 1, at_least=True).met(0)


def test_page_faults_are_those_of_a_forward(minilm: LoadedModel) -> None:
    pages = 4096

    def touch_new_memory(tokens: torch.Tensor) -> torch.Tensor:
        with mmap.mmap(-1, pages * mmap.PAGESIZE) as memory:
            for page in range(pages):
                memory[page * mmap.PAGESIZE] = 1
        return tokens

    switches = EXECUTION_PATHS["slow"].prepare(minilm.model).switches
    path = PreparedPath(forward=touch_new_memory, hidden=touch_new_memory, switches=switches)
    assert page_faults(path, torch.zeros(1, 1, dtype=torch.int64)) == pytest.approx(pages, rel=0.1)
