"""`slow-train`: the tutorial's first slow path, which is train mode: gradients are recorded and dropout is drawn."""

from contextlib import AbstractContextManager

from engine.paths.execution import (
    DROPOUT_DRAW,
    FUSED_LAYER,
    EncoderModel,
    ExecutionPath,
    Expectation,
    around,
    switched,
)


def _switches(model: EncoderModel) -> AbstractContextManager[None]:
    return switched(model, train=True, gradients=True, fastpath=True, sparsity=True)


PATH = ExecutionPath(
    name="slow-train",
    claim=lambda _layers: "no fused layer, dropout is drawn",
    expectations=lambda _layers: (Expectation(FUSED_LAYER, 0), Expectation(DROPOUT_DRAW, 1, at_least=True)),
    preparation=around(_switches),
    stochastic=True,
)
