"""What this version says about a run whose stored conclusions are others: of an older rule, or of an edited file."""

from engine.analysis.conclude import concluded, concludes_alike
from engine.present.words.runs import path_noun, sentence_case, speedup_text
from engine.records import PathResult, Run

MOST_NAMED = 3
"""Paths that are named one by one."""


def judged_again_words(run: Run) -> str:
    """How the run's conclusions differ from those that follow from its samples; empty if they do not differ."""
    again = concluded(run)
    if concludes_alike(run, again):
        return ""
    pairs = [(stored, again.path(stored.name)) for stored in run.paths]
    changed = [_change(stored, now) for stored, now in pairs if _answer(stored) != _answer(now)]
    if not changed:
        return (
            "Its verdicts and speedups follow from its samples; other figures, such as an interval, do not."
        )
    named, left = changed[:MOST_NAMED], len(changed[MOST_NAMED:])
    rest = f"; and {left} more" if left else ""
    return (
        f"From its samples, this version concludes something else. {sentence_case('; '.join(named))}{rest}."
    )


def _change(stored: PathResult, now: PathResult) -> str:
    return f"{path_noun(stored.name)}: {_answer(now)} instead of {_answer(stored)}"


def _answer(path: PathResult) -> str:
    value = f" ({speedup_text(path.speedup)})" if path.speedup is not None else ""
    return f"{path.verdict or 'no verdict'}{value}"
