"""`onnxruntime` and `onnxruntime@int8`: ONNX Runtime on an exported encoder, in fp32 and quantised to int8.

The export is made from Hugging Face's code, as is common; torchtext's head runs in torch. The int8 export is ONNX
Runtime's dynamic quantisation with its defaults: one scale per weight matrix, activations scaled at run time.
"""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.models.encoder import RobertaModel
from engine.models.memory import memory_available_mb
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
from engine.records import MEGABYTE

TITLE = "ONNX Runtime"
FILE = "encoder.onnx"
OPSET = 17
QUANTISING_COPIES = 6.0
"""Memory needed to quantise, in copies of the fp32 weights: 5.3 to 5.8 were measured."""


def _preparation(*, int8: bool) -> Preparation:
    def opened(model: RobertaModel, exports: Path | None) -> Opened:
        onnxruntime = library("onnxruntime", TITLE)
        library("onnx", "ONNX")
        with (_quantised if int8 else _plain)(model, exports) as export:
            session = _session(onnxruntime, export.folder / FILE)
            size = sum(file.stat().st_size for file in export.folder.iterdir())

        def states(tokens: Tensor) -> Tensor:
            (computed,) = session.run(None, {"tokens": tokens.numpy()})
            return torch.from_numpy(computed)

        return Opened(states, borrowed_states=states, weights_mb=size / MEGABYTE, note=export.note)

    return outside_torch(TITLE, opened)


def _plain(model: RobertaModel, exports: Path | None) -> AbstractContextManager[Export]:
    transformers = library("transformers", "Hugging Face transformers")

    def write(folder: Path) -> None:
        with exporting():
            torch.onnx.export(
                huggingface_encoder(model),
                (example_tokens(model),),
                str(folder / FILE),
                # The older exporter takes a seventh of the time, and its export has the same speed and error.
                dynamo=False,
                input_names=["tokens"],
                output_names=["states"],
                dynamic_axes={name: {0: "batch", 1: "length"} for name in ("tokens", "states")},
                opset_version=OPSET,
            )

    return export_of(exports, f"onnx-transformers-{transformers.__version__}", write)


def _quantised(model: RobertaModel, exports: Path | None) -> AbstractContextManager[Export]:
    onnxruntime = library("onnxruntime", TITLE)

    def write(folder: Path) -> None:
        _require_memory(QUANTISING_COPIES * weights_mb(model, "fp32"), memory_available_mb())
        quantization = library("onnxruntime.quantization", TITLE)
        with _plain(model, exports) as plain, exporting():
            quantization.quantize_dynamic(plain.folder / FILE, folder / FILE, use_external_data_format=True)

    return export_of(exports, f"onnx-int8-onnxruntime-{onnxruntime.__version__}", write)


def _require_memory(needed_mb: float, available_mb: float) -> None:
    """Refuse to quantise if memory is too small; loading an earlier export needs little.

    Raises:
        Unavailable: memory is too small; the sentence has the figures.
    """
    if needed_mb > available_mb:
        raise Unavailable(
            f"Quantising takes about {needed_mb:,.0f} MB of memory, but only {available_mb:,.0f} MB are available; "
            "choose a smaller model."
        )


def _session(onnxruntime: Any, file: Path) -> Any:
    """An inference session with as many threads as torch has; they sleep while other paths run."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


PATH = ExecutionPath(
    "onnxruntime",
    _preparation(int8=False),
    copies=2.0,  # the export, and ONNX Runtime's own layout of it
)
IN_INT8 = computing_in(PATH, "int8", _preparation(int8=True))
