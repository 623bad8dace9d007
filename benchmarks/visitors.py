"""Can one server serve many visitors at once? Simulated visitors use a real server over Streamlit's own websocket.

    python -m benchmarks.visitors [--visitors 50] [--minutes 10] [--hosted]

Each visitor opens the Overview, runs ten rounds of a small batch (mostly with texts of their own), follows the run on
the Benchmark page, sometimes visits the History page, waits a few seconds, and starts again. Targets: no two
measurements overlap, 95 % of the page answers within 1 s, and less than 10 % growth of the server's memory after the
warm-up. Before that, on a separate server with ten sessions: less than 10 ms of the server's processor time for a poll,
less than 250 MB of memory, and no torch in the server.
"""

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import mean

import psutil

from benchmarks.served import Served, serving
from benchmarks.streamlit_client import Answer, Tab, open_tab
from engine.desk.journal import Entry, entries_of
from engine.records import MEGABYTE
from engine.store.opening import FILE_NAME
from engine.store.queries import RunFilter
from engine.store.store import Store

OVERVIEW, BATCH, BENCHMARK, HISTORY = "", "batch", "benchmark", "history"
EVERY_PAGE = ("model", BATCH, "doctor", HISTORY, "walkthrough", OVERVIEW)
SMALL, LONG = "tutorial-small", "mixed"
TEN_ROUNDS = "10, as in the tutorial"
CANCEL, AGAIN, RESULT = "cancel_run", "bench_again", "bench_download_json"
"""Buttons: while one's own run is in progress; beside a run from the store; below every result."""
RUNS = "history_table"
"""The table of the History page; the buttons in its column *Run* open a run."""
CHART = "vega_lite_chart"
"""The chart of speedups during the rounds. With it a poll has the most to draw."""
WARM_UP_S, STRETCH_S = 120.0, 60.0
"""The memory after the warm-up is compared with the memory at the end; each is averaged over a stretch."""
WATCHERS, SETTLE_S, WATCH_S, LOOK_S = 10, 2.0, 8.0, 0.1

Span = tuple[datetime, datetime]


@dataclass(frozen=True)
class Habits:
    """How visitors behave; times in seconds, shares of 1.

    Attributes:
        arrive_s: all arrive within this time.
        think_s: shortest and longest pause.
        repeat: share of runs with the preset that everybody uses; the store answers all but the first.
        stroll: probability of a visit to the History page after a pause.
    """

    arrive_s: float = 20.0
    think_s: tuple[float, float] = (2.0, 8.0)
    repeat: float = 0.25
    stroll: float = 0.3


@dataclass
class Visitor:
    """A simulated visitor, who measures until the time is over."""

    number: int
    until: float
    random: Random
    habits: Habits
    happened: Counter[str] = field(default_factory=Counter)
    texts: int = 0

    @property
    def stays(self) -> bool:
        """Whether there is time left, on the monotonic clock."""
        return time.monotonic() < self.until

    async def visit(self, url: str, answers: list[Answer]) -> None:
        """Open a tab and use it."""
        await asyncio.sleep(self.random.uniform(0, self.habits.arrive_s))
        async with open_tab(url, answers.append) as tab:
            await self.ask_for_ten_rounds(tab)
            while self.stays:
                await self.measure(tab)
                if self.stays:  # otherwise all visitors would open a run together when the time is over
                    await self.look_back(tab)
            self.happened.update(f"trouble: {words}" for words in tab.troubles)

    async def ask_for_ten_rounds(self, tab: Tab) -> None:
        """Choose the number of rounds, which the session remembers."""
        await tab.go(BENCHMARK)
        await tab.choose("bench_rounds", TEN_ROUNDS)

    async def measure(self, tab: Tab) -> None:
        """Run a batch and wait for its end, with visits to the History page."""
        if self.random.random() < self.habits.repeat:
            await self._take_preset(tab)
        else:
            await self._write_texts(tab)
        await self._think()
        await tab.go(OVERVIEW)
        await tab.click("overview_run")
        self.happened["answered from the store" if AGAIN in tab.widgets() else "asked to measure"] += 1
        while self.stays and CANCEL in tab.widgets():
            await self._think()
            if self.random.random() < self.habits.stroll:
                await tab.go(HISTORY)
                await self._think()
                await tab.go(BENCHMARK)

    async def _take_preset(self, tab: Tab) -> None:
        await tab.go(BATCH)
        await tab.choose("batch_preset", SMALL)

    async def _write_texts(self, tab: Tab) -> None:
        self.texts += 1
        await tab.go(BATCH)
        await tab.choose("batch_door", "Lines")
        await self._think()
        lines = f"Hello from visitor {self.number}\nThis is batch {self.texts}"
        await tab.choose(tab.widgets("batch_lines_")[0], lines)

    async def look_back(self, tab: Tab) -> None:
        """Open one of the finished runs."""
        await tab.go(HISTORY)
        await self._think()
        if rows := tab.rows(RUNS):
            await tab.press(RUNS, "Run", self.random.randrange(rows))
            await self._think()

    async def _think(self) -> None:
        await asyncio.sleep(
            max(0.0, min(self.random.uniform(*self.habits.think_s), self.until - time.monotonic()))
        )


