"""Two stored runs are compared in a real browser: what differs, the operators, the swap, a telephone, no complaints."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, expect

from engine.records import PathResult, Run, read_run
from engine.store.opening import FILE_NAME
from engine.store.store import Store
from tests.comparisons import with_experiment, with_threads
from tests.e2e.conftest import PROJECT, Server
from tests.e2e.test_first_run import LONG_MS, open_page

pytestmark = pytest.mark.xdist_group("e2e")

SAMPLE = read_run((PROJECT / "tests" / "data" / "run_minilm_tutorial_big.json").read_bytes())


def twice_as_fast(path: PathResult) -> PathResult:
    samples = tuple(ms / 2 for ms in path.samples_ms)
    return path.model_copy(update={"samples_ms": samples, "median_ms": (path.median_ms or 0) / 2})


def store_two_runs(folder: Path) -> tuple[Run, Run]:
    """A run of two threads, and a faster one of eight with kept memory; saved by another process than the server."""
    before = SAMPLE.model_copy(update={"id": "before"})
    after = with_experiment(with_threads(SAMPLE, 8), allocator="kept").model_copy(
        update={"id": "after", "paths": (*SAMPLE.paths[:-1], twice_as_fast(SAMPLE.paths[-1]))}
    )
    store = Store(f"sqlite:///{folder / FILE_NAME}")
    store.save(before)
    store.save(after)
    return before, after


def test_a_link_opens_two_runs_side_by_side(browser: Browser, server: Server, tmp_path: Path) -> None:
    store_two_runs(tmp_path / "data")
    page = open_page(browser, "about:blank", width=390)
    complaints: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        # A page below the root first asks for Streamlit's own files beside itself, and then at the root.
        if message.type == "error" and "/compare/_stcore/" not in message.location["url"]:
            complaints.append(f"{message.text} {message.location['url']}")

    page.on("console", listen)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{server.url}/compare?runs=before,after")

    expect(page.get_by_text("Experiment: Threads 2", exact=False)).to_be_visible(timeout=LONG_MS)
    expect(page.get_by_text("allocator system", exact=False)).to_be_visible()
    expect(page.get_by_text("cannot be assigned to one of them", exact=False)).to_be_visible()
    expect(page.get_by_text("Native MHA + sparsity improved", exact=False)).to_be_visible()
    expect(page.get_by_text("addmm shrank", exact=False)).to_be_visible()
    operators = page.get_by_test_id("stVegaLiteChart").nth(1)
    expect(operators.locator("svg, canvas").first).to_be_visible(timeout=LONG_MS)
    main = page.get_by_test_id("stMain")
    assert main.evaluate("element => element.scrollWidth <= element.clientWidth")

    page.get_by_role("button", name="Swap A and B").click()
    expect(page).to_have_url(re.compile(r"runs=after(%2C|,)before"))
    expect(page.get_by_text("Experiment: Threads 8", exact=False)).to_be_visible()
    # The button offers the table of the old order until the page is drawn to its end.
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
    with page.expect_download() as download:
        page.get_by_role("button", name="Table (.md)").click()
    assert "**What differs:** Threads 8 -> 2; allocator kept -> system." in download.value.path().read_text()
    assert complaints == []
