"""From a run to what a link carries of it: no texts, no rounds, no places on the server, figures of few digits."""

import re
from collections.abc import Mapping
from math import fsum
from typing import Any

from engine.allocator import allocator_words
from engine.analysis.recommend import recommend
from engine.catalog.models import CATALOG
from engine.hosting import without_places
from engine.present.links.shared import (
    OTHER_OPERATORS,
    Choice,
    SharedBatch,
    SharedExperiment,
    SharedModel,
    SharedPath,
    SharedRun,
)
from engine.records import Batch, Environment, Experiment, ModelCard, OperatorTime, PathResult, Profile, Run

LONGEST_LINE = 200
CHECKSUM_DIGITS = 12
DIGITS, DIGITS_SHOWN = 3, 4
"""Significant digits of most figures, and of speedups and medians, which are shown with up to three."""

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_SHOWN = ("speedup", "speedup_ci95", "median_ms")
_FIGURES = (
    *("prepare_ms", "weights_mb", "first_call_ms", "real_tokens_per_s", "peak_memory_mb", "page_faults"),
    *("agreement", "evidence"),
)
_WORDS = ("reason", "prepare_note", "verdict_reason", "next_step")


def shared_of(run: Run, smallest_share: float | None) -> SharedRun:
    """What a link carries of a concluded run.

    Args:
        smallest_share: leave out operators with a smaller share of a path's self time; None leaves out all profiles.
    """
    return SharedRun(
        id=run.id,
        created_at=run.created_at.replace(microsecond=0),
        title=line(run.title),
        experiment=_experiment(run.experiment),
        model=None if run.model_card is None else _model(run.model_card),
        environment=_environment(run.environment),
        paths=tuple(_path(path, smallest_share) for path in run.paths),
        noise_floor=run.noise_floor.model_copy(
            update={"samples_ms": (), "ci95": as_shown(run.noise_floor.ci95)}
        ),
        rounds=run.rounds,
        stop_reason=line(run.stop_reason),
        looks=run.looks,
        choice=_choice(run),
        smallest_share=smallest_share,
    )


def line(words: str) -> str:
    """Words in one line of printable characters, without places on the server, and not too long."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in without_places(words)).split())
    return plain if len(plain) <= LONGEST_LINE else f"{plain[: LONGEST_LINE - 1]}…"


def rounded(value: Any, digits: int = DIGITS) -> Any:
    """The same value, or mapping or sequence of values, with every number cut to its significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, Mapping):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return tuple(rounded(item, digits) for item in value)
    return value


def as_shown(value: Any) -> Any:
    """A figure, or several, cut to `DIGITS_SHOWN`, or to as many more as it takes to be shown as the same number."""
    if isinstance(value, tuple):
        return tuple(map(as_shown, value))
    if not isinstance(value, float):
        return value
    cut = (rounded(value, digits) for digits in range(DIGITS_SHOWN, 18))
    return next(figure for figure in cut if _decimals(figure) == _decimals(value))


def _decimals(value: float) -> tuple[str, ...]:
    """A figure with no, one and two decimals, as sentences show it; 1.1945 and 1.195 differ in the second."""
    return f"{value:.0f}", f"{value:.1f}", f"{value:.2f}"


def _experiment(experiment: Experiment) -> SharedExperiment:
    return SharedExperiment(
        model=_model_name(experiment.model),
        batch=_batch(experiment.batch),
        device=line(experiment.device),
        dtype=experiment.dtype,
        threads=experiment.threads,
        baseline=experiment.baseline,
        seed=experiment.seed,
        iterations=experiment.iterations,
        allocator=experiment.allocator,
    )


def _model_name(name: str) -> str:
    """A name that means the same elsewhere; of a folder its last part."""
    if name in CATALOG or _HUB_NAME.fullmatch(name):
        return name
    return line(re.split(r"[/\\]", name.rstrip("/\\"))[-1])


def _batch(batch: Batch) -> SharedBatch:
    lengths = batch.lengths or (0,)
    return SharedBatch(
        name=line(batch.name),
        texts=batch.rows,
        shortest=min(lengths),
        longest=max(lengths),
        real_tokens=batch.real_tokens,
        truncated=len(batch.truncated),
    )


def _model(card: ModelCard) -> SharedModel:
    return SharedModel(
        title=line(card.title),
        checksum=line(card.checksum)[:CHECKSUM_DIGITS],
        real_weights=card.real_weights,
        layers=card.shape.num_encoder_layers,
        parameters=card.parameters,
    )


def _environment(environment: Environment) -> Environment:
    """The machine's name and the variables of its environment stay where they are."""
    kept = {
        name: line(value) if isinstance(value, str) and name != "bridge" else value
        for name, value in rounded(environment.model_dump()).items()
    }
    notes = {name: tuple(map(line, kept[name])) for name in ("notes", "standing_notes")}
    without = {"machine": "", "allocator": {}, "allocator_in_force": line(allocator_words(environment))}
    libraries = {line(name): line(version) for name, version in environment.libraries.items()}
    return Environment.model_validate({**kept, **notes, **without, "libraries": libraries})


def _path(path: PathResult, smallest_share: float | None) -> SharedPath:
    kept = path.model_dump(exclude={"samples_ms", "ci95_ms", "warm_up_calls", "profile"})
    kept |= {name: as_shown(kept[name]) for name in _SHOWN}
    kept |= {name: rounded(kept[name]) for name in _FIGURES}
    kept |= {name: line(kept[name]) for name in _WORDS}
    if path.evidence is not None:
        kept["evidence"]["claim"] = line(path.evidence.claim)
    if path.verdict != "not sure":
        kept["verdict_reason"] = ""  # shown for an open verdict only
    if path.profile is not None and smallest_share is not None:
        kept["profile"] = _profile(path, path.profile, smallest_share)
    return SharedPath.model_validate(kept)


def _profile(path: PathResult, profile: Profile, smallest_share: float) -> Profile:
    counted = path.evidence.ops if path.evidence else {}
    kept = [op for op in profile.ops if op.share >= smallest_share or (op.name in counted and op.calls)]
    left_ms = fsum(op.self_ms for op in profile.ops) - fsum(op.self_ms for op in kept)
    rest = OperatorTime(
        name=OTHER_OPERATORS,
        calls=0,
        self_ms=max(0.0, left_ms),
        total_ms=max(0.0, left_ms),
        share=max(0.0, 1 - fsum(op.share for op in kept)),
    )
    ops = [
        OperatorTime.model_validate({**rounded(op.model_dump()), "name": line(op.name)})
        for op in (*kept, rest)
    ]
    return Profile(
        iterations=profile.iterations,
        overhead=rounded(profile.overhead),
        ops=tuple(ops),
        groups={line(name): ms for name, ms in rounded(profile.groups).items()},
    )


def _choice(run: Run) -> Choice | None:
    found = recommend(run)
    if found is None:
        return None
    return Choice(
        exact=found.exact.name if found.exact else None,
        as_fast=found.exact.as_fast if found.exact else (),
        approximate=found.approximate.name if found.approximate else None,
        gain=as_shown(found.gain),
    )
