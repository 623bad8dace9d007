"""`fast-mha`: native multi-head attention alone, with sparsity really off."""

from contextlib import AbstractContextManager

from engine.paths.execution import (
    FUSED_LAYER,
    NESTED_CONVERSION,
    EncoderModel,
    ExecutionPath,
    Expectation,
    around,
    switched,
)


def _switches(model: EncoderModel) -> AbstractContextManager[None]:
    return switched(model, train=False, gradients=False, fastpath=True, sparsity=False)


PATH = ExecutionPath(
    name="fast-mha",
    claim=lambda layers: f"{layers} fused layers, no nested tensor",
    expectations=lambda layers: (Expectation(FUSED_LAYER, layers), Expectation(NESTED_CONVERSION, 0)),
    preparation=around(_switches),
)
