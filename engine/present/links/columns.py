"""A shared run as a table by columns, in plain JSON values, and back: field names are written once and not per path.

A column whose values are all the same is that one value; a column of empty values is left out.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from math import fsum
from typing import Any

from engine.present.links.shared import SharedPath, SharedRun
from engine.records import Environment

Plain = Any
"""What JSON can write: None, booleans, numbers, strings, lists and dictionaries of them."""

_EMPTY: tuple[Plain, ...] = (None, "", (), {})


def to_plain(run: SharedRun) -> dict[str, Plain]:
    """The JSON values of a run; `from_plain` gives the same run back."""
    asked = run.experiment
    values: dict[str, Plain] = {
        "id": run.id,
        "at": int(run.created_at.timestamp()),
        "title": run.title,
        "asked": _filled(asked.model_dump(exclude={"batch"})),
        "batch": list(asked.batch.model_dump().values()),
        "model": list(run.model.model_dump().values()) if run.model else None,
        "machine": _machine(run.environment),
        "rounds": run.rounds,
        "stopped": run.stop_reason,
        "looks": run.looks if run.looks > 1 else None,
        "choice": None if run.choice is None else _filled(run.choice.model_dump()),
        "floor": run.noise_floor.ci95,
        "share": run.smallest_share,
        "paths": _columns([_row(path) for path in run.paths]),
        "counts": _matrix([path.evidence.ops if path.evidence else {} for path in run.paths]),
        "groups": _matrix([path.profile.groups if path.profile else {} for path in run.paths]),
        "operators": _operators(run.paths),
    }
    return {name: short(value) for name, value in values.items() if value is not None}


def from_plain(values: Mapping[str, Plain]) -> dict[str, Plain]:
    """The fields of a `SharedRun`, not yet validated.

    Raises:
        KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError: the values have another form.
    """
    rows = _rows(values["paths"])
    batch = dict(zip(_BATCH, values["batch"], strict=True))
    paths = [
        _path(*parts, batch["real_tokens"])
        for parts in zip(
            rows,
            _mappings(values["counts"], len(rows)),
            _mappings(values["groups"], len(rows)),
            _operator_rows(values["operators"], len(rows)),
            strict=True,
        )
    ]
    model = values.get("model")
    return {
        "id": values["id"],
        "created_at": datetime.fromtimestamp(values["at"], UTC),
        "title": values["title"],
        "experiment": {**values["asked"], "batch": batch},
        "model": None if model is None else dict(zip(_MODEL, model, strict=True)),
        "environment": {**_MACHINE, **values["machine"], "standing_notes": []},
        "paths": paths,
        "noise_floor": {"ci95": values.get("floor")},
        "rounds": values["rounds"],
        "stop_reason": values["stopped"],
        "looks": values.get("looks", 1),
        "choice": values.get("choice"),
        "smallest_share": values.get("share"),
    }


_BATCH = ("name", "texts", "shortest", "longest", "real_tokens", "truncated")
_MODEL = ("title", "checksum", "real_weights", "layers", "parameters")
_MACHINE = {
    "torch": "",
    "torchtext": "",
    "bridge": "bridged",
    "python": "",
    "platform": "",
    "cpu": "",
    "cpu_capability": "",
    "cores": 1,
    "threads": 1,
    "memory_mb": 0,
    "device_name": "",
}
"""Values of the fields that an environment must have, for those that a link leaves out because they are empty."""


def short(value: Plain) -> Plain:
    """The same value with whole numbers as integers, which take fewer characters."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: short(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [short(item) for item in value]
    return value


def _filled(fields: Mapping[str, Plain]) -> dict[str, Plain]:
    return {name: value for name, value in fields.items() if value not in _EMPTY}


def _machine(environment: Environment) -> dict[str, Plain]:
    """The environment without empty fields; what the standing notes say is among the notes."""
    return _filled(environment.model_dump(exclude={"standing_notes"}))


def _row(path: SharedPath) -> dict[str, Plain]:
    agreement, evidence, profile = path.agreement, path.evidence, path.profile
    low, high = path.speedup_ci95 or (None, None)
    return {
        "name": path.name,
        "dtype": path.dtype,
        "status": path.status,
        "reason": path.reason,
        "prepare": path.prepare_ms,
        "note": path.prepare_note,
        "weights": path.weights_mb,
        "first": path.first_call_ms,
        "calls": path.calls_per_sample if path.calls_per_sample > 1 else None,
        "median": path.median_ms,
        "speedup": path.speedup,
        "low": low,
        "high": high,
        "verdict": path.verdict,
        "why": path.verdict_reason,
        "next": path.next_step,
        "error": agreement.max_abs_error if agreement else None,
        "limit": agreement.tolerance if agreement else None,
        "agrees": agreement.ok if agreement else None,
        "memory": path.peak_memory_mb,
        "faults": path.page_faults,
        "claim": evidence.claim if evidence else None,
        "proven": evidence.ok if evidence else None,
        "forwards": profile.iterations if profile else None,
        "overhead": profile.overhead if profile else None,
    }


