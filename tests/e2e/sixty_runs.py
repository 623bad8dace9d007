"""Sixty runs of different kinds, as a laboratory has them after some weeks: for lists, filters and pictures."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path
from random import Random

from engine.analysis.conclude import concluded
from engine.catalog.batches import PRESETS
from engine.catalog.models import CATALOG
from engine.records import Run, read_run

MODELS, BATCHES = (
    ("minilm", "xlmr-base", "roberta-base"),
    ("tutorial-small", "tutorial-big", "mixed", "skewed-64"),
)
MACHINES, ALLOCATORS = ("lab-1", "lab-2"), ("kept", "system")
REPETITIONS, SPREAD_MINUTES = 2, 977


def sixty_runs(now: datetime) -> Iterator[Run]:
    """The newest is measured 5 minutes before `now`; each experiment is measured twice on a machine, but for some."""
    sample = read_run((Path(__file__).parents[1] / "data" / "run_minilm_tutorial_big.json").read_bytes())
    random = Random(12)
    kinds = [*product(range(REPETITIONS), MODELS, BATCHES, MACHINES, ALLOCATORS)][:60]
    random.shuffle(kinds)
    for number, (_, model, batch, machine, allocator) in enumerate(kinds):
        changes = {
            "id": f"{random.getrandbits(48):012x}",
            "created_at": now - timedelta(minutes=5 + number * SPREAD_MINUTES),
            "title": f"{CATALOG[model].title}, {batch}, cpu fp32",
            "experiment": sample.experiment.model_copy(
                update={"model": model, "batch": PRESETS[batch], "allocator": allocator}
            ),
            "environment": sample.environment.model_copy(update={"machine": machine}),
        }
        yield concluded(_with_gains(sample.model_copy(update=changes), random))


def _with_gains(run: Run, random: Random) -> Run:
    """Another day's figures; a third of the runs measured native MHA alone not at all."""
    left_out = {"fast-mha"} if random.random() < 1 / 3 else set()
    paths = [path for path in run.paths if path.name not in left_out]
    for place, path in enumerate(paths):
        factor = 1.0 if path.name == run.experiment.baseline else random.choice((0.6, 0.9, 1.0, 1.2))
        samples = tuple(ms * factor * random.uniform(0.97, 1.03) for ms in path.samples_ms)
        paths[place] = path.model_copy(update={"samples_ms": samples})
    experiment = run.experiment.model_copy(update={"paths": tuple(path.name for path in paths)})
    return run.model_copy(update={"paths": tuple(paths), "experiment": experiment})
