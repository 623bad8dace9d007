"""Moves weights onto huge pages, on Linux 6.1 and later.

A batch reads all weights once, and the processor looks up each page that it reads. With pages of 4 kB a small batch
waits for the look-ups. With huge pages MiniLM takes 10 to 20 % less time for two short texts, and 1 % less for large
batches.
"""

import ctypes
from collections.abc import Iterable
from functools import cache
from pathlib import Path

MADV_COLLAPSE = 25
"""Put a range onto huge pages now, whatever the system's setting (Linux 6.1 and later, man 2 madvise)."""
SIZE = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
MOST_BYTES = 2 << 20
"""Larger huge pages are not used: they would hold mostly other memory."""


def gather(places: Iterable[tuple[int, int]]) -> None:
    """Ask the system to put memory onto huge pages. Best effort: errors are ignored, addresses and contents stay.

    Args:
        places: address and size in bytes of each piece; other memory on the same pages moves with it.
    """
    size = _page_bytes()
    if size is None:
        return
    madvise = _madvise()
    pages = {page for start, length in places for page in range(start // size, -(-(start + length) // size))}
    for page in sorted(pages):
        madvise(page * size, size, MADV_COLLAPSE)


@cache
def _page_bytes() -> int | None:
    try:
        size = int(SIZE.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return size if size <= MOST_BYTES else None


@cache
def _madvise() -> "ctypes._NamedFuncPointer":
    """The system's madvise; called on Linux only, because `_page_bytes` is None elsewhere."""
    function = ctypes.CDLL(None).madvise
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return function
