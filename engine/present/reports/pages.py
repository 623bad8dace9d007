"""What an HTML report says of each run: sentences, rows of tables and charts, in the order of the page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engine.analysis.conclude import concluded, concludes_alike
from engine.analysis.recommend import fastest_path
from engine.analysis.verdict import MARGIN, RULE_VERSION
from engine.catalog.paths import path_spec
from engine.present.reports.figures import Figure, figures
from engine.present.reports.rows import (
    Row,
    cost_rows,
    environment_rows,
    experiment_rows,
    operator_row,
    path_rows,
)
from engine.present.reports.tables import NOISE_FLOOR
from engine.present.words.allocators import memory_sentence, page_faults_sentence
from engine.present.words.runs import (
    agreement_sentence,
    centre_sentences,
    evidence_sentence,
    interval_words,
    looks_sentence,
    machine_sentence,
    path_title,
    recommendation_sentences,
    sentence_case,
    speedup_text,
    verdict_label,
    verdict_sentence,
)
from engine.records import Conditions, PathResult, Run

MOST_ROUNDS_SHOWN = 300
"""Rounds in the table of a page; the run inside the file has all of them."""
LONGEST_TEXT_SHOWN = 300


@dataclass(frozen=True)
class Proof:
    """What a path's profile proves, and whether its answer agrees."""

    path: str
    colour: str
    word: str
    evidence: str
    agreement: str


@dataclass(frozen=True)
class PathRow:
    """A row of the table of paths, with the path's colour and a word for the colour of its verdict."""

    colour: str
    word: str
    cells: Row


@dataclass(frozen=True)
class Page:
    """One run in a report.

    Attributes:
        figures: charts by the id of their element.
        texts: number, tokens and beginning of each text.
        rounds: columns and rows of the raw rounds, in ms per forward.
        rule: how the run was judged, in sentences.
    """

    run: Run
    anchor: str
    when: str
    word: str
    verdict: str
    choice: Row
    conditions: str
    notes: Row
    paths: tuple[PathRow, ...]
    ratios: Row
    proofs: tuple[Proof, ...]
    costs: tuple[Row, ...]
    figures: dict[str, Figure]
    operators: tuple[Row, ...]
    environment: tuple[Row, ...]
    experiment: tuple[Row, ...]
    texts: tuple[Row, ...]
    rounds: tuple[Row, ...]
    rule: Row

    def figure(self, name: str) -> tuple[str, Figure] | None:
        """The element's id and the chart of this name; None if the run has no such chart."""
        element = self.element(name)
        return (element, self.figures[element]) if element in self.figures else None

    def element(self, name: str) -> str:
        """The id of the element of a chart."""
        return f"{self.anchor}-{name}"


def page_of(run: Run, number: int) -> Page:
    """Everything that a report says of a run.

    Args:
        number: its place in the report, from 1.
    """
    anchor, best = f"run-{number}", fastest_path(run)
    sentences = (machine_sentence(run), memory_sentence(run), page_faults_sentence(run), looks_sentence(run))
    return Page(
        run=run,
        anchor=anchor,
        when=f"{run.created_at:%d %B %Y, %H:%M %Z}".strip(),
        word=_word(best) if best else "baseline",
        verdict=verdict_sentence(run),
        choice=recommendation_sentences(run),
        conditions=" ".join(filter(None, sentences)),
        notes=tuple(f"{sentence_case(note)}." for note in run.environment.notes),
        paths=tuple(
            PathRow(path_spec(path.name).colour, _word(path), cells)
            for path, cells in zip(run.paths, path_rows(run), strict=True)
        ),
        ratios=centre_sentences(run),
        proofs=tuple(_proof(run, path) for path in run.paths if path.status == "ok"),
        costs=tuple(cost_rows(run)),
        figures={f"{anchor}-{name}": figure for name, figure in figures(run).items()},
        operators=tuple(_operators(run)),
        environment=tuple(environment_rows(run)),
        experiment=tuple(experiment_rows(run)),
        texts=tuple(_texts(run)),
        rounds=tuple(_rounds(run)),
        rule=tuple(_rule(run)),
    )


