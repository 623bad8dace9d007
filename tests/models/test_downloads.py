"""Downloads are complete or absent, resume, report progress, and fail with a sentence."""

import itertools
import random
import shutil
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants
from huggingface_hub.utils._xet_progress_reporting import XetDownloadProgressReporter

from engine.events import Download, Event
from engine.models.downloads import (
    CHUNK_BYTES,
    DownloadError,
    HubRepository,
    InterruptedDownloadError,
    MissingFileError,
    checksum_in_hub_cache,
    download,
)
from tests.models.loopback import Loopback, Served

CONTENT = random.Random(7).randbytes(10 * CHUNK_BYTES + 12345)
HALF = len(CONTENT) // 2


def ticking(step_s: float) -> Callable[[], float]:
    ticks = itertools.count()
    return lambda: next(ticks) * step_s


def fetch(loopback: Loopback, target: Path, told: list[Event]) -> Path:
    return download(f"{loopback.url}/model.pt", target, told.append, ticking(1.0))


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_a_download_is_complete_and_leaves_no_other_files(
    loopback: Loopback, tmp_path: Path, told: list[Event]
) -> None:
    loopback.files["/model.pt"] = Served(CONTENT)
    target = fetch(loopback, tmp_path / "deep" / "model.pt", told)
    assert target.read_bytes() == CONTENT
    assert {path.name for path in target.parent.iterdir()} - {"model.pt.lock"} == {"model.pt"}


def test_progress_comes_at_most_four_times_a_second_and_ends_at_the_whole(
    loopback: Loopback, tmp_path: Path, told: list[Event]
) -> None:
    """Eleven chunks a tenth of a second apart: told at 0, 0.3, 0.6, 0.9 s and, whatever the time, at the end."""
    loopback.files["/model.pt"] = Served(CONTENT)
    download(f"{loopback.url}/model.pt", tmp_path / "model.pt", told.append, ticking(0.1))
    total_mb = len(CONTENT) / 1e6
    assert [event.total_mb for event in told if isinstance(event, Download)] == [total_mb] * 5
    received = [event.received_mb for event in told if isinstance(event, Download)]
    assert received == sorted(received)
    assert received[0] < total_mb / 5
    assert received[-1] == total_mb


def test_an_interrupted_download_gives_no_file_and_is_continued(
    loopback: Loopback, tmp_path: Path, told: list[Event]
) -> None:
    target = tmp_path / "model.pt"
    loopback.files["/model.pt"] = Served(CONTENT, cut_after=HALF)
    with pytest.raises(InterruptedDownloadError, match=r"before model\.pt was complete"):
        fetch(loopback, target, told)
    assert not target.exists()
    kept = Path(f"{target}.part").stat().st_size
    assert 0 < kept <= HALF
    told.clear()

    loopback.files["/model.pt"] = Served(CONTENT)
    assert fetch(loopback, target, told).read_bytes() == CONTENT
    assert loopback.gets("/model.pt") == [None, f"bytes={kept}-"]
    assert isinstance(told[0], Download)
    assert told[0].received_mb > kept / 1e6


def test_a_download_without_content_length_is_still_checked(
    loopback: Loopback, tmp_path: Path, told: list[Event]
) -> None:
    loopback.files["/model.pt"] = Served(CONTENT, chunked=True, cut_after=HALF)
    with pytest.raises(InterruptedDownloadError):
        fetch(loopback, tmp_path / "model.pt", told)
    assert not (tmp_path / "model.pt").exists()
    loopback.files["/model.pt"] = Served(CONTENT[::-1], etag='"version-2"', chunked=True)
    assert fetch(loopback, tmp_path / "model.pt", told).read_bytes() == CONTENT[::-1]
    assert {event.total_mb for event in told if isinstance(event, Download)} == {None}


