"""A comparison of runs as Markdown for a pull request. Words from files are escaped, so that they stay words."""

import re
from collections.abc import Iterable, Sequence

from engine.analysis.compare import Comparison, run_letter
from engine.present.words.comparisons import (
    cause_sentence,
    change_header,
    change_rows,
    continues_sentence,
    experiment_sentence,
    headline,
    legend,
    machine_sentence,
    rounds_words,
    state_words,
)

_SPECIAL = re.compile(r"([\\`*_\[\]<#|~$&])")
_MENTION = re.compile(r"(?<![\w@])@(?=\w)")
_ADDRESS = re.compile(r"(?<=\w)://|\bwww\.")
_LEFT = ("path", "run", "verdict")


def comparison_markdown(comparison: Comparison) -> str:
    """What differs, what has changed, and the table of changes."""
    parts = (
        f"### Comparison of {len(comparison.runs)} runs",
        "\n".join(f"- {line}" for line in _conditions(comparison)),
        f"**{escaped(headline(comparison))}**",
        _table(change_header(comparison), change_rows(comparison)),
        escaped(legend(comparison)),
    )
    return "\n\n".join(parts) + "\n"


def _conditions(comparison: Comparison) -> Iterable[str]:
    yield f"**What differs:** {escaped(experiment_sentence(comparison))}"
    yield f"**Machine and build:** {escaped(machine_sentence(comparison))}"
    yield escaped(" ".join(filter(None, (cause_sentence(comparison), continues_sentence(comparison)))))
    for number, run in enumerate(comparison.runs):
        reference = " (reference)" if number == 0 else ""
        words = f"{run.title}, {run.created_at:%Y-%m-%d %H:%M %Z}, {rounds_words(run)}; {state_words(run)}"
        yield f"**{run_letter(number)}**{reference}: {escaped(words)}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---" if name in _LEFT else "--:" for name in header]
    lines = (header, rule, *(tuple(map(escaped, row)) for row in rows))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escaped(words: str) -> str:
    """Words on one line that Markdown shows as they are: they begin no table cell, tag, link or mention."""
    one_line = " ".join(words.split())
    plain = _SPECIAL.sub(r"\\\1", one_line)
    return _ADDRESS.sub(lambda found: f"{found[0][:-1]}\\{found[0][-1]}", _MENTION.sub(r"@<!-- -->", plain))
