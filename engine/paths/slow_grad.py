"""`slow-grad`: the tutorial's later slow path: eval mode, but gradients are recorded, which bars the fastpath."""

from contextlib import AbstractContextManager

from engine.paths.execution import (
    FUSED_LAYER,
    SDPA,
    EncoderModel,
    ExecutionPath,
    Expectation,
    around,
    switched,
)


def _switches(model: EncoderModel) -> AbstractContextManager[None]:
    return switched(model, train=False, gradients=True, fastpath=True, sparsity=True)


PATH = ExecutionPath(
    name="slow-grad",
    claim=lambda layers: f"no fused layer, {layers} attentions by SDPA",
    expectations=lambda layers: (Expectation(FUSED_LAYER, 0), Expectation(SDPA, layers)),
    preparation=around(_switches),
)
