"""The values that the steps of an examination pass on."""

from dataclasses import dataclass
from pathlib import Path

from engine.analysis.verdict import Situation
from engine.diagnosis import (
    Prediction,
    Timing,
)
from engine.doctor.curing import JudgedSubject
from engine.doctor.proof import ObservedForward
from engine.eligibility.subject import Subject
from engine.measure.instruments import Instruments
from engine.measure.rounds import Rounds
from engine.records import Agreement, NoiseFloor


@dataclass(frozen=True)
class ProvedState:
    """A state with the results of its profiled forward."""

    judged: JudgedSubject
    prediction: Prediction
    forward: ObservedForward
    agreement: Agreement | None
    drift: Agreement | None

    @property
    def offered(self) -> bool:
        """Whether it may be recommended: no danger makes it wrong, its forward ran, and its answer agrees."""
        agrees = self.agreement is None or self.agreement.ok
        return agrees and not self.judged.misleads and not self.forward.proof.error

    @property
    def converts(self) -> bool:
        """Whether sparsity is on and its answer is right."""
        return self.offered and self.forward.proof.counts.nested_conversions > 0


@dataclass(frozen=True)
class Examination:
    """What every step of one examination works with.

    Attributes:
        keep: folder for the answer of the sparsity sweep; None keeps nothing.
    """

    subject: Subject
    instruments: Instruments
    budget_s: float
    seed: int
    keep: Path | None


@dataclass(frozen=True)
class Measured:
    """All states timed in the same rounds."""

    baseline: str
    rounds: Rounds
    timings: dict[str, Timing]
    noise_floor: NoiseFloor
    situation: Situation
