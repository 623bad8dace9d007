"""`fast-nested`: native multi-head attention and sparsity: one conversion to a nested tensor, then fused layers."""

from contextlib import AbstractContextManager

from engine.paths.execution import (
    FUSED_LAYER,
    NESTED_CONVERSION,
    EncoderModel,
    ExecutionPath,
    Expectation,
    around,
    on_a_copy,
    switched,
)


def _switches(model: EncoderModel) -> AbstractContextManager[None]:
    return switched(model, train=False, gradients=False, fastpath=True, sparsity=True)


PATH = ExecutionPath(
    name="fast-nested",
    claim=lambda layers: f"{layers} fused layers, 1 conversion to a nested tensor",
    expectations=lambda layers: (Expectation(FUSED_LAYER, layers), Expectation(NESTED_CONVERSION, 1)),
    preparation=around(_switches),
)
IN_BF16 = on_a_copy(PATH, "bf16")
