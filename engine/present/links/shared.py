"""The run that a link carries: a concluded run without its texts and its rounds.

It is a record of another kind than `Run`, because its conclusions cannot be computed again: no store keeps it, and its
page says that it was not measured there. Whoever writes a link writes its figures, so they prove nothing.
"""

from datetime import datetime
from typing import Annotated, Self

from pydantic import Field, model_validator

from engine.analysis.recommend import Recommendation, pick_of
from engine.records import (
    MOST_PATHS,
    MOST_ROUNDS,
    MOST_THREADS,
    Allocator,
    DType,
    Environment,
    Interval,
    NoiseFloor,
    PathResult,
    Record,
)

OTHER_OPERATORS = "all other operators"
"""The row of a profile that holds the sum of the operators that a link leaves out."""

Count = Annotated[int, Field(ge=0, le=10**12)]
Ratio = Annotated[float, Field(gt=0, le=1e9)]
Line = Annotated[str, Field(max_length=300)]
PathName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9@._+-]{0,59}$")]


class SharedBatch(Record):
    """The size of the batch; its texts stay where they are."""

    name: Line
    texts: Count
    shortest: Count
    """Real tokens of the shortest text."""
    longest: Count
    real_tokens: Count
    truncated: Count
    """How many texts were cut to the longest length allowed."""

    @property
    def padding_ratio(self) -> float:
        """Padding tokens / all tokens of the padded batch."""
        return max(0.0, 1 - self.real_tokens / max(1, self.texts * self.longest))


class SharedExperiment(Record):
    """What was asked to be measured."""

    model: Line
    batch: SharedBatch
    device: Line
    dtype: DType
    threads: int | None = Field(None, gt=0, le=MOST_THREADS)
    baseline: PathName
    seed: int = Field(0, ge=0)
    iterations: int | None = Field(None, ge=1, le=1000)
    allocator: Allocator


class SharedModel(Record):
    """The model that was measured; where its files were is left out."""

    title: Line
    checksum: Line
    """The first digits of the checksum of the weights."""
    real_weights: bool
    layers: Count
    parameters: Count


class SharedPath(PathResult):
    """A path's result without its rounds, with narrower bounds: a link may come from anybody."""

    name: PathName
    samples_ms: tuple[()] = ()
    speedup: Ratio | None = None
    speedup_ci95: tuple[Ratio, Ratio] | None = None


class Choice(Record):
    """The names in a recommendation: which paths are as fast can be computed from the rounds only."""

    exact: PathName | None = None
    as_fast: tuple[PathName, ...] = ()
    approximate: PathName | None = None
    gain: Ratio | None = None


class SharedRun(Record):
    """A run from a link; it has the attributes of `engine.findings.Findings`."""

    id: Line
    created_at: datetime
    title: Line
    experiment: SharedExperiment
    model: SharedModel | None = None
    environment: Environment
    """Without the machine's name and without the values of environment variables."""
    paths: tuple[SharedPath, ...] = Field(min_length=1, max_length=MOST_PATHS)
    """Of each profile the operators with a larger share, and `OTHER_OPERATORS`."""
    noise_floor: NoiseFloor
    rounds: int = Field(ge=1, le=MOST_ROUNDS)
    stop_reason: Line
    looks: int = Field(1, ge=1, le=1000)
    choice: Choice | None = None
    """None if nothing was compared with the baseline."""
    smallest_share: float | None = Field(None, ge=0, le=1)
    """Operators with a smaller share of the self time are left out; None if all are."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if wrong := _wrong_paths(self) or _wrong_choice(self):
            raise ValueError(wrong)
        return self

    def path(self, name: str) -> SharedPath:
        """The result of the path of this name.

        Raises:
            KeyError: the run has no such path.
        """
        return {path.name: path for path in self.paths}[name]

    @property
    def baseline(self) -> SharedPath:
        """The result of the baseline, which speedups are relative to."""
        return self.path(self.experiment.baseline)

    @property
    def layers(self) -> int | None:
        """Encoder layers of the model; None where the run kept no model card."""
        return self.model.layers if self.model else None


def _wrong_paths(run: SharedRun) -> str:
    names = [path.name for path in run.paths]
    if len(set(names)) != len(names) or run.experiment.baseline not in names:
        return "a path is named twice, or the baseline has no result"
    for path in run.paths:
        if (path.median_ms is None) != (path.status != "ok"):
            return f"the path {path.name} has a time without a result, or a result without a time"
        if path.profile is not None and path.median_ms is None:
            return f"the path {path.name} has a profile without a time"
    if run.baseline.median_ms is None or run.noise_floor.samples_ms:
        return "the baseline has no time, or the noise floor has rounds"
    return "" if all(map(_is_ordered, _intervals(run))) else "an interval ends before it begins"


def _intervals(run: SharedRun) -> list[Interval]:
    found = [run.noise_floor.ci95, *(path.speedup_ci95 for path in run.paths)]
    return [interval for interval in found if interval is not None]


def _is_ordered(interval: Interval) -> bool:
    return 0 < interval[0] <= interval[1]


def _wrong_choice(run: SharedRun) -> str:
    choice = run.choice
    if choice is None:
        return ""
    results = {path.name: path for path in run.paths}
    if any(name not in results for name in choice.as_fast):
        return "the choice names a path without a result"
    for name in filter(None, (choice.exact, choice.approximate)):
        path = results.get(name)
        if path is None or path.speedup is None or path.agreement is None or not path.agreement.ok:
            return "the choice names a path that has no speedup or does not agree"
    return (
        ""
        if (choice.approximate is None) == (choice.gain is None)
        else "a gain without a path, or without a gain"
    )


def recommendation_of(run: SharedRun) -> Recommendation | None:
    """The recommendation of the run, from the names in the link and the figures of these paths."""
    choice = run.choice
    if choice is None:
        return None
    exact = pick_of(run, run.path(choice.exact), choice.as_fast) if choice.exact else None
    approximate = pick_of(run, run.path(choice.approximate), ()) if choice.approximate else None
    return Recommendation(exact=exact, approximate=approximate, gain=choice.gain)
