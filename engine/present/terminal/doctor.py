"""A diagnosis for a terminal: verdict, dangers, what stands in the way, what each cure gains, the cures as code."""

from collections.abc import Iterable, Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from engine.catalog.modifications import Modification
from engine.diagnosis import Check, Danger, Diagnosis, State
from engine.present.words.doctor import PartStatus, Tone, as_it_is, conditions_sentence, part_statuses, tone
from engine.present.words.doctor_cures import all_cures, answer_words, gain_sentence, verdict_cell
from engine.present.words.doctor_obstacles import (
    EFFECT_TITLES,
    LATER_DANGERS,
    PART_TITLES,
    PARTS,
    passing_sentence,
    sorted_dangers,
    where_words,
)
from engine.present.words.doctor_sparsity import crossover_age, crossover_sentence, sparsity_sentence
from engine.present.words.runs import batch_sentence, interval_words, speedup_text

_STYLES: dict[Tone, str] = {"good": "bold green", "middling": "bold yellow", "bad": "bold red"}
_Facts = Iterable[tuple[str, str]]


def doctor_report(diagnosis: Diagnosis, *, every_condition: bool = False) -> RenderableType:
    """Everything the doctor found, the most important first.

    Lines of code may be longer than the terminal is wide: print with `crop=False`.

    Args:
        every_condition: show the conditions that are met as well.
    """
    return Group(
        Text(diagnosis.title, style="bold"),
        *map(Text, _examined(diagnosis)),
        Text(diagnosis.summary, style=_STYLES[tone(diagnosis)]),
        *map(_part, part_statuses(diagnosis)),
        *map(_danger, sorted_dangers(diagnosis)),
        *(Text(f"\nPrediction and proof disagree: {finding}", "yellow") for finding in diagnosis.findings),
        *_in_the_way(diagnosis),
        *_later_dangers(diagnosis),
        *([conditions_table(diagnosis)] if every_condition else []),
        *_gains(diagnosis),
        *_cures(diagnosis),
        Text(f"\n{conditions_sentence(diagnosis)}", style="dim"),
    )


def modifications_table(modifications: Iterable[Modification]) -> Table:
    """The modifications that can be made to a model before it is examined."""
    table = _table("name", "what it is", "as code")
    for modification in modifications:
        table.add_row(modification.name, Text(modification.title), Text(modification.code))
    return table


def conditions_table(diagnosis: Diagnosis) -> Table:
    """Every condition by part, in torch's order: whether it is met, what it needs, and what it finds."""
    table = _table("condition", "part", "met", "needs", "has")
    for part, title in PART_TITLES.items():
        for check in (check for check in diagnosis.checks if check.part == part):
            met = Text("yes") if check.ok else Text("no", "bold red")
            table.add_row(Text(check.key), title, met, Text(check.needs), Text(check.has))
        table.add_section()
    return table


def states_table(diagnosis: Diagnosis) -> Table:
    """One row per state: the slow path, the model as it is, then each cure added to the ones before."""
    figures = ("median", "speedup") if diagnosis.rounds else ()
    table = _table("state", *_counted(diagnosis), "right answers?", *figures, "verdict")
    # No rules between columns: the cures need the width.
    table.box, table.padding, table.show_edge = box.SIMPLE_HEAD, (0, 1, 0, 0), False
    for state in diagnosis.states:
        counts = state.proof.counts.model_dump()
        counted = (words.format(counts[count]) for count, words in _counted(diagnosis).values())
        timed = _figures(diagnosis, state) if diagnosis.rounds else ()
        cells = (*counted, answer_words(state), *timed, verdict_cell(diagnosis, state))
        table.add_row(_title(state), *map(Text, cells), style=None if state.offered else "red")
    return table


def _examined(diagnosis: Diagnosis) -> Iterator[str]:
    batch = diagnosis.batch
    if batch is not None and batch.lengths:
        yield batch_sentence(batch.lengths, batch.padding_ratio or 0.0, batch.truncated)
    if diagnosis.modifications:
        yield f"Modified on purpose: {', '.join(diagnosis.modifications)}."


def _part(status: PartStatus) -> Text:
    differs = "" if status.agree else " (they differ; the profile is right)"
    return Text(
        f"{status.title}: predicted {status.predicted}; proved {status.proved}{differs}", _STYLES[status.tone]
    )


def _danger(danger: Danger) -> RenderableType:
    title = f"{EFFECT_TITLES[danger.effect]}: {danger.key} ({danger.module})"
    return _titled(
        Text(title, style="bold red"), (("has", danger.has), ("why", danger.why), ("cure", danger.cure))
    )


