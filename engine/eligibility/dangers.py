"""What torch does not report: inputs and models for which the fastpath is silently wrong, raises, or does not obey.

They are judged before anything runs. Each was found by comparing the outputs of the two paths (docs/doctor.md).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from engine.diagnosis import Danger, Effect
from engine.eligibility.facts import EncoderFacts, LayerFacts, ModelFacts, PaddingFacts
from engine.eligibility.plan import EncoderPlan, LayerPlan, ModelPlan

WRONG: tuple[Effect, ...] = ("wrong", "not a number")
"""With these effects a result must not be recommended."""
_OTHER_VALUES = "values other than 0 and -inf"


@dataclass(frozen=True)
class Risk:
    """One danger: how to find it in a plan, and its effect.

    Attributes:
        key: the name of the danger; its cure is found by it (engine/doctor/cures.py).
        seen: yields (module, what it has) for every place that has the danger.
    """

    key: str
    effect: Effect
    why: str
    seen: Callable[[ModelPlan], Iterator[tuple[str, str]]]


def dangers(plan: ModelPlan, cures: dict[str, str]) -> tuple[Danger, ...]:
    """The dangers in a plan, at most one of each kind.

    Args:
        cures: the line of code that avoids a danger, by its key.
    """
    found = ((risk, next(risk.seen(plan), None)) for risk in RISKS)
    return tuple(
        Danger(
            key=risk.key,
            effect=risk.effect,
            module=place[0] or "the model",
            has=place[1],
            why=risk.why,
            cure=cures.get(risk.key, ""),
        )
        for risk, place in found
        if place
    )


def first_error(found: tuple[Danger, ...]) -> str:
    """Why the forward will raise; empty if it will not."""
    return next((f"{danger.has}: {danger.why}" for danger in found if danger.effect == "error"), "")


def _fused(plan: ModelPlan) -> Iterator[LayerPlan]:
    return (layer for layer in plan.all_layers if layer.fused)


def _in_fused(
    describe: Callable[[LayerFacts], str],
) -> Callable[[ModelPlan], Iterator[tuple[str, str]]]:
    """Finds a danger in fused layers; `describe` returns an empty text if the layer does not have it."""

    def seen(plan: ModelPlan) -> Iterator[tuple[str, str]]:
        for layer in _fused(plan):
            text = describe(layer.layer)
            if text:
                yield layer.layer.name, text

    return seen


def _converting(plan: ModelPlan) -> Iterator[tuple[EncoderPlan, PaddingFacts]]:
    for encoder in plan.encoders:
        if encoder.converts and encoder.encoder.call and encoder.encoder.call.padding:
            yield encoder, encoder.encoder.call.padding


def _left_padding(plan: ModelPlan) -> Iterator[tuple[str, str]]:
    for encoder, padding in _converting(plan):
        if padding.left_rows and not padding.looks_inverted:
            yield encoder.encoder.name, f"{_rows(padding.left_rows)} padded on the left, and mask_check=False"


def _padding_inside(plan: ModelPlan) -> Iterator[tuple[str, str]]:
    for encoder, padding in _converting(plan):
        if padding.inside_rows:
            yield encoder.encoder.name, f"{_rows(padding.inside_rows)} with padding between real tokens"


def _only_padding(plan: ModelPlan) -> Iterator[tuple[str, str]]:
    for encoder, padding in _converting(plan):
        if padding.length and padding.lengths and not any(padding.lengths):
            yield encoder.encoder.name, "a batch that is all padding"


def _empty_input(plan: ModelPlan) -> Iterator[tuple[str, str]]:
    modules: tuple[EncoderFacts | LayerFacts, ...] = (*plan.facts.encoders, *plan.facts.layers)
    for module in modules:
        if module.call and module.call.shape and 0 in module.call.shape:
            yield module.name, f"an input of shape {module.call.shape}"


def _inverted_mask(plan: ModelPlan) -> Iterator[tuple[str, str]]:
    for encoder in plan.encoders:
        padding = encoder.encoder.call.padding if encoder.encoder.call else None
        if padding and padding.looks_inverted:
            rows = f"{_rows(padding.empty_rows)} without any text, and text only at the end of the others"
            yield encoder.encoder.name, f"a padding mask with {rows}"


def _empty_rows(plan: ModelPlan) -> Iterator[tuple[str, str]]:
    for encoder in plan.encoders:
        padding = encoder.encoder.call.padding if encoder.encoder.call else None
        dense = not encoder.converts and any(layer.fused for layer in encoder.layers)
        if dense and padding and padding.empty_rows and any(padding.lengths) and not padding.looks_inverted:
            yield encoder.encoder.name, f"{_rows(padding.empty_rows)} with padding only"


def _calls_of_fused(plan: ModelPlan) -> Iterator[tuple[LayerPlan | EncoderPlan, EncoderFacts | LayerFacts]]:
    for encoder in plan.encoders:
        if any(layer.fused for layer in encoder.layers):
            yield encoder, encoder.encoder
    for layer in plan.layers:
        if layer.fused:
            yield layer, layer.layer


def _graded_mask(plan: ModelPlan) -> Iterator[tuple[str, str]]:
    for _plan, module in _calls_of_fused(plan):
        if module.call and module.call.mask and module.call.mask.graded:
            yield module.name, f"an attention mask with {_OTHER_VALUES}, {module.call.mask.dtype}"


def _graded_padding(plan: ModelPlan) -> Iterator[tuple[str, str]]:
    for _plan, module in _calls_of_fused(plan):
        if module.call and module.call.padding and module.call.padding.mask.graded:
            yield module.name, f"a padding mask with {_OTHER_VALUES}, {module.call.padding.mask.dtype}"


def _causal_hint(plan: ModelPlan) -> Iterator[tuple[str, str]]:
    for _plan, module in _calls_of_fused(plan):
        if module.call and module.call.is_causal and not (module.call.mask and module.call.mask.causal):
            mask = "with a mask that is not causal" if module.call.mask else "without a mask"
            yield module.name, f"is_causal=True {mask}"


def _autocast(plan: ModelPlan) -> Iterator[tuple[str, str]]:
    for layer in _fused(plan):
        if layer.call and layer.call.cpu_autocast and layer.call.device == "cpu":
            inside = "" if plan.facts.setting.cpu_autocast else ", entered inside the model's own forward"
            yield layer.layer.name, f"autocast to {layer.call.cpu_autocast} on the CPU{inside}"


def _mixed_precision(plan: ModelPlan) -> Iterator[tuple[str, str]]:
    for layer in _fused(plan):
        dtype = layer.layer.attention.weight_dtype
        if layer.call and dtype and layer.call.dtype != dtype and not layer.call.cpu_autocast:
            yield layer.layer.name, f"an input of {layer.call.dtype} and weights of {dtype}"


def _nested_input(plan: ModelPlan) -> Iterator[tuple[str, str]]:
    for layer in plan.all_layers:
        if layer.raises_on_nested:
            yield layer.layer.name, "a nested input in a layer that is not fused"


def _no_op_switch(plan: ModelPlan) -> Iterator[tuple[str, str]]:
    for encoder in plan.encoders:
        if encoder.encoder.use_nested and not encoder.encoder.enable_nested:
            yield encoder.encoder.name, "enable_nested_tensor=False, and use_nested_tensor=True"


def _global_hooks(plan: ModelPlan) -> Iterator[tuple[str, str]]:
    if plan.facts.setting.global_hooks:
        for layer in _fused(plan):
            yield layer.layer.name, "a hook for all modules"


def _old_hooks(plan: ModelPlan) -> Iterator[tuple[str, str]]:
    # Since torch 2.5 a layer with a hook does not take the fastpath. Before, it takes it and the hook is not called.
    for layer in _fused(plan):
        if layer.layer.hooked:
            yield layer.layer.name, f"hooks on {', '.join(layer.layer.hooked)}"


def _positions(plan: ModelPlan) -> Iterator[tuple[str, str]]:
    if plan.facts.position_error:
        yield "", plan.facts.position_error


def _input_error(plan: ModelPlan) -> Iterator[tuple[str, str]]:
    facts: ModelFacts = plan.facts
    if facts.slow_error and not facts.position_error and not _takes_more_than_the_slow_path(plan):
        yield "", facts.slow_error


def _takes_more_than_the_slow_path(plan: ModelPlan) -> bool:
    """Whether a call works in fused layers only: a nested input, or is_causal without a mask."""
    calls = [module.call for _plan, module in _calls_of_fused(plan) if module.call]
    return any(call.nested or (call.is_causal and not call.mask) for call in calls)


def _activation_swapped(layer: LayerFacts) -> str:
    if layer.activation_exact or layer.approximates_gelu:
        return ""
    noted = {1: "relu", 2: "gelu"}[layer.activation_code]
    return f"the activation is {layer.activation}, and __init__ recorded {noted}"


def _tanh_gelu(layer: LayerFacts) -> str:
    return layer.activation if layer.approximates_gelu and not layer.activation_exact else ""


def _replaced(layer: LayerFacts) -> str:
    return f"not torch's own: {', '.join(layer.replaced)}" if layer.replaced and not layer.missing else ""


def _missing(layer: LayerFacts) -> str:
    return f"no tensor {', '.join(layer.missing)}" if layer.missing else ""


def _rows(count: int) -> str:
    return f"{count} row{'s' if count != 1 else ''}"


RISKS: tuple[Risk, ...] = (
    Risk(
        "beyond-positions",
        "error",
        "The input holds a position or an id that an embedding has no row for; no path can run it.",
        _positions,
    ),
    Risk("empty-input", "error", "The input has no tokens to encode.", _empty_input),
    Risk("input", "error", "The model raises this error on the slow path, too.", _input_error),
    Risk(
        "only-padding",
        "error",
        "A nested tensor would have no rows, and torch raises.",
        _only_padding,
    ),
    Risk(
        "cpu-autocast",
        "error",
        "torch checks for autocast on CUDA only, so the fused layer gets two precisions and raises.",
        _autocast,
    ),
    Risk("mixed-precision", "error", "The fused layer converts nothing, and torch raises.", _mixed_precision),
    Risk(
        "missing-tensors",
        "error",
        "The fused layer reads this tensor without a check, and torch raises: wrappers, quantised layers and "
        "norms without a bias do not have it.",
        _in_fused(_missing),
    ),
    Risk(
        "nested-input",
        "error",
        "The encoder checks its first layer only, and makes the input nested. This layer cannot compute a nested "
        "input, and torch raises.",
        _nested_input,
    ),
    Risk(
        "inverted-mask",
        "wrong",
        "src_key_padding_mask is True on padding; this one looks like an attention mask, which is True on text.",
        _inverted_mask,
    ),
    Risk(
        "left-padding",
        "wrong",
        "The nested tensor keeps the first tokens of each row: padding is encoded and text is dropped.",
        _left_padding,
    ),
    Risk(
        "padding-inside",
        "wrong",
        "The nested tensor keeps the first tokens of each row, as many as are real: the padding inside is encoded, "
        "and the last real tokens are dropped.",
        _padding_inside,
    ),
    Risk(
        "graded-mask",
        "wrong",
        "The fused layer reads every value except 0 as masked: with distance biases (ALiBi, T5) nearly every token is "
        "masked.",
        _graded_mask,
    ),
    Risk(
        "graded-padding",
        "wrong",
        "The fastpath reads every value except 0 as padding.",
        _graded_padding,
    ),
    Risk(
        "causal-hint",
        "wrong",
        "The fused layer ignores is_causal and uses the mask only: without a mask, tokens attend to later ones.",
        _causal_hint,
    ),
    Risk(
        "activation-swapped",
        "wrong",
        "The fused layer computes the activation that __init__ recorded, not the present one.",
        _in_fused(_activation_swapped),
    ),
    Risk(
        "replaced-part",
        "wrong",
        "The fused layer reads the weight and never calls the module: adapters such as LoRA are left out.",
        _in_fused(_replaced),
    ),
    Risk(
        "bias-kv",
        "wrong",
        "The fused layer leaves add_bias_kv out.",
        _in_fused(lambda layer: "add_bias_kv=True" if layer.attention.bias_kv else ""),
    ),
    Risk(
        "zero-attention",
        "wrong",
        "The fused layer leaves add_zero_attn out.",
        _in_fused(lambda layer: "add_zero_attn=True" if layer.attention.zero_attention else ""),
    ),
    Risk(
        "approximate-gelu",
        "wrong",
        "The fused layer computes the exact gelu; the difference is small (about 2e-4) and real.",
        _in_fused(_tanh_gelu),
    ),
    Risk(
        "live-dropout",
        "wrong",
        "The fused layer never applies dropout, whatever mode the dropout modules are in.",
        _in_fused(
            lambda layer: f"train mode in {', '.join(layer.live_dropout)}" if layer.live_dropout else ""
        ),
    ),
    Risk(
        "empty-row",
        "not a number",
        "In the fused layer, attention over no token gives NaN: this row is lost, the other rows are right.",
        _empty_rows,
    ),
    Risk(
        "no-op-switch",
        "ignored",
        "forward() reads use_nested_tensor, so sparsity stays on: the tutorial's own switch does nothing.",
        _no_op_switch,
    ),
    Risk(
        "global-hooks",
        "ignored",
        "The modules inside a fused layer are never called, and neither is the hook.",
        _global_hooks,
    ),
    Risk(
        "silent-hooks",
        "ignored",
        "The modules inside a fused layer are never called, and neither are their hooks (torch before 2.5).",
        _old_hooks,
    ),
)
