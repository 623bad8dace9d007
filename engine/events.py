"""Requests to a child and the events it sends: one JSON object a line; `do` and `kind` name the type.

The last event of a request is one of `ENDINGS`; if the output ends without one, the child has died.
"""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AliasChoices, Field, TypeAdapter, model_validator

from engine.alike import SETUP, differing
from engine.budget import examination_budget_s
from engine.diagnosis import Diagnosis
from engine.records import (
    MOST_SEED,
    MOST_THREADS,
    Allocator,
    Batch,
    DType,
    Experiment,
    Interval,
    ModelCard,
    Record,
    Run,
)
from engine.sweeps import Sweep, SweepCell, SweepPlan


class Step(Record):
    """A new stage of the work, with a text for the user."""

    kind: Literal["step"] = "step"
    name: Literal[
        "wait",
        "load",
        "compile",
        "tokenize",
        "prepare",
        "check",
        "warm-up",
        "measure",
        "profile",
        "examine",
        "treat",
    ]
    text: str


class Download(Record):
    """Progress of a download."""

    kind: Literal["download"] = "download"
    file: str
    received_mb: float
    total_mb: float | None


class Round(Record):
    """A round is complete: every path has run once more."""

    kind: Literal["round"] = "round"
    done: int
    at_most: int
    speedups: dict[str, Interval]
    """95 % interval of each path's speedup so far; empty while there are too few rounds."""


class Loaded(Record):
    """A model is in memory."""

    kind: Literal["loaded"] = "loaded"
    card: ModelCard


class Tokenized(Record):
    """A batch with its lengths, padding ratio and shape."""

    kind: Literal["tokenized"] = "tokenized"
    batch: Batch


class Finished(Record):
    """The run is complete."""

    kind: Literal["finished"] = "finished"
    run: Run


class Diagnosed(Record):
    """The doctor's examination is complete."""

    kind: Literal["diagnosed"] = "diagnosed"
    diagnosis: Diagnosis


class CellStarted(Record):
    """A cell of a sweep begins."""

    kind: Literal["cell-started"] = "cell-started"
    title: str
    """Its place in words."""
    done: int
    """Cells that are complete, those of an earlier session included."""
    of: int
    left_s: float | None = None
    """Estimated seconds until the sweep ends, from the cells so far; None before the first."""


class CellDone(Record):
    """A cell of a sweep is complete."""

    kind: Literal["cell-done"] = "cell-done"
    cell: SweepCell
    done: int
    of: int


class Swept(Record):
    """Every cell of the sweep is complete, or the sweep was stopped; the cells were sent before."""

    kind: Literal["swept"] = "swept"
    done: int
    of: int


class Refused(Record):
    """The request cannot be fulfilled; the message is for the user."""

    kind: Literal["refused"] = "refused"
    message: str
    lack: Literal["", "memory"] = ""
    """What was missing: with more of it the same request may succeed."""


class Failed(Record):
    """An error in this program. The message is short; the traceback is on standard error."""

    kind: Literal["failed"] = "failed"
    message: str


Event = Annotated[
    Step
    | Download
    | Round
    | CellStarted
    | CellDone
    | Loaded
    | Tokenized
    | Finished
    | Diagnosed
    | Swept
    | Refused
    | Failed,
    Field(discriminator="kind"),
]
ENDINGS = (Loaded, Tokenized, Finished, Diagnosed, Swept, Refused, Failed)


class LoadRequest(Record):
    """Load a model; the answer is its card."""

    do: Literal["load"] = "load"
    model: str
    dtype: Literal["fp32", "bf16", "fp16"] = "fp32"
    device: str = "cpu"


class TokenizeRequest(Record):
    """Tokenize texts with a model's tokenizer; the answer has the lengths."""

    do: Literal["tokenize"] = "tokenize"
    model: str
    batch: Batch


class RunRequest(Record):
    """Measure an experiment."""

    do: Literal["run"] = "run"
    experiment: Experiment
    trace_dir: str | None = None
    """Folder for Chrome traces, one file a path; None writes none."""
    continues: Run | None = None
    """The run that the measured rounds are added to; the returned run contains both."""

    @model_validator(mode="after")
    def _continues_the_same(self) -> Self:
        if self.continues is not None and not _asks_the_same(self.experiment, self.continues.experiment):
            raise ValueError("the experiment is not that of the run it continues")
        return self


