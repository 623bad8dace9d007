"""What torch will do with a call, derived from the conditions: which layers are fused, which input becomes nested.

Pure: the same facts give the same plan on every machine.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from engine.diagnosis import Check, Counts, Prediction
from engine.eligibility.attention_conditions import ATTENTION_CONDITIONS
from engine.eligibility.encoder_conditions import CONSTRUCTION_CONDITIONS, ENCODER_CONDITIONS
from engine.eligibility.facts import (
    AttentionFacts,
    CallFacts,
    EncoderFacts,
    LayerFacts,
    MaskFacts,
    ModelFacts,
    SettingFacts,
)
from engine.eligibility.judging import ConditionInput, Module, TorchCondition, all_met, asked
from engine.eligibility.layer_conditions import LAYER_CONDITIONS

NESTED = "strided"


@dataclass(frozen=True)
class LayerPlan:
    """How torch will run one layer.

    Attributes:
        call: the call of the layer; its input is nested if the encoder converts it.
        fused: the layer runs as one native operator.
        native_attention: the layer is not fused, but its attention is native.
    """

    layer: LayerFacts
    call: CallFacts | None
    fused: bool
    native_attention: bool

    @property
    def raises_on_nested(self) -> bool:
        """Whether the layer gets a nested input that it cannot compute: torch raises."""
        return bool(self.call and self.call.nested and not self.fused and not self.native_attention)


@dataclass(frozen=True)
class EncoderPlan:
    """How torch will run an encoder: whether it makes its input nested, and how its layers run."""

    encoder: EncoderFacts
    converts: bool
    layers: tuple[LayerPlan, ...]


@dataclass(frozen=True)
class ModelPlan:
    """How torch will run the whole model."""

    facts: ModelFacts
    encoders: tuple[EncoderPlan, ...]
    layers: tuple[LayerPlan, ...]
    """Layers outside any encoder."""
    attentions: tuple[tuple[AttentionFacts, bool], ...]
    """Attentions outside any layer, and whether they are native."""

    @property
    def all_layers(self) -> tuple[LayerPlan, ...]:
        """Every encoder layer of the model."""
        return (*(layer for encoder in self.encoders for layer in encoder.layers), *self.layers)

    @property
    def converts(self) -> bool:
        """Whether any encoder's input becomes nested."""
        return any(encoder.converts for encoder in self.encoders)

    @property
    def counts(self) -> Counts:
        """How many times the native operators run, if nothing raises."""
        layers = [(plan, _calls(plan.call)) for plan in self.all_layers]
        return Counts(
            fused_layers=sum(calls for plan, calls in layers if plan.fused),
            nested_conversions=sum(_calls(plan.encoder.call) for plan in self.encoders if plan.converts),
            native_attentions=sum(calls for plan, calls in layers if plan.native_attention)
            + sum(_calls(attention.call) for attention, native in self.attentions if native),
        )


def plan_of(facts: ModelFacts) -> ModelPlan:
    """Follow torch's own decisions through a model."""
    return ModelPlan(
        facts,
        tuple(_encoder_plan(encoder, facts.setting) for encoder in facts.encoders),
        tuple(_layer_plan(layer, layer.call, facts.setting) for layer in facts.layers),
        tuple(
            (attention, _is_native(attention, attention.call, facts.setting))
            for attention in facts.attentions
        ),
    )


def predicted(plan: ModelPlan, error: str) -> Prediction:
    """The prediction in numbers; None if an error is predicted."""
    return Prediction(counts=None if error else plan.counts, error=error)


def checks(plan: ModelPlan, cures: dict[str, str]) -> tuple[Check, ...]:
    """Every condition checked against the model, encoders first, in torch's order.

    Args:
        cures: the line of code that fulfils a condition, by its key.
    """
    return tuple(_all_checks(plan, cures))


def _all_checks(plan: ModelPlan, cures: dict[str, str]) -> Iterator[Check]:
    setting = plan.facts.setting
    for encoder in plan.encoders:
        given = _given(encoder.encoder, encoder.encoder.call, setting)
        if not encoder.encoder.use_nested or all_met(CONSTRUCTION_CONDITIONS, given):
            yield from _checks_of(CONSTRUCTION_CONDITIONS, given, encoder.encoder.name, cures)
        fitting = cures if all_met(CONSTRUCTION_CONDITIONS, given) else _without(cures, "use-nested")
        yield from _checks_of(ENCODER_CONDITIONS, given, encoder.encoder.name, fitting)
        yield from _layers_checks(encoder.layers, f"{encoder.encoder.name}.layers".strip("."), setting, cures)
    for layer in plan.layers:
        yield from _layers_checks((layer,), layer.layer.name or layer.layer.type_name, setting, cures)
    for attention, _native in plan.attentions:
        subject_ = _given(attention, attention.call, setting)
        yield from _checks_of(ATTENTION_CONDITIONS, subject_, attention.name or "the attention", cures)


