"""The desk keeps its promises with real child processes: order, one at a time, cancel, and honest deaths."""

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from engine.desk.desk import Desk, the_desk
from engine.desk.process import ChildProcess
from engine.desk.tickets import Ticket, TicketView
from engine.errors import Refusal
from engine.events import LoadRequest, RunRequest, TokenizeRequest
from engine.records import Batch, Experiment

FAKE_CHILD = Path(__file__).with_name("fake_child.py")
BATCH = Batch(name="two", texts=("one", "two words"))
LONG_S = 20.0


@pytest.fixture
def desk() -> Desk:
    return Desk(partial(ChildProcess, (sys.executable, str(FAKE_CHILD))))


def run_of(model: str) -> RunRequest:
    return RunRequest(experiment=Experiment(model=model, batch=BATCH, paths=("slow",)))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def gone(pid: int) -> bool:
    """Ended, or a zombie that nobody has reaped yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
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
    assert view.speedups == {"fast-nested": (1.5, 2.5)}
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


@pytest.mark.parametrize(("wish", "sentence"), [("die", "exit code 3"), ("talk", "no event")])
def test_a_child_that_fails_to_answer_is_told_and_the_lane_goes_on(
    desk: Desk, wish: str, sentence: str
) -> None:
    broken, following = desk.submit(run_of(wish)), desk.submit(run_of("refuse"))
    view = desk.wait(broken.id, LONG_S)
    assert (view.state, sentence in view.message) == ("failed", True)
    assert "answered by" in desk.wait(following.id, LONG_S).message


def test_a_killed_child_is_told_as_a_lack_of_memory(desk: Desk) -> None:
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
    desk = Desk(partial(ChildProcess, ("/no/such/program",)))
    view = desk.wait(desk.submit(run_of("any")).id, LONG_S)
    assert view.state == "failed"
    assert "could not be started" in view.message


def test_an_unknown_ticket_is_refused_in_words(desk: Desk) -> None:
    with pytest.raises(Refusal, match="start it again"):
        desk.snapshot("nonsense")


def test_the_desk_of_the_process_survives_its_modules_being_thrown_out() -> None:
    before = the_desk()
    module = sys.modules.pop("engine.desk.desk")
    try:
        from engine.desk.desk import the_desk as reloaded

        assert reloaded() is before
    finally:
        sys.modules["engine.desk.desk"] = module
