"""The compiled kernels against the same sums in double precision, compiled for this processor and for an older one."""

from itertools import accumulate, pairwise
from math import sqrt
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from engine.packing.build import build, default_folder
from engine.packing.kernels import DEPTHS, MOST_ROWS, SUFFIXES, Kernels, serve
from engine.packing.linear import Activation, PackedLinear
from engine.packing.norm import Norm
from engine.records import DType

LENGTHS = (131, 17, 16, 15, 5, 1)
ROUNDING = {torch.float32: 2e-6, torch.bfloat16: 2**-8}
DTYPES: dict[torch.dtype, DType] = {torch.float32: "fp32", torch.bfloat16: "bf16"}


@pytest.fixture(scope="module", params=["native", "x86-64-v2"])
def kernels(request: pytest.FixtureRequest) -> Kernels:
    if request.param != "native" and torch.backends.cpu.get_cpu_capability() == "DEFAULT":
        pytest.skip("no x86-64 processor")
    # Where all tests have them: to compile them takes most of a minute, and each of pytest's processes would do it.
    return Kernels(build(default_folder(), request.param))


def drawn(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def attended(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """(queries, width), (keys, width) twice -> (queries, width), in double precision."""
    by_head = [rows.double().view(len(rows), heads, -1).transpose(0, 1) for rows in (q, k, v)]
    scores = by_head[0] @ by_head[1].transpose(1, 2) / sqrt(by_head[0].shape[-1])
    return (torch.softmax(scores, -1) @ by_head[2]).transpose(0, 1).reshape(q.shape)


def close(found: Tensor, expected: Tensor) -> bool:
    largest = max(1.0, float(expected.detach().abs().max()))
    return float((found - expected).detach().abs().max()) <= ROUNDING[found.dtype] * largest


@pytest.mark.parametrize("dtype", SUFFIXES)
@pytest.mark.parametrize("depth", DEPTHS)
def test_attention_stays_inside_each_text(kernels: Kernels, dtype: torch.dtype, depth: int) -> None:
    heads, starts = 3, (0, *accumulate(LENGTHS))
    width = heads * depth
    qkv = drawn(starts[-1], 3 * width, dtype=dtype)
    q, kv = qkv[:, :width], qkv[:, width:]
    k, v = kv.split(width, 1)
    places = torch.tensor(starts)
    expected = torch.cat([attended(q[a:b], k[a:b], v[a:b], heads) for a, b in pairwise(starts)])
    assert close(kernels.attention(q, kv, heads, places), expected)
    assert close(kernels.attention(q.contiguous(), kv.contiguous(), heads, places), expected)


def test_scores_of_any_size_neither_overflow_nor_vanish(kernels: Kernels) -> None:
    q, kv = drawn(9, 32) * 1e3, drawn(9, 64) * 1e3
    found = kernels.attention(q, kv, 1, torch.tensor([0, 9]))
    assert close(found, attended(q, kv[:, :32], kv[:, 32:], 1))


@pytest.mark.parametrize("dtype", SUFFIXES)
def test_a_nan_stays_in_its_text_and_is_not_lost(kernels: Kernels, dtype: torch.dtype) -> None:
    qkv = drawn(40, 96, dtype=dtype)
    qkv[3, 40] = torch.nan
    found = kernels.attention(qkv[:, :32], qkv[:, 32:], 2, torch.tensor([0, 20, 40]))
    assert bool(found[:20, :16].isnan().all())
    assert not bool(found[20:].isnan().any())
    rows = drawn(3, 32)
    rows[1, 5] = torch.nan
    norm = Norm.of(nn.LayerNorm(32))
    normed = kernels.add_and_norm(rows, None, norm, dtype, replace=False)
    assert normed.isnan().all(1).tolist() == [False, True, False]


@pytest.mark.parametrize("dtype", SUFFIXES)
@pytest.mark.parametrize("rows", [1, 70])
@pytest.mark.parametrize("affine", [True, False])
def test_a_norm_of_a_sum(kernels: Kernels, dtype: torch.dtype, rows: int, affine: bool) -> None:
    module = nn.LayerNorm(384, eps=1e-3, elementwise_affine=affine)
    for seed, parameter in enumerate(module.parameters()):
        parameter.data = drawn(384, seed=seed)
    stream, added, norm = drawn(rows, 384), drawn(rows, 384, dtype=dtype, seed=9), Norm.of(module)
    whole = stream.double() + added.double()
    with torch.no_grad():
        expected = module.double()(whole)

    kept = stream.clone()
    assert close(kernels.add_and_norm(kept, added, norm, dtype, replace=False), expected)
    assert close(kept, whole)
    replaced = stream.clone()
    assert close(kernels.add_and_norm(replaced, added, norm, dtype, replace=True), expected)
    assert close(replaced, expected)
    alone = stream.clone()
    assert close(kernels.add_and_norm(alone, None, norm, dtype, replace=False), module(stream.double()))
    assert torch.equal(alone, stream)


ACTIVATIONS: dict[Activation | None, str] = {
    None: "none",
    "relu": "relu",
    "gelu": "none",
    "gelu-tanh": "tanh",
}


@pytest.mark.parametrize("dtype", SUFFIXES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("rows", [1, 5, 7, 13, 20, MOST_ROWS])
def test_a_linear_layer_of_few_rows_reads_onednns_weights(
    kernels: Kernels, dtype: torch.dtype, activation: Activation | None, rows: int
) -> None:
    weight, x = drawn(192, 224, dtype=dtype), drawn(rows, 224, dtype=dtype, seed=1) / 10
    for bias in (None, drawn(192, seed=2)):
        linear = PackedLinear.of(weight, bias, DTYPES[dtype])
        if not kernels.multiply(linear, x):
            pytest.skip(
                "oneDNN lays weights out in another way on this processor, or it has no products of bf16"
            )
        sums = F.linear(x.double(), weight.double(), None if bias is None else bias.double())
        match activation:
            case None:
                expected = sums
            case "relu":
                expected = sums.relu()
            case _:
                expected = F.gelu(sums, approximate=ACTIVATIONS[activation])
        assert close(kernels.linear(linear, x, activation), expected)


def test_more_rows_and_other_shapes_are_left_to_onednn(kernels: Kernels) -> None:
    linear = PackedLinear.of(drawn(192, 64), None, "fp32")
    assert not kernels.multiply(linear, drawn(MOST_ROWS + 1, 64))
    assert not kernels.multiply(PackedLinear.of(drawn(100, 64), None, "fp32"), drawn(1, 64))
    assert not kernels.multiply(PackedLinear.of(drawn(192, 64), None, "fp16"), drawn(1, 64))


@pytest.mark.parametrize(
    ("dtype", "width", "heads", "served"),
    [
        (torch.float32, 384, 12, True),
        (torch.bfloat16, 1024, 16, True),
        (torch.float16, 384, 12, False),
        (torch.float32, 40, 5, False),
        (torch.float32, 480, 10, False),
    ],
)
def test_what_the_kernels_serve(dtype: torch.dtype, width: int, heads: int, served: bool) -> None:
    assert serve(dtype, width, heads) is served


def test_a_profile_shows_the_kernels_by_name(kernels: Kernels) -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        kernels.attention(drawn(4, 16), drawn(4, 32), 1, torch.tensor([0, 4]))
    assert "packed::attention" in {event.key for event in profiler.key_averages()}


def test_a_library_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "not.so").write_bytes(b"nothing")
    with pytest.raises(OSError, match="not"):
        Kernels(tmp_path / "not.so")
