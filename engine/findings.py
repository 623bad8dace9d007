"""What a run found, without the samples of its rounds: all that its sentences and most of its charts need.

A run has these attributes, and so has a run from a link, which carries no samples (engine/present/links).
"""

from typing import Protocol

from engine.records import Allocator, DType, Environment, NoiseFloor, PathResult


class Asked(Protocol):
    """What was to be measured, as far as the findings depend on it; the attributes of an `Experiment`."""

    @property
    def baseline(self) -> str: ...  # noqa: D102
    @property
    def dtype(self) -> DType: ...  # noqa: D102
    @property
    def allocator(self) -> Allocator: ...  # noqa: D102


class Findings(Protocol):
    """The attributes of a concluded `Run` that need no samples."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def experiment(self) -> Asked: ...  # noqa: D102
    @property
    def environment(self) -> Environment: ...  # noqa: D102
    @property
    def paths(self) -> tuple[PathResult, ...]: ...  # noqa: D102
    @property
    def noise_floor(self) -> NoiseFloor: ...  # noqa: D102
    @property
    def rounds(self) -> int: ...  # noqa: D102
    @property
    def stop_reason(self) -> str: ...  # noqa: D102
    @property
    def looks(self) -> int: ...  # noqa: D102
    @property
    def baseline(self) -> PathResult: ...  # noqa: D102

    def path(self, name: str) -> PathResult: ...  # noqa: D102
