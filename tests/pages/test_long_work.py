"""Jobs that outlive a page: found again by their link, announced when they end, answered from the store."""

from pathlib import Path
from typing import Any, get_args

import pytest
from streamlit.testing.v1 import AppTest

from engine.desk.tickets import DeskView, Ticket, TicketView
from engine.events import Step
from engine.records import Run, read_run
from pages.kit import nav, state
from pages.kit.address import ticket_of
from pages.kit.all_machines import rows_of_all_machines
from pages.kit.job_panel import CANCELLED_ELSEWHERE, STAGE_STARTS, progress_words, share_done, waiting_words
from pages.kit.machine_status import ending_words, page_name, status_words
from tests.pages.conftest import PROJECT, run_until


def a_run() -> Run:
    """A real run that was measured once."""
    return read_run((PROJECT / "tests" / "data" / "run_minilm_tutorial_big.json").read_bytes())


def lab(app: AppTest) -> Any:
    return app.session_state["lab"]


def another_visitor(ticket: str) -> AppTest:
    """A second browser that opens the Benchmark page by a link."""
    app = AppTest.from_file(str(PROJECT / "streamlit_app.py"), default_timeout=30).run()
    app.switch_page(nav.BENCHMARK)
    app.query_params["ticket"] = ticket
    return app.run()


def start_endless(app: AppTest) -> None:
    app.pills(key="overview_preset").select("skewed-64").run()
    app.switch_page(nav.BENCHMARK).run()
    app.button(key="bench_run").click().run()
    run_until(app, lambda app: any("for ever" in bar.text for bar in app.get("progress")))


