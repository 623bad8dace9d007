"""Downloads: complete files only, resumed after an interruption, with progress events.

`download` fetches from any address; `HubRepository` fetches through huggingface_hub, with its cache, its mirror
(HF_ENDPOINT) and its offline switch (HF_HUB_OFFLINE).
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import requests
from filelock import FileLock
from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
)
from tqdm import tqdm  # type: ignore[import-untyped]

from engine.events import Download, Event
from engine.records import MEGABYTE

SECONDS_BETWEEN_EVENTS = 0.25
# When the connection ends within a chunk, that chunk is lost.
CHUNK_BYTES = 1 << 16
CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 30

Tell = Callable[[Event], None]
Clock = Callable[[], float]


class DownloadError(Exception):
    """A file could not be fetched; the message is a clause for a sentence: "the server answered 404"."""


class MissingFileError(DownloadError):
    """The server answered, but has no such file."""


class InterruptedDownloadError(DownloadError):
    """The connection ended early; the next attempt continues with what has arrived."""


@dataclass
class Progress:
    """Counts the bytes of a file and reports them about four times a second, and at the end."""

    file: str
    received: int
    total: int | None
    tell: Tell
    clock: Clock
    told_at: float = float("-inf")

    def add(self, count: int) -> None:
        """Count bytes that have arrived."""
        self.received += count
        now = self.clock()
        if now - self.told_at >= SECONDS_BETWEEN_EVENTS or self.received == self.total:
            self.told_at = now
            self.tell(self._event())

    def _event(self) -> Download:
        total_mb = None if self.total is None else self.total / MEGABYTE
        return Download(file=self.file, received_mb=self.received / MEGABYTE, total_mb=total_mb)


def download(url: str, target: Path, tell: Tell, clock: Clock) -> Path:
    """Fetch a file to `target` unless it is there already.

    Bytes go to a `.part` file beside it, which takes the target's name only once it is complete and on the disk. A
    `.part` of the same version (same ETag or date) is continued. If several processes need the file, one downloads it.

    Raises:
        InterruptedDownloadError: the connection ended early.
        MissingFileError: the server has no such file.
        DownloadError: no connection, another answer than the file, or no room on the disk.
    """
    if target.is_file():
        return target
    with _failures_in_words(url):
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if not target.is_file():
                _fetch(url, _Part.of(target), tell, clock)
    return target


@dataclass(frozen=True)
class _Part:
    """An unfinished download: its bytes so far, and the file's version they belong to."""

    target: Path
    data: Path
    validator: Path

    @classmethod
    def of(cls, target: Path) -> "_Part":
        return cls(target, Path(f"{target}.part"), Path(f"{target}.part.version"))

    def size(self) -> int:
        return self.data.stat().st_size if self.data.is_file() and self.validator.is_file() else 0

    def request_headers(self) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity"}  # else Content-Length counts compressed bytes
        if self.size():
            # If-Range: a server whose file has changed sends the whole new one instead (RFC 9110, 13.1.5).
            headers |= {
                "Range": f"bytes={self.size()}-",
                "If-Range": self.validator.read_text(encoding="ascii"),
            }
        return headers

    def start_over(self, response: requests.Response) -> None:
        self.data.unlink(missing_ok=True)
        self.validator.unlink(missing_ok=True)
        validator = _strong_validator(response)
        if validator:
            self.validator.write_text(validator, encoding="ascii")

    def finish(self) -> None:
        os.replace(self.data, self.target)  # noqa: PTH105  (atomic, and says so)
        self.validator.unlink(missing_ok=True)


def _strong_validator(response: requests.Response) -> str:
    etag = response.headers.get("ETag", "")
    return response.headers.get("Last-Modified", "") if not etag or etag.startswith("W/") else etag


