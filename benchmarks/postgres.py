"""A PostgreSQL server of one's own on loopback, in a folder of its own, for the store's tests and its benchmark.

It needs the programs of Debian's package `postgresql`.
"""

import os
import pwd
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


def programs() -> Path | None:
    """The folder of the newest server that is installed; None if there is none."""
    installed = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(installed, key=lambda file: float(file.parts[-3]), default=None)
    found = newest or shutil.which("initdb")
    return Path(found).parent if found else None


@contextmanager
def postgres_server(programs: Path) -> Iterator[URL]:
    """A server that ends with this context, or with this process; the URL has its password."""
    as_user = _unprivileged()
    with tempfile.TemporaryDirectory(prefix="lab-postgres-") as name:
        folder, password = Path(name), token_hex(16)
        (folder / "password").write_text(password)
        if as_user:
            for owned in (folder, folder / "password"):
                shutil.chown(owned, *as_user)
        _create(programs, folder, as_user)
        port = _free_port()
        url = URL.create("postgresql+psycopg", ROLE, password, "127.0.0.1", port, "postgres")
        command = [
            programs / "postgres",
            "-D",
            folder / "data",
            "-h",
            "127.0.0.1",
            "-p",
            str(port),
            "-k",
            folder,
        ]
        with (folder / "log").open("wb") as log:
            # It ends with its parent, even if that is killed.
            server = subprocess.Popen(
                _command(["setpriv", "--pdeathsig=INT"], as_user, command), stdout=log, stderr=log
            )
        try:
            _wait_until_it_answers(url, server, folder / "log")
            yield url
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(STOP_S)


def _unprivileged() -> tuple[str, str] | None:
    """The user and group to run as, if this process is root's: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    account = pwd.getpwnam("postgres")
    return account.pw_name, "postgres"


def _command(
    setpriv: list[str], as_user: tuple[str, str] | None, command: list[str | Path]
) -> list[str | Path]:
    user = [f"--reuid={as_user[0]}", f"--regid={as_user[1]}", "--init-groups"] if as_user else []
    return [*setpriv, *user, "--", *command]


def _create(programs: Path, folder: Path, as_user: tuple[str, str] | None) -> None:
    command: list[str | Path] = [programs / "initdb", "-D", folder / "data", "-U", ROLE, "-E", "UTF8"]
    command += ["--locale=C.UTF-8", "-A", "scram-sha-256", f"--pwfile={folder / 'password'}", "--no-sync"]
    done = subprocess.run(
        _command(["setpriv"], as_user, command), cwd="/", capture_output=True, text=True, check=False
    )
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
