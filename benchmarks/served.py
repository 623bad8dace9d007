"""A real server of the app on this machine, for benchmarks."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

PROJECT = Path(__file__).parents[1]
START_S = 60.0
"""The longest time for a server to start or to end."""


@dataclass(frozen=True)
class Served:
    """A running server."""

    url: str
    pid: int
    folder: Path
    log: Path


@contextmanager
def serving(hosted: bool) -> Iterator[Served]:
    """Run a server on this machine, with its own data folder."""
    with TemporaryDirectory(prefix="fastpath-visitors-") as name, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port, folder = probe.getsockname()[1], Path(name)
        probe.close()
        with (folder / "server.log").open("wb") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "streamlit", "run", "streamlit_app.py", "--server.headless=true"),
                    *("--server.address=127.0.0.1", f"--server.port={port}"),
                ],
                cwd=PROJECT,
                env={**os.environ, "FASTPATH_DATA_FOLDER": name, "FASTPATH_HOSTED": str(int(hosted))},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_for(url)
            yield Served(url, process.pid, folder, folder / "server.log")
        finally:
            process.terminate()
            process.wait(START_S)


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=1):  # noqa: S310  (our own server)
                return
        except OSError:
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.2)
