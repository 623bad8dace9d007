"""Typed or uploaded text as the texts of a batch; imports no torch, so that pages can check it at once.

A refusal is one sentence that names the text and the limit. Only blank lines of a list are left out; the caller
reports their number.
"""

from collections.abc import Sequence

from engine.errors import Refusal
from engine.settings import Settings


def checked_texts(texts: Sequence[str], settings: Settings) -> tuple[str, ...]:
    """The same texts, checked against the settings.

    Raises:
        Refusal: no texts, only blank ones, too many, one too long, or one that no encoding can hold.
    """
    if not texts:
        raise Refusal("There are no texts: write at least one, or choose a preset.")
    if not any(text.strip() for text in texts):
        raise Refusal("All texts are blank: write at least one word, or choose a preset.")
    if len(texts) > settings.max_texts:
        raise Refusal(
            f"{len(texts)} texts are more than the {settings.max_texts} allowed here: remove "
            f"{len(texts) - settings.max_texts}, or raise FASTPATH_MAX_TEXTS."
        )
    for number, text in enumerate(texts, start=1):
        _check_text(number, text, settings)
    return tuple(texts)


def _check_text(number: int, text: str, settings: Settings) -> None:
    if len(text) > settings.max_characters:
        raise Refusal(
            f"Text {number} has {len(text):,} characters, more than the {settings.max_characters:,} allowed here: "
            "shorten or split it, or raise FASTPATH_MAX_CHARACTERS."
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Refusal(
            f"Text {number} holds half of a character at position {error.start + 1}, which no encoding can keep: "
            "remove it."
        ) from None


def decode_upload(data: bytes, name: str) -> str:
    """The text of an uploaded or named file, a byte order mark removed.

    Raises:
        Refusal: the bytes are not UTF-8; the sentence names the line.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Refusal(
            f"The file {name} is not UTF-8 (line {line}): save it as UTF-8 and give it again."
        ) from None


def split_lines(text: str) -> tuple[str, ...]:
    r"""One text a line, blank lines left out; only \n and \r\n end a line."""
    return tuple(line for line in text.replace("\r\n", "\n").split("\n") if line.strip())
