"""What the Dockerfile promises, tried without Docker: its files, its start and its health check, on this Python."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
LONG_S = 60.0
IGNORED = (ROOT / ".dockerignore").read_text().splitlines()


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, each a word and the rest of its line."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in text.splitlines() if line.strip()]


def last(word: str) -> str:
    return next(rest for found, rest in reversed(instructions()) if found == word)


def variables(folder: Path) -> dict[str, str]:
    """The image's environment, its data folder moved here."""
    found = [
        pair for word, rest in instructions() if word == "ENV" for pair in re.findall(r"(\w+)=(\S+)", rest)
    ]
    return {name: value.strip('"').replace("/data", str(folder)) for name, value in found}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A folder with what COPY puts into the image."""
    assert IGNORED[1] == "*"
    for name in (line.removeprefix("!") for line in IGNORED if line.startswith("!")):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, tmp_path / name)
    return tmp_path


def healthy(environment: dict[str, str]) -> bool:
    """What the HEALTHCHECK's command says, run as it stands there."""
    command = json.loads(last("HEALTHCHECK").partition("CMD")[2])
    assert command[0] == "python"
    return (
        subprocess.run(
            [sys.executable, *command[1:]], env=environment, capture_output=True, check=False
        ).returncode
        == 0
    )


@contextmanager
def started(image: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The CMD as it stands there, and the agent API to look at pages without a browser."""
    command = json.loads(last("CMD"))
    assert command[0] == "streamlit"
    with (image / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", *command, "--server.enableAgentApi=true"],
            cwd=image,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + LONG_S
            while not healthy(environment):
                assert time.monotonic() < deadline, (image / "server.log").read_text()
                time.sleep(0.1)
            yield server
        finally:
            server.kill()
            server.wait()


def page(url: str, name: str) -> dict[str, Any]:
    """A page of the app as its agent API tells it, and the list of all pages."""
    request = urllib.request.Request(  # noqa: S310  (our own server)
        f"{url}/_stcore/agent/interact",
        data=json.dumps({"page": name}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=LONG_S) as answer:  # noqa: S310
        told: dict[str, Any] = json.load(answer)
        return told


@pytest.mark.parametrize("base_path", ["", "lab"])
def test_the_image_starts_with_what_is_copied_and_its_health_check_tells_the_truth(
    image: Path, base_path: str
) -> None:
    port = free_port()
    environment = {**os.environ, **variables(image / "data"), "STREAMLIT_SERVER_PORT": str(port)}
    environment["STREAMLIT_SERVER_BASE_URL_PATH"] = base_path
    assert not healthy(environment)
    with started(image, environment) as server:
        url = f"http://127.0.0.1:{port}/{base_path}".rstrip("/")
        for other in page(url, "")["pages"]:
            assert '"type": "exception"' not in json.dumps(page(url, other["url_path"])["tree"]), other
        server.send_signal(signal.SIGTERM)
        assert server.wait(LONG_S) == 0
    assert not healthy(environment)


def test_nothing_runs_as_root() -> None:
    words = [word for word, _ in instructions()]
    assert last("USER").isdecimal(), "a number, so that an orchestrator can tell that it is not root"
    assert last("USER") != "0"
    assert "RUN" not in words[words.index("USER") :]
    assert json.loads(last("ENTRYPOINT"))[0] == "tini", "somebody must reap what a killed measurement leaves"


def test_large_layers_come_before_the_code() -> None:
    order = [rest for word, rest in instructions() if word in {"RUN", "COPY"}]
    torch, others, code = (
        next(place for place, rest in enumerate(order) if words in rest)
        for words in ("grep '^torch=='", "--requirement", ". .")
    )
    assert torch < others < code
