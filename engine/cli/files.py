"""Files and folders that commands read and write: checked before measuring; a failure is one sentence."""

import os
from pathlib import Path

from rich.console import Console

from engine.errors import Refusal
from engine.records import MEGABYTE, MOST_BYTES, Record


def read_bytes(file: Path) -> bytes:
    """The bytes of a file.

    Raises:
        Refusal: it cannot be read, or is longer than any file of the lab.
    """
    try:
        with file.open("rb") as source:
            data = source.read(MOST_BYTES + 1)
    except OSError as error:
        raise Refusal(f"The file {file} cannot be read: {error.strerror}.") from None
    if len(data) > MOST_BYTES:
        raise Refusal(
            f"The file {file} is longer than {MOST_BYTES // MEGABYTE} MB, the most that is read; it was left as it is: "
            "choose a shorter one."
        )
    return data


def check_writable(file: Path | None) -> None:
    """Check before measuring that a file can be written, so that no measurement is lost.

    Raises:
        Refusal: the file cannot be written.
    """
    if file is not None and (file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK)):
        raise Refusal(
            f"The file {file} cannot be written, so nothing was measured: choose one in a folder that you may write to."
        )


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


def write_record(record: Record, noun: str, file: Path | None) -> None:
    """Write a record as JSON and print the file's name on standard error; without a file, do nothing.

    Raises:
        Refusal: the file cannot be written; the result has been printed already.
    """
    if file is None:
        return
    try:
        file.write_text(record.model_dump_json(indent=1), encoding="utf-8")
    except OSError as error:
        raise Refusal(
            f"The {noun} is printed above, but {file} cannot be written: {error.strerror}."
        ) from None
    Console(stderr=True, soft_wrap=True).print(f"The {noun} is in {file}", highlight=False)
