"""Two programs on one machine never measure at the same time, even if one of them dies."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from engine.child.lock import WAITING, machine_lock
from engine.errors import Refusal
from engine.events import Event

HOLDER = (
    "import sys, time; from pathlib import Path; from engine.child.lock import machine_lock\n"
    "with machine_lock(Path(sys.argv[1]), print): print('held', flush=True); time.sleep(60)"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "lock"


def hold(path: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_a_free_lock_reports_nothing(path: Path) -> None:
    told: list[Event] = []
    with machine_lock(path, told.append):
        pass
    assert told == []


def test_a_waiting_process_reports_repeatedly_and_goes_on_when_the_other_is_killed(path: Path) -> None:
    holder, told, waited = hold(path), list[Event](), threading.Event()

    def tell(event: Event) -> None:
        told.append(event)
        if len(told) == 3:
            waited.set()
            holder.kill()

    with machine_lock(path, tell, tell_s=0.2):
        assert waited.is_set(), "the lock was given while another process held it"
    assert set(told) == {WAITING}
    holder.wait()


def test_the_file_is_for_every_user_of_the_machine(path: Path) -> None:
    with machine_lock(path, lambda _event: None):
        assert path.stat().st_mode & 0o666 == 0o666


def test_an_unusable_file_is_refused_and_the_setting_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(Refusal, match="FASTPATH_LOCK_FILE"),
        machine_lock(tmp_path / "file" / "lock", lambda _event: None),
    ):
        os._exit(1)
