"""One file for each way to execute the encoder; the registry below is their only list.

A name with `@` is the same path in a precision of its own, whatever the model was loaded in.
"""

from engine.measure.packing import pack
from engine.measure.paths import (
    bucketed,
    fast_mha,
    fast_nested,
    packed,
    slow,
    slow_grad,
    slow_train,
    tutorial_mha,
)
from engine.measure.paths.execution import EncoderModel, ExecutionPath, Expectation, PreparedPath

EXECUTION_PATHS: dict[str, ExecutionPath] = {
    path.name: path
    for path in (
        slow_train.PATH,
        slow_grad.PATH,
        slow.PATH,
        fast_mha.PATH,
        fast_nested.PATH,
        tutorial_mha.PATH,
        bucketed.PATH,
        packed.PATH,
        slow.IN_BF16,
        fast_nested.IN_BF16,
        bucketed.IN_BF16,
        packed.IN_BF16,
    )
}

__all__ = ["EXECUTION_PATHS", "EncoderModel", "ExecutionPath", "Expectation", "PreparedPath", "pack"]
