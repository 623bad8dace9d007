"""Requests to a child and the events it sends: one JSON object a line; `do` and `kind` name the type.

The last event of a request is one of `ENDINGS`; if the output ends without one, the child has died.
"""

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
    Step | Download | Round | Loaded | Tokenized | Finished | Diagnosed | Refused | Failed,
    Field(discriminator="kind"),
]
ENDINGS = (Loaded, Tokenized, Finished, Diagnosed, Refused, Failed)


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


class StopRequest(Record):
    """End the rounds of the present request, and keep what was measured. It has no answer of its own."""

    do: Literal["stop"] = "stop"


Request = Annotated[LoadRequest | TokenizeRequest | RunRequest | DoctorRequest, Field(discriminator="do")]

_EVENT: TypeAdapter[Event] = TypeAdapter(Event)
_REQUEST: TypeAdapter[Request] = TypeAdapter(Request)


def allocator_of(request: Request) -> Allocator | None:
    """The allocator that a request must be measured with; None if it measures nothing."""
    if isinstance(request, RunRequest):
        return request.experiment.allocator
    return request.allocator if isinstance(request, DoctorRequest) else None


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
