"""From a run to the values of its rows, and what a user may add to them. Pure."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from engine.alike import experiment_key, key_of
from engine.analysis.recommend import fastest_path
from engine.catalog.batches import PRESETS
from engine.errors import Refusal
from engine.records import Batch, PathResult, Record, Run
from engine.store.tables import ID_LENGTH, OWN, PRESET

TITLE_LENGTH, NOTE_LENGTH, TAG_LENGTH = 200, 4_000, 40
MOST_TAGS = 20
LISTED_LENGTH = 120


class BuildFacts(Protocol):
    """Facts that decide how fast a forward is; a run's environment and a host both have them."""

    @property
    def torch(self) -> str: ...  # noqa: D102
    @property
    def torchtext(self) -> str: ...  # noqa: D102
    @property
    def cpu(self) -> str: ...  # noqa: D102
    @property
    def cores(self) -> int: ...  # noqa: D102
    @property
    def allocator(self) -> dict[str, str]: ...  # noqa: D102
    @property
    def machine(self) -> str: ...  # noqa: D102


class Added(Record):
    """What users have added to a run: everything in a store that may change.

    Attributes:
        title: instead of the run's own; None where nobody has renamed the run.
    """

    title: str | None = None
    tags: tuple[str, ...] = ()
    note: str = ""


def build_key(facts: BuildFacts) -> str:
    """Hash of the machine and the build: of a run's environment, or of the host that asks."""
    return key_of(
        {
            "torch": facts.torch,
            "torchtext": facts.torchtext,
            "cpu": facts.cpu,
            "cores": facts.cores,
            "allocator": facts.allocator,
            "machine": facts.machine,
        }
    )


def is_preset(batch: Batch) -> bool:
    """Whether the texts are a preset's or a made batch has none, so that nothing is private."""
    return batch.made is not None or any(preset.texts == batch.texts for preset in PRESETS.values())


def time_text(moment: datetime) -> str:
    """A time as the tables keep it, so that the order of texts is the order of times."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def run_values(run: Run) -> dict[str, object]:
    """A run's row in `runs`.

    Raises:
        Refusal: its id is too long; only a run from elsewhere has such a one.
    """
    if len(run.id) > ID_LENGTH:
        raise Refusal(f"This run cannot be kept: its id has more than {ID_LENGTH} characters.")
    return {
        **_common_values(run),
        "title": storable(run.title),
        "build_key": build_key(run.environment),
        "json": run.model_dump_json(),
    }


def row_values(run: Run, added: Added) -> dict[str, object]:
    """A run's row in `run_rows`; it is not deleted."""
    experiment = run.experiment
    values: dict[str, object] = {
        **_common_values(run),
        "model": _listed(experiment.model),
        "machine": _listed(run.environment.machine),
        "device": _listed(experiment.device),
        "dtype": experiment.dtype,
        "allocator": experiment.allocator,
        "paths": lines(path.name for path in run.paths if path.status == "ok"),
        "deleted_at": None,
    }
    return values | added_values(added, storable(run.title), values)


def unreadable_row_values(row: Mapping[Any, Any]) -> dict[str, object]:
    """The row in `run_rows` of a run whose JSON cannot be read, from its row in `runs`."""
    kept = ("id", "created_at", "texts", "model", "batch", "machine", "best_path", "verdict", "speedup")
    values: dict[str, object] = {name: row[name] for name in (*kept, "experiment_key")}
    values |= {
        "model": _listed(row["model"]),
        "batch": _listed(row["batch"]),
        "machine": _listed(row["machine"]),
        "device": None,
        "dtype": None,
        "allocator": None,
        "paths": "",
        "deleted_at": None,
    }
    return values | added_values(Added(), row["title"], values)


def added_values(added: Added, own_title: str, row: Mapping[Any, Any]) -> dict[str, object]:
    """The columns of `run_rows` that depend on what users have added.

    Args:
        own_title: the run's.
        row: has the run's `model` and `batch`.
    """
    title = own_title if added.title is None else added.title
    # The title comes first, because lists are sorted by `searched` where they are sorted by title.
    words = (title, row["model"], row["batch"], *added.tags, added.note)
    return {
        "title": title,
        "renamed": added.title is not None,
        "tags": lines(added.tags),
        "note": added.note,
        "searched": lines(map(str, words)).casefold(),
    }


def path_values(run: Run) -> list[dict[str, object]]:
    """A run's rows in `run_paths`: one for each path, whatever its status."""
    return [_path_row(run, path) for path in run.paths]


def lines(texts: Iterable[str]) -> str:
    """Several texts as one column."""
    return "\n".join(texts)


def of_lines(column: str | None) -> tuple[str, ...]:
    """The texts of such a column."""
    return tuple(column.split("\n")) if column else ()


def storable(text: str) -> str:
    """A text without the character that PostgreSQL refuses."""
    return text.replace("\0", "")


def valid_title(title: str) -> str:
    """A title as it is kept: one line.

    Raises:
        Refusal: it is too long.
    """
    return _within(" ".join(storable(title).split()), TITLE_LENGTH, "A title")


def valid_note(note: str) -> str:
    """A note as it is kept.

    Raises:
        Refusal: it is too long.
    """
    return _within(storable(note).strip(), NOTE_LENGTH, "A note")


def valid_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Tags as they are kept: one line each, none empty, none twice.

    Raises:
        Refusal: one is too long, or there are too many.
    """
    kept: dict[str, str] = {}
    for tag in tags:
        plain = _within(" ".join(storable(tag).split()), TAG_LENGTH, "A tag")
        if plain:
            kept.setdefault(plain.casefold(), plain)
    if len(kept) > MOST_TAGS:
        raise Refusal(f"A run has at most {MOST_TAGS} tags; these are {len(kept)}. Nothing was changed.")
    return tuple(kept.values())


def _within(text: str, length: int, what: str) -> str:
    if len(text) > length:
        raise Refusal(
            f"{what} has at most {length:,} characters; this one has {len(text):,}. Nothing was changed."
        )
    return text


def _listed(name: str) -> str:
    """A name in a list: of a longer one, such as a folder's, the end. PostgreSQL's indexes hold no long texts."""
    plain = storable(name)
    return plain if len(plain) <= LISTED_LENGTH else "…" + plain[1 - LISTED_LENGTH :]


def _common_values(run: Run) -> dict[str, object]:
    best = fastest_path(run)
    return {
        "id": run.id,
        "created_at": time_text(run.created_at),
        "texts": PRESET if is_preset(run.experiment.batch) else OWN,
        "model": storable(run.experiment.model),
        "batch": storable(run.experiment.batch.name),
        "machine": storable(run.environment.machine),
        "best_path": best.name if best else None,
        "verdict": best.verdict if best else None,
        "speedup": best.speedup if best else None,
        "experiment_key": experiment_key(run.experiment),
    }


def _path_row(run: Run, path: PathResult) -> dict[str, object]:
    low, high = path.speedup_ci95 or (None, None)
    return {
        "run_id": run.id,
        "path": path.name,
        "is_baseline": path.name == run.experiment.baseline,
        "status": path.status,
        "speedup": path.speedup,
        "low": low,
        "high": high,
        "verdict": path.verdict,
        "median_ms": path.median_ms,
    }
