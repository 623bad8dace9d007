"""A visitor sweeps a small grid in a real browser, sees it land cell by cell, and finds it again after a reload."""

import re

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.conftest import Server
from tests.e2e.test_first_run import SOON_MS, go_to, open_page

CELLS_MS = 240_000
"""Two cells take about 20 seconds, and many times as long where others measure too."""
pytestmark = pytest.mark.xdist_group("e2e")


def test_a_sweep_lands_cell_by_cell_and_a_reload_keeps_it(browser: Browser, server: Server) -> None:
    page = open_page(browser, server.url)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    go_to(page, "Sweep")
    for label, value in (
        ("Texts in the batch", "4"),
        ("Tokens of the longest text", "8"),
        ("Padding ratios", "0, 0.4"),
    ):
        page.get_by_role("textbox", name=label).fill(value)
        page.get_by_role("textbox", name=label).press("Enter")
    expect(page.get_by_text(re.compile("^(timer )?2 cells, about"))).to_be_visible(timeout=SOON_MS)
    page.locator(".st-key-sweep_start").get_by_role("button").click()

    expect(page.get_by_text(re.compile("Measuring: 1 of 2 cells so far"))).to_be_visible(timeout=CELLS_MS)
    expect(page.get_by_text(re.compile("^Cell [12] of 2"))).to_be_visible(timeout=SOON_MS)
    expect(page.get_by_text("Finished: 2 of 2 cells.")).to_be_visible(timeout=CELLS_MS)
    heat_map = page.get_by_test_id("stVegaLiteChart").last
    expect(heat_map).to_be_visible()
    # What was drawn after the first cell goes away when the page is drawn to its end.
    expect(page.get_by_text("is best in", exact=False)).to_have_count(1, timeout=SOON_MS)
    expect(page.get_by_text(re.compile("is best in .*2 cells"))).to_be_visible()

    expect(page).to_have_url(re.compile("[?&]sweep=[0-9a-f]{12}"))
    page.reload()
    expect(page.get_by_text("Finished: 2 of 2 cells.")).to_be_visible(timeout=SOON_MS)
    expect(page.get_by_test_id("stVegaLiteChart")).to_be_visible(timeout=SOON_MS)
    with page.expect_download() as download:
        page.get_by_role("button", name="Cells (.csv)").click()
    rows = download.value.path().read_text().splitlines()
    assert len(rows) == 1 + 2 * 4
    assert complaints == []


def test_the_sweep_page_is_not_wider_than_a_telephone(browser: Browser, server: Server) -> None:
    page = open_page(browser, f"{server.url}/sweep", width=390)
    expect(page.get_by_role("heading", level=1)).to_be_visible(timeout=SOON_MS)
    main = page.get_by_test_id("stMain")
    assert main.evaluate("element => element.scrollWidth <= element.clientWidth")
