"""What the steps of one experiment work with: the bench, its extent, and a path with its result so far."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from engine.measure.instruments import Instruments
from engine.measure.profiling import PROFILED_FORWARDS
from engine.measure.rounds import MIN_ROUNDS, WARM_UP_CAP_S
from engine.models.inputs import TokenBatch
from engine.models.loading import LoadedModel
from engine.paths import ExecutionPath, PreparedPath
from engine.records import Experiment, PathResult, Run


@dataclass(frozen=True)
class Extent:
    """How much of a run is measured; by default all of it.

    Attributes:
        warm_up_cap_s: longest warm-up of one path, in seconds.
        stretch: how many times its budget a run may take, while its rounds are too few for intervals.
        min_rounds: fewest rounds before they end because they are precise or the budget is used up.
        most_profiled: most profiled forwards of one path.
        costs: whether page faults, working memory and the machine's peaks are measured too.
    """

    warm_up_cap_s: float = WARM_UP_CAP_S
    stretch: float = 1.0
    min_rounds: int = MIN_ROUNDS
    most_profiled: int = PROFILED_FORWARDS
    costs: bool = True


PathStock = dict[str, tuple[PreparedPath, float]]
"""Prepared paths by name, each with the ms that preparing it took; several runs on the same threads may share it."""


@dataclass(frozen=True)
class Bench:
    """What every step of one experiment works with."""

    experiment: Experiment
    loaded: LoadedModel
    batch: TokenBatch
    instruments: Instruments
    exports: Path | None = None
    """Folder for files that paths export from this model; None keeps nothing."""
    memory_reserve_mb: float = 0.0
    continues: Run | None = None
    """The run that the rounds are added to."""
    extent: Extent = Extent()
    stock: PathStock = field(default_factory=dict)

    @property
    def layers(self) -> int:
        """Number of layers of the encoder."""
        return self.loaded.card.shape.num_encoder_layers


@dataclass(frozen=True)
class Candidate:
    """A path that was prepared and called once, with its result so far.

    If preparing failed, `prepared` is None and the status is not "ok".

    Attributes:
        known: whether it was prepared, and so has run, for an earlier run.
    """

    path: ExecutionPath
    prepared: PreparedPath | None
    result: PathResult
    known: bool = False

    @property
    def ready(self) -> PreparedPath:
        """The prepared path; only for candidates whose status is "ok"."""
        assert self.prepared is not None  # noqa: S101  (a path that is ok was prepared)
        return self.prepared

    def failed(self, reason: str) -> "Candidate":
        """The same path with status "failed": it is not timed."""
        return self.with_(status="failed", reason=reason)

    def with_(self, **facts: object) -> "Candidate":
        """The same path with these fields of its result replaced."""
        return replace(self, result=self.result.model_copy(update=facts))
