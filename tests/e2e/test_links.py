"""Links in a real browser: an address to copy, a reload, another browser, and a link that carries its run."""

import re
from pathlib import Path
from random import Random

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect

from engine.present.links.codec import LINK_PATH, MOST_CHARACTERS, link_of, written
from engine.present.links.sharing import shared_of
from engine.present.words.runs import verdict_sentence
from engine.records import read_run
from engine.store.opening import FILE_NAME
from engine.store.store import Store
from tests.e2e.conftest import Server

pytestmark = pytest.mark.xdist_group("e2e")

SOON_MS = 60_000
SAMPLE = read_run((Path(__file__).parents[1] / "data" / "run_minilm_tutorial_big.json").read_bytes())


def new_browser(browser: Browser) -> BrowserContext:
    """A browser of its own: no cookies and no storage of another."""
    return browser.new_context(viewport={"width": 1280, "height": 900})


def opened(context: BrowserContext, url: str) -> Page:
    page = context.new_page()
    page.set_default_timeout(SOON_MS)
    page.goto(url)
    return page


def seen(element: Locator) -> None:
    """Wait until it is on the page."""
    expect(element).to_be_visible(timeout=SOON_MS)


def start_a_long_run(context: BrowserContext, server: Server) -> Page:
    page = opened(context, f"{server.url}/benchmark?batch=skewed-64")
    seen(page.get_by_text("skewed-64, 64 texts"))
    page.locator(".st-key-bench_run").get_by_role("button").click()
    seen(page.get_by_role("button", name="Cancel"))
    expect(page).to_have_url(re.compile("ticket="), timeout=SOON_MS)
    return page


def test_a_reload_can_cancel_and_a_copied_address_can_only_watch(browser: Browser, server: Server) -> None:
    mine, another = new_browser(browser), new_browser(browser)
    page = start_a_long_run(mine, server)
    copied = page.url
    assert re.search(r"[?&]ticket=[0-9a-f]{12}(&|$)", copied), "an id, and no secret after it"

    watcher = opened(another, copied)
    seen(watcher.get_by_text("Only the person who started this can cancel it."))
    seen(watcher.get_by_text("skewed-64, 64 texts"))
    expect(watcher.get_by_role("button", name="Cancel")).to_have_count(0)

    page.reload()
    seen(page.get_by_role("button", name="Cancel"))
    second_tab = opened(mine, copied)
    seen(second_tab.get_by_role("button", name="Cancel"))
    page.get_by_role("button", name="Cancel").click()
    seen(page.get_by_text("Cancelled; your settings are kept."))
    seen(watcher.get_by_text("The person who started this measurement cancelled it"))


def test_a_link_with_the_result_opens_cold_in_a_fresh_browser(browser: Browser, server: Server) -> None:
    """The first request of the server, an empty store, no console error, nothing stored afterwards."""
    text, _ = link_of(SAMPLE)
    context = new_browser(browser)
    page = context.new_page()
    complaints: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        # From the address of a page, Streamlit looks for its server below that page first, where it is not.
        if message.type == "error" and "/_stcore/" not in message.location["url"]:
            complaints.append(f"{message.text} {message.location['url']}")

    page.on("console", listen)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{server.url}{LINK_PATH}{text}")
    seen(page.get_by_role("heading", name="Run from a link"))
    seen(page.get_by_text("From a link, not measured here", exact=False))
    seen(page.get_by_text(verdict_sentence(SAMPLE, "on that machine")))
    seen(page.get_by_role("heading", name="Where it was measured"))
    expect(page.get_by_test_id("stSidebarNav")).not_to_contain_text("Run from a link")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert complaints == []
    page.get_by_role("link", name="History").click()
    seen(page.get_by_text("There are no runs yet", exact=False))


def a_long_link(notes: int) -> str:
    """A link with this many notes that cannot be compressed."""
    shared, random = shared_of(SAMPLE, None), Random(0)
    said = tuple(f"{random.getrandbits(640):x}" for _ in range(notes))
    return written(
        shared.model_copy(update={"environment": shared.environment.model_copy(update={"notes": said})})
    )


def test_the_longest_link_passes_through_the_browser_and_the_server(browser: Browser, server: Server) -> None:
    """Nearly 8,000 characters in an address open; more are refused in one sentence, and so is a damaged link."""
    text, too_long = (a_long_link(notes) for notes in (60, 64))
    assert MOST_CHARACTERS - 300 < len(text) <= MOST_CHARACTERS < len(too_long)
    page = opened(new_browser(browser), f"{server.url}{LINK_PATH}{text}")
    seen(page.get_by_role("heading", name="Where it was measured"))
    page.goto(f"{server.url}{LINK_PATH}{too_long}")
    seen(page.get_by_text("longer than the 8,000 characters", exact=False))
    page.goto(f"{server.url}{LINK_PATH}{text[:-9]}")
    seen(page.get_by_text("This link is damaged or incomplete", exact=False))


def test_both_links_are_copied_from_a_stored_run_and_open(
    browser: Browser, server: Server, tmp_path: Path
) -> None:
    Store(f"sqlite:///{tmp_path / 'data' / FILE_NAME}").save(SAMPLE)
    page = opened(new_browser(browser), f"{server.url}/history?run={SAMPLE.id}")
    page.get_by_role("button", name="Copy link").click()
    seen(page.get_by_text("Link that carries the result"))
    seen(page.get_by_text(f"{LINK_PATH}1.", exact=False))
    here, carried = page.get_by_test_id("stCode").all_inner_texts()
    assert here.strip() == f"{server.url}/history?run={SAMPLE.id}"

    other = opened(new_browser(browser), here.strip())
    seen(other.get_by_role("heading", name="Download"))
    other.goto(carried.strip())
    seen(other.get_by_text("From a link, not measured here", exact=False))


def test_a_recalled_result_survives_a_reload(browser: Browser, server: Server, tmp_path: Path) -> None:
    Store(f"sqlite:///{tmp_path / 'data' / FILE_NAME}").save(SAMPLE)
    page = opened(new_browser(browser), f"{server.url}/benchmark?run={SAMPLE.id}")
    for _ in range(2):
        seen(page.get_by_text("nothing was measured again", exact=False))
        seen(page.get_by_text("Verdict", exact=True))
        page.reload()
