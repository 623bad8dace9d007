"""Addresses and links: what they show again, what they never hold, and a run that its link carries."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from engine.catalog.batches import PRESETS
from engine.desk import desk as desk_module
from engine.desk.desk import Desk
from engine.desk.process import ChildProcess
from engine.desk.tickets import TicketView
from engine.present.links.codec import link_of, packed_text, read_link, written
from engine.present.words.runs import verdict_sentence
from engine.store import store as store_module
from engine.store.opening import FILE_NAME
from engine.store.queries import RunFilter
from engine.store.store import Store
from pages.kit import nav, state
from pages.kit.browser import secret_of_cookie
from pages.kit.job_panel import NOT_STORED
from pages.kit.opened import NOT_MEASURED_HERE, THERE
from pages.kit.state import Lab
from tests.pages.conftest import CHILD, LONG_S, PROJECT, run_until
from tests.pages.test_app import SAMPLE, words
from tests.pages.test_long_work import lab, start_endless

TEXT, _ = link_of(SAMPLE)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    kept = Store(f"sqlite:///{tmp_path / FILE_NAME}")
    monkeypatch.setitem(sys.__dict__, store_module._ANCHOR, kept)
    return kept


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """As in conftest.py, with a desk that stores its results."""
    desk = Desk(lambda *_where: ChildProcess(CHILD, PROJECT), on_finished=desk_module._keep_in_store)
    monkeypatch.setitem(sys.__dict__, desk_module._ANCHOR, desk)
    return new_session()


def new_session() -> AppTest:
    return AppTest.from_file(str(PROJECT / "streamlit_app.py"), default_timeout=LONG_S).run()


def address(app: AppTest) -> dict[str, str]:
    """The parameters of the page's address."""
    return {name: found[-1] if isinstance(found, list) else found for name, found in app.query_params.items()}


def opened(page: str, parameters: dict[str, str]) -> AppTest:
    """A new session that opens this address: what a reload is, and another browser."""
    app = new_session()
    app.switch_page(page)
    for name, value in parameters.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def measured(app: AppTest) -> AppTest:
    app.switch_page(nav.BENCHMARK).run()
    app.button(key="bench_run").click().run()
    run_until(app, lambda app: app.success)
    return app


def test_no_address_holds_the_secret_that_cancels(app: AppTest) -> None:
    """Not while it runs, not in the link to share, not after the end."""
    start_endless(app)
    ticket = lab(app).tickets["run"]
    assert address(app)["ticket"] == ticket.id
    said = f"{address(app)} {words(app.code)}"
    assert ticket.secret
    assert ticket.secret not in said
    app.button(key="cancel_run").click().run()
    run_until(app, lambda app: app.info)
    assert ticket.secret not in f"{address(app)}"


