"""A diagnosis in sentences: what is taken, what stands in the way, what the cures bring. Pure functions.

The page and the terminal say the same, because both take their words from here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from engine.analysis.crossover import Pays, where_it_pays
from engine.diagnosis import (
    AS_IT_IS,
    SLOW,
    Check,
    Counts,
    Crossover,
    Danger,
    Diagnosis,
    Effect,
    Part,
    Sparsity,
    State,
    Taken,
)
from engine.present.words.ages import age_words
from engine.present.words.runs import interval_words, speedup_text

Tone = Literal["good", "middling", "bad"]

PARTS: tuple[Part, ...] = ("native MHA", "sparsity", "attention")
PART_TITLES: dict[Part, str] = {
    "native MHA": "Native MHA",
    "sparsity": "Sparsity",
    "attention": "Native attention alone",
}
EFFECT_TITLES: dict[Effect, str] = {
    "wrong": "Silently wrong",
    "not a number": "Not a number",
    "error": "Ends with an error",
    "ignored": "Has no effect",
}
_HEADLINES: dict[Taken, str] = {
    "taken": "The fastpath is taken",
    "partly taken": "The fastpath is partly taken",
    "not taken": "The fastpath is not taken",
    "taken but wrong": "The fastpath is taken and its answer is wrong",
}
_TONES: dict[Taken, Tone] = {
    "taken": "good",
    "partly taken": "middling",
    "not taken": "bad",
    "taken but wrong": "bad",
}


AN_ERROR = "an error"
"""What is predicted where the conditions say that the forward raises."""


@dataclass(frozen=True)
class PartStatus:
    """One part of the fastpath on one line: what the conditions predict and what the profile proves."""

    title: str
    proved: str
    predicted: str
    tone: Tone
    agree: bool
    """Whether proof and prediction say the same."""


def as_it_is(diagnosis: Diagnosis) -> State:
    """The model as it was brought in."""
    return diagnosis.state(AS_IT_IS)


def headline(diagnosis: Diagnosis) -> str:
    """The verdict in a line."""
    if as_it_is(diagnosis).proof.error:
        return "The forward ends with an error"
    return _HEADLINES[diagnosis.verdict]


def explanation(diagnosis: Diagnosis) -> str:
    """The summary without the headline that it may begin with, for a place below the headline."""
    rest = diagnosis.summary.removeprefix(headline(diagnosis)).lstrip(".:, ")
    return f"{rest[:1].upper()}{rest[1:]}"


def tone(diagnosis: Diagnosis) -> Tone:
    """How good the verdict is; a danger spoils even a fastpath that is taken."""
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
    """Whether there is padding to leave out, as far as is known."""
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
    """Prediction and proof of one part, held against each other."""
    if status.predicted == AN_ERROR:
        return f"Predicted {AN_ERROR}, and {'so it came' if status.agree else 'none came'}."
    if status.agree:
        return f"Predicted {status.predicted}, and the profile proves it."
    return f"Predicted {status.predicted}; the profile proves {status.proved}."


def _agree(state: State, *names: str) -> bool:
    expected, seen = state.prediction.counts, state.proof.counts
    if expected is None:
        return bool(state.proof.error)
    return all(getattr(expected, name) == getattr(seen, name) for name in names)


def native_words(counts: Counts, layers: int) -> str:
    """How many layers run as one operator, and how many attentions are native where their layer is not."""
    alone = counts.native_attentions
    words = [f"{counts.fused_layers} of {layers} layers fused"] if layers else []
    if alone or not layers:
        words.append(f"{alone} native attention{'' if alone == 1 else 's'}")
    return ", ".join(words)


def nested_words(conversions: int, padded: bool) -> str:
    """How often padding is taken out in a forward, and what that means for a batch with padding."""
    words = f"{conversions} nested conversion{'' if conversions == 1 else 's'}"
    if not padded:
        return f"{words}, and no padding to leave out"
    return f"{words}: padding {'left out' if conversions else 'computed'}"


def where_words(check: Check, layers: int) -> str:
    """Where a condition fails: the module, and which of its layers."""
    failing = check.failing_layers
    if not failing:
        return check.module
    if len(failing) == layers and layers > 1:
        return f"{check.module}, all {layers} layers"
    return f"{check.module}, layer{'' if len(failing) == 1 else 's'} {_ranges(failing)}"


def _ranges(numbers: Iterable[int]) -> str:
    """Numbers with runs drawn together: 0 to 3, 5."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


@dataclass(frozen=True)
class Obstacle:
    """What stands in the way once, although several parts of the fastpath check it.

    Attributes:
        check: the condition as the most important of those parts tells it.
        parts: every part that it keeps from being taken.
        torch_says: torch's own words, of every part that has other ones.
    """

    check: Check
    parts: tuple[Part, ...]
    torch_says: tuple[str, ...]


