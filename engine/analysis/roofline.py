"""How close a path comes to the peaks of this machine: pure arithmetic on shapes, lengths and medians.

The useful work is the same for every path: the work of the real tokens. So padding counts as waste, and a path that
skips some of this work is still credited with all of it.
"""

from collections.abc import Sequence

from engine.records import BYTES_PER_VALUE, EncoderShape, PathResult, Precision, Record, Run


class Reach(Record):
    """How much useful work one path does per second, and its share of the peak."""

    name: str
    gflops: float
    """Useful GFLOP/s: the FLOPs of the real tokens / the median time."""
    share: float | None
    """`gflops` / the matmul peak in the path's precision; None if that was not measured (int8)."""
    memory_bound: float | None
    """Largest share of the peak that memory bandwidth allows if each forward reads every weight once; at most 1."""


def linear_parameters(shape: EncoderShape) -> int:
    """Number of weights in all linear layers of the encoder, without biases."""
    d, ffn = shape.embedding_dim, shape.ffn_dimension
    return shape.num_encoder_layers * (4 * d * d + 2 * d * ffn)


def useful_flops(shape: EncoderShape, lengths: Sequence[int]) -> float:
    """Floating-point operations of one forward on the real tokens of texts of these lengths.

    Linear layers take a multiplication and an addition for each weight and token. In attention, the scores and their
    products with the values take 4 * length^2 * width. Softmax, norms and activations (about 1 %) are not counted.
    """
    d, layers = shape.embedding_dim, shape.num_encoder_layers
    linear = 2.0 * linear_parameters(shape) * sum(lengths)
    attention = 4.0 * layers * d * sum(length * length for length in lengths)
    return linear + attention


def weight_bytes(shape: EncoderShape, precision: Precision) -> float:
    """Bytes of weights that a forward has to read at least: all linear layers once. Embeddings are not counted."""
    return float(linear_parameters(shape) * BYTES_PER_VALUE[precision])


def intensity(shape: EncoderShape, lengths: Sequence[int], precision: Precision) -> float:
    """Arithmetic intensity: FLOPs per byte of weights. Reads and writes of activations are not counted."""
    return useful_flops(shape, lengths) / weight_bytes(shape, precision)


def reach(run: Run, path: PathResult) -> Reach | None:
    """A path's useful work and share of the peak; None if the run lacks peaks, lengths or the path's time."""
    if run.roofline is None or run.model_card is None or path.median_ms is None:
        return None
    shape, lengths = run.model_card.shape, run.experiment.batch.lengths
    if not lengths:
        return None
    gflops = useful_flops(shape, lengths) / path.median_ms / 1e6
    peak = run.roofline.matmul_gflops.get(path.dtype)
    if peak is None:
        return Reach(name=path.name, gflops=gflops, share=None, memory_bound=None)
    by_memory = intensity(shape, lengths, path.dtype) * run.roofline.memory_gb_s / peak
    return Reach(name=path.name, gflops=gflops, share=gflops / peak, memory_bound=min(1.0, by_memory))


def reaches(run: Run) -> tuple[Reach, ...]:
    """The same for every measured path, most useful work per second first; empty if the run has no peaks."""
    found = [what for path in run.paths if (what := reach(run, path)) is not None]
    return tuple(sorted(found, key=lambda what: -what.gflops))