def _path(
    row: Mapping[str, Plain],
    counts: Mapping[str, float],
    groups: Mapping[str, float],
    ops: Sequence[Mapping[str, Plain]],
    real_tokens: int,
) -> dict[str, Plain]:
    def value(name: str, empty: Plain = None) -> Plain:
        found = row.get(name)
        return empty if found is None else found

    median_ms = value("median")
    return {
        "name": row["name"],
        "dtype": row["dtype"],
        "status": row["status"],
        "reason": value("reason", ""),
        "prepare_ms": value("prepare"),
        "prepare_note": value("note", ""),
        "weights_mb": value("weights"),
        "first_call_ms": value("first"),
        "calls_per_sample": value("calls", 1),
        "median_ms": median_ms,
        "speedup": value("speedup"),
        "speedup_ci95": _both(value("low"), value("high")),
        "verdict": value("verdict"),
        "verdict_reason": value("why", ""),
        "next_step": value("next", ""),
        "agreement": _made(
            value("limit"),
            lambda limit: {"max_abs_error": value("error"), "tolerance": limit, "ok": value("agrees")},
        ),
        "real_tokens_per_s": real_tokens / median_ms * 1000 if median_ms else None,
        "peak_memory_mb": value("memory"),
        "page_faults": value("faults"),
        "evidence": _made(
            value("claim"), lambda claim: {"claim": claim, "ops": counts, "ok": value("proven")}
        ),
        "profile": _made(
            value("forwards"),
            lambda forwards: {
                "iterations": forwards,
                "overhead": value("overhead"),
                "ops": ops,
                "groups": groups,
            },
        ),
    }


def _made(key: Plain, make: Callable[[Plain], dict[str, Plain]]) -> dict[str, Plain] | None:
    return None if key is None else make(key)


def _both(low: Plain, high: Plain) -> tuple[Plain, Plain] | None:
    return None if low is None else (low, high)


def _columns(rows: Sequence[Mapping[str, Plain]]) -> dict[str, Plain]:
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return {
        name: column[0] if name != "name" and _all_same(column) else column
        for name, column in columns.items()
        if any(value not in _EMPTY for value in column)
    }


def _all_same(column: Sequence[Plain]) -> bool:
    return all(value == column[0] for value in column)


def _rows(columns: Mapping[str, Plain]) -> list[dict[str, Plain]]:
    count = len(columns["name"])
    wide = {name: value if isinstance(value, list) else [value] * count for name, value in columns.items()}
    return [dict(zip(wide, row, strict=True)) for row in zip(*wide.values(), strict=True)]


def _matrix(mappings: Sequence[Mapping[str, float]]) -> list[Plain]:
    """Mappings of figures by name: the names, then one row for each mapping, which may end early."""
    names = list(dict.fromkeys(name for mapping in mappings for name in mapping))
    return [names, *(_trimmed([mapping.get(name) for name in names]) for mapping in mappings)]


def _trimmed(row: list[float | None]) -> list[float | None]:
    while row and row[-1] is None:
        row.pop()
    return row


def _mappings(matrix: Sequence[Plain], count: int) -> list[dict[str, float]]:
    names, *rows = matrix
    if len(rows) != count:
        raise ValueError(f"{len(rows)} rows for {count} paths")
    return [
        {name: figure for name, figure in zip(names, row, strict=False) if figure is not None} for row in rows
    ]


def _operators(paths: Iterable[SharedPath]) -> list[Plain]:
    """The names, then for each path its operators one after another: number of the name, calls, self and total ms."""
    profiles = [path.profile.ops if path.profile else () for path in paths]
    names = list(dict.fromkeys(op.name for ops in profiles for op in ops))
    number = {name: i for i, name in enumerate(names)}
    return [
        names,
        *(
            [figure for op in ops for figure in (number[op.name], op.calls, op.self_ms, op.total_ms)]
            for ops in profiles
        ),
    ]


def _operator_rows(table: Sequence[Plain], count: int) -> list[list[dict[str, Plain]]]:
    names, *rows = table
    if len(rows) != count:
        raise ValueError(f"{len(rows)} profiles for {count} paths")
    return [_operators_of(names, row) for row in rows]


def _operators_of(names: Sequence[str], row: Sequence[float]) -> list[dict[str, Plain]]:
    groups = list(zip(*(row[i::4] for i in range(4)), strict=True))
    all_ms = fsum(self_ms for _, _, self_ms, _ in groups) or 1.0
    return [
        {
            "name": names[int(name)],
            "calls": calls,
            "self_ms": self_ms,
            "total_ms": total_ms,
            "share": self_ms / all_ms,
        }
        for name, calls, self_ms, total_ms in groups
    ]
