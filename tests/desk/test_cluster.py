"""Jobs on real Dask workers at two addresses, and a sentence for every way in which they can fail."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, TypeVar

import dask
import psutil
import pytest
import yaml

from engine.catalog.batches import PRESETS
from engine.desk.backend import backend
from engine.desk.cluster import Cluster
from engine.desk.cluster_worker import machine_name, scheduler_problem, with_machine, worker_problem
from engine.desk.desk import Desk
from engine.desk.process import Child, ChildDied, ChildProcess
from engine.errors import Refusal
from engine.events import (
    Diagnosed,
    Event,
    Finished,
    LoadRequest,
    Refused,
    Request,
    RunRequest,
    Step,
    TokenizeRequest,
)
from engine.records import Experiment, read_run
from engine.settings import Settings
from tests.samples import a_diagnosis

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "cluster.yaml"
OBEDIENT = (str(Path(__file__).with_name("obedient_child.py")),)
BATCH = PRESETS["tutorial-small"]
LONG_S = 60.0
Answer = TypeVar("Answer")

pytestmark = pytest.mark.xdist_group("cluster")


def run_of(model: str, **fields: object) -> RunRequest:
    experiment = Experiment.model_validate({"model": model, "batch": BATCH, "paths": ("slow",), **fields})
    return RunRequest(experiment=experiment)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def soon(work: Callable[[], Answer]) -> Answer:
    """The outcome of work that would wait for ever if it were broken."""
    outcome: Future[Answer] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except ChildDied as death:
            outcome.set_exception(death)

    threading.Thread(target=run, daemon=True).start()
    return outcome.result(LONG_S)


def answer_of(child: Child, request: Request) -> str:
    """The sentence with which a child answers at once."""
    (ending,) = soon(lambda: list(child.ask(request)))
    assert isinstance(ending, Refused)
    return ending.message


def gone(pid: int) -> bool:
    """Ended, or a zombie that nobody has reaped yet."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@contextmanager
