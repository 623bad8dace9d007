"""Is the desk reliable with real children? Cancels, random kills, killed servers, an idle child.

    python -m benchmarks.desk [--cancels 10] [--kills 100] [--server-kills 20] [--only cancel]

Targets: a cancelled child ends within 100 ms, and the next ticket starts within 2 s. After every kill the message is
clear, no finished run is lost, and no process is left. The child of a killed server ends within 1 s, and the journal is
right. Children measure on one thread, so that other programs on the machine disturb them less.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory

import psutil

from engine.catalog.batches import PRESETS
from engine.desk.desk import Desk
from engine.desk.journal import Journal
from engine.desk.process import ChildProcess, local_child
from engine.desk.tickets import Ticket, TicketView
from engine.events import LoadRequest, RunRequest
from engine.records import Allocator, Experiment
from engine.store.store import Store

LONG_RUN = RunRequest(
    experiment=Experiment(
        model="minilm",
        batch=PRESETS["mixed"],
        threads=1,
        paths=("slow", "fast-nested"),
        iterations=1000,
        budget_s=600,
    )
)
SHORT_RUN = RunRequest(
    experiment=Experiment(
        model="minilm",
        batch=PRESETS["tutorial-small"],
        threads=1,
        paths=("slow", "fast-nested"),
        iterations=5,
    )
)
RESULT = Path(__file__).parent / "results" / "desk.json"
PATIENCE_S = 120.0
IDLE_S = 20.0
VISITORS = 50
CLEAR = ("killed by the system", "something unreadable")
"""Words in the messages for a killed child."""


class Children:
    """Starts real children and remembers their processes."""

    def __init__(self) -> None:
        self.pids: list[int] = []

    def start(self, machine: str, allocator: Allocator) -> ChildProcess:
        """Start a child on this machine."""
        child = local_child(machine, allocator)
        self.pids.append(child.pid)
        return child

    def left_over(self) -> int:
        """Number of running processes in the groups of all children."""
        groups = {pid: _group(pid) for pid in psutil.pids()}
        return sum(group in self.pids and not gone(pid) for pid, group in groups.items())


def main() -> None:
    """Print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cancels", type=int, default=10)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--server-kills", type=int, default=20)
    parser.add_argument("--only", help="One part; the figures of the others stay as they were kept.")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
    parts: dict[str, Callable[[], dict[str, object]]] = {
        "cancel": lambda: cancels(arguments.cancels),
        "kills": lambda: kills(arguments.kills, Random(0)),
        "server killed": lambda: server_kills(arguments.server_kills, Random(0)),
        "idle assistant": idle_assistant,
        "poll": poll,
    }
    figures = kept_before() if arguments.only else {}
    for name in [arguments.only] if arguments.only else parts:
        figures[name] = {"load of the minute before": round(os.getloadavg()[0], 2), **parts[name]()}
    from benchmarks.harness import keep  # imports torch, which no server does

    keep("desk", figures)


def kept_before() -> dict[str, object]:
    """The figures that were kept last time; one part of them will be replaced."""
    kept: dict[str, object] = json.loads(RESULT.read_text(encoding="utf-8"))["figures"]
    return kept


def cancels(count: int) -> dict[str, object]:
    """Times from a cancel until the child has ended, the next ticket runs, and its first event arrives."""
    children = Children()
    desk = Desk(children.start)
    times: list[tuple[float, ...]] = []
    current = desk.submit(LONG_RUN)
    for _ in range(count):
        following = desk.submit(LONG_RUN)
        times.append(cancel_ms(desk, children, current, following))
        current = following
    desk.cancel(current)
    names = ("child gone, ms", "next one runs, ms", "next one is heard of, ms")
    return {name: spread(values) for name, values in zip(names, zip(*times, strict=True), strict=True)}


def cancel_ms(desk: Desk, children: Children, current: Ticket, following: Ticket) -> tuple[float, ...]:
    """The same for one cancel, in milliseconds."""
    until(lambda: desk.snapshot(current.id).rounds_done >= 2)
    pid, start = children.pids[-1], time.perf_counter()
    desk.cancel(current)
    return (
        since_ms(start, lambda: gone(pid)),
        since_ms(start, lambda: desk.snapshot(following.id).state == "running"),
        since_ms(start, lambda: desk.snapshot(following.id).step != ""),
    )


def kills(count: int, random: Random) -> dict[str, object]:
    """Send SIGKILL at random moments during and just after a run, until `count` kills have hit a running child."""
    children, messages, runs = Children(), Counter[str](), list[str]()
    with TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{folder}/runs.sqlite")
        desk = Desk(children.start, on_finished=store.save)  # type: ignore[arg-type]
        start = time.perf_counter()
        runs.append(desk.wait(desk.submit(SHORT_RUN).id, PATIENCE_S).run_id)
        whole_s = time.perf_counter() - start
        current = desk.submit(SHORT_RUN)
        while messages.total() < count:
            following = desk.submit(SHORT_RUN)
            view = killed(desk, children, current, random.uniform(0, whole_s * 1.1))
            if view.state == "done":
                runs.append(view.run_id)
            else:
                messages[next((words for words in CLEAR if words in view.message), view.message)] += 1
            current = following
        desk.cancel(current)
        until(lambda: not desk.view().measuring)
        lost = [run_id for run_id in runs if store.get(run_id) is None]
    return {
        "kills that hit": messages.total(),
        "messages": dict(messages),
        "runs finished": len(runs),
        "finished runs lost": len(lost),
        "processes left over": children.left_over(),
        "a whole run, s": round(whole_s, 1),
    }