@pytest.mark.parametrize(
    "now",
    [Served(CONTENT[::-1], etag='"version-2"'), Served(CONTENT[::-1], ranges=False)],
    ids=["the file has changed", "the server knows no ranges"],
)
def test_a_part_that_cannot_be_continued_is_started_over(
    now: Served, loopback: Loopback, tmp_path: Path, told: list[Event]
) -> None:
    """Halves of two versions must never be joined."""
    loopback.files["/model.pt"] = Served(CONTENT, cut_after=HALF)
    with pytest.raises(InterruptedDownloadError):
        fetch(loopback, tmp_path / "model.pt", told)
    loopback.files["/model.pt"] = now
    assert fetch(loopback, tmp_path / "model.pt", told).read_bytes() == now.data


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_a_file_without_a_strong_validator_is_not_continued(
    etag: str | None, loopback: Loopback, tmp_path: Path, told: list[Event]
) -> None:
    loopback.files["/model.pt"] = Served(CONTENT, etag=etag, cut_after=HALF)
    with pytest.raises(InterruptedDownloadError):
        fetch(loopback, tmp_path / "model.pt", told)
    loopback.files["/model.pt"] = Served(CONTENT, etag=etag)
    assert fetch(loopback, tmp_path / "model.pt", told).read_bytes() == CONTENT
    assert loopback.gets("/model.pt") == [None, None]


def test_a_part_that_is_already_complete_does_not_block_the_download(
    loopback: Loopback, tmp_path: Path, told: list[Event]
) -> None:
    """A process that ended between the last byte and the renaming leaves such a part; the server answers 416."""
    loopback.files["/model.pt"] = Served(CONTENT)
    (tmp_path / "model.pt.part").write_bytes(CONTENT)
    (tmp_path / "model.pt.part.version").write_text('"version-1"')
    assert fetch(loopback, tmp_path / "model.pt", told).read_bytes() == CONTENT


def test_a_file_that_is_there_opens_no_connection(
    loopback: Loopback, tmp_path: Path, told: list[Event]
) -> None:
    (tmp_path / "model.pt").write_bytes(b"placed by hand")
    assert fetch(loopback, tmp_path / "model.pt", told).read_bytes() == b"placed by hand"
    assert loopback.requests == []


def test_two_threads_download_the_same_file_once(
    loopback: Loopback, tmp_path: Path, told: list[Event]
) -> None:
    """Two children that wrote one .part together would spoil it."""
    loopback.files["/model.pt"] = Served(CONTENT, delay_s=0.3)
    both = [threading.Thread(target=fetch, args=(loopback, tmp_path / "model.pt", told)) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert loopback.gets("/model.pt") == [None]
    assert (tmp_path / "model.pt").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("status", "kind"), [(404, MissingFileError), (403, MissingFileError), (500, DownloadError)]
)
def test_another_answer_than_the_file_is_named(
    status: int, kind: type[DownloadError], loopback: Loopback, tmp_path: Path, told: list[Event]
) -> None:
    loopback.statuses["/model.pt"] = status
    with pytest.raises(kind, match=f"answered {status}"):
        fetch(loopback, tmp_path / "model.pt", told)
    assert not (tmp_path / "model.pt").exists()


def test_an_unreachable_address_is_named(tmp_path: Path, told: list[Event]) -> None:
    address = closed_port()
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:.* could not be reached"):
        download(f"{address}/model.pt", tmp_path / "model.pt", told.append, ticking(1.0))


def test_a_full_disk_is_reported_before_bytes_are_fetched(
    loopback: Loopback, tmp_path: Path, told: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    loopback.files["/model.pt"] = Served(CONTENT)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=400_000))
    with pytest.raises(DownloadError, match=r"needs 1 MB .* where 0 MB are free"):
        fetch(loopback, tmp_path / "model.pt", told)


def test_a_folder_that_cannot_be_written_is_reported(
    loopback: Loopback, tmp_path: Path, told: list[Event]
) -> None:
    loopback.files["/model.pt"] = Served(CONTENT)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DownloadError, match="could not be written"):
        fetch(loopback, tmp_path / "file" / "model.pt", told)


def repository(hub: Loopback, told: list[Event], *, offline: bool = False) -> HubRepository:
    return HubRepository("owner/name", hub.url, offline, told.append, ticking(1.0))