def dask_process(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "dask", *arguments, "--no-dashboard", "--dashboard-address", "127.0.0.1:0"],
        cwd=ROOT,
        env={**os.environ, "DASK_CONFIG": str(CONFIG), **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(LONG_S)


@contextmanager
def a_scheduler(address: str) -> Iterator[subprocess.Popen[bytes]]:
    with dask_process("scheduler", "--host", "127.0.0.1", "--port", address.rpartition(":")[2]) as process:
        yield process


@contextmanager
def a_worker(
    address: str, name: str, host: str, threads: int = 1, devices: str = "cpu=1"
) -> Iterator[subprocess.Popen[bytes]]:
    with (
        TemporaryDirectory() as folder,
        dask_process(
            *(
                "worker",
                address,
                "--name",
                name,
                "--host",
                host,
                "--nworkers",
                "1",
                "--nthreads",
                str(threads),
            ),
            *("--memory-limit", "0", "--resources", devices),
            # Two machines have a lock each; these two share one machine.
            FASTPATH_LOCK_FILE=str(Path(folder) / "lock"),
        ) as process,
    ):
        yield process


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


@contextmanager
def connected(address: str, *machines: str, child_arguments: tuple[str, ...] = OBEDIENT) -> Iterator[Cluster]:
    cluster = Cluster(address, child_arguments=child_arguments)
    try:
        until(lambda: cluster.machines() == machines)
        yield cluster
    finally:
        cluster.close()


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Address of a scheduler with two workers, each on an address of its own."""
    address = free_address()
    with (
        a_scheduler(address),
        a_worker(address, "left", "127.0.0.1"),
        a_worker(address, "right", "127.0.0.2", devices="cpu=1 cuda=1"),
    ):
        yield address


@pytest.fixture
def cluster(scheduler: str) -> Iterator[Cluster]:
    with connected(scheduler, "left", "right") as cluster:
        yield cluster


def begin(child: Child, model: str = "work") -> tuple[Iterator[Event], int]:
    """Start work on a child; its events from here on, and its pid."""
    events = child.ask(run_of(model))
    step = soon(lambda: next(events))
    assert isinstance(step, Step)
    return events, int(step.text)


def worker_of(pid: int) -> psutil.Process:
    worker = psutil.Process(pid).parent()
    assert worker is not None
    return worker


def addresses_of(pid: int) -> set[str]:
    """Where the worker that started this child listens."""
    found = worker_of(pid).net_connections()
    return {one.laddr.ip for one in found if one.status == psutil.CONN_LISTEN}


def test_two_real_runs_each_name_the_machine_that_measured(scheduler: str) -> None:
    with connected(scheduler, "left", "right", child_arguments=("-m", "engine", "child")) as cluster:
        desk = Desk(cluster.start_child, cluster.machines)
        request = run_of("minilm", iterations=2)
        tickets = [desk.submit(request, visitor) for visitor in ("first", "second")]
        views = [desk.wait(ticket.id, LONG_S) for ticket in tickets]
    runs = [view.run for view in views]
    assert {run.environment.machine for run in runs if run} == {"left", "right"}, [v.message for v in views]
    assert [view.machine for view in views] == [run.environment.machine for run in runs if run]
    begun, ended = zip(*((view.started_at, view.ended_at) for view in views), strict=True)
    assert max(begun) < min(ended), "the two ran at the same time"


def test_two_jobs_run_at_the_same_time_each_on_the_machine_asked_for(
    cluster: Cluster, tmp_path: Path
) -> None:
    children = {name: cluster.start_child(name, "system") for name in ("left", "right")}
    begun = {name: begin(child, str(tmp_path)) for name, child in children.items()}
    assert not any(gone(pid) for _, pid in begun.values()), "both wait for the same file, so both are at work"
    addresses = {name: addresses_of(pid) for name, (_, pid) in begun.items()}
    assert addresses == {"left": {"127.0.0.1"}, "right": {"127.0.0.1", "127.0.0.2"}}, (
        "health is told on 127.0.0.1"
    )
    (tmp_path / "go").touch()
    for events, pid in begun.values():
        assert [event.message for event in events if isinstance(event, Refused)] == [f"answered by {pid}"]


def test_a_job_for_one_machine_never_runs_on_another(cluster: Cluster) -> None:
    for name, address in [("right", "127.0.0.2"), ("left", "127.0.0.1")] * 2:
        child = cluster.start_child(name, "system")
        _, pid = begin(child)
        assert address in addresses_of(pid)
        assert ("127.0.0.2" in addresses_of(pid)) == (name == "right")
        child.kill()


def test_a_worker_killed_mid_job_fails_that_job_alone(cluster: Cluster, tmp_path: Path) -> None:
    left, right = (cluster.start_child(name, "system") for name in ("left", "right"))
    lost, lost_pid = begin(left)
    other, other_pid = begin(right, str(tmp_path))
    worker_of(lost_pid).kill()
    with pytest.raises(ChildDied, match=r"machine left was lost .* Other machines go on"):
        soon(lambda: next(lost))
    until(lambda: gone(lost_pid))
    assert not gone(other_pid)
    (tmp_path / "go").touch()
    assert soon(lambda: next(other)) == Refused(message=f"answered by {other_pid}")
    until(lambda: cluster.machines() == ("left", "right"))
    assert "answered by" in answer_of(cluster.start_child("left", "system"), run_of("any"))


def test_cancel_ends_the_child_and_the_machine_takes_the_next_job(cluster: Cluster) -> None:
    child = cluster.start_child("left", "system")
    events, pid = begin(child)
    child.kill()
    until(lambda: gone(pid))
    with pytest.raises(ChildDied):
        soon(lambda: next(events))
    assert not child.alive
    assert "answered by" in answer_of(cluster.start_child("left", "system"), run_of("any"))


def test_a_job_cancelled_before_it_is_sent_never_starts(cluster: Cluster) -> None:
    child = cluster.start_child("left", "system")
    child.kill()
    with pytest.raises(ChildDied, match="before it was sent"):
        answer_of(child, run_of("any"))


def test_events_that_nobody_reads_any_more_end_the_child(cluster: Cluster) -> None:
    events, pid = begin(cluster.start_child("left", "system"))
    assert isinstance(events, Generator)
    events.close()
    until(lambda: gone(pid))


def test_a_dead_child_is_reported_with_the_end_of_its_log(cluster: Cluster) -> None:
    child = cluster.start_child("right", "system")
    with pytest.raises(ChildDied, match=r"exit code 3"):
        answer_of(child, run_of("die"))
    assert child.log_tail() == "out of luck\n"


def test_a_killed_server_ends_its_child(scheduler: str) -> None:
    code = (
        "import sys, time; from tests.desk.test_cluster import *\n"
        "with connected(sys.argv[1], 'left', 'right') as cluster:\n"
        "    events, pid = begin(cluster.start_child('left', 'system'))\n"
        "    print(pid, flush=True); time.sleep(60)"
    )
    server = subprocess.Popen([sys.executable, "-c", code, scheduler], cwd=ROOT, stdout=subprocess.PIPE)
    assert server.stdout is not None
    pid = int(server.stdout.readline())
    assert not gone(pid)
    server.send_signal(signal.SIGKILL)
    server.wait()
    until(lambda: gone(pid))
    server.stdout.close()


@pytest.mark.parametrize(
    ("machine", "request_", "words"),
    [
        ("middle", run_of("any"), "machine middle is no longer available.* left, right"),
        ("left", run_of("any", device="cuda:1"), "machine left offers cpu, not cuda"),
        ("left", LoadRequest(model="any", device="cuda"), "machine left offers cpu, not cuda"),
        ("left", run_of("any").model_copy(update={"trace_dir": "/somewhere"}), "Traces stay on the machine"),
        ("right", run_of("any", device="cuda:1"), "answered by"),
        ("right", TokenizeRequest(model="any", batch=BATCH), "answered by"),
    ],
)
def test_a_machine_gets_only_jobs_for_its_devices(
    cluster: Cluster, machine: str, request_: RunRequest, words: str
) -> None:
    message = answer_of(cluster.start_child(machine, "system"), request_)
    assert re.search(words, message), message


def test_a_worker_that_takes_two_jobs_at_once_is_refused(scheduler: str) -> None:
    with (
        a_worker(scheduler, "wide", "127.0.0.1", threads=2),
        connected(scheduler, "left", "right", "wide") as found,
    ):
        message = answer_of(found.start_child("wide", "system"), run_of("any"))
    assert "machine wide takes 2 jobs at once" in message


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_a_worker_that_cannot_read_the_request_is_not_reported_as_dead(cluster: Cluster) -> None:
    """As where its lab is of another version."""
    of_tomorrow = run_of("any").model_copy(update={"do": "dance"})
    with pytest.raises(ChildDied, match="machine left could not start the work"):
        answer_of(cluster.start_child("left", "system"), of_tomorrow)
    assert "answered by" in answer_of(cluster.start_child("left", "system"), run_of("any"))


def test_a_lost_scheduler_is_reported_and_found_again() -> None:
    address = free_address()
    with a_scheduler(address) as process, a_worker(address, "alone", "127.0.0.1"):
        cluster = Cluster(address, child_arguments=OBEDIENT)
        until(lambda: cluster.machines() == ("alone",))
        events, pid = begin(cluster.start_child("alone", "system"))
        process.kill()
        with pytest.raises(ChildDied, match="connection to the scheduler"):
            soon(lambda: next(events))
        until(lambda: gone(pid))
        assert cluster.machines() == ()
        message = answer_of(cluster.start_child("alone", "system"), run_of("any"))
        assert "was lost" in message
    with a_scheduler(address), a_worker(address, "alone", "127.0.0.1"):
        until(lambda: cluster.machines() == ("alone",))
        assert "answered by" in answer_of(cluster.start_child("alone", "system"), run_of("any"))
        cluster.close()


def test_no_call_waits_for_an_unreachable_scheduler() -> None:
    cluster = Cluster(free_address())
    assert cluster.machines() == ()
    message = answer_of(cluster.start_child("any", "system"), run_of("any"))
    assert "scheduler" in message
    cluster.close()


def test_the_empty_name_is_this_machine_even_with_a_cluster(cluster: Cluster) -> None:
    child = cluster.start_child("", "system")
    assert isinstance(child, ChildProcess)
    child.close()


OWN_SETTINGS = dask.config.merge(*dask.config.defaults)
OUR_SETTINGS = dask.config.merge(OWN_SETTINGS, yaml.safe_load(CONFIG.read_text()))
UNSAMPLED = {"distributed": {"worker": {"profile": {"enabled": False}}, "nanny": {"pre-spawn-environ": {}}}}


def test_our_settings_let_a_worker_measure() -> None:
    assert worker_problem(OUR_SETTINGS, threads=1) == ""


@pytest.mark.parametrize(
    ("settings", "threads", "words"),
    [
        (OUR_SETTINGS, 2, "2 jobs at once"),
        (OWN_SETTINGS, 1, "samples its own threads"),
        # An empty mapping looks as if it took Dask's variables away, and takes nothing away.
        (dask.config.merge(OWN_SETTINGS, UNSAMPLED), 1, "OMP_NUM_THREADS"),
    ],
    ids=["threads", "profile", "environment"],
)
def test_a_worker_with_other_settings_may_not(settings: dict[str, Any], threads: int, words: str) -> None:
    problem = worker_problem(settings, threads)
    assert words in problem
    assert "DASK_CONFIG=cluster.yaml" in problem


@pytest.mark.parametrize(
    ("settings", "retries", "words"),
    [(OUR_SETTINGS, 0, ""), (OUR_SETTINGS, 3, "runs a job again"), (OWN_SETTINGS, 0, "wakes its workers")],
)
def test_a_scheduler_is_checked_too(settings: dict[str, Any], retries: int, words: str) -> None:
    with dask.config.set(settings):
        problem = scheduler_problem(SimpleNamespace(allowed_failures=retries))
    assert words in problem
    assert bool(words) == bool(problem)


def test_runs_and_diagnoses_have_the_machines_name() -> None:
    run = read_run((ROOT / "tests" / "data" / "run_minilm_tutorial_big.json").read_bytes())
    finished = with_machine(Finished(run=run), "gpu box")
    diagnosed = with_machine(Diagnosed(diagnosis=a_diagnosis()), "gpu box")
    assert isinstance(finished, Finished)
    assert isinstance(diagnosed, Diagnosed)
    assert finished.run.environment.machine == diagnosed.diagnosis.environment.machine == "gpu box"
    assert finished.run.model_copy(update={"environment": run.environment}) == run, "nothing else has changed"


@pytest.mark.parametrize(
    ("name", "machine"), [("gpu box", "gpu box"), (7, "7"), ("tcp://10.0.0.5:40001", "10.0.0.5")]
)
def test_a_machine_is_named_after_its_worker_or_its_host(name: object, machine: str) -> None:
    assert machine_name(name, "tcp://10.0.0.5:40001") == machine


def test_without_a_scheduler_dask_is_not_imported() -> None:
    code = (
        "import sys; from engine.desk.backend import backend; from engine.settings import Settings;"
        "print(backend(Settings(scheduler=''))[1](), {'dask', 'distributed'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "('',) set()"


def test_a_scheduler_without_dask_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "engine.desk.cluster")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(Refusal, match=r"requirements-cluster\.txt"):
        backend(Settings(scheduler="tcp://nowhere:8786"))


def test_with_a_scheduler_its_workers_are_the_machines(scheduler: str) -> None:
    start_child, machines = backend(Settings(scheduler=scheduler))
    until(lambda: machines() == ("left", "right"))
    child = start_child("left", "system")
    assert child.alive
    child.close()
