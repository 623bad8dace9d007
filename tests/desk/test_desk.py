"""The desk with real child processes: order, one at a time, cancelling, limits, and children that die."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from engine.desk.desk import Desk, the_desk
from engine.desk.journal import Journal
from engine.desk.limits import Limits
from engine.desk.process import ChildProcess
from engine.desk.tickets import Ticket, TicketView
from engine.desk.worker import Worker
from engine.errors import Refusal
from engine.events import DoctorRequest, LoadRequest, Refused, Request, RunRequest, TokenizeRequest
from engine.records import Allocator, Batch, Experiment

FAKE_CHILD = Path(__file__).with_name("fake_child.py")
BATCH = Batch(name="two", texts=("one", "two words"))
LONG_S = 20.0


def fake_child(_machine: str, _allocator: Allocator = "system") -> ChildProcess:
    return ChildProcess((sys.executable, str(FAKE_CHILD)))


@pytest.fixture
def desk() -> Desk:
    return Desk(fake_child)


def run_of(model: str) -> RunRequest:
    return RunRequest(experiment=Experiment(model=model, batch=BATCH, paths=("slow",)))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def gone(pid: int) -> bool:
    """Ended, or a zombie that nobody has reaped yet.

    A process may be reaped between opening its file (FileNotFoundError until then) and reading it
    (ProcessLookupError).
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def started(desk: Desk, ticket: Ticket) -> TicketView:
    until(lambda: desk.snapshot(ticket.id).rounds_done > 0)
    return desk.snapshot(ticket.id)


def test_the_answer_of_a_child_reaches_the_ticket(desk: Desk) -> None:
    ticket = desk.submit(TokenizeRequest(model="any", batch=BATCH))
    view = desk.wait(ticket.id, LONG_S)
    assert view.state == "done"
    assert view.batch == BATCH


def test_cancel_ends_the_whole_process_group_and_the_next_one_runs(desk: Desk) -> None:
    hanging, following = desk.submit(run_of("hang")), desk.submit(run_of("refuse"))
    view = started(desk, hanging)
    pids = [int(pid) for pid in view.step.split()]
    assert view.history[-1] == {"fast-nested": (1.5, 2.5)}
    desk.cancel(hanging)
    assert desk.snapshot(hanging.id).state == "cancelled"
    until(lambda: all(gone(pid) for pid in pids))
    assert "answered by" in desk.wait(following.id, LONG_S).message
    assert desk.snapshot(hanging.id).state == "cancelled", "the child's death must not turn it into a failure"


def test_a_wrong_secret_cannot_cancel(desk: Desk) -> None:
    ticket = desk.submit(run_of("hang"))
    started(desk, ticket)
    with pytest.raises(Refusal, match="Only the visitor who started"):
        desk.cancel(Ticket(ticket.id, "guessed"))
    assert desk.snapshot(ticket.id).state == "running"
    desk.cancel(ticket)


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [("die", "exit code 3"), ("talk", "something unreadable"), ("torn", "killed by the system")],
)
def test_a_child_that_fails_to_answer_fails_its_ticket_and_the_worker_goes_on(
    desk: Desk, wish: str, sentence: str
) -> None:
    broken, following = desk.submit(run_of(wish)), desk.submit(run_of("refuse"))
    view = desk.wait(broken.id, LONG_S)
    assert (view.state, sentence in view.message) == ("failed", True)
    assert "answered by" in desk.wait(following.id, LONG_S).message


def test_a_killed_child_is_reported_as_a_lack_of_memory(desk: Desk) -> None:
    ticket = desk.submit(run_of("hang"))
    os.kill(int(started(desk, ticket).step.split()[0]), 9)
    view = desk.wait(ticket.id, LONG_S)
    assert view.state == "failed"
    assert "lack of memory" in view.message