def test_a_hub_file_is_fetched_with_progress_and_then_cached(hub: Loopback, told: list[Event]) -> None:
    path = "/owner/name/resolve/main/weights.bin"
    hub.files[path] = Served(CONTENT, etag='"plain"')
    first = repository(hub, told)("weights.bin")
    assert first.read_bytes() == CONTENT
    assert checksum_in_hub_cache(first) is None
    assert all(isinstance(event, Download) and event.file == "weights.bin" for event in told)
    assert isinstance(told[-1], Download)
    assert told[-1].received_mb == told[-1].total_mb == len(CONTENT) / 1e6

    asked = len(hub.requests)
    assert repository(hub, told)("weights.bin") == first
    assert len(hub.requests) == asked


def test_the_two_progress_bars_of_xet_are_reported_as_one(hub: Loopback, told: list[Event]) -> None:
    """The hub's own storage reports bytes on the wire and bytes on the disk, both to the bar that it is given."""
    bars = XetDownloadProgressReporter(
        reconstruction_desc="x",
        total=4_000_000,
        log_level=0,
        tqdm_class=repository(hub, told)._progress("weights.bin"),
    )
    with bars:
        for disk, wire in ((0, 1_000_000), (2_000_000, 2_000_000), (4_000_000, 3_000_000)):
            bars.update_progress(
                SimpleNamespace(
                    total_bytes=4_000_000,
                    total_bytes_completed=disk,
                    total_bytes_completion_rate=None,
                    total_transfer_bytes_completed=wire,
                    total_transfer_bytes_completion_rate=None,
                )
            )
    assert [event.received_mb for event in told if isinstance(event, Download)] == [1, 2, 4]
    assert {event.total_mb for event in told if isinstance(event, Download)} == {4}


def test_a_large_hub_file_has_its_checksum_in_the_cache(hub: Loopback, told: list[Event]) -> None:
    hub.files["/owner/name/resolve/main/weights.bin"] = Served(CONTENT, etag=f'"{"ab" * 32}"')
    assert checksum_in_hub_cache(repository(hub, told)("weights.bin")) == "ab" * 32


def test_hub_failures_are_distinguished(hub: Loopback, told: list[Event]) -> None:
    """A missing file of a model that is there is an answer; anything else is a failure."""
    with pytest.raises(DownloadError, match="the hub has no public model owner/name"):
        repository(hub, told)("config.json")
    hub.files["/owner/name/resolve/main/config.json"] = Served(b"{}")
    with pytest.raises(MissingFileError, match=r"owner/name has no merges\.txt"):
        repository(hub, told)("merges.txt")
    asked = len(hub.requests)
    with pytest.raises(MissingFileError):
        repository(hub, told)("merges.txt")
    assert len(hub.requests) == asked, "that a file is missing is remembered"


def test_an_invalid_hub_name_is_refused_with_a_sentence(hub: Loopback, told: list[Event]) -> None:
    odd = HubRepository("owner/na me", hub.url, False, told.append, ticking(1.0))
    with pytest.raises(DownloadError, match="is not a name that the hub can have"):
        odd("config.json")


@pytest.mark.usefixtures("hub")
def test_an_unreachable_hub_is_reported_at_once(told: list[Event]) -> None:
    away = HubRepository("owner/name", closed_port(), False, told.append, ticking(1.0))
    with pytest.raises(DownloadError, match="could not be reached"):
        away("config.json")


@pytest.mark.parametrize("by_variable", [True, False])
def test_offline_opens_no_connection_and_still_reads_the_cache(
    by_variable: bool, hub: Loopback, told: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """FASTPATH_OFFLINE and HF_HUB_OFFLINE alike."""
    hub.files["/owner/name/resolve/main/config.json"] = Served(b"{}")
    kept = repository(hub, told)("config.json")
    hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", by_variable)
    offline = repository(hub, told, offline=not by_variable)
    assert offline("config.json") == kept
    with pytest.raises(DownloadError, match="the lab is offline"):
        offline("model.safetensors")
    assert hub.requests == []
