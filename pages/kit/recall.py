"""Answers from the store: the same experiment on the same machine and build is not measured again."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from engine.catalog.models import CATALOG
from engine.errors import Refusal
from engine.host import this_host, this_machine, with_threads
from engine.present.words.ages import age_words
from engine.records import Allocator, Experiment, Run
from engine.store.derived import build_key
from engine.store.store import the_store

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recalled:
    """A stored run that answers an experiment, and a sentence on its age."""

    run: Run
    sentence: str


def build_here(allocator: Allocator) -> str:
    """Key of this machine and its current build, for a child with this allocator."""
    return build_key(this_host(allocator))


def recall(experiment: Experiment, build: str, now: datetime | None = None) -> Recalled | None:
    """The stored run of this experiment on this build; None where it has to be measured.

    A run of a busy machine is not used, and a continued run is not used where a number of rounds is asked for. If
    the store does not work, that is logged and the experiment is measured.

    Args:
        build: key of the machine that would measure; `build_here` for this one.
        now: with a time zone.
    """
    try:
        run = the_store().find_same(with_threads(experiment), build)
    except Refusal as refusal:
        LOG.warning("nothing is recalled: %s", refusal)
        return None
    if run is None or not run.environment.quiet or not is_same_model(experiment.model, run.created_at):
        return None
    if experiment.iterations and run.looks > 1:
        return None
    return Recalled(run, recalled_sentence(run, now or datetime.now(UTC)))


def recalled_sentence(run: Run, now: datetime) -> str:
    """How old a stored answer is, where it was measured, and that nothing was measured now."""
    machine = run.environment.machine
    where = "this machine" if machine == this_machine() else (machine or "an unnamed machine")
    return f"Measured {age_words(run.created_at, now)} on {where}; nothing was measured again."


def is_same_model(name: str, measured_at: datetime) -> bool:
    """Whether this name still stands for the same model as then.

    A model of the catalogue does. A folder does if none of its files was written since. A model on the hub may have
    changed.
    """
    if name in CATALOG:
        return True
    folder = Path(name)
    try:
        written_s = [file.stat().st_mtime for file in folder.iterdir()] if folder.is_dir() else []
    except OSError:
        return False
    return bool(written_s) and max(written_s) < measured_at.timestamp()