def test_a_reload_in_the_same_browser_can_cancel_and_another_browser_cannot(
    app: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The browser's cookie decides; the address is the same for both."""
    monkeypatch.setattr(state, "browser_secret", lambda: "this browser's")
    start_endless(app)
    again = opened(nav.BENCHMARK, address(app))
    monkeypatch.setattr(state, "browser_secret", lambda: "another browser's")
    other = opened(nav.BENCHMARK, address(app))
    assert "cancel_run" not in [button.key for button in other.button]
    assert "Only the person who started this can cancel it." in words(other.caption)
    monkeypatch.setattr(state, "browser_secret", lambda: "this browser's")
    again.button(key="cancel_run").click().run()
    run_until(app, lambda app: app.info)
    assert "Cancelled" in app.info[0].value


def test_an_address_of_an_earlier_version_works_and_is_cleaned(app: AppTest) -> None:
    """Its secret still cancels, and is no longer in the address once the page is drawn."""
    start_endless(app)
    ticket = lab(app).tickets["run"]
    again = opened(nav.BENCHMARK, {"ticket": f"{ticket.id}.{ticket.secret}"})
    assert address(again)["ticket"] == ticket.id
    again.button(key="cancel_run").click().run()
    run_until(app, lambda app: app.info)
    assert "Cancelled" in app.info[0].value


def test_a_guessed_secret_in_an_address_allows_to_watch_only(app: AppTest) -> None:
    """It is compared with the ticket's before the button is drawn."""
    start_endless(app)
    ticket = lab(app).tickets["run"]
    other = opened(nav.BENCHMARK, {"ticket": f"{ticket.id}.guessed"})
    assert any("for ever" in bar.text for bar in other.get("progress"))
    assert "cancel_run" not in [button.key for button in other.button]
    app.button(key="cancel_run").click().run()


TOKEN = bytes(range(16)).hex()


def test_a_browser_has_one_secret_whatever_mask_its_cookie_has() -> None:
    """The cookie is masked anew in every answer of the server; the token behind it stays."""
    plain = secret_of_cookie(f"2|00000000|{TOKEN}|1795000000")
    flipped = bytes(b ^ 0xFF for b in range(16)).hex()
    assert plain == secret_of_cookie(f'"2|ffffffff|{flipped}|1795009999"')
    assert len(plain) == 64
    assert TOKEN not in plain


@pytest.mark.parametrize(
    "cookie",
    [
        "",
        "2",
        TOKEN,
        f"1|00000000|{TOKEN}|1",
        "2|00000000|00|1",
        f"2||{TOKEN}|1",
        f"2|zz|{TOKEN}|1",
        "2|é|é|é",
    ],
)
def test_a_cookie_of_another_form_gives_no_secret(cookie: str) -> None:
    """Nobody owns a job by an empty or short token: the session's own secret is used."""
    assert secret_of_cookie(cookie) == ""


def test_a_finished_run_is_named_by_its_id_and_a_reload_shows_it_again(app: AppTest) -> None:
    """Also after the desk has forgotten the job, because the store has the run."""
    named = address(measured(app))
    assert named["run"] == SAMPLE.id
    assert "ticket" not in named
    sys.__dict__.pop(desk_module._ANCHOR)
    again = opened(nav.BENCHMARK, named)
    assert again.success[0].value == app.success[0].value
    assert "nothing was measured again" in words(again.caption)
    assert address(again) == named


def test_a_reload_keeps_the_comparison_of_allocators(app: AppTest) -> None:
    """Its second run has an address too."""
    measured(app)
    app.button(key="bench_other_allocator").click().run()
    run_until(app, lambda app: "What the allocator costs" in words(app.subheader))
    named = address(app)
    assert {"run", "other_run"} <= named.keys()
    again = opened(nav.BENCHMARK, named)
    assert "What the allocator costs" in words(again.subheader)
    again.button(key="bench_again").click().run()
    run_until(again, lambda app: app.success)
    assert "other_run" not in address(again), "the comparison belongs to the run before"


def test_a_reload_keeps_the_runs_of_the_walkthrough(app: AppTest) -> None:
    """Each section has its own parameter."""
    app.switch_page(nav.WALKTHROUGH).run()
    app.button(key="walk_2.3_run").click().run()
    run_until(app, lambda app: app.success)
    named = address(app)
    assert list(named) == ["walk_2.3_run"]
    again = opened(nav.WALKTHROUGH, named)
    assert again.success[0].value == app.success[0].value
    assert address(again) == named


def test_an_address_of_a_run_that_is_gone_says_so(app: AppTest) -> None:
    """One sentence, and the page can be used."""
    other = opened(nav.BENCHMARK, {"run": "gone"})
    assert "is not on this server" in other.warning[0].value
    assert "run" not in address(other)
    assert not other.button(key="bench_run").disabled
    assert not app.exception


def test_the_address_chooses_model_and_batch(app: AppTest) -> None:
    """And follows what is chosen afterwards."""
    other = opened(nav.BENCHMARK, {"model": "xlmr-base-random", "batch": "dense"})
    assert (lab(other).model, lab(other).batch) == ("xlmr-base-random", PRESETS["dense"])
    assert lab(other).draft == PRESETS["dense"].texts
    other.switch_page(nav.OVERVIEW).run()
    other.pills(key="overview_preset").select("mixed").run()
    other.switch_page(nav.BENCHMARK).run()
    assert address(other)["batch"] == "mixed"
    assert lab(other).batch == PRESETS["mixed"]
    assert not app.exception


@pytest.mark.parametrize("page", [nav.BENCHMARK, nav.DOCTOR])
@pytest.mark.usefixtures("app")
def test_a_name_in_the_address_that_is_not_offered_gets_one_sentence(page: str) -> None:
    """What was chosen stays, and the hostile name is shown as code."""
    other = opened(page, {"model": "![x](http://evil.example)", "batch": "`<b>my own"})
    model, batch = (warning.value for warning in other.warning)
    assert "model that is not offered here, `![x](http://evil.example)`: minilm stays chosen" in model
    assert "batch that is not offered here, `'<b>my own`: tutorial-big stays chosen" in batch
    assert address(other)["batch"] == "tutorial-big"


@pytest.mark.usefixtures("app")
def test_a_hosted_lab_follows_no_name_outside_its_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name from an address never reaches the file system or the hub."""
    monkeypatch.setenv("FASTPATH_HOSTED", "1")
    other = opened(nav.BENCHMARK, {"model": "owner/name"})
    assert "not offered here" in other.warning[0].value
    assert lab(other).model == "minilm"


def test_own_texts_are_in_no_address(app: AppTest) -> None:
    """Not their name either: another browser could not choose them."""
    app.switch_page(nav.BATCH).run()
    app.segmented_control(key="batch_door").set_value("Lines").run()
    app.text_area(key="batch_lines_0").set_value("my secret").run()
    app.switch_page(nav.BENCHMARK).run()
    assert "batch" not in address(app)
    assert "secret" not in f"{address(app)}"


def test_a_result_that_could_not_be_stored_says_so_and_is_offered_as_a_file(
    app: AppTest, tmp_path: Path
) -> None:
    """It used to be lost in silence when the page was closed."""
    (tmp_path / FILE_NAME).write_text("no database" * 1000)
    measured(app)
    assert app.warning[0].value == NOT_STORED
    assert app.get_by_key("save_run").label == "Run (.json)"
    assert "run" not in address(app)
    again = opened(nav.BENCHMARK, address(app))
    assert again.success[0].value == app.success[0].value, "the desk still has it"
    assert again.warning[0].value == NOT_STORED


def the_links() -> None:
    """The content of the dialog as a script; AppTest does not show dialogs."""
    from pages.kit.linking import show_links
    from tests.pages.test_app import SAMPLE

    show_links(SAMPLE)


def test_copy_link_gives_both_links_and_says_what_each_needs() -> None:
    """What the second link leaves out is said before it is copied."""
    app = AppTest.from_function(the_links, default_timeout=LONG_S).run()
    here, carried = (code.value for code in app.code)
    assert here.endswith(f"/history?run={SAMPLE.id}")
    assert carried.endswith(f"/link?run={TEXT}")
    said = words(app.caption)
    assert "It needs this server" in said
    assert "Left out: the texts of the batch, the time of every round" in said
    assert not app.exception


def test_a_run_that_could_not_be_stored_has_no_link_to_this_server() -> None:
    """The link would show that there is no such run."""
    app = AppTest.from_function(the_links, default_timeout=LONG_S)
    app.session_state["lab"] = Lab(
        ended={"run": TicketView("t", "done", run=SAMPLE, run_id=SAMPLE.id, stored=False)}
    )
    app.run()
    assert "this result could not be stored" in words(app.caption)
    (carried,) = app.code
    assert carried.value.endswith(TEXT)


def test_every_finished_run_has_the_button(app: AppTest, store: Store) -> None:
    """On the Benchmark page and in the history."""
    assert measured(app).button(key="bench_links").label == "Copy link"
    store.save(SAMPLE)
    history = opened(nav.HISTORY, {"run": SAMPLE.id})
    history.button(key="history_links").click().run()
    assert not history.exception


def test_a_run_from_a_link_opens_on_a_server_that_has_nothing(app: AppTest, store: Store) -> None:
    """Marked as such, with verdict, choice, paths, operators and environment; and it is not stored."""
    page = opened(nav.LINK, {"run": TEXT})
    assert page.title[0].value == "Run from a link"
    assert page.warning[0].value == NOT_MEASURED_HERE
    assert not page.success, "a verdict in a green box is a verdict of this server"
    assert page.info[0].value.replace("\\", "") == verdict_sentence(SAMPLE, THERE)
    assert "Which to choose, by these figures" in words(page.markdown)
    assert len(page.get("vega_lite_chart")) == 3
    assert list(page.dataframe[0].value["Verdict"]) == ["baseline", "slower", "faster"]
    assert store.count(RunFilter()) == 0
    assert not page.get("download_button")
    assert not app.exception


@pytest.mark.parametrize("text", ["", "1.abc", "9.abc", TEXT[:-7], "1." + "A" * 9000])
@pytest.mark.usefixtures("app")
def test_a_bad_link_gets_one_sentence_on_its_page(text: str) -> None:
    """And no traceback."""
    page = opened(nav.LINK, {"run": text})
    assert len(page.error) == (1 if text else 0)
    assert not page.warning
    assert text or "This page shows a run that a link carries" in words(page.markdown)


@pytest.mark.usefixtures("app")
def test_texts_of_a_link_are_shown_as_they_are() -> None:
    """No picture is loaded, no link is made, no markup is read."""
    evil = "![x](http://evil.example/x.png) <img src=x> :material/home: **bold**"
    shared = read_link(TEXT)
    environment = shared.environment.model_copy(
        update={"notes": (evil,), "quiet": False, "device_name": evil, "libraries": {evil: evil}}
    )
    forged = shared.model_copy(update={"title": evil, "stop_reason": evil, "environment": environment})
    page = opened(nav.LINK, {"run": written(forged)})
    elements: list[Any] = [*page.markdown, *page.caption, *page.subheader, *page.info, *page.warning]
    said = [str(element.value) for element in elements]
    assert any("evil" in text for text in said)
    markup = re.compile(r"(?<!\\)(\]\(http|<img|:material/home|\*\*bold)")
    assert [text for text in said if markup.search(text)] == []


@pytest.mark.usefixtures("app")
def test_a_link_of_the_same_choice_leads_to_the_benchmark() -> None:
    """Model and batch have names here, so the same can be measured."""
    page = opened(nav.LINK, {"run": TEXT})
    (link,) = [found.proto for found in page.get("page_link") if "Measure the same" in found.proto.label]
    assert "model=minilm" in link.query_string
    assert "batch=tutorial-big" in link.query_string
    unnamed = packed_text(b"{}")
    assert opened(nav.LINK, {"run": unnamed}).error
