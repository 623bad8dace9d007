"""One file for each way to execute the encoder; the registry below is their only list."""

from engine.measure.paths import fast_mha, fast_nested, slow, slow_grad, slow_train, tutorial_mha
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
    )
}

__all__ = ["EXECUTION_PATHS", "EncoderModel", "ExecutionPath", "Expectation", "PreparedPath"]
