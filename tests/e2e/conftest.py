"""A real server and a real Chromium: the system's, or the one that Playwright installs."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserType, sync_playwright

PROJECT = Path(__file__).parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
QUIET = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-quic",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
)
START_S = 60.0


@dataclass(frozen=True)
class Server:
    """A running app: its address and its process."""

    url: str
    pid: int


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = _launch(playwright.chromium)
        yield launched
        launched.close()


def _launch(chromium: BrowserType) -> Browser:
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=True)
    return chromium.launch(executable_path=found, args=list(QUIET))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A new server for every test, so that nothing is loaded yet."""
    port = _free_port()
    log = tmp_path / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "streamlit", "run", "streamlit_app.py", "--server.headless=true"),
                *("--server.address=127.0.0.1", f"--server.port={port}", "--server.fileWatcherType=none"),
            ],
            cwd=PROJECT,
            env={
                **os.environ,
                "FASTPATH_DATA_FOLDER": str(tmp_path / "data"),
                # How exact a measurement is, is not tested here.
                "FASTPATH_MAX_BUDGET_S": "5",
            },
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        until(lambda: _healthy(url))
        yield Server(url, process.pid)
    finally:
        process.terminate()
        process.wait(START_S)
    assert "Traceback" not in log.read_text(), log.read_text()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/_stcore/health", timeout=1) as answer:  # noqa: S310  (our own server)
            return bool(answer.read() == b"ok")
    except OSError:
        return False


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_S
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.2)
