"""A loopback server for downloads, empty homes for what is fetched, and MiniLM made ready for each path once."""

import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import constants
from loopback import Loopback, LoopbackServer

from engine.events import Event

if TYPE_CHECKING:
    from engine.measure.models import LoadedModel
    from engine.measure.paths import PreparedPath


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    server = LoopbackServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server.loopback
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def hub(loopback: Loopback, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Loopback:
    """The loopback server as the Hugging Face hub, with an empty cache."""
    monkeypatch.setenv("HF_ENDPOINT", loopback.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    return loopback


@pytest.fixture
def torch_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty $TORCH_HOME."""
    home = tmp_path / "torch-home"
    monkeypatch.setenv("TORCH_HOME", str(home))
    return home


@pytest.fixture
def told() -> list[Event]:
    """Where a test's `tell` puts its events: pass `told.append`."""
    return []


@pytest.fixture(scope="session")
def prepared(
    minilm: "LoadedModel", tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], "PreparedPath"]:
    """A path of MiniLM by name, made ready once: compiling and exporting take seconds."""
    from engine.measure.paths import EXECUTION_PATHS

    exports = tmp_path_factory.mktemp("exports")
    return cache(lambda name: EXECUTION_PATHS[name].prepare(minilm.model, exports))
