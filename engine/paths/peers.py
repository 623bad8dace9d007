"""What paths through other libraries share: importing the library, and keeping the export made for it.

An export is a folder that appears complete or not at all: it is written to a temporary folder and then renamed. So
a process that is ended halfway leaves nothing that a later one would take for an export.
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
"""Linear layers of torchtext's classification head, which runs in torch on every path."""
FOUND = "uses an earlier export"
PARTIAL = ".partial-"
STALE_S = 3600.0
"""Age in s from which a partial export is taken to be left by a process that was ended."""


@dataclass(frozen=True)
class Export:
    """The folder of an export's files, and what users should know about it."""

    folder: Path
    note: str


def library(module: str, title: str) -> Any:
    """Import an optional library.

    Raises:
        Unavailable: it is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError:
        raise Unavailable(f"{title} is not installed: pip install -r requirements-peers.txt") from None


def require_fp32_on_cpu(model: RobertaModel, title: str) -> None:
    """Refuse a model that is not in fp32 on the CPU, for a library that needs that.

    Raises:
        Unavailable: the model is on another device, or in another precision.
    """
    weight = next(model.parameters())
    if weight.device.type != "cpu":
        raise Unavailable(f"{title} runs only on the CPU in this lab; choose the device cpu.")
    if weight.dtype != torch.float32:
        raise Unavailable(f"{title} needs fp32 weights in this lab; load the model in fp32.")


def weights_mb(model: RobertaModel, precision: Precision) -> float:
    """Size in MB of the encoder's weights in a precision."""
    values: int = sum(weight.numel() for weight in model.encoder.parameters())
    return values * BYTES_PER_VALUE[precision] / MEGABYTE


@dataclass(frozen=True)
class Opened:
    """An exported encoder, opened by a library that is not torch.

    Attributes:
        states: tokens (batch, length) int64 -> hidden states (batch, length, width), which later calls do not change.
        borrowed_states: the same, but the next call may overwrite them; enough for the head, which reads them at once.
        weights_mb: weights in MB that the library holds.
        note: what users should know about the export; usually empty.
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
    """A path whose encoder another library runs on the CPU; torchtext's head runs in torch.

    Args:
        title: the library's name in sentences.
        open_export: exports the model's encoder, into the folder if there is one, and opens it.
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
    """An export to load: an earlier one in `exports`, or a new one that `write` writes into an empty folder.

    Args:
        exports: where exports are kept; None keeps this one until the context ends.
        name: the folder's name; it must contain everything that the export depends on.
    """
    if exports is None:
        # Windows cannot delete files that a library has mapped; the system removes its temporary files later.
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
    """No gradients, and no warnings that exporters give for every model.

    They warn that a trace treats sizes as constants (tests run other sizes than the traced ones), and advise to
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
        except OSError:  # another process may have written the same export first
            if not place.is_dir():
                raise


def _clear_leftovers(exports: Path) -> None:
    for leftover in exports.glob(f"{PARTIAL}*"):
        if time.time() - leftover.stat().st_mtime > STALE_S:
            rmtree(leftover, ignore_errors=True)