def test_a_run_is_found_again_by_its_address(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reload is a new session: the address finds the live job, and the browser's secret cancels it."""
    monkeypatch.setattr(state, "browser_secret", lambda: "this browser's")
    start_endless(app)
    named = app.query_params["ticket"]
    named = named[0] if isinstance(named, list) else named
    again = another_visitor(named)
    assert any("for ever" in bar.text for bar in again.get("progress"))
    again.button(key="cancel_run").click().run()
    run_until(app, lambda app: app.info)
    assert "Cancelled" in app.info[0].value


def test_a_shared_link_allows_to_watch_but_not_to_cancel(app: AppTest) -> None:
    """The id alone shows the job; only its owner has the button that cancels it."""
    start_endless(app)
    ticket: Ticket = lab(app).tickets["run"]
    other = another_visitor(ticket.id)
    assert any("for ever" in bar.text for bar in other.get("progress"))
    assert not [button for button in other.button if button.key == "cancel_run"]
    app.button(key="cancel_run").click().run()
    run_until(other, lambda other: other.info)
    assert other.info[0].value == CANCELLED_ELSEWHERE


@pytest.mark.usefixtures("app")
def test_a_link_to_an_unknown_run_says_so() -> None:
    """One sentence, and the page can be used."""
    other = another_visitor("0123456789ab.secret")
    assert "not known here any more" in other.warning[0].value
    assert not other.button(key="bench_run").disabled


def test_the_end_is_announced_once_on_another_page(app: AppTest) -> None:
    """A toast on another page, and none on the page that shows the result."""
    app.button(key="overview_run").click().run()
    run_until(app, lambda app: app.success)
    assert not app.toast
    lab(app).announced.clear()
    app.switch_page(nav.BATCH).run()
    assert [toast.value for toast in app.toast]
    app.run()
    assert not app.toast


def test_the_same_experiment_is_answered_from_the_store(
    app: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, with its age and a button that measures it again."""
    from pages.kit import running
    from pages.kit.recall import Recalled

    known = Recalled(a_run(), "Measured 3 minutes ago on this machine; nothing was measured again.")
    monkeypatch.setattr(running, "recall", lambda _experiment, _build: known)
    app.switch_page(nav.BENCHMARK).run()
    app.button(key="bench_run").click().run()
    assert "run" not in lab(app).tickets
    assert any("3 minutes ago" in caption.value for caption in app.caption)
    app.button(key="bench_again").click().run()
    run_until(app, lambda app: app.success)
    assert "run" in lab(app).tickets
    assert not lab(app).recalled


@pytest.mark.parametrize(
    ("text", "ticket"), [("ab.cd", Ticket("ab", "cd")), ("ab", Ticket("ab", "")), ("", Ticket("", ""))]
)
def test_an_address_names_a_ticket(text: str, ticket: Ticket) -> None:
    """With the secret, or without."""
    assert ticket_of(text) == ticket


@pytest.mark.parametrize(
    ("view", "own", "words"),
    [
        (DeskView(False, 0), False, "Machine free"),
        (DeskView(True, 2), False, "Machine measuring, 2 waiting"),
        (DeskView(True, 0), True, "Measuring yours"),
        (DeskView(True, 2, place=2, wait_s=40.0), False, "Your place in the queue: 2, about 40 s"),
        (DeskView(True, 0, machines=("a", "b"), free=("b",)), False, "1 of 2 machines free"),
        (DeskView(False, 0, machines=()), False, "No measuring machine is connected"),
    ],
)
def test_the_status_says_free_busy_or_the_visitors_place(view: DeskView, own: bool, words: str) -> None:
    """Free, busy, measuring the visitor's run, or a place in the queue; with several machines, how many are free."""
    assert status_words(view, measuring_own=own) == words


def test_waiting_names_the_place_and_the_time() -> None:
    """A waiting visitor sees for what and how long."""
    assert waiting_words(TicketView("a", place=1, wait_s=30.0)).startswith(
        "Waiting: 1 measurement before you, about 30 s."
    )
    assert waiting_words(TicketView("a", place=3)).startswith("Waiting: 3 measurements before you.")
    assert waiting_words(TicketView("a")).startswith("Starting.")


def test_the_bar_moves_forward_from_stage_to_stage() -> None:
    """Loading, checking, warming up, rounds, profiling: the bar never goes back, even if rounds end early."""
    views = [TicketView("a", stage=stage) for stage in ("", "load", "check", "warm-up", "measure")]
    views += [TicketView("a", stage="measure", rounds_done=done, rounds_at_most=60) for done in (1, 8)]
    views += [TicketView("a", stage="profile", step="Profiling: Packed", rounds_done=8, rounds_at_most=60)]
    assert set(STAGE_STARTS) == set(get_args(Step.model_fields["name"].annotation))
    shares = [share_done(view) for view in views]
    assert shares == sorted(set(shares))
    assert shares[-1] == 0.8
    assert progress_words(views[-1]) == "Profiling: Packed"


def test_an_end_is_announced_with_its_reason() -> None:
    """A finished job with its title; any other with the desk's sentence."""
    assert ending_words("Your measurement", TicketView("a", state="done", title="big")) == (
        "Your measurement is done: big."
    )
    assert "machine" in ending_words("It", TicketView("a", state="failed", message="The machine went away."))


def test_machines_are_shown_side_by_side() -> None:
    """A row for each machine and path that was measured."""
    run = a_run()
    other = run.model_copy(update={"environment": run.environment.model_copy(update={"machine": "second"})})
    rows = rows_of_all_machines((run, other))
    assert {row["machine"] for row in rows} == {run.environment.machine, "second"}
    assert len(rows) == 2 * sum(path.status == "ok" for path in run.paths)


def test_the_first_page_has_a_name() -> None:
    """Its address is empty."""
    assert (page_name(""), page_name("benchmark")) == ("overview", "benchmark")
    assert Path(nav.OVERVIEW).stem == "overview"


def test_a_shared_server_offers_catalogued_models_only(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No name from a visitor reaches the file system or the hub, whether typed or sent in a crafted request."""
    monkeypatch.setenv("FASTPATH_HOSTED", "1")
    app.switch_page(nav.MODEL).run()
    assert "Own folder or hub id" not in app.segmented_control(key="model_source").options
    lab(app).model = "no-such/model"
    app.switch_page(nav.BENCHMARK).run()
    assert "On this shared server there are only the models minilm" in app.warning[0].value
    assert lab(app).model == "minilm"
    assert not [toggle for toggle in app.toggle if toggle.key == "bench_traces"]
