"""The ledger's rules on a manual clock: shares, grace, limits, estimates, and what a restart keeps."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.desk.jobs import Job
from engine.desk.journal import Journal
from engine.desk.ledger import RESULTS_KEPT, TICKETS_KEPT, EndState, Ledger
from engine.desk.limits import Limits
from engine.desk.machines import GRACE_S, Machines
from engine.desk.tickets import HISTORY_KEPT, Ticket, TicketView
from engine.errors import Refusal
from engine.events import Finished, LoadRequest, Refused, Round, RunRequest, Step
from engine.records import Batch, Experiment, read_run
from engine.settings import Settings

BATCH = Batch(name="one", texts=("one",))
RUN = RunRequest(experiment=Experiment(model="m", batch=BATCH, paths=("slow",), budget_s=45))
SAMPLE = read_run((Path(__file__).parents[1] / "data" / "run_minilm_tutorial_big.json").read_bytes())
HOSTED = Limits.of(Settings(hosted=True))
REFUSED = Refused(message="no")


@dataclass
class Office:
    """A ledger with a clock and machines that a test moves by hand."""

    limits: Limits = field(default_factory=Limits)
    machines: tuple[str, ...] = ("",)
    journal: Journal | None = None
    clock_s: float = 1000.0

    def __post_init__(self) -> None:
        self._machines = Machines(lambda: self.machines, self.clock)
        self.ledger = Ledger(self.limits, self._machines, self.journal, self.clock, self.now)
        self.look()

    def clock(self) -> float:
        return self.clock_s

    def now(self) -> datetime:
        return datetime(2026, 1, 2, tzinfo=UTC) + timedelta(seconds=self.clock_s)

    def look(self) -> None:
        self._machines.look()

    def ask(self, visitor: str = "", machine: str = "") -> Job:
        return self.ledger.find(self.ledger.take(RUN, visitor, machine).id)

    def start(self) -> list[Job]:
        started = self.ledger.hand_out()
        for job, machine in started:
            assert self.ledger.begin(job, machine)
        return [job for job, _ in started]

    def finish(self, job: Job, ending: Finished | Refused = REFUSED) -> None:
        self.ledger.conclude(job, RUN, ending)
        self.ledger.free(job, job.view.machine)

    def end_what_is_due(self) -> list[tuple[str, EndState, str]]:
        due = self.ledger.due()
        for job, state, message in due:
            self.ledger.end(job, state, message)
        return [(job.id, state, message) for job, state, message in due]

    def shown(self, job: Job) -> TicketView:
        return self.ledger.shown(job)


def test_a_visitor_of_a_hosted_desk_has_one_running_and_one_queued() -> None:
    office = Office(HOSTED)
    office.ask("ann")
    office.start()
    office.ask("ann")
    with pytest.raises(Refusal, match="one running and one queued"):
        office.ask("ann")
    office.ask("bob")


def test_a_visitor_of_a_hosted_desk_uses_one_machine_even_if_another_is_free() -> None:
    office = Office(HOSTED, machines=("left", "right"))
    first, other = office.ask("ann"), office.ask("bob")
    assert office.start() == [first, other]
    office.finish(other)
    second = office.ask("ann")
    assert office.start() == []
    office.finish(first)
    assert office.start() == [second]


def test_without_hosting_a_visitor_may_queue_any_number_and_use_all_machines() -> None:
    office = Office(machines=("left", "right"))
    jobs = [office.ask() for _ in range(20)]
    assert office.start() == jobs[:2]


def test_loads_and_tokenizations_are_limited_when_hosted() -> None:
    ledger = Office(HOSTED).ledger
    for _ in range(4):
        ledger.take(LoadRequest(model="m"), "ann", "")
    with pytest.raises(Refusal, match="wait a moment"):
        ledger.take(LoadRequest(model="m"), "ann", "")


def test_queued_jobs_of_an_absent_visitor_are_cancelled_after_the_grace_and_running_ones_go_on() -> None:
    office = Office(HOSTED)
    running, queued, watched = office.ask("ann"), office.ask("bob"), office.ask("cem")
    office.start()
    office.clock_s += HOSTED.grace_s - 1
    assert office.end_what_is_due() == []
    office.ledger.seen("cem")
    office.clock_s += 2
    ((ended, state, message),) = office.end_what_is_due()
    assert (ended, state) == (queued.id, "cancelled")
    assert "Nobody had this page open for 120 seconds" in message
    assert office.shown(running).state == "running"
    assert (office.shown(watched).state, office.shown(watched).place) == ("queued", 1)


def test_without_hosting_no_job_is_cancelled() -> None:
    office = Office(Limits.of(Settings()))
    office.ask("ann"), office.ask("ann")
    office.clock_s += 1e6
    assert office.end_what_is_due() == []


def test_a_job_over_the_time_limit_is_ended() -> None:
    office = Office(Limits(longest_s=120, silence_s=60))
    job = office.ask()
    office.start()
    for _ in range(12):
        office.clock_s += 10
        office.ledger.hear(job, Step(name="measure", text="still at it"))
    assert office.end_what_is_due() == []
    office.clock_s += 1
    ((_, state, message),) = office.end_what_is_due()
    assert (state, "longer than the limit of 2 minutes" in message) == ("failed", True)


def test_a_silent_job_is_ended_earlier() -> None:
    office = Office(Limits(longest_s=120, silence_s=60))
    office.ask()
    office.start()
    office.clock_s += 61
    assert "sent nothing for 60 seconds" in office.end_what_is_due()[0][2]


def test_waiting_for_another_program_is_not_counted() -> None:
    office = Office(Limits(longest_s=120, silence_s=60))
    job = office.ask()
    office.start()
    for _ in range(100):
        office.clock_s += 10
        office.ledger.hear(job, Step(name="wait", text="waiting"))
    assert office.end_what_is_due() == []
    office.clock_s += 61
    assert len(office.end_what_is_due()) == 1


def test_a_child_that_answers_after_its_end_changes_nothing() -> None:
    office = Office(Limits(silence_s=60))
    job = office.ask()
    office.start()
    office.clock_s += 61
    office.end_what_is_due()
    office.finish(job, Finished(run=SAMPLE))
    assert office.shown(job).state == "failed"


def test_place_and_wait_shrink_as_the_queue_moves() -> None:
    office = Office()
    first, second, third = (office.ask() for _ in range(3))
    office.start()
    office.clock_s += 10
    assert office.shown(first).left_s == 50
    office.clock_s += 51
    assert office.shown(first).left_s is None, "what takes longer than expected has no time left to tell"
    office.clock_s -= 51
    assert [(office.shown(job).place, office.shown(job).wait_s) for job in (second, third)] == [
        (1, 50.0),
        (2, 110.0),
    ]
    assert office.ledger.desk_view("somebody").wait_s == 170
    office.finish(first, Finished(run=SAMPLE))
    office.start()
    assert office.shown(third).wait_s == 60, "what was already queued keeps its estimate"
    late = office.ask()
    office.finish(second)
    office.start()
    office.finish(third)
    assert office.shown(late).wait_s == 0


def test_each_visitor_sees_their_own_place() -> None:
    office = Office()
    office.ask("ann"), office.ask("bob")
    office.start()
    places = {visitor: office.ledger.desk_view(visitor).place for visitor in ("ann", "bob", "cem")}
    assert places == {"ann": 0, "bob": 1, "cem": None}
    view = office.ledger.desk_view("cem")
    assert (view.measuring, view.waiting, view.machines, view.free) == (True, 1, ("",), ())


def test_a_job_for_one_machine_waits_for_it_and_fails_once_it_has_left() -> None:
    office = Office(machines=("left", "right"))
    job, second = office.ask(machine="left"), office.ask(machine="left")
    assert office.start() == [job]
    assert office.shown(second).place == 1
    office.machines = ("right",)
    office.clock_s += 3
    office.look()
    assert office.end_what_is_due() == [], "it may come back"
    office.clock_s += GRACE_S
    office.look()
    ((ended, state, message),) = office.end_what_is_due()
    assert (ended, state) == (second.id, "failed")
    assert "The machine left is no longer available" in message
    with pytest.raises(Refusal, match="choose another"):
        office.ask(machine="left")


def test_a_machine_that_returns_in_time_runs_its_job() -> None:
    office = Office(machines=("left",))
    job = office.ask(machine="left")
    office.machines = ()
    office.clock_s += 3
    office.look()
    assert office.start() == []
    assert office.shown(job).wait_s is None
    office.machines = ("left",)
    office.clock_s += GRACE_S
    office.look()
    assert office.end_what_is_due() == []
    assert office.start() == [job]


def test_the_last_intervals_are_kept_for_the_sparkline() -> None:
    office = Office()
    job = office.ask()
    office.start()
    office.ledger.hear(job, Round(done=1, at_most=100, speedups={}))
    for done in range(2, 90):
        office.ledger.hear(job, Round(done=done, at_most=100, speedups={"fast-mha": (1.0, float(done))}))
    history = office.shown(job).history
    assert [interval["fast-mha"][1] for interval in history] == list(range(90 - HISTORY_KEPT, 90))


def test_times_are_in_utc() -> None:
    office = Office()
    job = office.ask()
    office.clock_s += 5
    office.start()
    office.clock_s += 7
    office.finish(job)
    view = office.shown(job)
    assert view.queued_at is not None
    assert view.started_at is not None
    assert view.ended_at is not None
    assert (view.started_at - view.queued_at).seconds == 5
    assert (view.ended_at - view.started_at).seconds == 7
    assert view.ended_at.tzinfo is UTC


def test_old_results_are_dropped_and_later_their_tickets() -> None:
    office = Office()
    jobs = []
    for _ in range(TICKETS_KEPT + 2):
        jobs.append(office.ask())
        office.start()
        office.finish(jobs[-1], Finished(run=SAMPLE))
    office.ask()
    with pytest.raises(Refusal, match="start it again"):
        office.ledger.find(jobs[1].id)
    old, young = office.ledger.find(jobs[2].id).view, office.ledger.find(jobs[-RESULTS_KEPT].id).view
    assert (old.run, old.run_id, old.state) == (None, SAMPLE.id, "done")
    assert young.run is SAMPLE


@pytest.fixture
def restarted(tmp_path: Path) -> dict[str, Ticket | Office]:
    """A desk that stopped with one piece of work done, one failed, one running and two queued."""
    before = Office(journal=Journal(tmp_path))
    assert before.journal is not None
    tickets = {
        name: before.ledger.take(RUN.model_copy(update={"trace_dir": "/gone"}), name, "")
        for name in ("done", "failed", "running", "second", "third")
    }
    for ending in (Finished(run=SAMPLE), Refused(message="no such thing")):
        (job,) = before.start()
        before.finish(job, ending)
    before.start()
    before.journal.close()
    after = Office(HOSTED, journal=Journal(tmp_path))
    assert after.journal is not None
    after.ledger.remember(after.journal.entries())
    return {**tickets, "office": after}


def test_a_restarted_desk_knows_the_state_of_every_ticket(restarted: dict[str, Ticket | Office]) -> None:
    office = restarted.pop("office")
    assert isinstance(office, Office)
    views = {name: office.shown(office.ledger.find(ticket.id)) for name, ticket in restarted.items()}  # type: ignore[union-attr]
    assert {name: view.state for name, view in views.items()} == {
        "done": "done",
        "failed": "failed",
        "running": "interrupted",
        "second": "queued",
        "third": "queued",
    }
    assert views["done"].run_id == SAMPLE.id
    assert views["failed"].message == "no such thing"
    assert "interrupted" in views["running"].message
    assert views["running"].title == "m, one"
    assert [views[name].place for name in ("second", "third")] == [0, 1]


def test_the_queue_goes_on_after_a_restart(restarted: dict[str, Ticket | Office]) -> None:
    office = restarted["office"]
    assert isinstance(office, Office)
    (job,) = office.start()
    assert job.visitor == "second"
    assert isinstance(job.request, RunRequest)
    assert job.request.experiment == RUN.experiment
    assert job.request.trace_dir is None, "the folder went with the session"
    office.clock_s += HOSTED.grace_s + 1
    ((ended, state, _),) = office.end_what_is_due()
    assert (office.ledger.find(ended).visitor, state) == ("third", "cancelled")


def test_a_second_restart_gives_the_same(restarted: dict[str, Ticket | Office], tmp_path: Path) -> None:
    office, running = restarted["office"], restarted["running"]
    assert isinstance(office, Office)
    assert isinstance(running, Ticket)
    assert office.journal is not None
    office.journal.close()
    again = Office(journal=Journal(tmp_path))
    assert again.journal is not None
    again.ledger.remember(again.journal.entries())
    assert again.ledger.find(running.id).view.state == "interrupted"
    assert again.ledger.desk_view("").waiting == 2