def obstacles(diagnosis: Diagnosis) -> tuple[Obstacle, ...]:
    """What keeps layers from being fused or padding from being left out, each thing once.

    Conditions of the native attention alone are left out where the model has layers: they only matter as long as
    a layer is not fused.
    """
    alike: dict[tuple[str, str], list[Check]] = {}
    for check in sorted(diagnosis.failing, key=lambda check: PARTS.index(check.part)):
        alike.setdefault((check.needs, check.cure), []).append(check)
    found = (_obstacle(checks) for checks in alike.values())
    return tuple(one for one in found if one.parts != ("attention",) or not diagnosis.layers)


def _obstacle(checks: list[Check]) -> Obstacle:
    parts = dict.fromkeys(check.part for check in checks)
    says = dict.fromkeys(check.torch_says for check in checks if check.torch_says)
    return Obstacle(checks[0], tuple(parts), tuple(says))


def torch_knew(obstacle: Obstacle) -> str:
    """What torch said to itself; empty where it said nothing."""
    quoted = [f"“{words}”" for words in obstacle.torch_says]
    return f"torch knew: {', '.join(quoted)}" if quoted else ""


def sorted_dangers(diagnosis: Diagnosis) -> list[Danger]:
    """The dangers, what is silently wrong first."""
    return sorted(diagnosis.dangers, key=lambda danger: list(EFFECT_TITLES).index(danger.effect))


def passing_sentence(diagnosis: Diagnosis) -> str:
    """How many conditions are met."""
    total = len(diagnosis.checks)
    met = total - len(diagnosis.failing)
    return f"All {total} conditions are met" if met == total else f"{met} of {total} conditions are met"


def answer_words(state: State) -> str:
    """Whether a state's answers are right, in a few words for a cell of a table."""
    if state.name == SLOW:
        return "the reference"
    if state.proof.error:
        return f"none: {state.proof.error}"
    if state.agreement is None:
        return "nothing to compare"
    if not state.agreement.ok:
        return f"no, {_off(state.agreement.max_abs_error)}"
    if state.drift is not None and not state.drift.ok:
        return f"yes, but the cure changes them: {_off(state.drift.max_abs_error)}"
    return (
        f"yes, within {state.agreement.max_abs_error:.1e}"
        if state.agreement.max_abs_error
        else "yes, exactly"
    )


def _off(error: float | None) -> str:
    return "not a number" if error is None else f"off by {error:.2g}"


def verdict_cell(diagnosis: Diagnosis, state: State) -> str:
    """The verdict on a state in a word or two; a state that is not offered is never recommended."""
    if state.proof.error:
        return "raises, not recommended"
    if not state.offered:
        return "wrong results, not recommended"
    if state.timing is None:
        return "not timed"
    if state.name == diagnosis.baseline:
        return "baseline"
    return state.timing.verdict or "not sure"


def speedup_cell(state: State) -> str:
    """The speedup with its interval; empty where nothing was timed."""
    if state.timing is None:
        return ""
    interval = f" ({interval_words(state.timing.speedup_ci95)})" if state.timing.speedup_ci95 else ""
    return f"{speedup_text(state.timing.speedup)}{interval}"


def states_caption(diagnosis: Diagnosis) -> str:
    """What the chart of states shows; nothing of an interval or a band where there are too few rounds for them."""
    known = any(state.timing and state.timing.speedup_ci95 for state in diagnosis.states)
    interval = (
        " with its 95 % interval" if known else f"; {diagnosis.rounds} rounds are too few for an interval"
    )
    band = " Grey band: noise, the baseline measured against itself." if diagnosis.noise_floor.ci95 else ""
    return f"Each cure is applied to a copy, on top of the ones before. Bars: median speedup{interval}.{band}"


def baseline_title(diagnosis: Diagnosis) -> str:
    """The name of the state that speedups are against; empty where nothing was timed."""
    titles = {state.name: state.title for state in diagnosis.states}
    return titles.get(diagnosis.baseline, "")


def gain_sentence(diagnosis: Diagnosis) -> str:
    """What is faster than the baseline for sure, and gives right answers; where nothing is, what comes nearest."""
    best, baseline = _best(diagnosis), baseline_title(diagnosis)
    if best is None:
        return "Nothing else with right answers was timed."
    if best.timing and best.timing.verdict == "faster":
        return (
            f"“{best.title}” is the fastest way to a right answer: {speedup_cell(best)} against “{baseline}”."
        )
    nearest = f"“{best.title}” comes nearest with {speedup_cell(best)}: {verdict_cell(diagnosis, best)}"
    if diagnosis.state(diagnosis.baseline).offered:
        return f"Nothing that was tried is faster than “{baseline}” for sure; {nearest}."
    return f"“{baseline}” gives no right answer. Of what does, {nearest}."


