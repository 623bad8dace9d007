"""One file for each way to execute the encoder; the registry below is their only list.

A name with `@` is the same path in a precision of its own, whatever the model was loaded in.
"""

from engine.packing import pack
from engine.paths import (
    bucketed,
    compiled,
    fast_mha,
    fast_nested,
    hf_sdpa,
    onnxruntime_path,
    openvino_path,
    packed,
    slow,
    slow_grad,
    slow_train,
    tutorial_mha,
)
from engine.paths.execution import EncoderModel, ExecutionPath, Expectation, PreparedPath

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
        compiled.PATH,
        hf_sdpa.PATH,
        onnxruntime_path.PATH,
        openvino_path.PATH,
        slow.IN_BF16,
        fast_nested.IN_BF16,
        bucketed.IN_BF16,
        packed.IN_BF16,
        compiled.IN_BF16,
        hf_sdpa.IN_BF16,
        openvino_path.IN_BF16,
        onnxruntime_path.IN_INT8,
    )
}

__all__ = ["EXECUTION_PATHS", "EncoderModel", "ExecutionPath", "Expectation", "PreparedPath", "pack"]
