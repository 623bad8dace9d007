"""A whole encoder over few rows in one call: the same states as torch's slow path, for every kind of layer."""

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.packing import PackedEncoder, pack
from engine.packing.build import default_folder
from engine.packing.few_rows import FewRows
from engine.packing.kernels import MOST_ROWS, load_kernels
from engine.packing.plan import Plan
from engine.packing.precisions import TORCH_DTYPES
from engine.records import DType

WIDTH, HEADS, LENGTHS = 128, 4, (9, 5, 1)
TOLERANCES: dict[DType, float] = {"fp32": 1e-5, "bf16": 6e-2}
PLAN = Plan((0, 1, 2), torch.arange(sum(LENGTHS)), tuple(accumulate(LENGTHS, initial=0)))


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """As many as there are panels in the least linear layer."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def encoder(**options: Any) -> nn.TransformerEncoder:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 192, batch_first=True, **options)
    model = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False).eval()
    for seed, parameter in enumerate(model.parameters()):
        if parameter.ndim == 1:
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed))
            parameter.data += 0.1 * noise
    return model


def rows(count: int = sum(LENGTHS)) -> Tensor:
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(1))


def rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


def few_rows(model: nn.TransformerEncoder, dtype: DType) -> FewRows:
    packed = pack(model, dtype, compiled=True)
    assert isinstance(packed, PackedEncoder)
    found = FewRows.of(load_kernels(default_folder()), packed.stack.layers, HEADS, TORCH_DTYPES[dtype])
    if found is None:
        pytest.skip("oneDNN lays weights out in another way on this processor, or it has no products of bf16")
    return found


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"activation": "gelu"},
        {"activation": nn.GELU(approximate="tanh")},
        {"norm_first": True, "activation": "gelu"},
        {"bias": False},
    ],
    ids=["relu", "gelu", "gelu-tanh", "pre-norm", "no-bias"],
)
@torch.no_grad()
def test_it_gives_the_slow_paths_states(options: dict[str, Any], dtype: DType) -> None:
    model = encoder(**options)
    torch.backends.mha.set_fastpath_enabled(False)
    expected = torch.cat([model(text[None])[0] for text in rows().split(LENGTHS)])
    torch.backends.mha.set_fastpath_enabled(True)
    few = few_rows(model, dtype)
    limit = TOLERANCES[dtype] * max(1.0, float(expected.abs().max()))
    assert float((few(rows(), PLAN, firsts=False) - expected).abs().max()) <= limit
    firsts = few(rows(), PLAN, firsts=True)
    assert firsts.shape == (3, WIDTH)
    assert float((firsts - expected[list(PLAN.starts[:-1])]).abs().max()) <= limit


@torch.no_grad()
def test_in_bf16_it_rounds_less_than_part_by_part() -> None:
    """Queries, keys, values and what is added to the residual stay in fp32, which costs so few rows little."""
    model = encoder(activation="gelu")
    few = few_rows(model, "bf16")
    alone, again = rows(MOST_ROWS)[None], rows(MOST_ROWS).expand(2, -1, -1)
    torch.backends.mha.set_fastpath_enabled(False)
    expected = model(alone)[0]
    torch.backends.mha.set_fastpath_enabled(True)
    plan = Plan((0,), torch.arange(MOST_ROWS), (0, MOST_ROWS))
    part_by_part = pack(model, "bf16", compiled=True)(again)[0]
    assert rms(few(rows(MOST_ROWS), plan, firsts=False) - expected) < 0.97 * rms(part_by_part - expected)


@torch.no_grad()
def test_layers_of_different_inner_widths_have_room() -> None:
    model = encoder()
    wide = nn.TransformerEncoderLayer(WIDTH, HEADS, 4096, batch_first=True).eval()
    model.layers[1] = wide
    torch.backends.mha.set_fastpath_enabled(False)
    expected = torch.cat([model(text[None])[0] for text in rows().split(LENGTHS)])
    torch.backends.mha.set_fastpath_enabled(True)
    found = few_rows(model, "fp32")(rows(), PLAN, firsts=False)
    assert torch.allclose(found, expected, atol=1e-5)


def test_as_many_rows_as_texts_are_all_first_ones() -> None:
    few, alone = few_rows(encoder(), "fp32"), Plan((0, 1, 2), torch.arange(3), (0, 1, 2, 3))
    assert torch.equal(few(rows(3), alone, firsts=True), few(rows(3), alone, firsts=False))


def test_more_rows_and_more_threads_than_panels_go_another_way() -> None:
    few = few_rows(encoder(), "fp32")
    assert few.serves(rows(MOST_ROWS))
    assert not few.serves(rows(MOST_ROWS + 1))
    torch.set_num_threads(3)
    assert not few.serves(rows(1))


def test_layers_whose_weights_lie_in_another_way_are_not_served() -> None:
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 100, batch_first=True)
    packed = pack(nn.TransformerEncoder(layer, 1, enable_nested_tensor=False).eval(), compiled=True)
    assert isinstance(packed, PackedEncoder)
    assert FewRows.of(load_kernels(default_folder()), packed.stack.layers, HEADS, torch.float32) is None


def test_a_packed_encoder_goes_this_way_by_itself() -> None:
    few_rows(encoder(), "fp32")
    packed = pack(encoder(), compiled=True)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        packed(rows().view(1, -1, WIDTH))
    seen = {event.key for event in profiler.key_averages() if event.key.startswith("packed::")}
    assert seen == {"packed::encoder"}