def speedups_side_by_side(runs: Sequence[Run]) -> tuple[Row, ...]:
    """For several runs, each path's speedup over its own run's baseline; the first row has the headings."""
    if len(runs) < 2:
        return ()
    names = list(dict.fromkeys(path.name for run in runs for path in run.paths))
    headings = ("Path", *(f"Run {number}" for number in range(1, len(runs) + 1)))
    return (headings, *((path_title(name), *(_speedup(run, name) for run in runs)) for name in names))


def differences(runs: Sequence[Run]) -> tuple[Row, ...]:
    """For several runs, what differs in their experiments and machines; the first row has the headings."""
    if len(runs) < 2:
        return ()
    facts = [{row[0]: row[1] for row in (*experiment_rows(run), *environment_rows(run))} for run in runs]
    names = dict.fromkeys(name for found in facts for name in found)
    rows = ((name, *(found.get(name, "") for found in facts)) for name in names)
    return (
        ("What", *(f"Run {number}" for number in range(1, len(runs) + 1))),
        *(row for row in rows if len(set(row[1:])) > 1),
    )


def _speedup(run: Run, name: str) -> str:
    path = next((path for path in run.paths if path.name == name), None)
    if path is None:
        return "not measured"
    if path.speedup is None or path.verdict is None:
        return verdict_label(path)
    interval = f" ({interval_words(path.speedup_ci95)})" if path.speedup_ci95 else ""
    return f"{speedup_text(path.speedup)}{interval}, {path.verdict}"


def _word(path: PathResult) -> str:
    return verdict_label(path).replace(" ", "-")


def _proof(run: Run, path: PathResult) -> Proof:
    layers = run.model_card.shape.num_encoder_layers if run.model_card else None
    word = "no profile" if path.evidence is None else "confirmed" if path.evidence.ok else "refuted"
    return Proof(
        path=path_title(path.name),
        colour=path_spec(path.name).colour,
        word=word,
        evidence=evidence_sentence(path, layers),
        agreement=agreement_sentence(run, path),
    )


def _operators(run: Run) -> Iterator[Row]:
    for path in run.paths:
        for op in path.profile.ops if path.profile else ():
            yield (path_title(path.name), *operator_row(op))


def _texts(run: Run) -> Iterator[Row]:
    batch = run.experiment.batch
    lengths = batch.lengths or ("",) * len(batch.texts)
    for number, (text, length) in enumerate(zip(batch.texts, lengths, strict=True), 1):
        shown = text if len(text) <= LONGEST_TEXT_SHOWN else f"{text[:LONGEST_TEXT_SHOWN]}..."
        yield str(number), str(length), shown


def _rounds(run: Run) -> Iterator[Row]:
    """The headings, then one row per round: times in ms per forward, and the state of the machine."""
    timed = [(path_title(path.name), path.samples_ms) for path in run.paths if path.samples_ms]
    if run.noise_floor.samples_ms:
        timed.append((f"{NOISE_FLOOR}", run.noise_floor.samples_ms))
    state = ("Other processes", "Test calculation") if run.conditions else ()
    yield ("Round", *(name for name, _ in timed), *state)
    for i in range(min(run.rounds, MOST_ROUNDS_SHOWN)):
        times = (f"{samples[i]:.3f}" for _, samples in timed)
        yield (str(i + 1), *times, *(_state(run.conditions[i]) if run.conditions else ()))


def _state(condition: Conditions) -> Row:
    others = "" if condition.others_share is None else f"{condition.others_share:.0%}"
    return others, f"{condition.pulse_ms:.2f} ms"


def _rule(run: Run) -> Iterator[str]:
    floor = interval_words(run.noise_floor.ci95)
    again = "the same" if concludes_alike(run, concluded(run)) else "different"
    yield (
        f"Rule, version {RULE_VERSION}: a path is faster or slower if its whole interval is beyond {MARGIN:.0%} and "
        f"beyond the noise floor. It is the same if its whole interval is within {MARGIN:.0%}. Otherwise it is not "
        "sure. The intervals of all paths hold together with 95 %."
    )
    yield f"Noise floor, the baseline against itself: {floor or 'not known, too few rounds'}."
    yield (
        "The conclusions above are those stored with the run. Computed again from its raw rounds by this version of "
        f"the rule, they are {again}."
    )
