"""The records of a sweep: runs of one model at every combination of batch size, length, padding ratio and threads.

A cell is one ordinary run on a made batch (engine/made.py). A sweep that was stopped has fewer cells than its plan has
places, and can be resumed.
"""

from collections.abc import Collection, Iterator
from datetime import datetime
from hashlib import sha256
from itertools import product
from math import prod
from random import Random
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, ValidationError, model_validator

from engine.errors import Refusal
from engine.made import is_possible, made_batch, percent
from engine.records import (
    FEWEST_TOKENS,
    MEGABYTE,
    MOST_LENGTH,
    MOST_PATHS,
    MOST_SEED,
    MOST_TEXTS,
    MOST_THREADS,
    Allocator,
    DType,
    EncoderShape,
    Experiment,
    Record,
    Run,
    refusal_of,
)

Axis = Literal["batch_size", "length", "padding", "threads"]
AXES: tuple[Axis, ...] = get_args(Axis)
MOST_CELLS = 200
MOST_SWEEP_BYTES = 256_000_000
"""Longest JSON that is read as a sweep."""
CELL_S = 4.0
"""Seconds of rounds in a cell, by default; rounds go on until there are enough for an interval."""
FEWEST_ROUNDS = 7
"""Rounds of a cell in an estimate, if they take longer than its budget: what four paths need for their intervals."""
STRETCH = 6.0
"""How many times as long as its budget they may take."""
START_S = 10.0
"""A child's start and loading, in an estimate."""
GFLOPS_A_THREAD = 60.0
"""Speed of a forward in an estimate, before anything was measured."""
BESIDE_ROUNDS = 3
"""Forwards of each path in a large cell beside its rounds: the first call, which warms up too, comparing, profiling."""
PATH_S = 0.4
"""Seconds that a path of a small cell takes beside its rounds."""


class Place(Record):
    """Where a cell lies on the axes of a sweep."""

    batch_size: int
    length: int
    """Tokens of the longest text, special tokens included."""
    padding: float
    """Padding ratio that is asked for."""
    threads: int | None = None
    """None for the number that torch chooses."""

    @property
    def title(self) -> str:
        """The place in words."""
        threads = "" if self.threads is None else f", {counted(self.threads, 'thread')}"
        return f"{counted(self.batch_size, 'text')} x {self.length} tokens, {percent(self.padding)} padding{threads}"