@dataclass(frozen=True)
class Sample:
    """The server at a moment: seconds on the monotonic clock, memory, processor time since its start."""

    at_s: float
    memory_mb: float
    cpu_s: float


def main() -> None:
    """Print and keep the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--hosted", action="store_true", help="as a public server, FASTPATH_HOSTED=1")
    arguments = parser.parse_args()
    with serving(arguments.hosted) as server:
        few = asyncio.run(ten_sessions(server))
    with serving(arguments.hosted) as server:
        many = asyncio.run(crowd(server, arguments.visitors, arguments.minutes * 60, Habits()))
    figures: dict[str, object] = {
        "visitors": arguments.visitors,
        "minutes": arguments.minutes,
        "hosted": arguments.hosted,
        **many,
        **few,
    }
    from benchmarks.harness import keep  # imports torch, which no visitor needs

    keep("visitors", figures)


async def crowd(server: Served, count: int, seconds: float, habits: Habits) -> dict[str, object]:
    """Simulate `count` visitors for `seconds`; returns figures of their answers, their runs and the server."""
    answers: list[Answer] = []
    until = time.monotonic() + seconds
    visitors = [Visitor(number, until, Random(number), habits) for number in range(count)]
    async with metered(server.pid) as samples:
        visits = (visitor.visit(server.url, answers) for visitor in visitors)
        failures = [failure for failure in await asyncio.gather(*visits, return_exceptions=True) if failure]
    happened = sum((visitor.happened for visitor in visitors), Counter[str]())
    happened.update(f"trouble: {failure!r}" for failure in failures)
    return {
        "what visitors met": dict(happened),
        "page answers": spread([answer.wall_s for answer in answers if answer.kind == "page"]),
        "page answers by page": by_page(answers),
        "polls": spread([answer.wall_s for answer in answers if answer.kind == "poll"]),
        "server": resources(samples, min(WARM_UP_S, seconds / 4), min(STRETCH_S, seconds / 4)),
        "measurements": measurements(server.folder),
        "torch in the server": holds_torch(server.pid),
        "tracebacks in the server's log": server.log.read_text().count("Traceback"),
    }


async def ten_sessions(server: Served) -> dict[str, object]:
    """The server's time for a poll while ten tabs follow a run, and its memory after they have opened every page."""
    answers: list[Answer] = []
    process = psutil.Process(server.pid)
    async with AsyncExitStack() as stack:
        tabs = [
            await stack.enter_async_context(open_tab(server.url, answers.append)) for _ in range(WATCHERS)
        ]
        first = tabs[0]
        for tab in tabs:
            for page in EVERY_PAGE:
                await tab.go(page)
        await first.choose("overview_preset", LONG)
        await first.click("overview_run")
        for tab in tabs[1:]:
            await tab.go(BENCHMARK, f"ticket={first.query['ticket'].partition('.')[0]}")
        await asyncio.sleep(SETTLE_S)
        plain = await poll_ms(process, answers, lambda: not any(tab.shows(CHART) for tab in tabs))
        await until(lambda: all(tab.shows(CHART) for tab in tabs))
        assert not any(RESULT in tab.widgets() for tab in tabs), (
            "the machine is too busy for this: no rounds were seen"
        )
        end = time.monotonic() + WATCH_S
        drawing = await poll_ms(process, answers, lambda: time.monotonic() < end)
        await until(lambda: all(RESULT in tab.widgets() for tab in tabs))
        memory_mb = process.memory_info().rss / MEGABYTE
    return {
        "ten sessions": {
            "processor time of the server for a poll, before the rounds": plain,
            "the same while the chart of the speedups is drawn": drawing,
            "memory of the server, MB": round(memory_mb),
            "torch in the server": holds_torch(server.pid),
        }
    }


