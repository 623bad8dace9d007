"""Machines behind a Dask scheduler: the desk's children started there, with the interface of a local one.

Dask only carries: the desk decides who is next, sends one job to a free worker, and the worker starts the same child
that a desk without Dask starts. Events are pushed through the scheduler, so nobody polls for them.
Imported only where FASTPATH_SCHEDULER names a scheduler (engine/desk/backend.py).
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from distributed import Client, Future
from distributed.scheduler import KilledWorker, NoValidWorkerError

from engine.desk.cluster_worker import machine_name, measure, scheduler_problem
from engine.desk.process import CHILD_COMMAND, Child, ChildDied, local_child
from engine.errors import Refusal
from engine.events import ENDINGS, Event, Refused, Request, RunRequest, TokenizeRequest, read_event

LOG = logging.getLogger(__name__)
CONNECT_S = 5.0
RETRY_S = 5.0
"""Seconds from one attempt to reach the scheduler to the next."""
FRESH_S = 1.0
"""Seconds that a list of the workers counts as fresh."""

Message = Mapping[str, str]
"""What a worker or Dask tells of a job: an event, a refusal, or that it died and why."""


@dataclass(frozen=True)
class Machine:
    """A worker: the name people choose it by, where it is, and the devices it offers (Dask's resources)."""

    name: str
    address: str
    devices: tuple[str, ...]


class Cluster:
    """The machines behind one scheduler; thread-safe, and never waits for a scheduler that is not there.

    It begins to connect at once, in the background, and again whenever the connection was lost.
    """

    def __init__(
        self,
        scheduler: str,
        *,
        child_arguments: Sequence[str] = CHILD_COMMAND[1:],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._scheduler, self._arguments, self._clock = scheduler, tuple(child_arguments), clock
        # Of its own: servers that share a scheduler do not hear each other's jobs.
        self._topic = f"fastpath-{secrets.token_hex(8)}"
        self._inboxes: dict[str, SimpleQueue[Message]] = {}
        self._lock = threading.RLock()
        self._client: Client | None = None
        self._greeted = ""
        self._machines: tuple[Machine, ...] = ()
        self._looked_at = self._tried_at = float("-inf")
        self._problem = ""
        self._look()

    def machines(self) -> tuple[str, ...]:
        """Names of the machines that are there now; none while the scheduler does not answer."""
        with self._lock:
            if self._clock() - self._looked_at > FRESH_S:
                self._look()
            return tuple(machine.name for machine in self._machines)

    def start_child(self, machine: str) -> Child:
        """A child on this machine, or a local one for the empty name."""
        return ClusterChild(self, machine) if machine else local_child(machine)

    def submit(self, job: str, machine: str, request: Request, inbox: SimpleQueue[Message]) -> Future[None]:
        """Send one job to a machine; what is told of it goes to the inbox.

        Raises:
            Refusal: no scheduler, no such machine, or a device that it does not offer.
        """
        with self._lock:
            self._look()
            if self._client is None or self._problem:
                raise Refusal(self._problem)
            device, worker = _device_of(request), self._find(machine)
            if isinstance(request, RunRequest) and request.trace_dir:
                raise Refusal(
                    f"Traces stay on the machine that writes them: measure on {machine} without them."
                )
            if device not in worker.devices:
                offered = " and ".join(worker.devices) or "no device"
                raise Refusal(f"The machine {machine} offers {offered}, not {device}: choose another one.")
            self._inboxes[job] = inbox
            # Again for each job: a scheduler that was started again knows nothing of it.
            self._client.subscribe_topic(self._topic, self._deliver)
            return self._client.submit(
                measure,
                *(job, self._topic, request.model_dump_json(), self._arguments),
                key=job,
                workers=[worker.address],
                resources={device: 1},
                pure=False,
                retries=0,
            )

    def forget(self, job: str) -> None:
        """Nothing of this job is wanted any more; whether its machine is still there must be asked again."""
        self._inboxes.pop(job, None)
        self._looked_at = float("-inf")

    def close(self) -> None:
        """Leave the scheduler, which ends every child of ours."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _find(self, name: str) -> Machine:
        for machine in self._machines:
            if machine.name == name:
                return machine
        there = ", ".join(machine.name for machine in self._machines) or "none"
        raise Refusal(f"The machine {name} is not there any more: choose another one (there now: {there}).")

    def _deliver(self, event: tuple[float, dict[str, str]]) -> None:
        message = event[1]
        inbox = self._inboxes.get(message["job"])
        if inbox is not None:
            inbox.put(message)

    def _look(self) -> None:
        """Read which machines there are, or why none can be reached."""
        self._looked_at, self._machines = self._clock(), ()
        if self._client is None or self._client.status == "closed":
            self._problem = (
                f"The scheduler {self._scheduler} does not answer; it is tried again every few seconds."
            )
            self._reach()
            return
        try:
            self._problem, workers = self._ask(self._client)
        except OSError:
            self._problem = (
                f"The connection to the scheduler {self._scheduler} was lost; try again in a moment."
            )
        else:
            self._machines = () if self._problem else _machines_of(workers)

    def _ask(self, client: Client) -> tuple[str, Mapping[str, Any]]:
        """Why the scheduler must not be used, empty where it may, and its workers.

        Raises:
            OSError: the connection is lost.
        """
        found = client.scheduler_info()
        # A client that lost its scheduler tries again by itself; what it holds meanwhile is of the past.
        if client.status != "running":
            raise OSError(client.status)
        if found["id"] != self._greeted:
            problem = _scheduler_problem(client)
            if problem:
                return f"The scheduler {self._scheduler} {problem}", {}
            self._greeted = found["id"]
        return "", found["workers"]

    def _reach(self) -> None:
        if self._clock() - self._tried_at > RETRY_S:
            self._tried_at = self._clock()
            threading.Thread(target=self._connect, name="cluster-connect", daemon=True).start()

    def _connect(self) -> None:
        try:
            client = Client(self._scheduler, timeout=CONNECT_S, set_as_default=False, name="fastpath-desk")
        except (OSError, ValueError, ImportError) as error:
            LOG.warning("the scheduler %s cannot be reached: %s", self._scheduler, error)
            return
        with self._lock:
            self._client, self._greeted, self._looked_at = client, "", float("-inf")


class ClusterChild:
    """One request at a time on one machine, by a fresh child each; `kill` may come from any thread."""

    def __init__(self, cluster: Cluster, machine: str) -> None:
        self._cluster, self._machine = cluster, machine
        self._lock = threading.Lock()
        self._inbox = SimpleQueue[Message]()
        self._future: Future[None] | None = None
        self._killed = False
        self._log = ""

    @property
    def alive(self) -> bool:
        """Whether another request can be sent."""
        return not self._killed

    def ask(self, request: Request) -> Iterator[Event]:
        """Send a request and give its events as they come; the last one is one of `ENDINGS`.

        Raises:
            ChildDied: the child, its machine or the way to it ended before it answered.
        """
        job = f"fastpath-{secrets.token_hex(8)}"
        try:
            self._submit(job, request)
            for event in self._told():
                yield event
                if isinstance(event, ENDINGS):
                    return
        except Refusal as refusal:
            yield Refused(message=str(refusal))
        finally:
            self._cluster.forget(job)
            self._let_go()

    def log_tail(self) -> str:
        """The end of what a child that died wrote to standard error on its machine."""
        return self._log

    def kill(self) -> None:
        """End the child's process group on its machine; harmless if it has ended."""
        self._killed = True
        self._inbox.put({"died": "The work was stopped."})
        self._let_go()

    def close(self) -> None:
        """The same as `kill`: the machine reaps its children itself."""
        self.kill()

    def _submit(self, job: str, request: Request) -> None:
        # A fresh one, in which nothing can come late from the request before.
        inbox = self._inbox = SimpleQueue[Message]()
        with self._lock:
            if self._killed:
                raise ChildDied("The work was stopped before it was sent to its machine.")
            future = self._future = self._cluster.submit(job, self._machine, request, inbox)
        # Dask tells the end behind all events: both take the same way, in order.
        future.add_done_callback(lambda ended: inbox.put({"died": _why_it_ended(ended, self._machine)}))

    def _told(self) -> Iterator[Event]:
        while True:
            message = self._inbox.get()
            if "event" in message:
                yield read_event(message["event"])
            elif "refused" in message:
                yield Refused(message=message["refused"])
            else:
                self._log = message.get("log", "")
                raise ChildDied(message["died"])

    def _let_go(self) -> None:
        with self._lock:
            future, self._future = self._future, None
        if future is not None:
            # A client that is closed has let go of everything already.
            with suppress(Exception):
                future.cancel()


def _why_it_ended(future: Future[None], machine: str) -> str:
    """What to tell where Dask's task is over and no ending was told before."""
    if future.status == "cancelled":
        return (
            "The connection to the scheduler of the machines was lost in the middle of the work; your settings "
            "are kept: try again in a moment."
        )
    if future.status == "error" and not isinstance(future.exception(), KilledWorker | NoValidWorkerError):
        LOG.error("the worker on %s could not do its work: %r", machine, future.exception())
        return (
            f"The machine {machine} could not start the work; your settings are kept: choose another machine. "
            "Its worker must run the same version of the lab from the lab's folder (docs/hosting.md)."
        )
    return (
        f"The machine {machine} went away in the middle of the work (its worker was killed or lost its connection); "
        "other machines go on, and your settings are kept: try again, or choose another machine."
    )


def _scheduler_problem(client: Client) -> str:
    try:
        return str(client.run_on_scheduler(scheduler_problem))
    except ImportError:
        return "cannot import the lab: start it in the lab's folder (docs/hosting.md)."


def _machines_of(workers: Mapping[str, Mapping[str, Any]]) -> tuple[Machine, ...]:
    """The first worker of each name, by name: a second one on the same machine could only disturb it."""
    found: dict[str, Machine] = {}
    for address, worker in workers.items():
        name = machine_name(worker["name"], address)
        if worker.get("status", "running") == "running":
            found.setdefault(name, Machine(name, address, tuple(sorted(worker.get("resources", ())))))
    return tuple(found[name] for name in sorted(found))


def _device_of(request: Request) -> str:
    """The resource that a request needs: `cuda:1` is a `cuda`."""
    if isinstance(request, TokenizeRequest):
        return "cpu"
    device = request.experiment.device if isinstance(request, RunRequest) else request.device
    return device.partition(":")[0]
