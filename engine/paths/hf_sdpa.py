"""`hf-sdpa`: Hugging Face's own code for the same encoder, on the same weights, with SDPA."""

from pathlib import Path

from engine.catalog.operators import FUSED_LAYER, LINEAR, NESTED_CONVERSION, SDPA
from engine.models.encoder import RobertaModel
from engine.paths.execution import (
    ExecutionPath,
    Expectation,
    PreparedPath,
    Promise,
    layers_of,
    on_a_copy,
)
from engine.paths.huggingface import huggingface_encoder
from engine.paths.peers import HEAD_LINEARS

LINEARS_A_LAYER = 6


def _prepare(model: RobertaModel, _exports: Path | None) -> PreparedPath:
    hidden, head = huggingface_encoder(model), model.head
    return PreparedPath(lambda tokens: head(hidden(tokens)), hidden, _promise(layers_of(model)))


def _promise(layers: int) -> Promise:
    return Promise(
        f"{layers} attentions by SDPA, {LINEARS_A_LAYER} linear layers around each",
        (
            Expectation(FUSED_LAYER, 0),
            Expectation(NESTED_CONVERSION, 0),
            Expectation(SDPA, layers),
            Expectation(LINEAR, LINEARS_A_LAYER * layers + HEAD_LINEARS),
        ),
    )


PATH = ExecutionPath("hf-sdpa", _prepare)
IN_BF16 = on_a_copy(PATH, "bf16")
