"""A shared run as text for an address, and back. A link may come from anybody, so reading checks everything.

The text is a version, a dot, and base64url of a checksum and of compressed JSON. Fields that version 1 leaves out may
be added to it; anything else needs another version.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from json import dumps
from zlib import MAX_WBITS, Z_BEST_COMPRESSION, compressobj, crc32, decompressobj
from zlib import error as NotCompressed  # noqa: N812  (an exception)

from pydantic_core import from_json

from engine.errors import Refusal
from engine.present.links.columns import Plain, from_plain, to_plain
from engine.present.links.dictionary import DICTIONARY
from engine.present.links.shared import SharedRun
from engine.present.links.sharing import shared_of
from engine.records import Run

VERSION = "1"
LINK_PATH = "/link?run="
"""What comes between the address of a lab and the text of a link: pages/link.py reads it."""
MOST_CHARACTERS = 8_000
SHORT_CHARACTERS = 2_000
"""A link of this length passes through chat programs and mail."""
MOST_BYTES = 100_000
"""Longest JSON in a link; a run that fills `MOST_CHARACTERS` has about 20,000 bytes."""
SHARES: tuple[float | None, ...] = (0.005, 0.01, 0.02, 0.04, 0.08, None)
"""Operators with a smaller share are left out, tried in this order until the link is short; None leaves out all."""
_CHECKSUM_BYTES = 4

_DAMAGED = (
    "This link is damaged or incomplete, so nothing of it is shown: copy it again, or ask for the run's JSON."
)
_TOO_LONG = (
    f"This link is longer than the {MOST_CHARACTERS:,} characters that are read, so nothing of it is shown: "
    "ask for the run's JSON."
)
_OTHER_VERSION = (
    "This link was not made by this version of the lab, so nothing of it is shown: open it with the version that made "
    "it, or ask for the run's JSON."
)


def link_of(run: Run) -> tuple[str, SharedRun]:
    """The text of a link that carries a concluded run, and the run as its readers will see it.

    It has at most `SHORT_CHARACTERS` if leaving out operators achieves that, and never more than `MOST_CHARACTERS`.

    Raises:
        Refusal: the run has too many paths for a link.
    """
    for most in (SHORT_CHARACTERS, MOST_CHARACTERS):
        for share in SHARES:
            text = written(shared_of(run, share))
            if len(text) <= most:
                return text, read_link(text)
    raise Refusal(
        f"This run of {len(run.paths)} paths does not fit into a link of {MOST_CHARACTERS:,} characters; it is kept: "
        "download its JSON instead."
    )


def written(run: SharedRun) -> str:
    """A shared run as the text of a link, of any length."""
    return packed_text(
        dumps(to_plain(run), separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    )


def packed_text(data: bytes) -> str:
    """JSON as the text of a link."""
    compressor = compressobj(Z_BEST_COMPRESSION, wbits=-MAX_WBITS, memLevel=9, zdict=DICTIONARY)
    packed = compressor.compress(data) + compressor.flush()
    checked = crc32(packed).to_bytes(_CHECKSUM_BYTES, "big") + packed
    return f"{VERSION}.{urlsafe_b64encode(checked).rstrip(b'=').decode()}"


def read_link(text: str) -> SharedRun:
    """The run in the text of a link.

    Raises:
        Refusal: it is too long, damaged, of another version, or says something that no run has.
    """
    if len(text) > MOST_CHARACTERS:
        raise Refusal(_TOO_LONG)
    version, dot, body = text.partition(".")
    if not dot or version != VERSION:
        raise Refusal(_OTHER_VERSION if version.isdecimal() and dot else _DAMAGED)
    try:
        values = from_json(_unpacked(body), allow_inf_nan=False)
        _check_values(values)
        return SharedRun.model_validate(from_plain(values))
    except (
        NotBase64,
        NotCompressed,
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        OSError,
    ):
        raise Refusal(_DAMAGED) from None


def _unpacked(body: str) -> bytes:
    """The JSON of a link, at most `MOST_BYTES` of it.

    Raises:
        ValueError, zlib.error: it is damaged or longer.
    """
    data = urlsafe_b64decode(body.encode("ascii") + b"=" * (-len(body) % 4))
    checksum, packed = data[:_CHECKSUM_BYTES], data[_CHECKSUM_BYTES:]
    if crc32(packed).to_bytes(_CHECKSUM_BYTES, "big") != checksum:
        raise ValueError("the checksum differs")
    reader = decompressobj(wbits=-MAX_WBITS, zdict=DICTIONARY)
    unpacked = reader.decompress(packed, MOST_BYTES)
    if not reader.eof or reader.unused_data:
        raise ValueError("it does not end where it should, or is too long")
    return unpacked


MOST_ITEMS, LONGEST_TEXT, LARGEST = 1_000, 300, 1e12


def _check_values(value: Plain, depth: int = 0) -> None:
    """Check what is true of every value in a link: numbers are not negative, texts are short and can be printed.

    Raises:
        ValueError: it is not.
    """
    if isinstance(value, str):
        good = len(value) <= LONGEST_TEXT and value.isprintable()
    elif isinstance(value, int | float):
        good = 0 <= value <= LARGEST
    elif isinstance(value, list | dict):
        good = len(value) <= MOST_ITEMS and depth < 6
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        for part in parts if good else ():
            _check_values(part, depth + 1)
    else:
        good = value is None
    if not good:
        raise ValueError("a value is not of the kind that links have")
