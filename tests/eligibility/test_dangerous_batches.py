"""A path that is reported ok always gives the same answer as the slow path, wherever the padding is.

Two thousand generated batches: all lengths, padding on the right, on the left, inside, whole rows of padding; three
precisions. A path that would be wrong must be refused before it runs.
"""

import time
import warnings
from functools import cache

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.errors import Refusal
from engine.measure.agreement import RELATIVE_TOLERANCE
from engine.measure.experiment import Bench, Instruments, checked
from engine.models.encoder import draw_weights, empty_model
from engine.models.inputs import TokenBatch
from engine.models.loading import LoadedModel
from engine.models.tokenizers import Tokenizer
from engine.paths import EXECUTION_PATHS, PreparedPath
from engine.records import Batch, DType, EncoderShape, Experiment, ModelCard

PAD, LONGEST = 1, 12
PATHS = ("slow", "fast-mha", "fast-nested", "tutorial-mha", "slow-grad", "bucketed", "packed")
SHAPE = EncoderShape(
    vocab_size=50,
    embedding_dim=32,
    ffn_dimension=64,
    num_attention_heads=4,
    num_encoder_layers=2,
    padding_idx=PAD,
    max_seq_len=LONGEST + PAD + 1,
    layer_norm_eps=1e-5,
)


@cache
def loaded(dtype: DType) -> LoadedModel:
    model = empty_model(SHAPE, dtype)
    draw_weights(model, 0)
    with torch.no_grad():
        # Larger than RoBERTa's initial weights, so that a token in the wrong place changes the answer visibly.
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(10)
    card = ModelCard(
        name="tiny", title="Tiny", source="drawn", checksum="0", real_weights=False, tokenizer="stand-in",
        shape=SHAPE, parameters=SHAPE.parameters, memory_mb=1.0, dtype=dtype, device="cpu", load_ms=1.0,
    )  # fmt: skip
    return LoadedModel(model, Tokenizer("none", 0, 2, PAD, lambda texts: [[] for _ in texts]), card)


@st.composite
def rows(draw: st.DrawFn, length: int) -> list[int]:
    """One row of ids: right-padded, as from a tokenizer, left-padded, with padding inside, or all padding."""
    real = draw(st.integers(1, length))
    words = draw(st.lists(st.integers(3, SHAPE.vocab_size - 1), min_size=real, max_size=real))
    padding = [PAD] * (length - real)
    kind = draw(st.sampled_from(("right", "right", "right", "left", "holes", "empty")))
    if kind == "left":
        return padding + words
    if kind == "holes":
        return list(draw(st.permutations(words + padding)))
    return [PAD] * length if kind == "empty" else words + padding


@st.composite
def batches(draw: st.DrawFn) -> Tensor:
    """(texts, length) int64 with at least one real token."""
    length = draw(st.integers(1, LONGEST))
    drawn = torch.tensor(draw(st.lists(rows(length), min_size=1, max_size=4)))
    assume(bool((drawn != PAD).any()))
    return drawn


def bench(tokens: Tensor, dtype: DType) -> Bench:
    lengths = tuple(int(real) for real in (tokens != PAD).sum(1))
    record = Batch(name="drawn", texts=tuple("x" for _ in lengths), lengths=lengths)
    experiment = Experiment(model="tiny", batch=record, dtype=dtype, paths=PATHS)
    instruments = Instruments(lambda _event: None, time.perf_counter)
    return Bench(experiment, loaded(dtype), TokenBatch(tokens, record, PAD), instruments)


@cache
def ready(name: str, dtype: DType) -> PreparedPath:
    return EXECUTION_PATHS[name].prepare(loaded(dtype).model)


def states(name: str, dtype: DType, tokens: Tensor) -> Tensor:
    """Hidden states of the real tokens by this path, from the model directly."""
    path = ready(name, dtype)
    with path.switches():
        return path.hidden(tokens).detach()[tokens != PAD].float()


def difference(found: Tensor, reference: Tensor) -> float:
    """Largest difference; 0 if there is no real token, NaN if a value is NaN."""
    return float((found - reference).abs().max()) if reference.numel() else 0.0


def largest(reference: Tensor) -> float:
    """Largest hidden state, at least 1."""
    return max(1.0, float(reference.abs().max())) if reference.numel() else 1.0


def is_plain(tokens: Tensor) -> bool:
    """Whether a tokenizer could have made it: every row has text, and padding only after it."""
    real = tokens != PAD
    return bool(real[:, 0].all()) and bool((real[:, 1:] <= real[:, :-1]).all())


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
@settings(max_examples=667, deadline=None, derandomize=True)
@given(tokens=batches())
def test_what_is_offered_is_right(tokens: Tensor, dtype: DType) -> None:
    """Paths that run agree with the slow path, the others are refused before they run; plain batches run on all."""
    reference = states("slow", dtype, tokens)
    for candidate in checked(bench(tokens, dtype)):
        result = candidate.result
        if result.status == "ok":
            found = states(result.name, dtype, tokens)
            assert difference(found, reference) <= RELATIVE_TOLERANCE[dtype] * largest(reference)
        else:
            assert result.status == "unavailable", result.reason
            assert not is_plain(tokens), result.reason


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ([PAD, 7, 8, 9], "padded on the left"),
        ([7, PAD, 8, 9], "with padding between real tokens"),
    ],
)
def test_the_sparse_path_is_refused_with_its_reason(row: list[int], reason: str) -> None:
    """The nested tensor would keep the wrong tokens. Fused layers without sparsity are right and still run."""
    results = {c.result.name: c.result for c in checked(bench(torch.tensor([row, [7, 8, 9, 10]]), "fp32"))}
    assert results["fast-nested"].status == "unavailable"
    assert reason in results["fast-nested"].reason
    assert results["fast-mha"].status == "ok"


def test_a_text_beyond_the_positions_is_refused_before_the_model_raises() -> None:
    """The message has the number of tokens and of positions, not an index from torch."""
    tokens = torch.full((1, LONGEST + 1), 7)
    with pytest.raises(Refusal, match="a text of 13 tokens, and positions for 12"):
        checked(bench(tokens, "fp32"))


def test_a_batch_of_nothing_but_padding_is_refused() -> None:
    """There is nothing to compare, and the nested path would raise."""
    with pytest.raises(Refusal, match="nothing but padding"):
        checked(bench(torch.full((2, 3), PAD), "fp32"))


def test_a_nested_path_runs_without_torchs_warning_and_without_a_filter_left_behind() -> None:
    """The warning that nested tensors are a prototype is suppressed only while the path runs."""
    prepared = EXECUTION_PATHS["fast-nested"].prepare(loaded("fp32").model, None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        filters = list(warnings.filters)
        torch.set_warn_always(True)
        try:
            with prepared.switches():
                prepared.forward(torch.tensor([[7, 8, 9], [7, 8, PAD]]))
        finally:
            torch.set_warn_always(False)
        assert warnings.filters == filters
    assert not [str(one.message) for one in caught if "nested tensors" in str(one.message)]