def _asks_the_same(asked: Experiment, before: Experiment) -> bool:
    """Whether rounds of two experiments may be joined; seed, budget and number of rounds may differ."""
    return not differing(asked, before, SETUP) and set(asked.paths) <= set(before.paths)


class DoctorRequest(Record):
    """Examine a catalogued model on a batch: whether the fastpath is taken, why not, the cures and their gain."""

    do: Literal["doctor"] = "doctor"
    model: str
    batch: Batch
    modifications: tuple[str, ...] = Field(
        (), validation_alias=AliasChoices("modifications", "circumstances")
    )
    """Names of what is changed on purpose before the examination (engine/catalog/modifications.py).

    Journals of older versions hold them as `circumstances`.
    """
    device: str = "cpu"
    dtype: DType = "fp32"
    threads: int | None = Field(None, gt=0, le=MOST_THREADS)
    seed: int = Field(0, ge=0, le=MOST_SEED)
    budget_s: float = Field(examination_budget_s(), ge=0)
    """Longest time for the rounds; with 0 nothing is timed."""
    allocator: Allocator = "system"
    """Older requests lack the field and mean the system's; new ones set DEFAULT_ALLOCATOR."""


class SweepRequest(Record):
    """Measure the cells of a sweep that are not done; each is sent when it is complete."""

    do: Literal["sweep"] = "sweep"
    id: str
    created_at: datetime
    title: str
    plan: SweepPlan
    done: tuple[int, ...] = ()
    """Numbers of the cells that were measured before."""
    like: Run | None = None
    """A cell that was measured before: the others must be measured under its conditions."""

    @property
    def sweep(self) -> Sweep:
        """The sweep without its cells."""
        return Sweep(id=self.id, created_at=self.created_at, title=self.title, plan=self.plan)


def request_of(sweep: Sweep) -> SweepRequest:
    """The request that measures the missing cells of a sweep."""
    return SweepRequest(
        id=sweep.id,
        created_at=sweep.created_at,
        title=sweep.title,
        plan=sweep.plan,
        done=tuple(cell.number for cell in sweep.cells),
        like=next((run for _, run in sweep.measured), None),
    )


class StopRequest(Record):
    """End the rounds of the present request, and keep what was measured. It has no answer of its own."""

    do: Literal["stop"] = "stop"


Request = Annotated[
    LoadRequest | TokenizeRequest | RunRequest | DoctorRequest | SweepRequest, Field(discriminator="do")
]

_EVENT: TypeAdapter[Event] = TypeAdapter(Event)
_REQUEST: TypeAdapter[Request] = TypeAdapter(Request)


def allocator_of(request: Request) -> Allocator | None:
    """The allocator that a request must be measured with; None if it measures nothing."""
    match request:
        case RunRequest(experiment=experiment):
            return experiment.allocator
        case SweepRequest(plan=plan):
            return plan.allocator
        case DoctorRequest(allocator=allocator):
            return allocator
        case _:
            return None


def device_of(request: Request) -> str:
    """The device that a request needs."""
    match request:
        case RunRequest(experiment=experiment):
            return experiment.device
        case SweepRequest(plan=plan):
            return plan.device
        case TokenizeRequest():
            return "cpu"
        case _:
            return request.device


def model_of(request: Request) -> str:
    """Name of the model that a request is about."""
    match request:
        case RunRequest(experiment=experiment):
            return experiment.model
        case SweepRequest(plan=plan):
            return plan.model
        case _:
            return request.model


def read_event(line: str) -> Event:
    """Parse one line of a child's output.

    Raises:
        pydantic.ValidationError: the line is not an event.
    """
    return _EVENT.validate_json(line)


def read_request(line: str) -> Request:
    """Parse one line of a child's input.

    Raises:
        pydantic.ValidationError: the line is not a request.
    """
    return _REQUEST.validate_json(line)
