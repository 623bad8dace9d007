"""A condition of torch's fastpath, and how it is judged from plain facts; imports no torch.

If torch versions differ, a condition names the first version that checks it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from engine.diagnosis import Part
from engine.eligibility.facts import (
    AttentionFacts,
    CallFacts,
    EncoderFacts,
    LayerFacts,
    SettingFacts,
)

Module = TypeVar("Module", EncoderFacts, LayerFacts, AttentionFacts)

Version = tuple[int, int]
OLDEST: Version = (2, 3)
SUPPORTED_DEVICES = {"cpu", "cuda", "privateuseone"}
XPU_SINCE: Version = (2, 10)
HOOKS_SINCE: Version = (2, 5)
COMPILING_SINCE: Version = (2, 10)


@dataclass(frozen=True)
class ConditionInput(Generic[Module]):
    """The input of a condition: a module, its call, and the setting around the call.

    The call is None if the observed forward did not call the module.
    """

    module: Module
    call: CallFacts | None
    setting: SettingFacts


@dataclass(frozen=True)
class TorchCondition(Generic[Module]):
    """One condition that torch checks.

    Attributes:
        key: the name of the condition; its cure is found by it (engine/doctor/cures.py).
        torch_says: the beginning of torch's own reason; empty if torch has none.
        needs: what torch needs, in words.
        why: the reason for the condition, in a sentence.
        met: whether the input fulfils the condition.
        has: what the input has, in words.
        since: the first torch version that checks it.
    """

    key: str
    part: Part
    torch_says: str
    needs: str
    why: str
    met: Callable[[ConditionInput[Module]], bool]
    has: Callable[[ConditionInput[Module]], str]
    since: Version = OLDEST


INFERENCE = "The fastpath is for inference: native code computes no gradients and draws no dropout."
PARAMETER_WHY = "With gradients on, torch must be able to compute them, and the native code cannot."


def supported(devices: Iterable[str], setting: SettingFacts) -> bool:
    """Whether torch has native code for all of these devices."""
    known = SUPPORTED_DEVICES | ({"xpu"} if setting.version >= XPU_SINCE else set())
    return set(devices) <= known


def _gradient_sources(given: ConditionInput[LayerFacts] | ConditionInput[AttentionFacts]) -> tuple[str, ...]:
    source = ("the input",) if given.call and given.call.requires_grad else ()
    return (*source, *given.module.requires_grad)


def gradients_words(given: ConditionInput[LayerFacts] | ConditionInput[AttentionFacts]) -> str:
    """Whether gradients are on, and which tensors would get one."""
    sources = _gradient_sources(given)
    state = "on" if given.setting.gradients else "off"
    if not sources:
        return f"gradients {state}; nothing asks for them"
    return f"gradients {state}; {sources[0]}{f' and {len(sources) - 1} more' if sources[1:] else ''} would get one"


def subclass_words(given: ConditionInput[LayerFacts] | ConditionInput[AttentionFacts]) -> str:
    """Which function mode or tensor subclasses could intercept torch's functions."""
    if given.setting.function_mode:
        return "a torch function mode is active (set_default_device and `with torch.device` set one)"
    if given.call and given.call.tensor_subclass:
        return "the input is a tensor subclass"
    return f"tensor subclasses: {', '.join(given.module.subclasses) or 'none'}"


def plain_tensors(given: ConditionInput[LayerFacts] | ConditionInput[AttentionFacts]) -> bool:
    """Whether nothing can intercept torch's functions: no function mode and no tensor subclass."""
    input_is_subclass = bool(given.call and given.call.tensor_subclass)
    return not (given.setting.function_mode or input_is_subclass or given.module.subclasses)


def shape_words(call: CallFacts | None) -> str:
    """The input's shape, in words."""
    if call is None:
        return "it was not called"
    return f"a nested tensor ({call.nested})" if call.nested else f"an input of shape {call.shape}"


def batched(call: CallFacts | None) -> bool:
    """Whether the input is a batch; True if there was no call."""
    return call is None or bool(call.nested) or len(call.shape) == 3


def masks_with_nested(call: CallFacts | None) -> bool:
    """Whether a nested input comes with a mask."""
    return bool(call and call.nested and (call.mask or call.padding))


def no_gradients_asked(given: ConditionInput[LayerFacts] | ConditionInput[AttentionFacts]) -> bool:
    """Whether no tensor would get a gradient."""
    return not (given.setting.gradients and _gradient_sources(given))


def own_or_torchs(torchs: bool) -> str:
    """Whose forward it is, in words."""
    return "torch's" if torchs else "its own"


def on_off(value: bool) -> str:
    """The state of a switch, in words."""
    return "on" if value else "off"


def asked(
    conditions: tuple[TorchCondition[Module], ...], setting: SettingFacts
) -> tuple[TorchCondition[Module], ...]:
    """The conditions that this version of torch checks."""
    return tuple(condition for condition in conditions if condition.since <= setting.version)


def all_met(conditions: tuple[TorchCondition[Module], ...], given: ConditionInput[Module]) -> bool:
    """Whether the input meets every condition that this version of torch checks."""
    return all(condition.met(given) for condition in asked(conditions, given.setting))
