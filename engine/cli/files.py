"""Files and folders that commands read and write: checked before measuring; a failure is one sentence."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EACCES
from pathlib import Path

from engine.cli.streams import tell_user
from engine.errors import Refusal
from engine.present.reports.embedded import is_report, run_of_report, runs_of_report
from engine.records import MEGABYTE, MOST_BYTES, Record, Run, read_run


def read_bytes(file: Path, most: int = MOST_BYTES) -> bytes:
    """The bytes of a file.

    Args:
        most: longest file that is read, in bytes.

    Raises:
        Refusal: it cannot be read, or is longer than any file of the lab.
    """
    try:
        with file.open("rb") as source:
            data = source.read(most + 1)
    except OSError as error:
        raise Refusal(f"The file {file} cannot be read: {error.strerror}.") from None
    if len(data) > most:
        raise Refusal(
            f"The file {file} is longer than {most // MEGABYTE} MB, the most that is read; it was left as it is: "
            "choose a shorter one."
        )
    return data


def read_runs(file: Path) -> tuple[Run, ...]:
    """The runs in a file: one in a run's JSON, one or several in an HTML report.

    Raises:
        Refusal: the file cannot be read, or holds no run that can be used.
    """
    data = read_bytes(file)
    return runs_of_report(data) if is_report(data) else (read_run(data),)


def read_one_run(file: Path) -> Run:
    """The run in a run's JSON, or in an HTML report of one run.

    Raises:
        Refusal: the file cannot be read, holds no run that can be used, or several.
    """
    data = read_bytes(file)
    return run_of_report(data) if is_report(data) else read_run(data)


def check_writable(file: Path | None, kept: str = "nothing was measured") -> None:
    """Check before the work that a file can be written, so that its result is not lost; its content is kept.

    Args:
        kept: what has not been done yet, for the sentence.

    Raises:
        Refusal: the file cannot be written.
    """
    if file is None:
        return
    try:
        _try_to_write(file.resolve())
    except (OSError, RuntimeError) as error:  # RuntimeError: links that point to each other
        reason = error.strerror if isinstance(error, OSError) else "its links go round in a circle"
        raise Refusal(
            f"The file {file} cannot be written ({reason}), so {kept}: choose one in a folder that you "
            "may write to."
        ) from None


def _try_to_write(file: Path) -> None:
    """Open a file for writing; a new one is removed again. A pipe is not opened, because its reader would see it."""
    if not file.exists():
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        file.unlink()
    elif file.is_file() or file.is_dir():
        os.close(os.open(file, os.O_WRONLY))
    elif not os.access(file, os.W_OK):
        raise PermissionError(EACCES, os.strerror(EACCES))


def make_trace_folder(folder: Path | None) -> None:
    """Make the folder for traces, before measuring for the same reason as `check_writable`.

    Raises:
        Refusal: it cannot be made.
    """
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refusal(
            f"The traces folder {folder} cannot be made ({error.strerror}), so nothing was measured: choose another."
        ) from None


@contextmanager
def written(record: Record, noun: str, file: Path | None) -> Iterator[None]:
    """Write a record as JSON, print it in the block, and then tell the file's name on standard error.

    The file comes first, because printing fails where standard output is full or closed. Without a file, only print.

    Raises:
        Refusal: the file cannot be written; the result was printed.
    """
    failure = None if file is None else _write(record, file)
    try:
        yield
    finally:
        if file is not None and failure is None:
            tell_user(f"The {noun} is in {file}")
    if failure is not None:
        raise Refusal(f"The {noun} is printed above, but {file} cannot be written: {failure.strerror}.")


def _write(record: Record, file: Path) -> OSError | None:
    try:
        file.write_text(record.model_dump_json(indent=1), encoding="utf-8")
    except OSError as error:
        return error
    return None