def _without(cures: dict[str, str], key: str) -> dict[str, str]:
    """The cures without one. Sparsity cannot be switched on while a condition of __init__ fails."""
    return {problem: code for problem, code in cures.items() if problem != key}


def _checks_of(
    conditions: tuple[TorchCondition[Module], ...],
    given: ConditionInput[Module],
    name: str,
    cures: dict[str, str],
) -> Iterator[Check]:
    for condition in asked(conditions, given.setting):
        yield _check(condition, given, name, cures)


def _check(
    condition: TorchCondition[Module], given: ConditionInput[Module], name: str, cures: dict[str, str]
) -> Check:
    ok = condition.met(given)
    return Check(
        key=condition.key,
        part=condition.part,
        module=name or "the model",
        needs=condition.needs,
        has=condition.has(given),
        ok=ok,
        why=condition.why,
        cure="" if ok else cures.get(condition.key, ""),
        torch_says=condition.torch_says,
    )


def _layers_checks(
    layers: tuple[LayerPlan, ...], name: str, setting: SettingFacts, cures: dict[str, str]
) -> Iterator[Check]:
    """One check per condition, over all layers of an encoder; `has` describes the first layer that fails."""
    if not layers:
        return
    given = [_given(plan.layer, plan.call, setting) for plan in layers]
    for condition in asked(LAYER_CONDITIONS, setting):
        failing = tuple(i for i, given in enumerate(given) if not condition.met(given))
        told = _check(condition, given[failing[0] if failing else 0], name, cures)
        yield told.model_copy(update={"failing_layers": failing})
    yield from _inner_attention_checks(layers, name, setting, cures)


def _inner_attention_checks(
    layers: tuple[LayerPlan, ...], name: str, setting: SettingFacts, cures: dict[str, str]
) -> Iterator[Check]:
    """The conditions of the attention inside layers that are not fused, where it may still be native."""
    slow = {i: plan for i, plan in enumerate(layers) if not plan.fused and plan.call}
    if not slow:
        return
    given = {i: _given(plan.layer.attention, _inside(plan.call), setting) for i, plan in slow.items()}
    for condition in asked(ATTENTION_CONDITIONS, setting):
        failing = tuple(i for i, given in given.items() if not condition.met(given))
        told = _check(condition, given[failing[0] if failing else min(given)], name, cures)
        yield told.model_copy(update={"failing_layers": failing})


def _given(module: Module, call: CallFacts | None, setting: SettingFacts) -> ConditionInput[Module]:
    """A module with its call, under the modes at that call."""
    if call is None:
        return ConditionInput(module, call, setting)
    modes = replace(
        setting,
        gradients=call.gradients,
        autocast_seen=call.autocast_seen,
        cpu_autocast=call.cpu_autocast,
    )
    return ConditionInput(module, call, modes)


def _encoder_plan(encoder: EncoderFacts, setting: SettingFacts) -> EncoderPlan:
    given = _given(encoder, encoder.call, setting)
    converts = encoder.call is not None and all_met(ENCODER_CONDITIONS, given)
    call = _nested(encoder.call) if converts and encoder.call else encoder.call
    plans = list[LayerPlan]()
    for layer in encoder.torch_layers:
        plan = _layer_plan(layer, call, setting)
        plans.append(plan)
        call = _after(plan, call)
    return EncoderPlan(encoder, converts, tuple(plans))


def _layer_plan(layer: LayerFacts, call: CallFacts | None, setting: SettingFacts) -> LayerPlan:
    fused = call is not None and all_met(LAYER_CONDITIONS, _given(layer, call, setting))
    native = not fused and _is_native(layer.attention, _inside(call), setting)
    return LayerPlan(layer, call, fused, native)


def _is_native(attention: AttentionFacts, call: CallFacts | None, setting: SettingFacts) -> bool:
    return call is not None and all_met(ATTENTION_CONDITIONS, _given(attention, call, setting))


def _nested(call: CallFacts) -> CallFacts:
    return replace(call, nested=NESTED, shape=(), mask=None, padding=None)


def _inside(call: CallFacts | None) -> CallFacts | None:
    if call is None:
        return None

    # A layer passes its masks on as floating-point masks (F._canonical_mask), which the native attention refuses.
    def as_float(mask: MaskFacts) -> MaskFacts:
        return replace(mask, dtype=call.dtype)

    return replace(
        call,
        mask=as_float(call.mask) if call.mask else None,
        padding=replace(call.padding, mask=as_float(call.padding.mask)) if call.padding else None,
    )


def _after(plan: LayerPlan, call: CallFacts | None) -> CallFacts | None:
    if call is None:
        return None
    grows = call.gradients and bool(plan.layer.requires_grad)
    return replace(call, requires_grad=call.requires_grad or grows)


def _calls(call: CallFacts | None) -> int:
    return call.calls if call else 0
