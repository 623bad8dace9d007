"""A loopback server for downloads, and empty folders for the downloaded files."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.models.loopback import Loopback, LoopbackServer


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
