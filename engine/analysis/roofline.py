"""How close a path comes to what this machine can do at best; pure arithmetic over shapes, lengths and medians.

Every path is credited with the same useful work: that of the real tokens. So padding counts as waste, and a path
that leaves work out is credited with it all the same.
"""

from collections.abc import Sequence

from engine.records import BYTES_PER_VALUE, EncoderShape, PathResult, Precision, Record, Run


class Reach(Record):
    """What one path makes of the machine, in useful work only."""

    name: str
    gflops: float
    """Useful GFLOP/s: the FLOPs of the real tokens / the median time."""
    share: float | None
    """Of the matmul peak in the path's precision; None where that was not measured (int8)."""
    memory_bound: float | None
    """Largest share of that peak that memory allows where every weight is fetched once a forward; 1 at most."""


def linear_parameters(shape: EncoderShape) -> int:
    """Weights of all linear layers of the encoder, biases aside."""
    d, ffn = shape.embedding_dim, shape.ffn_dimension
    return shape.num_encoder_layers * (4 * d * d + 2 * d * ffn)


def useful_flops(shape: EncoderShape, lengths: Sequence[int]) -> float:
    """Floating-point operations of one forward on the real tokens of texts of these lengths.

    A multiplication and an addition for each weight and token in the linear layers; scores and their products with
    the values, 4 * length^2 * width, in attention. Softmax, norms and activations are a hundredth of that.
    """
    d, layers = shape.embedding_dim, shape.num_encoder_layers
    linear = 2.0 * linear_parameters(shape) * sum(lengths)
    attention = 4.0 * layers * d * sum(length * length for length in lengths)
    return linear + attention


def weight_bytes(shape: EncoderShape, precision: Precision) -> float:
    """Bytes of weights that a forward has to read at least: every linear layer once; embeddings are a few rows."""
    return float(linear_parameters(shape) * BYTES_PER_VALUE[precision])


def intensity(shape: EncoderShape, lengths: Sequence[int], precision: Precision) -> float:
    """Arithmetic intensity: FLOPs a byte of weights; what activations read and write is left aside."""
    return useful_flops(shape, lengths) / weight_bytes(shape, precision)


def reach(run: Run, path: PathResult) -> Reach | None:
    """What a path makes of the machine; None where the run has no peaks, no lengths or no times of it."""
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
    """Every measured path's, most useful work per second first; empty where the run has no peaks."""
    found = [what for path in run.paths if (what := reach(run, path)) is not None]
    return tuple(sorted(found, key=lambda what: -what.gflops))