def test_measurements_run_one_at_a_time_in_the_order_they_came(desk: Desk, tmp_path: Path) -> None:
    first, second, third = (desk.submit(run_of(str(tmp_path))) for _ in range(3))
    until(lambda: desk.snapshot(first.id).step == "waiting")
    assert [desk.snapshot(ticket.id).place for ticket in (first, second, third)] == [0, 1, 2]
    assert [desk.snapshot(ticket.id).state for ticket in (first, second, third)] == [
        "running",
        "queued",
        "queued",
    ]
    assert (desk.view().measuring, desk.view().waiting) == (True, 2)
    desk.cancel(second)
    assert desk.snapshot(third.id).place == 1
    (tmp_path / "go").touch()
    until(lambda: desk.snapshot(third.id).ended)
    assert desk.snapshot(second.id).state == "cancelled"
    until(lambda: not desk.view().measuring)


def test_an_examination_waits_for_the_measurement_before_it(desk: Desk, tmp_path: Path) -> None:
    first = desk.submit(run_of(str(tmp_path)))
    second = desk.submit(DoctorRequest(model="refuse", batch=BATCH))
    until(lambda: desk.snapshot(first.id).step == "waiting")
    assert (desk.snapshot(second.id).state, desk.snapshot(second.id).place) == ("queued", 1)
    (tmp_path / "go").touch()
    assert "answered by" in desk.wait(second.id, LONG_S).message


def test_measurements_get_fresh_children_and_the_assistant_stays_warm(desk: Desk) -> None:
    runs = [desk.wait(desk.submit(run_of("refuse")).id, LONG_S).message for _ in range(2)]
    loads = [desk.wait(desk.submit(LoadRequest(model="refuse")).id, LONG_S).message for _ in range(2)]
    assert runs[0] != runs[1]
    assert loads[0] == loads[1]


def test_an_assistant_that_died_is_started_again(desk: Desk) -> None:
    assert desk.wait(desk.submit(LoadRequest(model="die")).id, LONG_S).state == "failed"
    assert "answered by" in desk.wait(desk.submit(LoadRequest(model="refuse")).id, LONG_S).message


def test_the_assistant_answers_while_a_measurement_runs(desk: Desk) -> None:
    running = desk.submit(run_of("hang"))
    started(desk, running)
    assert desk.wait(desk.submit(TokenizeRequest(model="any", batch=BATCH)).id, LONG_S).state == "done"
    desk.cancel(running)


def test_a_child_that_cannot_be_started_fails_its_ticket() -> None:
    desk = Desk(lambda *_where: ChildProcess(("/no/such/program",)))
    view = desk.wait(desk.submit(run_of("any")).id, LONG_S)
    assert view.state == "failed"
    assert "could not be started" in view.message


def test_an_assistant_that_exited_between_two_requests_is_replaced(desk: Desk) -> None:
    first = desk.wait(desk.submit(LoadRequest(model="leave")).id, LONG_S).message
    until(lambda: gone(int(first.split()[-1])))
    second = desk.wait(desk.submit(LoadRequest(model="refuse")).id, LONG_S).message
    assert "answered by" in second
    assert first != second


def test_an_assistant_that_exits_while_it_is_asked_is_replaced(desk: Desk) -> None:
    first = desk.wait(desk.submit(LoadRequest(model="faint")).id, LONG_S).message
    second = desk.wait(desk.submit(LoadRequest(model="refuse")).id, LONG_S).message
    assert "answered by" in second
    assert first != second


def test_the_idle_assistant_is_ended_when_a_measurement_lacks_memory(desk: Desk) -> None:
    assistant = desk.wait(desk.submit(LoadRequest(model="refuse")).id, LONG_S).message.split()[-1]
    view = desk.wait(desk.submit(run_of(f"lack {assistant}")).id, LONG_S)
    assert view.message.startswith("answered by"), "asked again once the assistant had gone"
    assert gone(int(assistant))


def test_a_measurement_that_lacks_memory_without_an_assistant_is_refused(desk: Desk) -> None:
    view = desk.wait(desk.submit(run_of(f"lack {os.getpid()}")).id, LONG_S)
    assert view.state == "failed"


