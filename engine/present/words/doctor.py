"""The verdict of a diagnosis in words: what is taken, as predicted and as proved.

The page and the terminal both take their sentences from here. Pure functions.
"""

from dataclasses import dataclass
from typing import Literal

from engine.diagnosis import (
    AS_IT_IS,
    Counts,
    Diagnosis,
    State,
    Taken,
    headline_of,
)

Tone = Literal["good", "middling", "bad"]
_TONES: dict[Taken, Tone] = {
    "taken": "good",
    "partly taken": "middling",
    "not taken": "bad",
    "taken but wrong": "bad",
}
AN_ERROR = "an error"
"""The prediction where the conditions say that the forward raises."""


@dataclass(frozen=True)
class PartStatus:
    """One part of the fastpath: what the conditions predict and what the profile proves."""

    title: str
    proved: str
    predicted: str
    tone: Tone
    agree: bool
    """Whether proof and prediction are equal."""


def as_it_is(diagnosis: Diagnosis) -> State:
    """The state of the model before any cure."""
    return diagnosis.state(AS_IT_IS)


def headline(diagnosis: Diagnosis) -> str:
    """The verdict in one line."""
    state = as_it_is(diagnosis)
    agrees = state.agreement is not None and state.agreement.ok
    return headline_of(diagnosis.verdict, raises=bool(state.proof.error), agrees=agrees)


def explanation(diagnosis: Diagnosis) -> str:
    """The text below the headline; in a diagnosis of an older version it repeats the headline."""
    return diagnosis.explanation or diagnosis.summary


def tone(diagnosis: Diagnosis) -> Tone:
    """How good the verdict is; a fastpath that is taken is only middling if there is a danger."""
    if as_it_is(diagnosis).proof.error:
        return "bad"
    if diagnosis.dangers and diagnosis.verdict == "taken":
        return "middling"
    return _TONES[diagnosis.verdict]


def part_statuses(diagnosis: Diagnosis) -> tuple[PartStatus, PartStatus]:
    """Native MHA and sparsity, predicted and proved."""
    now, padded = as_it_is(diagnosis), _is_padded(diagnosis)
    return _native_mha(now, diagnosis.layers), _sparsity(now, padded)


def _is_padded(diagnosis: Diagnosis) -> bool:
    """Whether the batch has padding; true where that is not known."""
    return diagnosis.sparsity is None or diagnosis.sparsity.padding_ratio > 0


def _native_mha(state: State, layers: int) -> PartStatus:
    seen, expected = state.proof.counts, state.prediction.counts
    return PartStatus(
        title="Native MHA",
        proved=native_words(seen, layers) + _before_error(state),
        predicted=native_words(expected, layers) if expected else AN_ERROR,
        tone=_native_tone(state, layers),
        agree=_agree(state, "fused_layers", "native_attentions"),
    )


def _sparsity(state: State, padded: bool) -> PartStatus:
    nested, expected = state.proof.counts.nested_conversions, state.prediction.counts
    return PartStatus(
        title="Sparsity",
        proved=nested_words(nested, padded) + _before_error(state),
        predicted=nested_words(expected.nested_conversions, padded) if expected else AN_ERROR,
        tone=_sparsity_tone(state, padded),
        agree=_agree(state, "nested_conversions"),
    )


def _native_tone(state: State, layers: int) -> Tone:
    seen = state.proof.counts
    if state.proof.error or not (seen.fused_layers or seen.native_attentions):
        return "bad"
    return "good" if seen.fused_layers >= layers else "middling"


def _sparsity_tone(state: State, padded: bool) -> Tone:
    if state.proof.error:
        return "bad"
    if state.proof.counts.nested_conversions:
        return "good"
    return "bad" if padded else "middling"


def _before_error(state: State) -> str:
    return ", before the error" if state.proof.error else ""


def prediction_sentence(status: PartStatus) -> str:
    """Prediction and proof of one part, compared."""
    if status.predicted == AN_ERROR:
        return f"Predicted {AN_ERROR}; the forward raised {'it' if status.agree else 'none'}."
    if status.agree:
        return f"Predicted {status.predicted}, and the profile proves it."
    return f"Predicted {status.predicted}; the profile proves {status.proved}."


def _agree(state: State, *names: str) -> bool:
    expected, seen = state.prediction.counts, state.proof.counts
    if expected is None:
        return bool(state.proof.error)
    return all(getattr(expected, name) == getattr(seen, name) for name in names)


def native_words(counts: Counts, layers: int) -> str:
    """How many layers run as one fused operator, and how many attentions are native in layers that do not."""
    alone = counts.native_attentions
    words = [f"{counts.fused_layers} of {layers} layers fused"] if layers else []
    if alone or not layers:
        words.append(f"{alone} native attention{'' if alone == 1 else 's'}")
    return ", ".join(words)


def nested_words(conversions: int, padded: bool) -> str:
    """How many conversions to a nested tensor a forward makes, and whether padding is computed."""
    words = f"{conversions} nested conversion{'' if conversions == 1 else 's'}"
    if not padded:
        return f"{words}, and no padding to leave out"
    return f"{words}: padding {'left out' if conversions else 'computed'}"


def states_caption(diagnosis: Diagnosis) -> str:
    """What the chart of states shows; it names an interval and a noise band only where there are enough rounds."""
    known = any(state.timing and state.timing.speedup_ci95 for state in diagnosis.states)
    interval = (
        " with its 95 % interval" if known else f"; {diagnosis.rounds} rounds are too few for an interval"
    )
    band = " Grey band: noise, the baseline measured against itself." if diagnosis.noise_floor.ci95 else ""
    return f"Each cure is applied to a copy, on top of the ones before. Bars: median speedup{interval}.{band}"


def conditions_sentence(diagnosis: Diagnosis) -> str:
    """The machine of an examination, and its number of rounds."""
    env = diagnosis.environment
    machine = f"{env.device_name}, {env.threads} of {env.cores} threads, torch {env.torch}"
    if not diagnosis.rounds:
        return f"{machine}; nothing was timed."
    return f"{machine}; {diagnosis.rounds} rounds, {diagnosis.stop_reason}."
