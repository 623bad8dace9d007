"""What paths through other libraries share: asking for the library, and keeping what was exported for it.

An export is a folder that appears whole or not at all: it is written beside its place and then moved there, so that
a process that is ended half way leaves nothing that a later one would take for an export.
"""

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from engine.catalog.operators import FUSED_LAYER, LINEAR, NESTED_CONVERSION, SDPA
from engine.models.encoder import RobertaModel
from engine.paths.execution import Expectation, Preparation, PreparedPath, Promise, Unavailable
from engine.records import BYTES_PER_VALUE, MEGABYTE, Precision

HEAD_LINEARS = 2
"""Linear layers of torchtext's classification head, which stays in torch on every path."""
FOUND = "export found from before"
PARTIAL = ".partial-"
STALE_S = 3600.0
"""Age in s from which a half-written export has been left by a process that was ended."""


@dataclass(frozen=True)
class Export:
    """The folder of an export's files, and what people should know of it."""

    folder: Path
    note: str


def library(module: str, title: str) -> Any:
    """Import a library that the lab can do without.

    Raises:
        Unavailable: it is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError:
        raise Unavailable(f"{title} is not installed: pip install -r requirements-peers.txt") from None


def require_fp32_on_cpu(model: RobertaModel, title: str) -> None:
    """Refuse a model that cannot be exported for a library that runs on processors only.

    Raises:
        Unavailable: the model is on another device, or in another precision.
    """
    weight = next(model.parameters())
    if weight.device.type != "cpu":
        raise Unavailable(f"{title} runs on the CPU only in this lab; choose the device cpu.")
    if weight.dtype != torch.float32:
        raise Unavailable(f"{title} is given fp32 weights in this lab; load the model in fp32.")


def weights_mb(model: RobertaModel, precision: Precision) -> float:
    """Size in MB of the encoder's weights in a precision."""
    values: int = sum(weight.numel() for weight in model.encoder.parameters())
    return values * BYTES_PER_VALUE[precision] / MEGABYTE


@dataclass(frozen=True)
class Opened:
    """An exported encoder, opened by a library that is not torch.

    Attributes:
        states: tokens (batch, length) int64 -> hidden states (batch, length, width), which stay as they are.
        borrowed_states: the same, but the next call may overwrite them; enough for the head, which reads them at once.
        weights_mb: weights in MB that the library holds.
        note: what people should know of the export; most often nothing.
    """

    states: Callable[[Tensor], Tensor]
    borrowed_states: Callable[[Tensor], Tensor]
    weights_mb: float
    note: str


OUTSIDE_TORCH = Promise(
    "the library runs the encoder, torch only the classification head",
    (
        Expectation(FUSED_LAYER, 0),
        Expectation(NESTED_CONVERSION, 0),
        Expectation(SDPA, 0),
        Expectation(LINEAR, HEAD_LINEARS),
    ),
)


def outside_torch(title: str, open_export: Callable[[RobertaModel, Path | None], Opened]) -> Preparation:
    """A path whose encoder another library runs on the CPU; torchtext's head stays in torch.

    Args:
        title: the library's name for people.
        open_export: exports the model's encoder, into the folder where there is one, and opens it.
    """

    def prepare(model: RobertaModel, exports: Path | None) -> PreparedPath:
        require_fp32_on_cpu(model, title)
        opened, head = open_export(model, exports), model.head
        return PreparedPath(
            forward=lambda tokens: head(opened.borrowed_states(tokens)),
            hidden=opened.states,
            promise=OUTSIDE_TORCH,
            weights_mb=opened.weights_mb,
            note=opened.note,
        )

    return prepare


@contextmanager
def export_of(exports: Path | None, name: str, write: Callable[[Path], None]) -> Iterator[Export]:
    """An export to be loaded: the one found in `exports`, or a new one, written into an empty folder by `write`.

    Args:
        exports: where exports are kept; None keeps this one until the block is left.
        name: names the content and everything it depends on.
    """
    if exports is None:
        # What a library still has mapped cannot be deleted on Windows; the system clears its temporary files itself.
        with TemporaryDirectory(prefix="fastpath-export-", ignore_cleanup_errors=True) as folder:
            write(Path(folder))
            yield Export(Path(folder), "")
        return
    place = exports / name
    found = place.is_dir()
    if not found:
        _write_whole(place, write)
    yield Export(place, FOUND if found else "")


@contextmanager
def exporting() -> Iterator[None]:
    """Without gradients, and without what exporters say on every model.

    They warn of sizes that a trace takes for constants (tests run other sizes than the traced ones), and advise to
    preprocess a model before quantising it.
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _write_whole(place: Path, write: Callable[[Path], None]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    _clear_leftovers(place.parent)
    with TemporaryDirectory(dir=place.parent, prefix=PARTIAL, ignore_cleanup_errors=True) as partial:
        whole = Path(partial) / place.name
        whole.mkdir()
        write(whole)
        try:
            whole.rename(place)
        except OSError:  # another process has been quicker with the same content
            if not place.is_dir():
                raise


def _clear_leftovers(exports: Path) -> None:
    for leftover in exports.glob(f"{PARTIAL}*"):
        if time.time() - leftover.stat().st_mtime > STALE_S:
            rmtree(leftover, ignore_errors=True)