def test_silence_ends_a_child_and_the_next_one_runs() -> None:
    desk = Desk(fake_child, limits=Limits(silence_s=0.5))
    silent, following = desk.submit(run_of("silent")), desk.submit(run_of("refuse"))
    assert "sent nothing" in desk.wait(silent.id, LONG_S).message
    assert "answered by" in desk.wait(following.id, LONG_S).message


def test_the_time_limit_ends_a_child_and_all_it_started() -> None:
    desk = Desk(fake_child, limits=Limits(longest_s=6.0))
    ticket = desk.submit(run_of("hang"))
    pids = [int(pid) for pid in started(desk, ticket).step.split()]
    assert "took longer" in desk.wait(ticket.id, LONG_S).message
    until(lambda: all(gone(pid) for pid in pids))


def test_waiting_for_another_program_is_not_limited() -> None:
    desk = Desk(fake_child, limits=Limits(longest_s=4.0))
    ticket = desk.submit(run_of("busy"))
    until(lambda: desk.snapshot(ticket.id).step != "")
    assert desk.wait(ticket.id, 5.0).state == "running"
    desk.cancel(ticket)


def test_queued_jobs_are_cancelled_without_a_viewer_and_kept_with_one() -> None:
    desk = Desk(fake_child, limits=Limits(grace_s=1.0))
    running, left, watched = (desk.submit(run_of("hang"), visitor) for visitor in ("", "ann", "bob"))

    def left_is_dropped() -> bool:
        assert desk.snapshot(watched.id).state == "queued"
        return desk.view().waiting == 1  # a snapshot of the ticket itself would count as looking

    until(left_is_dropped)
    assert desk.snapshot(left.id).state == "cancelled"
    assert desk.snapshot(running.id).state == "running"
    for ticket in (watched, running):
        desk.cancel(ticket)


def test_visitors_take_turns(desk: Desk, tmp_path: Path) -> None:
    asked = [desk.submit(run_of(str(tmp_path)), visitor) for visitor in ("ann", "ann", "ann", "bob")]
    until(lambda: desk.snapshot(asked[0].id).step == "waiting")
    assert [desk.snapshot(ticket.id).place for ticket in asked] == [0, 2, 3, 1]
    assert desk.view("bob").place == 1
    (tmp_path / "go").touch()
    ended = [desk.wait(ticket.id, LONG_S).ended_at for ticket in asked]
    assert ended[3] < ended[1] < ended[2]  # type: ignore[operator]


def test_two_machines_measure_at_once_and_each_names_itself(tmp_path: Path) -> None:
    asked_for = []

    def start(machine: str, _allocator: Allocator) -> ChildProcess:
        asked_for.append(machine)
        return fake_child(machine)

    desk = Desk(start, lambda: ("left", "right"))
    tickets = [desk.submit(run_of(str(tmp_path)), machine=machine) for machine in ("", "right", "left")]
    until(lambda: all(desk.snapshot(ticket.id).step == "waiting" for ticket in tickets[:2]))
    assert [desk.snapshot(ticket.id).machine for ticket in tickets] == ["left", "right", "left"]
    assert [desk.snapshot(ticket.id).place for ticket in tickets] == [0, 0, 1]
    assert desk.view().free == ()
    (tmp_path / "go").touch()
    assert all(desk.wait(ticket.id, LONG_S).ended for ticket in tickets)
    assert sorted(asked_for) == ["left", "left", "right"]
    with pytest.raises(Refusal, match="The machine middle is no longer available"):
        desk.submit(run_of("any"), machine="middle")


def test_the_desk_goes_on_while_machines_cannot_be_listed() -> None:
    def fail() -> NoReturn:
        raise OSError("no scheduler")

    desk = Desk(fake_child, fail)
    ticket = desk.submit(run_of("refuse"))
    assert desk.snapshot(ticket.id).state == "queued"
    assert desk.view().machines == ()
    assert desk.wait(desk.submit(TokenizeRequest(model="any", batch=BATCH)).id, LONG_S).state == "done"
    desk.cancel(ticket)


