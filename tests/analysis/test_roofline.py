"""FLOPs counted by hand on a small shape, and shares of a known peak."""

import pytest

from engine.analysis.conclude import concluded
from engine.analysis.roofline import intensity, reach, reaches, useful_flops, weight_bytes
from engine.records import EncoderShape, Roofline, Run
from tests.samples import sample_card, sample_run

SHAPE = EncoderShape(
    vocab_size=10,
    embedding_dim=4,
    ffn_dimension=8,
    num_attention_heads=2,
    num_encoder_layers=3,
    padding_idx=0,
    max_seq_len=16,
    layer_norm_eps=1e-5,
)


def _run(**peaks: float) -> Run:
    run = concluded(sample_run())
    return run.model_copy(
        update={"roofline": Roofline.model_validate({"matmul_gflops": peaks, "memory_gb_s": 10.0})}
    )


def test_flops_count_each_weight_twice_a_token_and_attention_by_the_square_of_the_length() -> None:
    linear = 2 * 3 * (4 * 4 * 4 + 2 * 4 * 8) * (2 + 5)
    attention = 3 * 4 * 4 * (2 * 2 + 5 * 5)
    assert useful_flops(SHAPE, (2, 5)) == linear + attention
    assert weight_bytes(SHAPE, "fp32") == 3 * 128 * 4
    assert intensity(SHAPE, (2, 5), "bf16") == 2 * intensity(SHAPE, (2, 5), "fp32")


def test_padding_is_no_useful_work() -> None:
    """The same texts need the same useful work in a wider batch."""
    assert useful_flops(SHAPE, (2, 5, 9)) - useful_flops(SHAPE, (9,)) == useful_flops(SHAPE, (2, 5))


def test_a_path_is_held_against_the_peak_of_its_precision() -> None:
    run = _run(fp32=100.0)
    flops = useful_flops(sample_card().shape, run.experiment.batch.lengths)
    fast = reach(run, run.path("fast-nested"))
    assert fast is not None
    assert fast.gflops == pytest.approx(flops / 0.005 / 1e9)
    assert fast.share == pytest.approx(fast.gflops / 100)
    assert fast.memory_bound == pytest.approx(
        intensity(sample_card().shape, run.experiment.batch.lengths, "fp32") * 10 / 100
    )
    assert [what.name for what in reaches(run)] == ["fast-nested", "slow"]


def test_a_precision_without_a_peak_has_no_share_and_a_run_without_peaks_nothing() -> None:
    run = _run(bf16=100.0)
    fast = reach(run, run.path("fast-nested"))
    assert fast is not None
    assert fast.share is None
    assert reaches(concluded(sample_run())) == ()
