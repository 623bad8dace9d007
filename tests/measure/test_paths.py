"""Execution paths: each takes the way it claims, proven by its profile on real weights, and leaves no switch behind."""

import time

import pytest
import torch

from engine.measure.agreement import compare, hidden_states
from engine.measure.inputs import TokenBatch, tokenize
from engine.measure.models import LoadedModel
from engine.measure.paths import EXECUTION_PATHS
from engine.measure.profiling import evidence, profile
from engine.presets import PRESETS
from engine.settings import Settings

FUSED, NESTED = "aten::_transformer_encoder_layer_fwd", "aten::_nested_tensor_from_mask"
PROVEN = sorted(set(EXECUTION_PATHS) - {"tutorial-mha"})


@pytest.fixture(scope="module")
def batch(minilm: LoadedModel) -> TokenBatch:
    return tokenize(PRESETS["tutorial-small"], minilm.tokenizer, minilm.card.shape, Settings())


@pytest.mark.parametrize("name", PROVEN)
def test_a_path_runs_as_it_claims(name: str, minilm: LoadedModel, batch: TokenBatch) -> None:
    path = EXECUTION_PATHS[name]
    profiled = profile(path.prepare(minilm.model), batch.tokens, time.perf_counter, forwards=2)
    assert evidence(path, 6, profiled).ok


@pytest.mark.parametrize(
    ("name", "fused", "nested"),
    [("slow", 0, 0), ("slow-grad", 0, 0), ("slow-train", 0, 0), ("fast-mha", 6, 0), ("fast-nested", 6, 1)],
)
def test_operator_counts_per_forward(
    name: str, fused: int, nested: int, minilm: LoadedModel, batch: TokenBatch
) -> None:
    prepared = EXECUTION_PATHS[name].prepare(minilm.model)
    profiled = profile(prepared, batch.tokens, time.perf_counter, forwards=2)
    assert (profiled.calls(FUSED), profiled.calls(NESTED)) == (fused, nested)


def test_the_tutorials_switch_is_refuted_by_its_profile(minilm: LoadedModel, batch: TokenBatch) -> None:
    path = EXECUTION_PATHS["tutorial-mha"]
    found = evidence(
        path, 6, profile(path.prepare(minilm.model), batch.tokens, time.perf_counter, forwards=1)
    )
    assert not found.ok
    assert found.ops == {FUSED: 6, NESTED: 1}


@pytest.mark.parametrize("name", sorted(EXECUTION_PATHS))
def test_every_switch_is_put_back(name: str, minilm: LoadedModel, batch: TokenBatch) -> None:
    layers = minilm.model.encoder.transformer.layers

    def switches() -> tuple[bool, ...]:
        modes = {module.training for module in minilm.model.modules()}
        fastpath = torch.backends.mha.get_fastpath_enabled()
        return (
            *modes,
            fastpath,
            layers.use_nested_tensor,
            layers.enable_nested_tensor,
            torch.is_grad_enabled(),
        )

    before = switches()
    prepared = EXECUTION_PATHS[name].prepare(minilm.model)
    with prepared.switches():
        prepared.forward(batch.tokens)
    assert switches() == before
    with pytest.raises(ZeroDivisionError), prepared.switches():
        _ = 1 / 0
    assert switches() == before


def test_all_paths_agree_on_real_tokens(minilm: LoadedModel, batch: TokenBatch) -> None:
    states = {
        name: hidden_states(path.prepare(minilm.model), batch)
        for name, path in EXECUTION_PATHS.items()
        if not path.stochastic
    }
    for name, other in states.items():
        agreement = compare(states["slow"], other, EXECUTION_PATHS[name].precision or "fp32")
        assert agreement.ok, name
        assert agreement.max_abs_error is not None
        assert agreement.max_abs_error <= 1e-5, name


def test_only_train_mode_draws_anew_each_time(minilm: LoadedModel, batch: TokenBatch) -> None:
    def twice(name: str) -> bool:
        prepared = EXECUTION_PATHS[name].prepare(minilm.model)
        return torch.equal(hidden_states(prepared, batch), hidden_states(prepared, batch))

    assert {name: not twice(name) for name in EXECUTION_PATHS} == {
        name: path.stochastic for name, path in EXECUTION_PATHS.items()
    }