def _later_dangers(diagnosis: Diagnosis) -> Iterator[RenderableType]:
    if diagnosis.dangers_after_cures:
        yield _heading(LATER_DANGERS)
    yield from map(_danger, diagnosis.dangers_after_cures)


def _in_the_way(diagnosis: Diagnosis) -> Iterator[RenderableType]:
    failing = [check for check in diagnosis.failing if check.part != "attention" or not diagnosis.layers]
    if failing:
        yield _heading("What stands in the way")
    for first, *others in _by_cure(failing):
        title = f"{_name(first)} ({where_words(first, diagnosis.layers)})"
        yield _titled(Text(title), (*_facts(first), *(("and also", _again(check)) for check in others)))
    if reasons := as_it_is(diagnosis).proof.torch_reasons:
        yield _heading("torch's internal reasons (not logged)")
    for heard in reasons:
        times = "" if heard.calls == 1 else f", {heard.calls} times"
        yield Text(f"{heard.where}{times}: {heard.reason}")
    yield Text(f"\n{passing_sentence(diagnosis)}.")


def _by_cure(failing: Iterable[Check]) -> Iterable[list[Check]]:
    """Conditions in groups with the same cure; the facts of a group are printed once, for its first condition."""
    groups = dict[str, list[Check]]()
    for check in sorted(failing, key=lambda check: PARTS.index(check.part)):
        groups.setdefault(check.cure or check.key, []).append(check)
    return groups.values()


def _name(check: Check) -> str:
    return f"{PART_TITLES[check.part]}: {check.key}"


def _again(check: Check) -> str:
    return f"{_name(check)} “{check.torch_says}”" if check.torch_says else _name(check)


def _facts(check: Check) -> _Facts:
    yield from (("needs", check.needs), ("has", check.has), ("why", check.why))
    yield "cure", check.cure or "no line of code cures this"
    if check.torch_says:
        yield "torch's reason", f"“{check.torch_says}”"


def _titled(title: Text, facts: _Facts) -> RenderableType:
    """A title, and under it indented lines of a keyword and its text."""
    table = Table.grid(padding=(0, 2))
    for word, text in facts:
        table.add_row(Text(word, style="dim"), Text(text, overflow="fold"))
    return Group(Text(), title, Padding(table, (0, 0, 0, 2), expand=False))


def _gains(diagnosis: Diagnosis) -> Iterator[RenderableType]:
    yield _heading("What each cure gains")
    yield states_table(diagnosis)
    if diagnosis.rounds:
        yield Text(gain_sentence(diagnosis))
    yield from (Text(f"Not tried: {reason}") for reason in diagnosis.not_tried)
    if (sparsity := diagnosis.sparsity) is None:
        return
    yield _heading("How much skipping padding can gain")
    yield Text(sparsity_sentence(sparsity))
    if sparsity.crossover is not None:
        yield Text(crossover_sentence(sparsity.crossover, sparsity.padding_ratio))
        yield Text(crossover_age(sparsity.crossover, diagnosis.created_at))


def _counted(diagnosis: Diagnosis) -> dict[str, tuple[str, str]]:
    """The columns for the profiler's counts: the name of the count and its format, by heading.

    Native attention in a layer that is not fused is rare, so it has a column only where it occurs.
    """
    columns = {
        "fused": ("fused_layers", f"{{}} of {diagnosis.layers}"),
        "nested": ("nested_conversions", "{}"),
    }
    if any(state.proof.counts.native_attentions for state in diagnosis.states):
        columns["attention alone"] = ("native_attentions", "{} native")
    return columns


def _title(state: State) -> Text:
    """The state and its cure, without the cure's comment: that is in the code at the end."""
    cure = state.cure.partition("  #")[0]
    return Text.assemble(state.title, (f"\n{cure}" if cure else "", "dim"))


def _figures(diagnosis: Diagnosis, state: State) -> tuple[str, str]:
    """The median, and the speedup with its interval below; the baseline has no speedup."""
    if state.timing is None:
        return "", ""
    median = f"{state.timing.median_ms:.1f} ms"
    if state.name == diagnosis.baseline:
        return median, ""
    speedup, interval = speedup_text(state.timing.speedup), interval_words(state.timing.speedup_ci95)
    return median, f"{speedup}\n{interval}" if interval else speedup


def _cures(diagnosis: Diagnosis) -> Iterator[RenderableType]:
    if code := all_cures(diagnosis):
        yield _heading("All cures together")
        yield Text(code, no_wrap=True, overflow="ignore")


def _heading(words: str) -> RenderableType:
    return Text(f"\n{words}", style="bold")


def _table(*columns: str) -> Table:
    table = Table(expand=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    return table
