"""Runs with known differences, for tests of comparisons."""

from random import Random

from engine.analysis.conclude import concluded
from engine.records import OperatorTime, PathResult, Profile, Run
from tests.samples import sample_run


def noisy_run(
    fast_ms: float = 5.0, noise: float = 0.005, seed: int = 0, slow_ms: float = 10.0, rounds: int = 20
) -> Run:
    """A concluded run of `slow` and `fast-nested` with uniform noise."""
    draw = Random(seed)

    def samples(ms: float) -> tuple[float, ...]:
        return tuple(ms * draw.uniform(1 - noise, 1 + noise) for _ in range(rounds))

    run = concluded(sample_run(samples(slow_ms), samples(fast_ms)))
    return run.model_copy(update={"id": f"run-{seed}"})


def with_experiment(run: Run, **changes: object) -> Run:
    return run.model_copy(update={"experiment": run.experiment.model_copy(update=changes)})


def with_environment(run: Run, **changes: object) -> Run:
    return run.model_copy(update={"environment": run.environment.model_copy(update=changes)})


def with_threads(run: Run, threads: int) -> Run:
    """A run's threads are those of its environment (engine/alike.py: as_measured)."""
    return with_environment(with_experiment(run, threads=threads), threads=threads)


def elsewhere(run: Run, machine: str = "another") -> Run:
    """The run on another machine with another processor."""
    return with_environment(
        run, machine=machine, cpu="another processor", device_name="another processor", cores=64
    )


def profiled(path: PathResult, **self_ms: float) -> PathResult:
    """The path with this profile; the operators' times are twice as long under the profiler."""
    ops = tuple(
        OperatorTime(name=f"aten::{name}", calls=1, self_ms=2 * ms, total_ms=3 * ms, share=0.0)
        for name, ms in self_ms.items()
    )
    return path.model_copy(
        update={"profile": Profile(iterations=10, overhead=2.0, ops=ops), "median_ms": sum(self_ms.values())}
    )


def with_profile(run: Run, name: str, **self_ms: float) -> Run:
    """The run in which this path has this profile and a median of the sum of its times."""
    paths = tuple(profiled(path, **self_ms) if path.name == name else path for path in run.paths)
    return run.model_copy(update={"paths": paths})
