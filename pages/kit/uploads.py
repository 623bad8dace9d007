"""Texts from uploaded files, and how editors without line breaks show a text that contains some.

Imports no Streamlit. A line break inside a text is shown as the sign U+23CE and read back as a line break.
"""

import csv
import json
from io import StringIO
from pathlib import PurePath

from engine.errors import Refusal
from engine.texts import decode_upload, split_lines

LINE_BREAK_SIGN = "\u23ce"
UPLOAD_KINDS = ("txt", "csv", "json")


def one_line(text: str) -> str:
    """A text on one line, with signs for its line breaks."""
    return text.replace("\r\n", "\n").replace("\n", LINE_BREAK_SIGN)


def with_breaks(line: str) -> str:
    """The text that `one_line` showed."""
    return line.replace(LINE_BREAK_SIGN, "\n")


def texts_of_lines(lines: str) -> tuple[str, ...]:
    """One text per line; signs become line breaks, blank lines are left out."""
    return tuple(with_breaks(line) for line in split_lines(lines))


def texts_of_upload(data: bytes, name: str) -> tuple[str, ...]:
    """The texts of an uploaded file.

    A .txt file has one text per line; a .csv file has them in its column `text`, or in its first column without a
    header of that name; a .json file is a list of strings, or an object with such a list under `texts`.

    Raises:
        Refusal: not UTF-8, of another kind, or without texts in that form.
    """
    text = decode_upload(data, name)
    match PurePath(name).suffix.lower():
        case ".txt":
            texts = split_lines(text)
        case ".csv":
            texts = _texts_of_csv(text, name)
        case ".json":
            texts = _texts_of_json(text, name)
        case _:
            raise Refusal(f"The file {name} is none of {', '.join(UPLOAD_KINDS)}; the batch was not changed.")
    if not texts:
        raise Refusal(f"The file {name} has no texts; the batch was not changed.")
    return texts


def _texts_of_csv(text: str, name: str) -> tuple[str, ...]:
    try:
        rows = [row for row in csv.reader(StringIO(text, newline=""), strict=True) if row]
    except csv.Error as error:
        raise Refusal(f"The file {name} is not valid CSV ({error}); the batch was not changed.") from None
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    column, body = (header.index("text"), rows[1:]) if "text" in header else (0, rows)
    return tuple(row[column] for row in body if len(row) > column and row[column].strip())


def _texts_of_json(text: str, name: str) -> tuple[str, ...]:
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        raise Refusal(f"The file {name} is not valid JSON; the batch was not changed.") from None
    texts = found.get("texts") if isinstance(found, dict) else found
    if not isinstance(texts, list) or not all(isinstance(item, str) for item in texts):
        raise Refusal(
            f"The file {name} must be a list of strings, or an object with one under texts; the batch was not changed."
        )
    return tuple(texts)