async def poll_ms(
    process: psutil.Process, answers: Sequence[Answer], going_on: Callable[[], bool]
) -> dict[str, float]:
    """Processor time of the server per poll while `going_on` holds; right only if no page is requested meanwhile."""
    answered, before = len(answers), cpu_s(process)
    while going_on():
        await asyncio.sleep(LOOK_S)
    took_s, polls = cpu_s(process) - before, answers[answered:]
    assert polls, "nothing polled"
    others = sum(answer.kind != "poll" for answer in polls)
    each_ms = round(took_s / len(polls) * 1000, 2)
    return {"polls": len(polls) - others, "page answers among them": others, "each, ms": each_ms}


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    while not condition():
        await asyncio.sleep(LOOK_S)


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """How long answers took, in ms."""
    ordered = sorted(seconds)
    if not ordered:
        return {"count": 0}
    middle, most = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.95)]
    in_ms = {"p50, ms": middle, "p95, ms": most, "max, ms": ordered[-1]}
    return {"count": len(ordered), **{name: round(value * 1000, 1) for name, value in in_ms.items()}}


def by_page(answers: Iterable[Answer]) -> dict[str, dict[str, float]]:
    """The same for every page."""
    waits: dict[str, list[float]] = {}
    for answer in answers:
        if answer.kind == "page":
            waits.setdefault(answer.page or "overview", []).append(answer.wall_s)
    return {page: spread(seconds) for page, seconds in sorted(waits.items())}


def resources(samples: Sequence[Sample], warm_up_s: float, stretch_s: float) -> dict[str, float]:
    """The server's memory after the warm-up and at the end, and its processor time."""
    start, end = samples[0].at_s, samples[-1].at_s
    warm = mean(s.memory_mb for s in samples if warm_up_s <= s.at_s - start <= warm_up_s + stretch_s)
    last = mean(s.memory_mb for s in samples if s.at_s >= end - stretch_s)
    return {
        "memory after the warm-up, MB": round(warm, 1),
        "memory at the end, MB": round(last, 1),
        "growth, %": round((last / warm - 1) * 100, 1),
        "most memory, MB": round(max(s.memory_mb for s in samples), 1),
        "share of a core": round((samples[-1].cpu_s - samples[0].cpu_s) / (end - start), 3),
    }


def measurements(folder: Path) -> dict[str, object]:
    """How the measurements ended, and how many overlapped, by the journal's times and by the runs' own."""
    entries = entries_of((folder / "journal-1.jsonl").read_text(encoding="utf-8").splitlines())
    by_tickets = sorted(map(span_of_ticket, (entry for entry in entries if entry.ended and entry.started)))
    by_runs = sorted(spans_of_runs(folder))
    states = Counter(entry.ended.state if entry.ended else "not ended" for entry in entries)
    return {
        "states": dict(states),
        "runs kept": len(by_runs),
        "overlaps by the journal's times": overlaps(by_tickets),
        "overlaps by the runs' own times": overlaps(by_runs),
        "shortest pause between two, s": shortest_pause_s(by_tickets),
    }


def span_of_ticket(entry: Entry) -> Span:
    """From the start of the ticket's work in a child until its end."""
    assert entry.started is not None
    assert entry.ended is not None
    return entry.started.at, entry.ended.at


def spans_of_runs(folder: Path) -> Iterator[Span]:
    """When each stored run was measured: from its rounds' total time before its end, to its end."""
    store = Store(f"sqlite:///{folder / FILE_NAME}")
    for row in store.find(RunFilter(), limit=store.count(RunFilter())):
        run = store.get(row.id)
        assert run is not None
        rounds = timedelta(seconds=sum(conditions.wall_s for conditions in run.conditions))
        yield run.created_at - rounds, run.created_at


def overlaps(spans: Iterable[Span]) -> int:
    """Number of spans that begin before an earlier one has ended."""
    count, busy_until = 0, None
    for start, end in sorted(spans):
        count += busy_until is not None and start < busy_until
        busy_until = end if busy_until is None else max(busy_until, end)
    return count


def shortest_pause_s(spans: Iterable[Span]) -> float | None:
    """Shortest time between two consecutive spans; negative if they overlap, None if there are fewer than two."""
    pauses = [(after[0] - before[1]).total_seconds() for before, after in pairwise(sorted(spans))]
    return round(min(pauses), 4) if pauses else None


def holds_torch(pid: int) -> bool:
    """Whether a process has loaded torch's libraries."""
    return "libtorch" in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")


def cpu_s(process: psutil.Process) -> float:
    """Processor time of a process since its start in seconds, without its children's."""
    times = process.cpu_times()
    return float(times.user + times.system)


@asynccontextmanager
async def metered(pid: int) -> AsyncIterator[list[Sample]]:
    """Samples of a process: one per second inside the `with` block, and one at its end."""
    process, samples = psutil.Process(pid), list[Sample]()

    def take() -> None:
        samples.append(Sample(time.monotonic(), process.memory_info().rss / MEGABYTE, cpu_s(process)))

    async def keep_taking() -> None:
        while True:
            take()
            await asyncio.sleep(1)

    taking = asyncio.create_task(keep_taking())
    try:
        yield samples
    finally:
        taking.cancel()
        take()


if __name__ == "__main__":
    main()