def _fetch(url: str, part: _Part, tell: Tell, clock: Clock) -> None:
    timeout = (CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
    with requests.get(url, headers=part.request_headers(), stream=True, timeout=timeout) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable and part.size():
            part.start_over(response)
            return _fetch(url, part, tell, clock)
        _check_answer(response)
        if not _continues(response, part.size()):
            part.start_over(response)
        return _receive(response, part, tell, clock)


def _check_answer(response: requests.Response) -> None:
    if response.status_code in (requests.codes.not_found, requests.codes.gone, requests.codes.forbidden):
        raise MissingFileError(f"{response.url} answered {response.status_code}")
    if response.status_code not in (requests.codes.ok, requests.codes.partial_content):
        raise DownloadError(f"{response.url} answered {response.status_code}")


def _continues(response: requests.Response, size: int) -> bool:
    start = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if response.status_code != requests.codes.partial_content:
        return False
    if start is None or int(start[1]) != size:
        raise DownloadError(f"{response.url} sent another range than requested")
    return True


def _receive(response: requests.Response, part: _Part, tell: Tell, clock: Clock) -> None:
    already = part.size()
    length = response.headers.get("Content-Length")
    total = None if length is None else already + int(length)
    _check_room(part, int(length or 0))
    progress = Progress(part.target.name, already, total, tell, clock)
    with part.data.open("ab") as file:
        for chunk in _chunks(response, part):
            file.write(chunk)
            progress.add(len(chunk))
        file.flush()
        os.fsync(file.fileno())
    if total is not None and progress.received != total:
        raise _interrupted(part)
    part.finish()


def _chunks(response: requests.Response, part: _Part) -> Iterator[bytes]:
    try:
        yield from response.iter_content(CHUNK_BYTES)
    except (requests.exceptions.ChunkedEncodingError, requests.ConnectionError, requests.Timeout):
        raise _interrupted(part) from None


def _interrupted(part: _Part) -> InterruptedDownloadError:
    return InterruptedDownloadError(f"the connection ended before {part.target.name} was complete")


def _check_room(part: _Part, needed: int) -> None:
    free = shutil.disk_usage(part.target.parent).free
    if needed > free:
        raise DownloadError(
            f"{part.target.name} needs {needed / MEGABYTE:,.0f} MB on the disk of {part.target.parent}, "
            f"where {free / MEGABYTE:,.0f} MB are free"
        )


@contextmanager
def _failures_in_words(url: str) -> Iterator[None]:
    host = urlsplit(url).netloc or url
    try:
        yield
    except requests.Timeout:
        raise DownloadError(f"{host} did not answer in time") from None
    except requests.RequestException:
        raise DownloadError(f"{host} could not be reached") from None
    except OSError as error:
        raise DownloadError(f"the file could not be written ({error.strerror or error})") from None


class HubFiles(Protocol):
    """Gives a model's file of a name a place on this machine."""

    def __call__(self, name: str) -> Path:
        """The file's path.

        Raises:
            MissingFileError: the model has no such file.
            DownloadError: it could not be fetched.
        """


@dataclass(frozen=True)
class HubRepository:
    """A model's files on the Hugging Face hub, fetched on request and kept in its cache.

    A file in the cache is used as it is, with no connection at all.
    """

    name: str
    endpoint: str
    offline: bool
    tell: Tell
    clock: Clock

    def __call__(self, name: str) -> Path:
        """The local path of the repository's file of this name.

        Raises:
            MissingFileError: the repository has no such file.
            DownloadError: there is no such repository, or it could not be reached.
        """
        with _hub_failures_in_words(self.name, name):
            cached = try_to_load_from_cache(self.name, name)
            if isinstance(cached, str):
                return Path(cached)
            if cached is not None:  # the cache also records files that the hub does not have
                raise MissingFileError(f"{self.name} has no {name}")
            if self.offline or constants.HF_HUB_OFFLINE:
                raise DownloadError(
                    f"{self.name}/{name} is not in the Hugging Face cache and the lab is offline"
                )
            _check_reachable(self.endpoint)
            return Path(
                hf_hub_download(self.name, name, endpoint=self.endpoint, tqdm_class=self._progress(name))
            )

    def _progress(self, name: str) -> type[tqdm]:
        progress = Progress(name, 0, None, self.tell, self.clock)

        class HubProgress(tqdm):  # type: ignore[misc]
            """The library's progress bar, reported as events instead of drawn.

            Xet shows two for one file, bytes on the wire and bytes on the disk; the one that is ahead counts.
            """

            def __init__(self, *_args: object, total: int | None = None, **_options: object) -> None:
                super().__init__(disable=True)
                self.total = progress.total = total

            def update(self, n: float | None = 1) -> None:
                self.n += int(n or 0)
                if self.n > progress.received:
                    progress.add(self.n - progress.received)

        return HubProgress


def hub_endpoint() -> str:
    """The hub's address, or that of the mirror that HF_ENDPOINT names now (the library reads it once, at import)."""
    return os.environ.get("HF_ENDPOINT", constants.ENDPOINT).rstrip("/")


def checksum_in_hub_cache(file: Path) -> str | None:
    """The SHA-256 under which the hub's cache keeps a large file; None for any other file.

    A snapshot's file is a link to a blob named by its ETag, which for large files is their SHA-256
    (https://huggingface.co/docs/huggingface_hub/guides/manage-cache).
    """
    blob = file.readlink().name if file.is_symlink() else ""
    return blob if re.fullmatch(r"[0-9a-f]{64}", blob) else None


def _check_reachable(endpoint: str) -> None:
    # The hub's library tries an unreachable address again for half a minute before it says so.
    try:
        requests.head(endpoint, timeout=CONNECT_TIMEOUT_S).close()
    except requests.RequestException:
        raise DownloadError(f"{urlsplit(endpoint).netloc} could not be reached") from None


@contextmanager
def _hub_failures_in_words(repository: str, file: str) -> Iterator[None]:
    try:
        yield
    except DownloadError:
        raise
    except EntryNotFoundError:
        raise MissingFileError(f"{repository} has no {file}") from None
    except Exception as error:  # also its HTTP library's own, whose classes change from version to version
        raise DownloadError(_hub_failure(error, repository, file)) from error


def _hub_failure(error: Exception, repository: str, file: str) -> str:
    if isinstance(error, GatedRepoError):
        return f"{repository} is only for people who were granted access on the hub"
    if isinstance(error, RepositoryNotFoundError):
        return f"the hub has no public model {repository}"
    if isinstance(error, HFValidationError):
        return f"{repository!r} is not a name that the hub can have"
    if isinstance(error, HfHubHTTPError):
        return f"the hub answered {error.response.status_code} for {repository}/{file}"
    return f"{repository}/{file} could not be fetched ({type(error).__name__})"
