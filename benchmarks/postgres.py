"""A PostgreSQL server of one's own on loopback, in a folder of its own, for the store's tests and its benchmark.

It needs the programs of Debian's package `postgresql`.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

from sqlalchemy import URL, create_engine
from sqlalchemy.exc import OperationalError

START_S, STOP_S = 60.0, 30.0
ROLE = "lab"
ACCOUNT = ("postgres", "postgres")
"""User and group of Debian's package."""


def programs() -> Path | None:
    """The folder of the newest server that is installed; None if there is none."""
    installed = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(installed, key=lambda file: float(file.parts[-3]), default=None)
    found = newest or shutil.which("initdb")
    return Path(found).parent if found else None


@contextmanager
def postgres_server(programs: Path) -> Iterator[URL]:
    """A server that ends with this context, or with this process; the URL has its password."""
    with tempfile.TemporaryDirectory(prefix="lab-postgres-") as name:
        folder, password, port = Path(name), token_hex(16), _free_port()
        (folder / "password").write_text(password)
        if os.geteuid() == 0:
            for owned in (folder, folder / "password"):
                shutil.chown(owned, *ACCOUNT)
        _create(programs, folder)
        url = URL.create("postgresql+psycopg", ROLE, password, "127.0.0.1", port, "postgres")
        listening = f"-h 127.0.0.1 -p {port} -k {folder}".split()
        command = _unprivileged(str(programs / "postgres"), "-D", str(folder / "data"), *listening)
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait_until_it_answers(url, server, folder / "log")
            yield url
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(STOP_S)


def _unprivileged(*command: str) -> list[str]:
    """The command, ending with its parent even if that is killed; not as root, as which PostgreSQL refuses to run."""
    user = [f"--reuid={ACCOUNT[0]}", f"--regid={ACCOUNT[1]}", "--init-groups"] if os.geteuid() == 0 else []
    return ["setpriv", "--pdeathsig=INT", *user, "--", *command]


def _create(programs: Path, folder: Path) -> None:
    options = f"-D {folder}/data -U {ROLE} -E UTF8 --locale=C.UTF-8 -A scram-sha-256 --no-sync".split()
    command = _unprivileged(str(programs / "initdb"), *options, f"--pwfile={folder}/password")
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"initdb failed: {done.stderr}")


def _wait_until_it_answers(url: URL, server: subprocess.Popen[bytes], log: Path) -> None:
    engine = create_engine(url)
    until = time.monotonic() + START_S
    while True:
        try:
            engine.connect().close()
        except OperationalError:
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"PostgreSQL did not start: {log.read_text()}") from None
            time.sleep(0.05)
        else:
            engine.dispose()
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
