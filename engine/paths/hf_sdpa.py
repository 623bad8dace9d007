"""`hf-sdpa`: Hugging Face's own code for the same encoder, on the same weights, with SDPA."""

from pathlib import Path

from engine.paths.execution import (
    FUSED_LAYER,
    NESTED_CONVERSION,
    SDPA,
    EncoderModel,
    ExecutionPath,
    Expectation,
    PreparedPath,
    on_a_copy,
)
from engine.paths.huggingface import huggingface_encoder
from engine.paths.peers import HEAD_LINEARS, LINEAR, head_of

LINEARS_A_LAYER = 6


def _prepare(model: EncoderModel, _exports: Path | None) -> PreparedPath:
    hidden, head = huggingface_encoder(model), head_of(model)
    return PreparedPath(forward=lambda tokens: head(hidden(tokens)), hidden=hidden)


PATH = ExecutionPath(
    name="hf-sdpa",
    claim=lambda layers: f"{layers} attentions by SDPA, {LINEARS_A_LAYER} linear layers around each",
    expectations=lambda layers: (
        Expectation(FUSED_LAYER, 0),
        Expectation(NESTED_CONVERSION, 0),
        Expectation(SDPA, layers),
        Expectation(LINEAR, LINEARS_A_LAYER * layers + HEAD_LINEARS),
    ),
    preparation=_prepare,
)
IN_BF16 = on_a_copy(PATH, "bf16")
