"""Execution paths: on real weights each one's profile proves its claim, and each restores every switch."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from engine.catalog.batches import PRESETS
from engine.measure.agreement import compare, hidden_states
from engine.measure.profiling import profile
from engine.models.inputs import TokenBatch, tokenize
from engine.models.loading import LoadedModel
from engine.packing import kernels, linear
from engine.packing import module as packing_module
from engine.packing.build import NotCompiled, build, default_folder
from engine.packing.kernels import Kernels
from engine.paths import EXECUTION_PATHS, PreparedPath, packed
from engine.paths.packed import COMPILED, NO_GAIN
from engine.settings import Settings
from tests.paths.here import paths_here

FUSED, NESTED = "aten::_transformer_encoder_layer_fwd", "aten::_nested_tensor_from_mask"
Prepared = Callable[[str], PreparedPath]

# One process for all that compiles and exports.
pytestmark = pytest.mark.xdist_group("paths")
PROVEN = sorted(set(EXECUTION_PATHS) - {"tutorial-mha"})


@pytest.fixture(scope="module")
def batch(minilm: LoadedModel) -> TokenBatch:
    return tokenize(PRESETS["tutorial-small"], minilm.tokenizer, minilm.card.shape, Settings())


@pytest.mark.parametrize("name", PROVEN)
def test_a_path_runs_as_it_claims(name: str, prepared: Prepared, minilm: LoadedModel) -> None:
    for preset in ("tutorial-small", "tutorial-big"):
        batch = tokenize(PRESETS[preset], minilm.tokenizer, minilm.card.shape, Settings())
        profiled = profile(prepared(name), batch.tokens, time.perf_counter, forwards=2)
        assert prepared(name).promise.evidence(profiled.calls).ok


@pytest.mark.parametrize(
    ("name", "fused", "nested"),
    [("slow", 0, 0), ("slow-grad", 0, 0), ("slow-train", 0, 0), ("fast-mha", 6, 0), ("fast-nested", 6, 1)],
)
def test_operator_counts_per_forward(
    name: str, fused: int, nested: int, prepared: Prepared, batch: TokenBatch
) -> None:
    profiled = profile(prepared(name), batch.tokens, time.perf_counter, forwards=2)
    assert (profiled.calls(FUSED), profiled.calls(NESTED)) == (fused, nested)


def test_the_tutorials_switch_is_refuted_by_its_profile(prepared: Prepared, batch: TokenBatch) -> None:
    profiled = profile(prepared("tutorial-mha"), batch.tokens, time.perf_counter, forwards=1)
    found = prepared("tutorial-mha").promise.evidence(profiled.calls)
    assert not found.ok
    assert found.ops == {FUSED: 6, NESTED: 1}


def _switches(model: nn.Module) -> tuple[bool, ...]:
    layers = model.encoder.transformer.layers
    return (
        *{module.training for module in model.modules()},
        torch.backends.mha.get_fastpath_enabled(),
        layers.use_nested_tensor,
        layers.enable_nested_tensor,
        torch.is_grad_enabled(),
    )


@pytest.mark.parametrize("name", sorted(EXECUTION_PATHS))
def test_every_switch_is_restored(
    name: str, minilm: LoadedModel, prepared: Prepared, batch: TokenBatch
) -> None:
    before = _switches(minilm.model)
    path = prepared(name)
    with path.switches():
        path.forward(batch.tokens)
    assert _switches(minilm.model) == before
    with pytest.raises(ZeroDivisionError), path.switches():
        _ = 1 / 0
    assert _switches(minilm.model) == before


def test_all_paths_agree_on_real_tokens(prepared: Prepared, batch: TokenBatch) -> None:
    states = {
        name: hidden_states(prepared(name), batch)
        for name in paths_here()
        if not EXECUTION_PATHS[name].stochastic
    }
    for name, other in states.items():
        precision = EXECUTION_PATHS[name].precision or "fp32"
        agreement = compare(states["slow"], other, precision)
        assert agreement.ok, name
        assert agreement.max_abs_error is not None
        if precision == "fp32":
            assert agreement.max_abs_error <= 1e-5, name
        else:  # it really computes in the other precision, and not in the model's own
            assert agreement.max_abs_error > 1e-4, name


def test_only_train_mode_gives_random_outputs(prepared: Prepared, batch: TokenBatch) -> None:
    def twice(name: str) -> bool:
        path = prepared(name)
        return torch.equal(hidden_states(path, batch), hidden_states(path, batch))

    assert {name: not twice(name) for name in paths_here()} == {
        name: EXECUTION_PATHS[name].stochastic for name in paths_here()
    }


@pytest.fixture
def kernels_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packed execution uses its kernels on this processor, whatever it is."""
    for module in (packing_module, packed):
        monkeypatch.setattr(module, "gain_here", lambda: True)


@pytest.mark.usefixtures("kernels_gain")
@pytest.mark.parametrize(
    ("kernels_there", "onednn", "words"),
    [
        (True, True, "compiled kernels in 6 layers"),
        (False, True, "24 linear layers or more on laid-out weights"),
        (False, False, "torch's own linear layers"),
    ],
)
def test_packed_executions_promise_fits_how_it_was_built(
    kernels_there: bool,
    onednn: bool,
    words: str,
    minilm: LoadedModel,
    batch: TokenBatch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without oneDNN's operators or without a compiler it runs too, and its profile does not refute it."""

    def no_compiler(_folder: Path) -> Kernels:
        raise NotCompiled("no C++ compiler is found here")

    if not kernels_there:
        monkeypatch.setattr(kernels, "load_kernels", no_compiler)
    monkeypatch.setattr(linear, "onednn_serves", lambda _dtype, _device: onednn)
    path = EXECUTION_PATHS["packed"]
    prepared = path.prepare(minilm.model)
    assert words in prepared.promise.claim
    # Small and large batches run the last layer in different ways.
    many = tokenize(PRESETS["dense"], minilm.tokenizer, minilm.card.shape, Settings())
    for tokens in (batch.tokens, many.tokens):
        profiled = profile(prepared, tokens, time.perf_counter, 1)
        assert prepared.promise.evidence(profiled.calls).ok
    assert ("no C++ compiler" in prepared.note) is not kernels_there


def test_without_avx512_packed_execution_says_that_torchs_operators_are_faster(
    minilm: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    prepared = EXECUTION_PATHS["packed"].prepare(minilm.model)
    assert "linear layers" in prepared.promise.claim
    assert prepared.note == NO_GAIN


@pytest.mark.usefixtures("kernels_gain")
def test_the_first_packing_says_that_it_compiled_its_kernels(
    minilm: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise its break-even would seem to apply to later starts as well."""
    copying = tmp_path / "compiler"  # as quick as a compiler can be: the kernels exist already
    copying.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] || cp {build(default_folder())} "$(eval echo \\${{$#}})"\n'
    )
    copying.chmod(0o755)
    monkeypatch.setenv("CXX", str(copying))
    monkeypatch.setenv("FASTPATH_DATA_FOLDER", str(tmp_path))
    kernels.load_kernels.cache_clear()
    notes = [EXECUTION_PATHS["packed"].prepare(minilm.model).note for _ in range(2)]
    assert notes == [COMPILED, ""]
