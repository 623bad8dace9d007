"""Sweeps whose times follow a simple rule, so that a test knows every verdict."""

from datetime import UTC, datetime

from engine.analysis.conclude import concluded
from engine.records import NoiseFloor, Run
from engine.sweeps import Place, Sweep, SweepCell, SweepPlan, experiment_at, new_sweep
from tests.samples import sample_path, sample_run

ROUNDS = 9
NOW = datetime(2026, 11, 23, tzinfo=UTC)


def a_plan(**changes: object) -> SweepPlan:
    values = {
        "model": "minilm",
        "paths": ("slow", "fast-mha", "fast-nested", "packed"),
        "batch_sizes": (4, 8),
        "lengths": (16, 64),
        "padding": (0.0, 0.3, 0.6),
        **changes,
    }
    return SweepPlan.model_validate(values)


def a_cell_run(plan: SweepPlan, place: Place) -> Run:
    """A run at a place. Native MHA is as fast as the slow path, sparsity costs a tenth and saves the padding.

    Packed execution is twice as fast as sparsity. With 4 texts its rounds differ so much that nothing is sure.
    """
    experiment = experiment_at(plan, place)
    tokens = place.batch_size * place.length / 100
    times = {
        "slow": tokens,
        "fast-mha": tokens,
        "fast-nested": tokens * (1.1 - place.padding),
        "packed": tokens * (1.1 - place.padding) / 2,
    }
    wide = [0.25, 4.0] if place.batch_size == 4 else [1.0]
    samples = {
        name: tuple(ms * (wide[i % len(wide)] if name == "packed" else 1.0) for i in range(ROUNDS))
        for name, ms in times.items()
    }
    base = sample_run()
    fused = {"fast-mha": 6, "fast-nested": 6}
    return concluded(
        base.model_copy(
            update={
                "id": f"run-{place.batch_size}-{place.length}-{place.padding}",
                "experiment": experiment,
                "paths": tuple(
                    sample_path(name, samples[name], fused.get(name, 0)) for name in experiment.paths
                ),
                "noise_floor": NoiseFloor(samples_ms=samples["slow"]),
                "rounds": ROUNDS,
                "stop_reason": f"the limit of {ROUNDS} rounds",
                "order": (),
            }
        )
    )


def a_sweep(cells: int | None = None, **changes: object) -> Sweep:
    """A sweep of which the first cells are complete; all of them by default."""
    plan = a_plan(**changes)
    sweep = new_sweep(plan, "all-MiniLM-L6-v2", NOW)
    for number, place in list(enumerate(plan.places))[:cells]:
        sweep = sweep.with_cell(a_cell(plan, number, place))
    return sweep


def a_cell(plan: SweepPlan, number: int, place: Place) -> SweepCell:
    return SweepCell(number=number, run=a_cell_run(plan, place))
