"""What several folders of tests share: the real MiniLM, loaded and made ready for each path once a process."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

# Two test processes, and the children that they start, must not fight over the cores with a pool of threads each.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Nor may tests touch what the user's own server keeps, or wait until it has measured.
if "FASTPATH_DATA_FOLDER" not in os.environ:
    _DATA = TemporaryDirectory(prefix="fastpath-tests-")
    os.environ["FASTPATH_DATA_FOLDER"] = _DATA.name
    os.environ["FASTPATH_LOCK_FILE"] = f"{_DATA.name}/measuring.lock"
# A shell ignores Ctrl-C in what it starts in the background, and so would all commands that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest
from hypothesis import settings

from engine.events import Event

if TYPE_CHECKING:
    from engine.models.loading import LoadedModel
    from engine.paths import PreparedPath

# A shared machine stalls now and then; how long an example takes is no property of the code.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    """A measurement sets torch's number of threads, and what was compiled for another one is compiled anew."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.fixture(scope="session")
def minilm() -> "LoadedModel":
    """all-MiniLM-L6-v2 with its real weights on the CPU in fp32."""
    from engine.catalog.models import CATALOG
    from engine.models.loading import load_model
    from engine.settings import Settings

    return load_model(CATALOG["minilm"], "fp32", "cpu", Settings(), lambda _event: None, time.perf_counter)


@pytest.fixture
def told() -> list[Event]:
    """Where a test's `tell` puts its events: pass `told.append`."""
    return []


@pytest.fixture(scope="session")
def prepared(
    minilm: "LoadedModel", tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], "PreparedPath"]:
    """A path of MiniLM by name, made ready once: compiling and exporting take seconds."""
    from engine.paths import EXECUTION_PATHS

    exports = tmp_path_factory.mktemp("exports")
    return cache(lambda name: EXECUTION_PATHS[name].prepare(minilm.model, exports))
