"""What each cure of a diagnosis gains, in words, and the cures as code."""

from collections.abc import Iterable, Iterator

from engine.diagnosis import (
    SLOW,
    Diagnosis,
    State,
)
from engine.present.words.runs import interval_words, speedup_text


def answer_words(state: State) -> str:
    """Whether a state's answers are right, for a cell of a table."""
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
    """The verdict on a state, for a cell of a table; a state with wrong answers is never recommended."""
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


def baseline_title(diagnosis: Diagnosis) -> str:
    """The title of the state that speedups are measured against; empty where nothing was timed."""
    titles = {state.name: state.title for state in diagnosis.states}
    return titles.get(diagnosis.baseline, "")


def gain_sentence(diagnosis: Diagnosis) -> str:
    """The fastest state with right answers; where none is clearly faster than the baseline, the nearest one."""
    best, baseline = _best(diagnosis), baseline_title(diagnosis)
    if best is None:
        return "No other state with right answers was timed."
    if best.timing and best.timing.verdict == "faster":
        return f"“{best.title}” is the fastest state with right answers: {speedup_cell(best)} against “{baseline}”."
    nearest = f"“{best.title}” comes nearest with {speedup_cell(best)}: {verdict_cell(diagnosis, best)}"
    if diagnosis.state(diagnosis.baseline).offered:
        return f"No state is clearly faster than “{baseline}”; {nearest}."
    return f"“{baseline}” gives wrong answers. Of the states with right answers, {nearest}."


def _best(diagnosis: Diagnosis) -> State | None:
    """The state with the largest speedup, without the baseline and states with wrong answers."""
    timed = {s.name: s.timing.speedup for s in diagnosis.states if s.timing and s.offered}
    timed.pop(diagnosis.baseline, None)
    return diagnosis.state(max(timed, key=lambda name: timed[name])) if timed else None


def all_cures(diagnosis: Diagnosis) -> str:
    """Every cure as one block of code: first those that were tried, in order, then those that were not.

    The cures that were tried end with the last state that gives right answers: a cure may make answers wrong if a
    later one makes them right again. Empty where there is nothing to cure.
    """
    tried = _new(_route(diagnosis), set())
    named = _new(_named_cures(diagnosis), {state.cure for state in diagnosis.states})
    return "\n".join([*tried, *(["# suggested, not tried here:"] if tried and named else []), *named])


def _route(diagnosis: Diagnosis) -> list[str]:
    right = [i for i, state in enumerate(diagnosis.states) if state.offered]
    return [state.cure for state in diagnosis.states[: max(right, default=-1) + 1]]


def _named_cures(diagnosis: Diagnosis) -> Iterator[str]:
    yield from (danger.cure for danger in diagnosis.dangers)
    yield from (check.cure for check in diagnosis.failing)


def _new(cures: Iterable[str], known: set[str]) -> list[str]:
    return [cure for cure in dict.fromkeys(cures) if cure and cure not in known]
