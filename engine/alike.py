"""When two experiments are the same: every field of an experiment that decides its answer, in one place.

The store, the pages and comparisons of runs all ask here; a field that is in none of the three lists fails a test.
"""

import json
from collections.abc import Collection
from hashlib import sha256

from engine.records import Experiment, Run

SETUP = ("model", "texts", "device", "dtype", "threads", "baseline", "allocator")
"""What is run, and under which conditions: two runs can be compared where these are equal."""
CHOICE = ("paths", "iterations")
"""What people choose besides: which paths, and how many rounds."""
EFFORT = ("budget_s",)
"""How long rounds may take at most."""
SAME_QUESTION = (*SETUP, *CHOICE, *EFFORT)
"""All that must be equal for a stored run to be the answer to an experiment."""
NO_MATTER = ("seed",)
"""Fields that decide the order of the rounds, and not the answer; of the batch, everything but its texts."""


def facts_of(experiment: Experiment) -> dict[str, object]:
    """What decides an experiment's answer, by the names of SAME_QUESTION, as values that can be compared.

    `threads` stands as it is: an experiment that leaves them open is filled in first (engine/host.py).
    """
    return {
        **experiment.model_dump(include=set(SAME_QUESTION)),
        "texts": experiment.batch.texts,
        "paths": tuple(sorted(experiment.paths)),
    }


def differing(a: Experiment, b: Experiment, names: Collection[str] = SAME_QUESTION) -> tuple[str, ...]:
    """The names of the facts in which two experiments differ."""
    first, second = facts_of(a), facts_of(b)
    return tuple(name for name in names if first[name] != second[name])


def as_measured(run: Run) -> Experiment:
    """A run's experiment with the threads it had, which the oldest runs tell in their environment alone."""
    return run.experiment.model_copy(update={"threads": run.environment.threads})


def experiment_key(experiment: Experiment) -> str:
    """Hash of all that decides an experiment's answer.

    Keys of before the allocator was a condition mean the system's, so that it is left out of theirs.
    """
    facts = facts_of(experiment)
    if experiment.allocator == "system":
        del facts["allocator"]
    return key_of(facts)


def key_of(facts: dict[str, object]) -> str:
    """Hash of some facts by name."""
    return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
