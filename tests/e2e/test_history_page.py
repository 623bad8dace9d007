"""One run is found among sixty, opened, changed, deleted and brought back, exported and imported, in a real browser."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from engine.present.reports.collection import read_runs
from engine.records import Run
from engine.store.opening import FILE_NAME
from engine.store.store import Store
from tests.e2e.conftest import Server
from tests.e2e.sixty_runs import sixty_runs
from tests.e2e.test_first_run import SOON_MS, open_page

pytestmark = pytest.mark.xdist_group("e2e")

ROW_PX, BOX_PX, TITLE_PX = 35, 18, 120
"""The table is drawn on a canvas: the height of a row, and how far from the left are the boxes and the titles."""


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Run, ...]:
    """Sixty runs in the store that the server opens when it is first asked, newest first."""
    store = Store(f"sqlite:///{tmp_path / 'data' / FILE_NAME}")
    made = tuple(sixty_runs(datetime.now(UTC)))
    for run in made:
        store.save(run)
    return made


def in_row(page: Page, row: int, from_left_px: int) -> None:
    """Click into a row of the table; the first is 0."""
    page.wait_for_timeout(1000)  # the canvas follows what the page says after a moment
    table = page.get_by_test_id("stDataFrame").first
    table.click(position={"x": from_left_px, "y": ROW_PX * (row + 1) + ROW_PX // 2})


def choose(page: Page, filter_name: str, value: str) -> None:
    page.get_by_role("combobox", name=filter_name).click()
    page.get_by_role("option", name=value, exact=True).click()
    page.keyboard.press("Escape")


def shows(page: Page, words: str) -> None:
    expect(page.get_by_text(words, exact=True)).to_be_visible(timeout=SOON_MS)


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def test_a_run_is_found_among_sixty_and_opened_and_named(
    browser: Browser, server: Server, runs: tuple[Run, ...]
) -> None:
    wanted = [run for run in runs if run.experiment.model == "roberta-base" and "mixed" in run.title]
    page = open_page(browser, f"{server.url}/history")
    shows(page, "60 runs")
    page.get_by_role("searchbox").fill("MIXED")
    choose(page, "Model", "roberta-base")
    shows(page, f"{len(wanted)} runs")
    expect(page).to_have_url(re.compile("history_models=roberta-base"))
    expect(page).to_have_url(re.compile("history_words=MIXED"))
    in_row(page, 1, TITLE_PX)
    expect(page).to_have_url(re.compile(f"run={wanted[1].id}"))
    expect(page.get_by_text("Verdict", exact=True)).to_be_visible(timeout=SOON_MS)

    button(page, "Title, tags, note").click()
    page.get_by_label("Title", exact=True).fill("The one for the paper")
    page.get_by_role("combobox", name="Tags").fill("final")
    page.keyboard.press("Enter")
    page.get_by_label("Note", exact=True).fill("Measured twice.")
    button(page, "Save").click()
    expect(page.get_by_role("heading", name="The one for the paper")).to_be_visible(timeout=SOON_MS)
    expect(page.get_by_role("paragraph").get_by_text("Measured twice.")).to_be_visible(timeout=SOON_MS)

    button(page, "All runs").click()
    shows(page, f"{len(wanted)} runs")
    shared = open_page(browser, page.url)
    shows(shared, f"{len(wanted)} runs")
    button(shared, "Clear the filters").click()
    shared.get_by_role("searchbox").fill("twice final")
    shows(shared, "1 run")
    in_row(shared, 0, TITLE_PX)
    expect(shared).to_have_url(re.compile(f"run={wanted[1].id}"))


def test_selected_runs_are_deleted_brought_back_exported_and_imported(
    browser: Browser, server: Server, runs: tuple[Run, ...], tmp_path: Path
) -> None:
    store = Store(f"sqlite:///{tmp_path / 'data' / FILE_NAME}")
    page = open_page(browser, f"{server.url}/history")
    shows(page, "60 runs")
    in_row(page, 0, BOX_PX)
    shows(page, "1 run selected. Select one to five more to compare them.")
    button(page, "Page 2").click()
    expect(page).to_have_url(re.compile("history_page=2"))
    in_row(page, 3, BOX_PX)
    shows(page, "2 runs selected.")
    expect(button(page, "Compare")).to_be_enabled()
    chosen = (runs[0].id, runs[23].id)

    button(page, "Export").click()
    with page.expect_download() as download:
        button(page, "Runs (.json)").click()
    file = tmp_path / "exported.json"
    download.value.save_as(file)
    assert tuple(kept.run.id for kept in read_runs(file.read_bytes(), file.name).runs) == chosen
    page.keyboard.press("Escape")

    button(page, "Delete").click()
    shows(page, "58 runs")
    button(page, "Undo").click()
    shows(page, "60 runs")
    store.delete(chosen)

    page.reload()
    shows(page, "58 runs")
    button(page, "Import runs").click()
    page.locator("input[type=file]").set_input_files(file)
    expect(page.get_by_text("exported.json")).to_be_visible(timeout=SOON_MS)
    button(page, "Import").click()
    shows(page, "60 runs")
    shows(page, "2 runs selected.")
    for run_id, run in zip(chosen, (runs[0], runs[23]), strict=True):
        row = store.row(run_id)
        assert row is not None
        assert row.tags == ("imported",)
        assert store.get(run_id) == run


def test_the_list_fits_on_a_telephone(browser: Browser, server: Server, runs: tuple[Run, ...]) -> None:
    page = open_page(browser, f"{server.url}/history", width=390)
    shows(page, f"{len(runs)} runs")
    main = page.get_by_test_id("stMain")
    assert main.evaluate("element => element.scrollWidth <= element.clientWidth")
    in_row(page, 0, TITLE_PX)
    expect(page).to_have_url(re.compile(f"run={runs[0].id}"))
    expect(page.get_by_text("Verdict", exact=True)).to_be_visible(timeout=SOON_MS)
    assert main.evaluate("element => element.scrollWidth <= element.clientWidth")