def test_a_result_is_stored_before_its_ticket_is_done() -> None:
    kept = []
    desk = Desk(fake_child, on_finished=lambda result: kept.append((result, desk.snapshot(ticket.id).state)))
    ticket = desk.submit(run_of("finish"))
    view = desk.wait(ticket.id, LONG_S)
    assert kept == [(view.run, "running")]
    assert view.run is not None
    assert view.run_id == view.run.id


def fail(_result: object) -> NoReturn:
    raise OSError("disk full")


def test_a_result_that_cannot_be_stored_still_reaches_its_visitor_and_says_so() -> None:
    desk = Desk(fake_child, on_finished=fail)
    view = desk.wait(desk.submit(run_of("finish")).id, LONG_S)
    assert view.run is not None
    assert not view.stored
    assert desk.wait(desk.submit(run_of("nothing")).id, LONG_S).stored, "there was nothing to store"


def test_a_result_that_was_not_stored_is_lost_with_the_server_and_says_so(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    desk = Desk(fake_child, on_finished=fail, journal=journal)
    ticket = desk.submit(run_of("finish"))
    assert desk.wait(ticket.id, LONG_S).state == "done"
    journal.close()
    view = Desk(fake_child, journal=Journal(tmp_path)).snapshot(ticket.id)
    assert (view.state, view.run_id) == ("interrupted", "")
    assert "could not be stored, so it is lost" in view.message


def test_a_secret_that_is_handed_in_owns_its_tickets(desk: Desk) -> None:
    ticket, other = desk.submit(run_of("hang"), "", "", "my browser's"), desk.submit(run_of("hang"))
    assert desk.owns(Ticket(ticket.id, "my browser's"))
    assert not desk.owns(Ticket(other.id, "my browser's"))
    assert not desk.owns(Ticket(ticket.id, ""))
    with pytest.raises(Refusal, match="no longer known"):
        desk.owns(Ticket("no such ticket", ""))
    for each in (other, ticket):
        desk.cancel(each)


def test_a_killed_server_ends_its_child_and_the_next_server_takes_over_the_queue(tmp_path: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.desk.server", str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    running, queued, child = server.stdout.readline().split()
    server.send_signal(signal.SIGKILL)
    server.wait()
    until(lambda: gone(int(child)))
    desk = Desk(fake_child, journal=Journal(tmp_path))
    assert desk.snapshot(running).state == "interrupted"
    assert "answered by" in desk.wait(queued, LONG_S).message


def test_an_unknown_ticket_is_refused(desk: Desk) -> None:
    with pytest.raises(Refusal, match="start it again"):
        desk.snapshot("nonsense")


def test_the_desk_of_the_process_survives_the_removal_of_its_modules() -> None:
    before = the_desk()
    module = sys.modules.pop("engine.desk.desk")
    try:
        from engine.desk.desk import the_desk as reloaded

        assert reloaded() is before
    finally:
        sys.modules["engine.desk.desk"] = module


def test_a_child_is_started_for_the_allocator_of_its_request_and_a_warm_one_serves_no_other() -> None:
    started_for = []

    def start(machine: str, allocator: Allocator) -> ChildProcess:
        started_for.append(allocator)
        return fake_child(machine)

    worker = Worker("", start, warm=True)

    def answered_by(request: Request) -> str:
        ending = worker.answer(request, lambda: True, lambda _event: None)
        assert isinstance(ending, Refused)
        return ending.message

    def asked(allocator: Allocator) -> RunRequest:
        return RunRequest(experiment=run_of("refuse").experiment.model_copy(update={"allocator": allocator}))

    kept, again, system = (answered_by(asked(allocator)) for allocator in ("kept", "kept", "system"))
    assert kept == again != system
    assert answered_by(LoadRequest(model="refuse")) == system, "what is not measured goes to any child"
    assert started_for == ["kept", "system"]
    child = worker.detach()
    assert child is not None
    child.close()
