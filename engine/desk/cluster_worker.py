"""The worker's part of the cluster: a Dask task that starts the same child as the desk does and passes on its events.

Dask cannot stop a running task. So a plugin on the worker watches the task's state and ends its child after a cancel,
when the server has gone, and when the worker shuts down.
"""

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import dask
from dask.typing import Key
from distributed import Worker, get_worker
from distributed.diagnostics.plugin import WorkerPlugin

from engine.desk.process import ChildDied, ChildProcess
from engine.events import CellDone, Diagnosed, Event, Finished, allocator_of, read_request
from engine.host import measuring_environment
from engine.records import Allocator, Environment

PLUGIN = "fastpath-children"
CONFIG = "cluster.yaml"


class Children(WorkerPlugin):
    """The children of this worker, by job."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._lock = threading.Lock()
        self._running: dict[Key, ChildProcess] = {}

    def transition(self, key: Key, start: str, finish: str, **_: Any) -> None:
        """End the child of a running job that Dask has released."""
        if start == "executing" and finish == "released":
            with self._lock:
                if key in self._running:
                    self._running[key].kill()

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002  (Dask's signature)
        """End every child: the worker shuts down."""
        with self._lock:
            for child in self._running.values():
                child.kill()

    @contextmanager
    def child(self, job: str, command: Sequence[str], allocator: Allocator) -> Iterator[ChildProcess]:
        """A child for a job, started for its allocator; always ended with the job."""
        child = ChildProcess(command, environment=measuring_environment(allocator))
        with self._lock:
            self._running[job] = child
        try:
            # Dask may have released the job while the child started.
            if self._worker.state.tasks[job].state != "executing":
                child.kill()
            yield child
        finally:
            with self._lock:
                del self._running[job]
            child.close()


async def dask_setup(worker: Worker) -> None:
    """Install the plugin; Dask calls this at the worker's start, because cluster.yaml names this module.

    The server does not install it on all workers: one that cannot import the lab would stop all others.
    """
    await worker.plugin_add(Children(worker), PLUGIN)


def measure(job: str, topic: str, request: str, arguments: Sequence[str]) -> None:
    """The task: run one request (JSON) in a child and publish its events under the topic.

    Each message names the job, and holds an `event` as JSON, or why it was `refused`, or why the child `died` and the
    end of its `log`. It returns None, so that no result stays in the worker's memory.
    """
    worker = get_worker()
    machine = machine_name(worker.name, worker.address)

    def tell(**message: str) -> None:
        worker.log_event(topic, {"job": job, **message})

    problem = worker_problem(dask.config.config, worker.state.nthreads)
    if problem:
        tell(refused=f"The machine {machine} {problem}")
        return
    children = cast(Children, worker.plugins[PLUGIN])
    asked = read_request(request)
    with children.child(job, (sys.executable, *arguments), allocator_of(asked) or "system") as child:
        try:
            for event in child.ask(asked):
                tell(event=with_machine(event, machine).model_dump_json())
        except ChildDied as death:
            tell(died=str(death), log=child.log_tail())


def machine_name(worker_name: object, address: str) -> str:
    """The name of a worker's machine: the worker's own name, or its host if it has none."""
    name = str(worker_name)
    return address.rpartition("://")[2].rpartition(":")[0] if "://" in name else name


def with_machine(event: Event, machine: str) -> Event:
    """The event, with the host name in its run, cell or diagnosis replaced by the machine's name."""
    if isinstance(event, Finished):
        run = event.run
        return Finished(run=run.model_copy(update=_renamed(run.environment, machine)))
    if isinstance(event, CellDone) and event.cell.run is not None:
        run = event.cell.run.model_copy(update=_renamed(event.cell.run.environment, machine))
        return event.model_copy(update={"cell": event.cell.model_copy(update={"run": run})})
    if isinstance(event, Diagnosed):
        diagnosis = event.diagnosis
        return Diagnosed(diagnosis=diagnosis.model_copy(update=_renamed(diagnosis.environment, machine)))
    return event


def _renamed(environment: Environment, machine: str) -> dict[str, Environment]:
    return {"environment": environment.model_copy(update={"machine": machine})}


def worker_problem(config: dict[str, Any], threads: int) -> str:
    """Why a worker with these Dask settings must not measure; empty if it may."""
    start = f"start it with DASK_CONFIG={CONFIG} and --nthreads 1 (docs/hosting.md)."
    if threads != 1:
        return f"takes {threads} jobs at once, which would disturb each other: {start}"
    if dask.config.get("distributed.worker.profile.enabled", config=config):
        return f"samples its own threads while it measures: {start}"
    leaked = [
        name
        for name, value in dask.config.get("distributed.nanny.pre-spawn-environ", config=config).items()
        if value is not None
    ]
    return f"was started with Dask's own {', '.join(leaked)}: {start}" if leaked else ""


def scheduler_problem(dask_scheduler: Any) -> str:
    """Why this scheduler must not be used; empty if it may. Runs on the scheduler."""
    start = f"start it with DASK_CONFIG={CONFIG} (docs/hosting.md)."
    if dask_scheduler.allowed_failures:
        return f"runs a job again after its machine has died: {start}"
    if dask.config.get("distributed.scheduler.active-memory-manager.start"):
        return f"wakes its workers while they measure: {start}"
    return ""