def _best(diagnosis: Diagnosis) -> State | None:
    """The state with the largest speedup, the baseline and those with wrong answers aside."""
    timed = {s.name: s.timing.speedup for s in diagnosis.states if s.timing and s.offered}
    timed.pop(diagnosis.baseline, None)
    return diagnosis.state(max(timed, key=lambda name: timed[name])) if timed else None


def all_cures(diagnosis: Diagnosis) -> str:
    """Every cure as one block of code: those that were tried, in their order, then those that were only named.

    The block ends with the last state that gives right answers: what made them wrong may come before the cure that
    mends it, and never after. Empty where there is nothing to cure.
    """
    tried = _new(_route(diagnosis), set())
    named = _new(_named_cures(diagnosis), {state.cure for state in diagnosis.states})
    return "\n".join([*tried, *(["# named, and not tried here:"] if tried and named else []), *named])


def _route(diagnosis: Diagnosis) -> list[str]:
    right = [i for i, state in enumerate(diagnosis.states) if state.offered]
    return [state.cure for state in diagnosis.states[: max(right, default=-1) + 1]]


def _named_cures(diagnosis: Diagnosis) -> Iterator[str]:
    yield from (danger.cure for danger in diagnosis.dangers)
    yield from (check.cure for check in diagnosis.failing)


def _new(cures: Iterable[str], known: set[str]) -> list[str]:
    return [cure for cure in dict.fromkeys(cures) if cure and cure not in known]


def sparsity_sentence(sparsity: Sparsity) -> str:
    """How much padding there is, what leaving it out could give, and what it gives."""
    could = (
        f"{sparsity.real_tokens:,} of {sparsity.all_tokens:,} tokens are real, {sparsity.padding_ratio:.0%} is "
        f"padding: if padding cost nothing, a forward would be {speedup_text(sparsity.bound)} as fast."
    )
    if sparsity.measured is None:
        return f"{could} Sparsity was not measured here."
    interval = interval_words(sparsity.measured.speedup_ci95)
    seen = f"{speedup_text(sparsity.measured.speedup)}{f' ({interval})' if interval else ''}"
    return f"{could} Measured: {seen}, {sparsity.measured.verdict or 'not sure'}."


def crossover_sentence(crossover: Crossover, padding_ratio: float) -> str:
    """From how much padding on sparsity pays, as far as the sweep's verdicts are clear, and where this batch lies.

    Args:
        padding_ratio: of the examined batch.
    """
    pays = where_it_pays(crossover.all_points)
    rows, length = crossover.shape
    return (
        f"For batches of {rows} x {length} tokens on this machine: {_pays_words(pays)}{_open_words(pays)}. "
        f"{_batch_words(pays, padding_ratio)}"
    ).strip()


def _pays_words(pays: Pays) -> str:
    low, high = _percent(pays.not_faster_up_to), _percent(pays.faster_from)
    return {
        "always": "sparsity pays at every padding ratio that was tried",
        "between": f"sparsity pays from between {low} and {high} padding on",
        "from": f"sparsity pays from {high} padding on at the latest",
        "never": "sparsity does not pay at any padding ratio that was tried",
        "up to": f"sparsity does not pay at {low} padding",
        "contradictory": (
            f"sparsity is faster at {high} padding and not at {low}; more padding should not make it worse, so no "
            "crossover is stated"
        ),
        "imprecise": "the sweep is not precise enough to tell where sparsity pays",
    }[pays.kind]


def _open_words(pays: Pays) -> str:
    """Where the sweep gives no clear verdict, as far as the rest of the sentence does not say it."""
    if pays.kind == "imprecise" or not pays.open_ratios:
        return ""
    return f"; not sure at {', '.join(map(_percent, pays.open_ratios))}"


def _batch_words(pays: Pays, padding_ratio: float) -> str:
    if pays.kind != "between" or pays.not_faster_up_to is None or pays.faster_from is None:
        return f"This batch has {padding_ratio:.0%} padding."
    if padding_ratio >= pays.faster_from:
        return f"This batch has more, {padding_ratio:.0%}."
    if padding_ratio <= pays.not_faster_up_to:
        return f"This batch has less, {padding_ratio:.0%}."
    return f"This batch lies between, at {padding_ratio:.0%}."


def _percent(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.0%}"


def crossover_age(crossover: Crossover, now: datetime) -> str:
    """Whether the sweep was made for this examination, or how old it is.

    Args:
        now: with a time zone.
    """
    if not crossover.cached:
        return "Measured in this examination."
    return f"Measured {age_words(crossover.measured_at, now)} and kept since."


def conditions_sentence(diagnosis: Diagnosis) -> str:
    """On what the model was examined, and how often the clock ran."""
    env = diagnosis.environment
    machine = f"{env.device_name}, {env.threads} of {env.cores} threads, torch {env.torch}"
    if not diagnosis.rounds:
        return f"{machine}; nothing was timed."
    return f"{machine}; {diagnosis.rounds} rounds, {diagnosis.stop_reason}."
