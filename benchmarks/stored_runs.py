"""Runs as a store of several machines and models has them after a year, all different, made from one measured run."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from engine.analysis.recommend import fastest_path
from engine.catalog.batches import PRESETS
from engine.records import Batch, PathResult, Run, VerdictWord, read_run

TEMPLATE = Path(__file__).parents[1] / "tests" / "data" / "run_minilm_tutorial_big.json"
MODELS = ("minilm", "xlmr-base", "xlmr-large", "roberta-base", "sentence-transformers/all-mpnet-base-v2")
BATCHES = (*PRESETS, "my texts", "queries of Monday", "support tickets, 2026")
PATHS = ("fast-mha", "fast-nested", "packed", "bucketed", "compile", "onnxruntime", "openvino", "hf-sdpa")
MACHINES = ("laptop", "lab-1", "lab-2", "gpu box", "")
TAGS = ("baseline", "before the change", "after the change", "ticket 7", "amx", "nightly", "keep")
VERDICTS: tuple[VerdictWord, ...] = ("faster", "slower", "same", "not sure")
NOTE = "Measured after the driver's update, with the governor set to performance; compare with last week's."
NEWEST = datetime(2026, 11, 28, tzinfo=UTC)
BETWEEN = timedelta(minutes=53)


def stored_runs(count: int, random: Random) -> Iterator[Run]:
    """So many runs, oldest first."""
    template = read_run(TEMPLATE.read_bytes())
    for number in range(count):
        yield _varied(template, number, NEWEST - BETWEEN * (count - number), random)


def added_by_user(random: Random) -> dict[str, object]:
    """What a user adds to a run, for `Store.annotate`: mostly nothing."""
    if random.random() < 0.7:
        return {}
    tags = tuple(random.sample(TAGS, random.choice((1, 1, 2))))
    return {"tags": tags, **({"note": NOTE} if random.random() < 0.3 else {})}


def _varied(template: Run, number: int, created_at: datetime, random: Random) -> Run:
    model, batch = random.choice(MODELS), _batch(template.experiment.batch, random.choice(BATCHES))
    names = ("slow", *random.sample(PATHS, random.randint(1, 5)))
    changes = {
        "model": model,
        "batch": batch,
        "paths": names,
        "device": random.choice(("cpu", "cpu", "cpu", "cuda")),
        "dtype": random.choice(("fp32", "fp32", "bf16")),
        "allocator": random.choice(("kept", "kept", "system")),
        "threads": random.choice((2, 4, 8)),
    }
    paths = (template.baseline, *(_path(template, name, random) for name in names[1:]))
    run = template.model_copy(
        update={
            "id": f"{number:06d}{random.randbytes(3).hex()}",
            "created_at": created_at,
            "title": f"{model}, {batch.name}, {changes['device']} {changes['dtype']}",
            "experiment": template.experiment.model_copy(update=changes),
            "environment": template.environment.model_copy(update={"machine": random.choice(MACHINES)}),
            "paths": paths,
        }
    )
    assert fastest_path(run) is not None
    return run


def _batch(template: Batch, name: str) -> Batch:
    own = {"name": name, "texts": (name, *template.texts[1:])}
    return PRESETS.get(name) or template.model_copy(update=own)


def _path(template: Run, name: str, random: Random) -> PathResult:
    measured = template.path("fast-nested")
    speedup = random.lognormvariate(0.3, 0.4)
    return measured.model_copy(
        update={
            "name": name,
            "speedup": speedup,
            "speedup_ci95": (speedup * 0.98, speedup * 1.02),
            "verdict": random.choice(VERDICTS),
        }
    )