def counted(number: int, noun: str) -> str:
    """A number with its noun: 1 text, 8 texts."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


class SweepPlan(Record):
    """What to sweep: the values of the axes, and what is the same in every cell."""

    model: str = Field(min_length=1)
    paths: tuple[str, ...] = Field(min_length=1, max_length=MOST_PATHS)
    baseline: str = "slow"
    batch_sizes: tuple[Annotated[int, Field(ge=1, le=MOST_TEXTS)], ...] = Field(min_length=1)
    lengths: tuple[Annotated[int, Field(ge=FEWEST_TOKENS, le=MOST_LENGTH)], ...] = Field(min_length=1)
    padding: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = Field((0.0,), min_length=1)
    threads: tuple[Annotated[int, Field(gt=0, le=MOST_THREADS)], ...] = ()
    """Empty for the one number that torch chooses."""
    device: str = "cpu"
    dtype: DType = "fp32"
    seed: int = Field(0, ge=0, le=MOST_SEED)
    """Of the drawn tokens, of the order of the cells, and of the order within rounds."""
    cell_budget_s: float = Field(CELL_S, gt=0)
    """Seconds of rounds in each cell."""
    iterations: int | None = Field(None, ge=1, le=1000)
    """A fixed number of rounds in each cell; None measures until precise, or until the budget is used up."""
    allocator: Allocator = "system"

    @model_validator(mode="after")
    def _is_a_grid(self) -> Self:
        if len(set(self.paths)) != len(self.paths):
            raise ValueError("a path is named twice")
        if self.baseline not in self.paths:
            raise ValueError(f"the baseline {self.baseline!r} is not among the paths {', '.join(self.paths)}")
        for axis in AXES:
            values = self.values(axis)
            if len(set(values)) != len(values):
                raise ValueError(f"a value of the axis {AXIS_NOUNS[axis]} is given twice")
        if self.size > MOST_CELLS:
            raise ValueError(
                f"{self.size} cells are more than the {MOST_CELLS} that a sweep may have: give fewer values"
            )
        return self

    def values(self, axis: Axis) -> tuple[float | None, ...]:
        """The values of an axis, as they were given."""
        return {
            "batch_size": self.batch_sizes,
            "length": self.lengths,
            "padding": self.padding,
            "threads": self.threads or (None,),
        }[axis]

    @property
    def size(self) -> int:
        """Number of cells."""
        return prod(len(self.values(axis)) for axis in AXES)

    @property
    def places(self) -> tuple[Place, ...]:
        """The place of every cell; a cell's number is its index here."""
        return tuple(
            Place(threads=threads, batch_size=rows, length=length, padding=padding)
            for threads, rows, length, padding in product(
                self.threads or (None,), self.batch_sizes, self.lengths, self.padding
            )
        )

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The axes with several values."""
        return tuple(axis for axis in AXES if len(self.values(axis)) > 1)


AXIS_NOUNS: dict[Axis, str] = {
    "batch_size": "batch size",
    "length": "length",
    "padding": "padding",
    "threads": "threads",
}


class SweepCell(Record):
    """A measured cell, or why it could not be measured."""

    number: int = Field(ge=0, lt=MOST_CELLS)
    """Index of its place in the plan."""
    run: Run | None = None
    reason: str = ""
    """Why there is no run."""

    @model_validator(mode="after")
    def _has_a_run_or_a_reason(self) -> Self:
        if (self.run is None) == (not self.reason):
            raise ValueError("a cell has a run, or the reason why it has none")
        return self


class Sweep(Record):
    """A sweep with the cells that were measured so far, in the order of their numbers."""

    schema_version: Literal[1] = 1
    id: str
    created_at: datetime
    title: str
    plan: SweepPlan
    cells: tuple[SweepCell, ...] = Field((), max_length=MOST_CELLS)

    @model_validator(mode="after")
    def _cells_have_places(self) -> Self:
        places, numbers = self.plan.places, [cell.number for cell in self.cells]
        if numbers != sorted(set(numbers)):
            raise ValueError("the cells are not in order, or one is there twice")
        if numbers and numbers[-1] >= len(places):
            raise ValueError(f"there is no place {numbers[-1]} among {len(places)}")
        for cell in self.cells:
            if cell.run is not None and not _lies_at(cell.run, places[cell.number]):
                raise ValueError(f"the run of cell {cell.number} was not measured at its place")
        return self

    @property
    def finished(self) -> bool:
        """Whether every cell has a run or a reason."""
        return len(self.cells) == self.plan.size

    @property
    def state(self) -> Literal["finished", "stopped"]:
        """A sweep that is still being measured counts as stopped: it could be resumed."""
        return "finished" if self.finished else "stopped"

    @property
    def measured(self) -> tuple[tuple[Place, Run], ...]:
        """Every cell with a run, and its place."""
        places = self.plan.places
        return tuple((places[cell.number], cell.run) for cell in self.cells if cell.run is not None)

    def with_cell(self, cell: SweepCell) -> "Sweep":
        """The sweep with one more cell; a cell of the same number is replaced."""
        others = (kept for kept in self.cells if kept.number != cell.number)
        cells = tuple(sorted((*others, cell), key=lambda kept: kept.number))
        return self.model_copy(update={"cells": cells})


def _lies_at(run: Run, place: Place) -> bool:
    made = run.experiment.batch.made
    return made is not None and (made.rows, made.length, made.padding_ratio) == (
        place.batch_size,
        place.length,
        place.padding,
    )


def new_sweep(plan: SweepPlan, model_title: str, now: datetime) -> Sweep:
    """A sweep without cells.

    Args:
        now: with a time zone.
    """
    sweep_id = sha256(f"{now.isoformat()} {plan.model_dump_json()}".encode()).hexdigest()[:12]
    return Sweep(id=sweep_id, created_at=now, title=f"{model_title}: {axes_words(plan)}", plan=plan)


def axes_words(plan: SweepPlan) -> str:
    """The values of the axes in words: 1, 8, 32 texts x 16, 64 tokens, 0%, 30% padding."""
    rows, lengths = (_listed(map(str, values)) for values in (plan.batch_sizes, plan.lengths))
    threads = f", {_listed(map(str, plan.threads))} threads" if plan.threads else ""
    return f"{rows} texts x {lengths} tokens, {_listed(map(percent, plan.padding))} padding{threads}"


def _listed(values: Iterator[str]) -> str:
    found = list(values)
    return ", ".join(found) if len(found) <= 4 else f"{found[0]} to {found[-1]} ({len(found)} values)"


def checked_plan(**fields: object) -> SweepPlan:
    """A plan of these fields.

    Raises:
        Refusal: the first field that is wrong, in one sentence.
    """
    try:
        return SweepPlan.model_validate(fields)
    except ValidationError as error:
        raise refusal_of(error, "sweep") from None


def read_numbers(text: str, what: str, *, whole: bool = True) -> tuple[float, ...]:
    """The numbers in a list with commas; not whole ones may be percentages: 0.3 or 30%.

    Args:
        what: the name of the list, for a refusal.

    Raises:
        Refusal: one of them is no such number, or there is none.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        found = tuple(int(part) if whole else _ratio(part) for part in parts)
    except ValueError:
        kind = "whole numbers" if whole else "ratios, such as 0.3 or 30%,"
        raise Refusal(f"{what} takes {kind} separated by commas; {text!r} is not of this form.") from None
    if not found:
        raise Refusal(f"{what} names no number: give at least one.")
    return found


