"""`openvino` and `openvino@bf16`: OpenVINO on a converted encoder, computing in fp32 or in bfloat16.

The conversion is made from Hugging Face's code, as is common; torchtext's head runs in torch.
"""

import sys
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.models.encoder import RobertaModel
from engine.paths.execution import ExecutionPath, Preparation, Unavailable, computing_in
from engine.paths.huggingface import example_tokens, huggingface_encoder
from engine.paths.peers import (
    Export,
    Opened,
    export_of,
    exporting,
    library,
    outside_torch,
    weights_mb,
)
from engine.records import DType

TITLE = "OpenVINO"
FILE = "encoder.xml"
PRECISION_HINTS: dict[DType, str] = {"fp32": "f32", "bf16": "bf16"}
CAPABILITIES: dict[DType, str] = {"fp32": "FP32", "bf16": "BF16"}


def _preparation(precision: DType) -> Preparation:
    def opened(model: RobertaModel, exports: Path | None) -> Opened:
        openvino = _openvino()
        core = _core()
        if not computes_in(precision):
            raise Unavailable(f"OpenVINO does not compute in {precision} on this processor.")
        with _converted(openvino, model, exports) as export:
            compiled = core.compile_model(str(export.folder / FILE), "CPU", _options(precision))

        def states(tokens: Tensor, *, borrowed: bool) -> Tensor:
            outputs = compiled(tokens.numpy(), share_inputs=True, share_outputs=borrowed)
            return torch.from_numpy(outputs[0])

        return Opened(
            states=lambda tokens: states(tokens, borrowed=False),
            borrowed_states=lambda tokens: states(tokens, borrowed=True),
            weights_mb=weights_mb(model, precision),
            note=export.note,
        )

    return outside_torch(TITLE, opened)


def computes_in(precision: DType) -> bool:
    """Whether OpenVINO computes in this precision on this processor."""
    _openvino()
    return CAPABILITIES[precision] in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _openvino() -> Any:
    # `convert_model` reports its use over the network from background threads, unless this package is missing.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return library("openvino", TITLE)


@cache
def _core() -> Any:
    # One core for the whole process. Each core sets a signal stack for its thread and restores the earlier one when
    # it ends. With two cores the second restores the first one's stack, which may be freed already; then the next
    # Ctrl-C ends the process (seen in OpenVINO 2026.4, SigAltStackSetup of its CPU plugin).
    return _openvino().Core()


def _converted(openvino: Any, model: RobertaModel, exports: Path | None) -> AbstractContextManager[Export]:
    transformers = library("transformers", "Hugging Face transformers")

    def write(folder: Path) -> None:
        with exporting():
            converted = openvino.convert_model(
                huggingface_encoder(model),
                example_input=example_tokens(model),
                input=[openvino.PartialShape([-1, -1])],
            )
        openvino.save_model(converted, folder / FILE, compress_to_fp16=False)

    name = f"openvino-{openvino.__version__.partition('-')[0]}-transformers-{transformers.__version__}"
    return export_of(exports, name, write)


def _options(precision: DType) -> dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": PRECISION_HINTS[precision],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    }


PATH = ExecutionPath(
    "openvino",
    _preparation("fp32"),
    copies=1.5,
)
IN_BF16 = computing_in(
    PATH,
    "bf16",
    _preparation("bf16"),
    copies=2.5,  # the fp32 conversion, and the bf16 weights made from it
)
