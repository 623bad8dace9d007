"""Several stored runs in one JSON file, with what was written about them: the export's form, read by the import.

Reading never raises and never unpickles: what cannot be used ends in one sentence each.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_core import from_json, to_json

from engine.errors import Refusal
from engine.present.reports.embedded import is_report, runs_of_report
from engine.records import MEGABYTE, MOST_THREADS, Record, Run, read_run, refusal_of

COLLECTION_VERSION: Literal[1] = 1
MOST_MB = 64
"""Largest file that is read, in MB; one run has about 0.1 MB."""
MOST_RUNS = 500
"""Most runs in one file."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PATH = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._-]{0,63}")
_LONGEST_TEXT = 10_000_000
"""Tokens."""
_EARLIEST, _LATEST = datetime(1970, 1, 2, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


class About(Record):
    """What people write about a stored run; an empty title stands for the run's own."""

    title: str = Field("", max_length=1000)
    tags: tuple[str, ...] = ()
    note: str = ""


class KeptRun(Record):
    """A run, and what was written about it."""

    run: Run
    about: About = About()


class Collected(Record):
    """What a file gave: the runs that can be used, and one sentence for each that cannot."""

    runs: tuple[KeptRun, ...] = ()
    refused: tuple[str, ...] = ()


def collection_json(stored: Iterable[tuple[About, str]]) -> str:
    """One file of these runs.

    Args:
        stored: what was written about each run, and its JSON as stored; a text that is not JSON is left out, and
            the file counts it.
    """
    entries, left_out = [], 0
    for about, text in stored:
        if _is_json(text):
            entries.append(f'{{"about": {about.model_dump_json()}, "run": {text}}}')
        else:
            left_out += 1
    runs = ",\n".join(entries)
    return f'{{"collection_version": {COLLECTION_VERSION}, "left_out": {left_out}, "runs": [\n{runs}\n]}}\n'


def read_runs(data: bytes, name: str) -> Collected:
    """The runs in a file, which is the JSON of one run or of a collection, or an HTML report.

    Args:
        name: of the file, for the sentences.
    """
    if len(data) > MOST_MB * MEGABYTE:
        return Collected(refused=(f"{name} is larger than {MOST_MB} MB: export fewer runs into one file.",))
    if is_report(data):
        return _of_report(data, name)
    try:
        found = from_json(data.removeprefix(b"\xef\xbb\xbf"))
    except ValueError:
        return Collected(refused=(f"{name} is not valid JSON: export the runs again.",))
    if isinstance(found, dict) and "collection_version" in found:
        return _of_collection(found, name)
    if not isinstance(found, dict) or "schema_version" not in found:
        return Collected(refused=(f"{name} holds no runs: choose a file that the lab exported.",))
    return _read_each([{"run": found}], (name,))


def _of_report(data: bytes, name: str) -> Collected:
    try:
        entries = [{"run": run.model_dump(mode="json")} for run in runs_of_report(data)]
    except Refusal as refusal:
        return Collected(refused=(f"{name}: {refusal}",))
    return _read_each(entries, tuple(name for _ in entries))


def _is_json(text: str) -> bool:
    try:
        from_json(text)
    except ValueError:
        return False
    return True


def _of_collection(found: dict[str, Any], name: str) -> Collected:
    entries, version = found.get("runs"), found["collection_version"]
    if version != COLLECTION_VERSION:
        sentence = f"{name} is a collection of another version of the lab: open it with that version."
        return Collected(refused=(sentence,))
    if not isinstance(entries, list) or not entries:
        return Collected(refused=(f"{name} is a collection without runs.",))
    if len(entries) > MOST_RUNS:
        sentence = f"{name} has {len(entries):,} runs, more than the {MOST_RUNS} that one file may have."
        return Collected(refused=(sentence,))
    names = tuple(f"{name}, run {number}" for number in range(1, len(entries) + 1))
    collected = _read_each(entries, names)
    return collected.model_copy(
        update={"refused": (*_left_out(found.get("left_out"), name), *collected.refused)}
    )


def _left_out(count: object, name: str) -> tuple[str, ...]:
    if not isinstance(count, int) or count < 1:
        return ()
    return (f"{name} lacks {count} damaged run{'' if count == 1 else 's'}, left out when it was exported.",)


def _read_each(entries: list[Any], names: tuple[str, ...]) -> Collected:
    runs: dict[str, KeptRun] = {}
    refused = []
    for entry, name in zip(entries, names, strict=True):
        try:
            kept = _read_entry(entry)
        except Refusal as refusal:
            refused.append(f"{name}: {refusal}")
            continue
        if kept.run.id in runs:
            refused.append(f"{name}: This run is in the file twice; the first copy is used.")
        runs.setdefault(kept.run.id, kept)
    return Collected(runs=tuple(runs.values()), refused=tuple(refused))


def _read_entry(entry: Any) -> KeptRun:
    """One run of a file.

    Raises:
        Refusal: it is of another form, or its run cannot be used.
    """
    if not isinstance(entry, dict) or "run" not in entry:
        raise Refusal("There is no run in this place.")
    # NaN stays NaN, so that `read_run` refuses it by its place.
    run = read_run(to_json(entry["run"], inf_nan_mode="constants"))
    try:
        about = About.model_validate_json(to_json(entry.get("about", {}), inf_nan_mode="constants"))
    except ValidationError as error:
        raise refusal_of(error, "run's title, tags or note") from None
    _check(run)
    return KeptRun(run=run, about=about)


def _check(run: Run) -> None:
    """Check what only a run of another origin can get wrong.

    Raises:
        Refusal: its id cannot be part of an address, its time cannot be shown, a number is out of all proportion, or
            a path's name is none.
    """
    if not _ID.fullmatch(run.id):
        raise Refusal("This run cannot be used: its id must be 1 to 64 letters, digits, dots or dashes.")
    if run.created_at.tzinfo is None or not _EARLIEST <= run.created_at <= _LATEST:
        raise Refusal("This run cannot be used: its time has no time zone, or is outside 1970 to 2200.")
    lengths = run.experiment.batch.lengths
    if not 1 <= run.environment.threads <= MOST_THREADS or not 0 <= max(lengths, default=0) <= _LONGEST_TEXT:
        raise Refusal("This run cannot be used: its threads or its texts' lengths are those of no machine.")
    odd = next((path.name for path in run.paths if not _PATH.fullmatch(path.name)), None)
    if odd is not None:
        raise Refusal(f"This run cannot be used: {odd[:40]!r} cannot be the name of a path.")