def _ratio(text: str) -> float:
    return float(text[:-1]) / 100 if text.endswith("%") else float(text)


def read_sweep(text: str | bytes) -> Sweep:
    """Read a sweep from its JSON.

    Raises:
        Refusal: it is too long, or no sweep.
    """
    kept = "It was not changed: use a complete copy of it, or sweep again."
    if len(text) > MOST_SWEEP_BYTES:
        raise Refusal(
            f"This sweep cannot be used: it is longer than {MOST_SWEEP_BYTES // MEGABYTE} MB. {kept}"
        )
    try:
        return Sweep.model_validate_json(text)
    except ValidationError as error:
        raise Refusal(f"{refusal_of(error, 'sweep')} {kept}") from None


def experiment_at(plan: SweepPlan, place: Place) -> Experiment:
    """The experiment of a cell.

    Raises:
        Refusal: so much padding does not fit into the shape.
    """
    return Experiment(
        model=plan.model,
        batch=made_batch(place.batch_size, place.length, place.padding, plan.seed),
        device=plan.device,
        dtype=plan.dtype,
        threads=place.threads,
        paths=plan.paths,
        baseline=plan.baseline,
        seed=plan.seed,
        budget_s=plan.cell_budget_s,
        iterations=plan.iterations,
        allocator=plan.allocator,
    )


def measuring_order(plan: SweepPlan, done: Collection[int] = ()) -> tuple[int, ...]:
    """The numbers of the cells that are not done, in the order in which they are measured.

    The order is random, with the plan's seed, so that a drift of the machine's speed does not look like the effect of
    an axis. Cells with the same number of threads stay together, because a path is prepared for its threads.
    """
    places = plan.places
    numbers = list(range(len(places)))
    Random(plan.seed).shuffle(numbers)
    numbers.sort(key=lambda number: plan.threads.index(places[number].threads) if plan.threads else 0)
    return tuple(number for number in numbers if number not in set(done))


def check_fits(plan: SweepPlan, shape: EncoderShape | None, most_tokens: int, most_texts: int) -> None:
    """Check that the model and the settings allow every batch of a sweep.

    Args:
        shape: of the model; None while it is not known.
        most_tokens: longest text that the settings allow.
        most_texts: largest number of texts that they allow.

    Raises:
        Refusal: a text would be too long, or a batch would have too many.
    """
    longest, limit = max(plan.lengths), min(most_tokens, shape.max_tokens if shape else most_tokens)
    if longest > limit:
        whose = "the model takes" if shape and shape.max_tokens == limit else "are allowed here"
        raise Refusal(
            f"A length of {longest} tokens is more than the {limit} that {whose}, so nothing was measured: choose "
            "shorter lengths."
        )
    if max(plan.batch_sizes) > most_texts:
        raise Refusal(
            f"A batch of {max(plan.batch_sizes)} texts is larger than the {most_texts} allowed here, so nothing was "
            "measured: choose smaller batches, or raise FASTPATH_MAX_TEXTS."
        )


def expected_cell_s(plan: SweepPlan, place: Place, shape: EncoderShape | None, threads: int) -> float:
    """Estimated seconds of a cell: the budget of its rounds, or the fewest rounds if they take longer.

    Args:
        shape: of the model; None if it is not known, then all cells count as small ones.
        threads: where the place leaves the choice to torch.
    """
    if not is_possible(place.batch_size, place.length, place.padding):
        return 0.0
    tokens = place.batch_size * place.length
    operations = 2.0 * shape.parameters_of_layers * tokens if shape else 0.0
    forward_s = operations / (GFLOPS_A_THREAD * 1e9 * (place.threads or threads))
    arms = len(plan.paths) + 1
    rounds = plan.iterations or FEWEST_ROUNDS
    rounds_s = max(plan.cell_budget_s if plan.iterations is None else 0.0, rounds * arms * forward_s)
    return rounds_s + len(plan.paths) * (PATH_S + BESIDE_ROUNDS * forward_s)


def expected_s(
    plan: SweepPlan, shape: EncoderShape | None, threads: int, done: Collection[int] = ()
) -> float:
    """Estimated seconds of the cells that are not done, with the start of the child."""
    places = plan.places
    left = (places[number] for number in range(len(places)) if number not in set(done))
    return START_S + sum(expected_cell_s(plan, place, shape, threads) for place in left)
