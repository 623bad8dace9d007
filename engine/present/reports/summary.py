"""A run as Markdown: the full report, and a short one for a pull request.

A run may be a stranger's file: `plain` keeps its texts from becoming HTML, links or rows of a table.
"""

from collections.abc import Iterable, Iterator, Sequence

from engine.present.reports.rows import (
    COST_COLUMNS,
    OPERATOR_HEADINGS,
    PATH_COLUMNS,
    Row,
    cost_rows,
    operator_row,
    path_rows,
)
from engine.present.words.allocators import memory_sentence
from engine.present.words.roofline import peaks_words, roofline_words, useful_words
from engine.present.words.runs import (
    agreement_sentence,
    batch_sentence,
    centre_sentences,
    evidence_sentence,
    looks_sentence,
    machine_sentence,
    path_title,
    recommendation_sentences,
    verdict_sentence,
)
from engine.records import PathResult, Run

OPERATORS_IN_REPORT = 8
_ESCAPED = {"&": "&amp;", "<": "&lt;", "[": "\\[", "|": "\\|"}


def report_markdown(run: Run) -> str:
    """The run as a Markdown document: verdict, table, proof, operators, and how it was measured."""
    parts = [
        f"# {plain(run.title)}",
        plain(verdict_sentence(run)),
        *map(plain, recommendation_sentences(run)),
        plain(
            f"Measured on {run.created_at:%d %B %Y, %H:%M %Z}. {machine_sentence(run)} {memory_sentence(run)}"
        ),
        *filter(None, (looks_sentence(run),)),
        *(plain(f"Note: {note}.") for note in run.environment.notes),
        "## Paths",
        _table(PATH_COLUMNS, _escaped(path_rows(run))),
        *map(plain, centre_sentences(run)),
        *_costs(run),
        "## Proof",
        _proof(run),
        *_roofline(run),
        f"## Operators\n\nSelf time per forward as profiled, the first {OPERATORS_IN_REPORT} of each path.",
        *(_operators_table(path) for path in run.paths if path.profile),
        "## Experiment",
        _experiment(run),
    ]
    return "\n\n".join(parts) + "\n"


def reports_markdown(runs: Sequence[Run]) -> str:
    """The full reports of several runs, one after another."""
    return "\n---\n\n".join(map(report_markdown, runs))


def pull_request_markdown(runs: Sequence[Run]) -> str:
    """Each run in short: verdict, table, and what proves it in a part that is folded up."""
    return "\n".join(map(_short, runs))


def plain(text: str) -> str:
    """Text as one line of Markdown that shows it as it is."""
    return "".join(_ESCAPED.get(letter, letter) for letter in " ".join(text.split()))


def _short(run: Run) -> str:
    folded = "\n\n".join(
        (
            "<details><summary>Proof and conditions</summary>",
            _proof(run),
            plain(f"{machine_sentence(run)} {memory_sentence(run)}"),
            *(plain(f"Note: {note}.") for note in run.environment.notes),
            plain(f"Run {run.id}, {run.created_at:%d %B %Y, %H:%M %Z}."),
            "</details>",
        )
    )
    parts = [
        f"### {plain(run.title)}",
        f"**{plain(verdict_sentence(run))}**",
        *map(plain, recommendation_sentences(run)),
        _table(PATH_COLUMNS, _escaped(path_rows(run))),
        folded,
    ]
    return "\n\n".join(parts) + "\n"


def _costs(run: Run) -> list[str]:
    """What each path costs besides its time; empty for runs that did not record it."""
    rows = list(cost_rows(run))
    return ["## What each path costs", _table(COST_COLUMNS, _escaped(rows))] if rows else []


def _roofline(run: Run) -> list[str]:
    words = " ".join(filter(None, (roofline_words(run), peaks_words(run))))
    return (
        [f"## How close to this machine's peak\n\n{plain(f'{words} {useful_words(run)}')}"] if words else []
    )


def _proof(run: Run) -> str:
    layers = run.model_card.shape.num_encoder_layers if run.model_card else None
    return "\n".join(
        plain(f"- {path_title(path.name)}: {evidence_sentence(path, layers)} {agreement_sentence(run, path)}")
        for path in run.paths
        if path.status == "ok"
    )


def _operators_table(path: PathResult) -> str:
    assert path.profile is not None  # noqa: S101  (the caller chose profiled paths)
    rows = (operator_row(op) for op in path.profile.ops[:OPERATORS_IN_REPORT])
    coded = ((_code(name), *figures) for name, *figures in rows)
    return f"### {plain(path_title(path.name))}\n\n{_table(OPERATOR_HEADINGS, coded)}"


def _code(text: str) -> str:
    """A name as code in a cell of a table."""
    line = " ".join(text.split()).replace("`", "").replace("|", "\\|")
    return f"`{line}`"


def _experiment(run: Run) -> str:
    experiment, batch = run.experiment, run.experiment.batch
    lines = [f"- Model: {plain(experiment.model)}", f"- Batch: {plain(batch.name)}"]
    if batch.lengths and batch.padding_ratio is not None:
        lines[-1] += f"; {batch_sentence(batch.lengths, batch.padding_ratio, batch.truncated)}"
    lines.append(f"- Device {plain(experiment.device)}, {experiment.dtype}, seed {experiment.seed}")
    return "\n".join(lines)


def _escaped(rows: Iterable[Row]) -> Iterator[Row]:
    return (tuple(map(plain, row)) for row in rows)


def _table(header: Row, rows: Iterable[Row]) -> str:
    """A table; its cells are Markdown already."""
    cells = (header, tuple("---" for _ in header), *rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)
