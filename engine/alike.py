"""When two experiments are the same: all fields of an experiment that decide its answer, in one place.

The store, the pages and comparisons of runs use this. A test fails if a field of `Experiment` is in none of the lists.
"""

import json
from collections.abc import Collection
from hashlib import sha256

from engine.records import Experiment, Run

SETUP = ("model", "texts", "device", "dtype", "threads", "baseline", "allocator")
"""What is run, and under which conditions: two runs can be compared if these are equal."""
CHOICE = ("paths", "iterations")
"""What users also choose: which paths, and how many rounds."""
EFFORT = ("budget_s",)
"""How long rounds may take at most."""
SAME_QUESTION = (*SETUP, *CHOICE, *EFFORT)
"""Everything that must be equal, so that a stored run answers an experiment."""
ORDER_ONLY = ("seed",)
"""Fields that decide only the order of the rounds, not the answer.

Of the batch, only its texts decide the answer, or how it was made.
"""


def facts_of(experiment: Experiment) -> dict[str, object]:
    """The values that decide an experiment's answer, by the names in SAME_QUESTION.

    `threads` is taken as it is: `with_threads` (engine/host.py) sets it first if it is None.
    """
    return {
        **experiment.model_dump(include=set(SAME_QUESTION)),
        "texts": experiment.batch.made.model_dump() if experiment.batch.made else experiment.batch.texts,
        "paths": tuple(sorted(experiment.paths)),
    }


def differing(a: Experiment, b: Experiment, names: Collection[str] = SAME_QUESTION) -> tuple[str, ...]:
    """The names of the values in which two experiments differ."""
    first, second = facts_of(a), facts_of(b)
    return tuple(name for name in names if first[name] != second[name])


def as_measured(run: Run) -> Experiment:
    """A run's experiment with the threads it had; the oldest runs have these in their environment only."""
    return run.experiment.model_copy(update={"threads": run.environment.threads})


def experiment_key(experiment: Experiment) -> str:
    """Hash of everything that decides an experiment's answer.

    "system" is left out of the hash, so that it equals the keys from before the field `allocator` existed.
    """
    facts = facts_of(experiment)
    if experiment.allocator == "system":
        del facts["allocator"]
    return key_of(facts)


def key_of(facts: dict[str, object]) -> str:
    """Hash of named values."""
    return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
