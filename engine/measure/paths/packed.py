"""`packed`: padding-free execution on weights laid out once for oneDNN (engine/measure/packing)."""

from pathlib import Path

import torch

from engine.errors import Refusal
from engine.measure.packing import PackedRoberta, pack
from engine.measure.packing.linear import PACKED_LINEAR, onednn_serves
from engine.measure.paths.execution import (
    FUSED_LAYER,
    NESTED_CONVERSION,
    SDPA,
    EncoderModel,
    ExecutionPath,
    Expectation,
    Preparation,
    PreparedPath,
    Unavailable,
)
from engine.records import DType

LINEARS_A_LAYER = 4


def _preparation(dtype: DType | None) -> Preparation:
    def prepare(model: EncoderModel, _exports: Path | None) -> PreparedPath:
        assert isinstance(model, torch.nn.Module)  # noqa: S101  (every model is one)
        try:
            packed = pack(model, dtype)
        except Refusal as refusal:
            raise Unavailable(str(refusal)) from None
        assert isinstance(packed, PackedRoberta)  # noqa: S101  (what a RobertaModel becomes)
        return PreparedPath(packed, packed.hidden, weights_mb=packed.weights_mb)

    return prepare


def _expectations(layers: int) -> tuple[Expectation, ...]:
    # The last layer's queries are a linear layer of their own.
    linears = LINEARS_A_LAYER * layers + 1 if onednn_serves("fp32", torch.device("cpu")) else 0
    return (
        Expectation(FUSED_LAYER, 0),
        Expectation(NESTED_CONVERSION, 0),
        Expectation(SDPA, 0),
        Expectation(PACKED_LINEAR, linears),
    )


PATH = ExecutionPath(
    name="packed",
    claim=lambda layers: (
        f"{LINEARS_A_LAYER * layers + 1} linear layers on laid-out weights, real tokens only"
    ),
    expectations=_expectations,
    preparation=_preparation(None),
    copies=1.0,
)
IN_BF16 = ExecutionPath(
    name="packed@bf16",
    claim=PATH.claim,
    expectations=_expectations,
    preparation=_preparation("bf16"),
    precision="bf16",
    copies=1.0,
)
