"""The whole app in this process, with the real desk and a child that answers at once."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from engine.desk import desk as desk_module
from engine.desk.desk import Desk
from engine.desk.process import ChildProcess
from engine.store import store as store_module
from engine.store.opening import FILE_NAME
from engine.store.store import Store

PROJECT = Path(__file__).parents[2]
CHILD = (sys.executable, "-m", "tests.pages.answering_child")
LONG_S = 30.0


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> AppTest:
    desk = Desk(lambda *_where: ChildProcess(CHILD, PROJECT))
    monkeypatch.setitem(sys.__dict__, desk_module._ANCHOR, desk)
    return AppTest.from_file(str(PROJECT / "streamlit_app.py"), default_timeout=LONG_S).run()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store that the app uses."""
    kept = Store(f"sqlite:///{tmp_path / FILE_NAME}")
    monkeypatch.setitem(sys.__dict__, store_module._ANCHOR, kept)
    return kept


def run_until(app: AppTest, reached: Callable[[AppTest], object]) -> None:
    """Run the script again, as a poll would, until a condition holds."""
    deadline = time.monotonic() + LONG_S
    while not reached(app):
        assert not app.exception, app.exception
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)
        app.run()
