"""Whether two paths give the same answer. They are compared on real tokens, before anything is timed."""

from math import isfinite

from torch import Tensor

from engine.models.inputs import TokenBatch
from engine.paths import PreparedPath
from engine.records import Agreement, Precision

RELATIVE_TOLERANCE: dict[Precision, float] = {"fp32": 1e-5, "bf16": 6e-2, "fp16": 8e-3, "int8": 0.25}
"""Largest difference allowed, relative to the largest hidden state (at least 1).

In fp32, measured differences between the paths are below 1e-5. bf16 and fp16 keep 8 and 11 bits, and the rounding
errors of a dozen layers add up. In int8 the limit is loose: it only rejects a state that belongs to another text.
"""


def hidden_states(path: PreparedPath, batch: TokenBatch) -> Tensor:
    """Hidden states of the real tokens only, (real tokens, width) float32.

    Rows of padding are left out, because only the nested path sets them to zero.
    """
    with path.switches():
        return path.hidden(batch.tokens).detach()[batch.real()].float()


def compare(reference: Tensor, other: Tensor, dtype: Precision) -> Agreement:
    """Whether two paths' hidden states agree. NaN and infinity never agree.

    Args:
        reference: (real tokens, width) float32.
        other: of the same shape.
        dtype: the precision in which both were computed.
    """
    largest = float(reference.abs().max())
    tolerance = RELATIVE_TOLERANCE[dtype] * (max(1.0, largest) if isfinite(largest) else 1.0)
    error = float((reference - other).abs().max())
    if not isfinite(error):
        return Agreement(max_abs_error=None, tolerance=tolerance, ok=False)
    return Agreement(max_abs_error=error, tolerance=tolerance, ok=error <= tolerance)


def disagreement(agreement: Agreement) -> str:
    """The sentence for outputs that do not agree; empty if they agree."""
    if agreement.ok:
        return ""
    if agreement.max_abs_error is None:
        return "its outputs are not numbers (NaN or infinite) on real tokens, so its speed means nothing"
    return (
        f"its outputs differ from the slow path's by {agreement.max_abs_error:.2g} on real tokens, "
        f"more than {agreement.tolerance:.2g}, so its speed means nothing"
    )
