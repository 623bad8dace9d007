"""`slow`: the fair baseline: eval mode, no gradients, fastpath switched off."""

from contextlib import AbstractContextManager

from engine.paths.execution import (
    FUSED_LAYER,
    NESTED_CONVERSION,
    SDPA,
    EncoderModel,
    ExecutionPath,
    Expectation,
    around,
    on_a_copy,
    switched,
)


def _switches(model: EncoderModel) -> AbstractContextManager[None]:
    return switched(model, train=False, gradients=False, fastpath=False, sparsity=False)


PATH = ExecutionPath(
    name="slow",
    claim=lambda layers: f"no fused layer, no nested tensor, {layers} attentions by SDPA",
    expectations=lambda layers: (
        Expectation(FUSED_LAYER, 0),
        Expectation(NESTED_CONVERSION, 0),
        Expectation(SDPA, layers),
    ),
    preparation=around(_switches),
)
IN_BF16 = on_a_copy(PATH, "bf16")