def killed(desk: Desk, children: Children, ticket: Ticket, after_s: float) -> TicketView:
    """The final view of a ticket whose child was killed `after_s` seconds after its start."""
    until(lambda: desk.snapshot(ticket.id).state != "queued")
    pid = children.pids[-1]  # the child of this ticket: children are started one after the other
    desk.wait(ticket.id, after_s)
    _kill(pid)
    return desk.wait(ticket.id, PATIENCE_S)


def server_kills(count: int, random: Random) -> dict[str, object]:
    """Send SIGKILL to the server at random moments of a run, the start of its child included."""
    gone_ms, answers = list[float](), Counter[str]()
    for _ in range(count):
        with TemporaryDirectory() as folder:
            server = subprocess.Popen(
                (sys.executable, "-m", "benchmarks.desk", "--serve", folder),
                stdout=subprocess.PIPE,
                text=True,
            )
            assert server.stdout is not None
            child, running, queued = server.stdout.readline().split()
            time.sleep(random.uniform(0, 6))
            start = time.perf_counter()
            server.send_signal(signal.SIGKILL)
            server.wait()
            gone_ms.append(since_ms(start, lambda pid=int(child): gone(pid)))  # type: ignore[misc]
            answers[states_after_restart(Path(folder), running, queued)] += 1
    return {"child gone, ms": spread(gone_ms), "the journal tells (running, queued)": dict(answers)}


def states_after_restart(folder: Path, running: str, queued: str) -> str:
    """States of two tickets in a new desk, which has no machine and so cannot continue them."""
    desk = Desk(machines=lambda: (), journal=Journal(folder))
    return f"{desk.snapshot(running).state}, {desk.snapshot(queued).state}"


def serve(folder: Path) -> None:
    """Be a server that measures one run while another waits; prints the child's pid and both tickets."""
    children = Children()
    desk = Desk(children.start, journal=Journal(folder))
    running, queued = desk.submit(LONG_RUN), desk.submit(LONG_RUN)
    until(lambda: desk.snapshot(running.id).state == "running")
    print(children.pids[0], running.id, queued.id, flush=True)
    time.sleep(PATIENCE_S)


def idle_assistant() -> dict[str, object]:
    """Processor time of a child that has loaded a model and waits for requests."""
    children = Children()
    desk = Desk(children.start)
    desk.wait(desk.submit(LoadRequest(model="minilm")).id, PATIENCE_S)
    time.sleep(1)
    process = psutil.Process(children.pids[0])
    before = process.cpu_times()
    time.sleep(IDLE_S)
    after = process.cpu_times()
    share = (after.user + after.system - before.user - before.system) / IDLE_S
    _kill(process.pid)
    return {"share of a core": max(0.0, round(share, 5)), "watched, s": IDLE_S}


def poll() -> dict[str, object]:
    """Processor time of one poll inside the desk (status and ticket), with many visitors in the queue."""
    desk = Desk(machines=lambda: ())
    tickets = [desk.submit(LONG_RUN, f"visitor {number}") for number in range(VISITORS)]
    rounds = 200
    start = time.process_time()
    for number in range(rounds):
        desk.seen(f"visitor {number % VISITORS}")
        desk.view(f"visitor {number % VISITORS}")
        desk.snapshot(tickets[number % VISITORS].id)
    cost_ms = (time.process_time() - start) / rounds * 1000
    for ticket in tickets:
        desk.cancel(ticket)
    return {"visitors in the queue": VISITORS, "processor time of a poll, ms": round(cost_ms, 3)}


def until(condition: Callable[[], bool]) -> None:
    """Wait until something holds; fail after `PATIENCE_S`."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.002)


def since_ms(start: float, condition: Callable[[], bool]) -> float:
    """Milliseconds from a start on the performance counter until something holds."""
    until(condition)
    return (time.perf_counter() - start) * 1000


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, largest value and count."""
    return {"median": round(median(values), 1), "most": round(max(values), 1), "times": len(values)}


def gone(pid: int) -> bool:
    """Whether a process has ended with all its threads, reaped or not."""
    try:
        process = psutil.Process(pid)
        # The first thread may be dead while others still hold the memory.
        return process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1
    except psutil.NoSuchProcess:
        return True


def _kill(pid: int) -> None:
    # If the run was quicker, the child has already ended and the desk has reaped it.
    if not gone(pid):
        os.kill(pid, signal.SIGKILL)


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


if __name__ == "__main__":
    main()
