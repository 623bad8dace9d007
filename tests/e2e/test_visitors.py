"""Several visitors at once on a real server, through Streamlit's protocol; benchmarks/visitors.py has many more."""

import asyncio
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from benchmarks.streamlit_client import Answer, open_tab
from benchmarks.visitors import Habits, Visitor, measurements, overlaps
from tests.e2e.conftest import Server
from tests.e2e.test_first_run import holds_torch

pytestmark = pytest.mark.xdist_group("e2e")

PATIENCE_S = 180.0
OWN_TEXTS = Habits(arrive_s=0, think_s=(0.05, 0.2), repeat=0, stroll=0.2)
EVERYBODYS_PRESET = Habits(arrive_s=0, think_s=(0.05, 0.2), repeat=1, stroll=0.2)


def run_apart(work: Coroutine[None, None, list[list[str]]]) -> list[list[str]]:
    """Run in a new thread: Playwright keeps an event loop running in the thread of the browser tests."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


async def measure_once(visitor: Visitor, url: str, answers: list[Answer]) -> list[str]:
    """One run from a new tab; returns what went wrong."""
    async with open_tab(url, answers.append) as tab:
        await visitor.ask_for_ten_rounds(tab)
        await visitor.measure(tab)
        await visitor.look_back(tab)
        return tab.troubles


def test_three_visitors_at_once_are_measured_one_after_the_other(server: Server, tmp_path: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    habits = (OWN_TEXTS, OWN_TEXTS, EVERYBODYS_PRESET)
    visitors = [Visitor(number, until, Random(number), own) for number, own in enumerate(habits)]
    answers: list[Answer] = []

    async def visit() -> list[list[str]]:
        return await asyncio.gather(*(measure_once(visitor, server.url, answers) for visitor in visitors))

    assert run_apart(visit()) == [[], [], []]
    assert [visitor.happened for visitor in visitors] == [{"asked to measure": 1}] * 3
    found = measurements(tmp_path / "data")
    assert found["states"] == {"done": 3}
    assert found["runs kept"] == 3
    assert found["overlaps by the journal's times"] == 0
    assert found["overlaps by the runs' own times"] == 0
    assert {answer.kind for answer in answers} == {"page", "poll"}
    assert not holds_torch(server.pid), "torch must live in the children only"


def test_an_overlap_would_be_found() -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    second = timedelta(seconds=1)
    one_after_the_other = [(noon + number * second, noon + (number + 1) * second) for number in (2, 0, 1)]
    inside_the_first = (noon + 0.2 * second, noon + 0.4 * second)
    assert overlaps(one_after_the_other) == 0
    assert overlaps([*one_after_the_other, inside_the_first]) == 1
