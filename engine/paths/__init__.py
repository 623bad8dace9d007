"""The ways to execute the encoder, and the registry of them.

Their words, colours and order are in engine/catalog/paths.py, under the same names.
"""

from engine.packing import pack
from engine.paths import bucketed, compiled, hf_sdpa, onnxruntime_path, openvino_path, packed
from engine.paths.execution import ExecutionPath, Expectation, PreparedPath
from engine.paths.switches import FAST_NESTED_IN_BF16, SLOW_IN_BF16, SWITCHED

EXECUTION_PATHS: dict[str, ExecutionPath] = {
    path.name: path
    for path in (
        *SWITCHED.values(),
        bucketed.PATH,
        packed.PATH,
        compiled.PATH,
        hf_sdpa.PATH,
        onnxruntime_path.PATH,
        openvino_path.PATH,
        SLOW_IN_BF16,
        FAST_NESTED_IN_BF16,
        bucketed.IN_BF16,
        packed.IN_BF16,
        compiled.IN_BF16,
        hf_sdpa.IN_BF16,
        openvino_path.IN_BF16,
        onnxruntime_path.IN_INT8,
    )
}

__all__ = ["EXECUTION_PATHS", "ExecutionPath", "Expectation", "PreparedPath", "pack"]
