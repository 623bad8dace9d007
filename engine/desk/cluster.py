"""Children on the workers of a Dask scheduler, with the interface of a local child.

Dask is the transport only: the desk chooses the next job and sends it to a free worker, which starts the same child
as a desk without Dask. Events are pushed through the scheduler; there is no polling.
Imported only if FASTPATH_SCHEDULER names a scheduler (engine/desk/backend.py).
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
from engine.events import ENDINGS, Event, Refused, Request, RunRequest, device_of, read_event
from engine.records import Allocator

LOG = logging.getLogger(__name__)
CONNECT_S = 5.0
RETRY_S = 5.0
"""Seconds between two attempts to reach the scheduler."""
FRESH_S = 1.0
"""Seconds that a list of the workers counts as fresh."""

Message = Mapping[str, str]
"""A message about a job: an event, a refusal, or why it died."""


@dataclass(frozen=True)
class Machine:
    """A worker: its name for the user, its address, and its devices (Dask's resources)."""

    name: str
    address: str
    devices: tuple[str, ...]


class Cluster:
    """The machines of one scheduler; thread-safe; no call waits for an unreachable scheduler.

    Connects in the background, and again after a lost connection.
    """

    def __init__(
        self,
        scheduler: str,
        *,
        child_arguments: Sequence[str] = CHILD_COMMAND[1:],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._scheduler, self._arguments, self._clock = scheduler, tuple(child_arguments), clock
        # A separate topic, so that servers that share a scheduler do not get each other's events.
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
        """Names of the machines now; none while the scheduler does not answer."""
        with self._lock:
            if self._clock() - self._looked_at > FRESH_S:
                self._look()
            return tuple(machine.name for machine in self._machines)

    def start_child(self, machine: str, allocator: Allocator) -> Child:
        """A child on this machine, or a local one for the empty name.

        A machine starts its own child for each request, with the allocator that the request names.
        """
        return ClusterChild(self, machine) if machine else local_child(machine, allocator)

    def submit(self, job: str, machine: str, request: Request, inbox: SimpleQueue[Message]) -> Future[None]:
        """Send one job to a machine; its messages go to the inbox.

        Raises:
            Refusal: the scheduler does not answer, there is no such machine, or it lacks the device.
        """
        with self._lock:
            self._look()
            if self._client is None or self._problem:
                raise Refusal(self._problem)
            # The resource of Dask: `cuda:1` is a `cuda`.
            device, worker = device_of(request).partition(":")[0], self._find(machine)
            if isinstance(request, RunRequest) and request.trace_dir:
                raise Refusal(
                    f"Traces stay on the machine that writes them: measure on {machine} without traces."
                )
            if device not in worker.devices:
                offered = " and ".join(worker.devices) or "no device"
                raise Refusal(f"The machine {machine} offers {offered}, not {device}: choose another one.")
            self._inboxes[job] = inbox
            # For each job: a restarted scheduler has lost the subscription.
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
        """Drop a job's messages, and list the machines again on the next call: its machine may have left."""
        self._inboxes.pop(job, None)
        self._looked_at = float("-inf")

    def close(self) -> None:
        """Disconnect; the scheduler then ends every child of this server."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _find(self, name: str) -> Machine:
        for machine in self._machines:
            if machine.name == name:
                return machine
        there = ", ".join(machine.name for machine in self._machines) or "none"
        raise Refusal(f"The machine {name} is no longer available: choose another one (available: {there}).")

    def _deliver(self, event: tuple[float, dict[str, str]]) -> None:
        message = event[1]
        inbox = self._inboxes.get(message["job"])
        if inbox is not None:
            inbox.put(message)

    def _look(self) -> None:
        """Update the machines, or the reason why there are none."""
        self._looked_at, self._machines = self._clock(), ()
        if self._client is None or self._client.status == "closed":
            self._problem = (
                f"The scheduler {self._scheduler} does not answer; the lab tries again every few seconds."
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
        """Why the scheduler must not be used (empty if it may), and its workers.

        Raises:
            OSError: the connection is lost.
        """
        found = client.scheduler_info()
        # A client that lost its scheduler reconnects by itself; until then its information is old.
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
    """One request at a time on one machine, each in a new child; any thread may call `kill`."""

    def __init__(self, cluster: Cluster, machine: str) -> None:
        self._cluster, self._machine = cluster, machine
        self._lock = threading.Lock()
        self._inbox = SimpleQueue[Message]()
        self._future: Future[None] | None = None
        self._killed = False
        self._log = ""

    @property
    def alive(self) -> bool:
        """Whether it can take another request."""
        return not self._killed

    def ask(self, request: Request) -> Iterator[Event]:
        """Send a request and yield its events as they come; the last is one of `ENDINGS`.

        Raises:
            ChildDied: the child ended, or its machine or the connection was lost, before it answered.
        """
        job = f"fastpath-{secrets.token_hex(8)}"
        try:
            self._submit(job, request)
            for event in self._events():
                yield event
                if isinstance(event, ENDINGS):
                    return
        except Refusal as refusal:
            yield Refused(message=str(refusal))
        finally:
            self._cluster.forget(job)
            self._cancel()

    def log_tail(self) -> str:
        """The end of a dead child's standard error on its machine."""
        return self._log

    def kill(self) -> None:
        """Kill the child's process group on its machine; does nothing if it has ended."""
        self._killed = True
        self._inbox.put({"died": "The work was stopped."})
        self._cancel()

    def close(self) -> None:
        """The same as `kill`: the machine reaps its children itself."""
        self.kill()

    def _submit(self, job: str, request: Request) -> None:
        # A new inbox, so that no late message of the request before arrives in it.
        inbox = self._inbox = SimpleQueue[Message]()
        with self._lock:
            if self._killed:
                raise ChildDied("The work was stopped before it was sent to its machine.")
            future = self._future = self._cluster.submit(job, self._machine, request, inbox)
        # The end comes after all events: both use the same connection, in order.
        future.add_done_callback(lambda ended: inbox.put({"died": _why_it_ended(ended, self._machine)}))

    def _events(self) -> Iterator[Event]:
        while True:
            message = self._inbox.get()
            if "event" in message:
                yield read_event(message["event"])
            elif "refused" in message:
                yield Refused(message=message["refused"])
            else:
                self._log = message.get("log", "")
                raise ChildDied(message["died"])

    def _cancel(self) -> None:
        with self._lock:
            future, self._future = self._future, None
        if future is not None:
            # A closed client has cancelled everything already.
            with suppress(Exception):
                future.cancel()


def _why_it_ended(future: Future[None], machine: str) -> str:
    """Why Dask's task is over without a last event."""
    if future.status == "cancelled":
        return (
            "The connection to the scheduler was lost during the work; your settings are kept: try again in a "
            "moment."
        )
    if future.status == "error" and not isinstance(future.exception(), KilledWorker | NoValidWorkerError):
        LOG.error("the worker on %s failed: %r", machine, future.exception())
        return (
            f"The machine {machine} could not start the work; your settings are kept: choose another machine. "
            "Its worker must run the same version of the lab from the lab's folder (docs/hosting.md)."
        )
    return (
        f"The machine {machine} was lost during the work (its worker was killed or lost its connection). Other "
        "machines go on and your settings are kept: try again, or choose another machine."
    )


def _scheduler_problem(client: Client) -> str:
    try:
        return str(client.run_on_scheduler(scheduler_problem))
    except ImportError:
        return "cannot import the lab: start it in the lab's folder (docs/hosting.md)."


def _machines_of(workers: Mapping[str, Mapping[str, Any]]) -> tuple[Machine, ...]:
    """The first worker of each name, sorted; a second on the same machine would disturb measurements."""
    found: dict[str, Machine] = {}
    for address, worker in workers.items():
        name = machine_name(worker["name"], address)
        if worker.get("status", "running") == "running":
            found.setdefault(name, Machine(name, address, tuple(sorted(worker.get("resources", ())))))
    return tuple(found[name] for name in sorted(found))
