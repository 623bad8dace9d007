"""A visitor uses the app in a real browser, with real weights and a real measuring process."""

import re
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from tests.e2e.conftest import Server, until

pytestmark = pytest.mark.xdist_group("e2e")

SOON_MS, LONG_MS = 20_000, 120_000


def open_page(browser: Browser, url: str, width: int = 1280) -> Page:
    page = browser.new_context(viewport={"width": width, "height": 900}).new_page()
    page.set_default_timeout(SOON_MS)
    page.goto(url)
    return page


def go_to(page: Page, name: str) -> None:
    page.get_by_test_id("stSidebarNav").get_by_text(name, exact=True).click()
    expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible(timeout=SOON_MS)


def holds_torch(pid: int) -> bool:
    return "libtorch" in Path(f"/proc/{pid}/maps").read_text()


def measuring_children(server: Server) -> list[psutil.Process]:
    children = psutil.Process(server.pid).children()
    return [
        child for child in children if child.status() != psutil.STATUS_ZOMBIE and "child" in child.cmdline()
    ]


def test_a_visitor_goes_from_model_to_verdict_and_the_server_never_loads_torch(
    browser: Browser, server: Server
) -> None:
    page = open_page(browser, server.url)
    complaints: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(message.text)

    page.on("console", listen)
    page.on("pageerror", lambda error: complaints.append(str(error)))

    go_to(page, "Model")
    page.get_by_role("button", name="Load").click()
    expect(page.get_by_text("22.7 M")).to_be_visible(timeout=LONG_MS)
    expect(page.get_by_text("53aa51172d142c89", exact=False)).to_be_visible()

    go_to(page, "Batch")
    page.get_by_text("Lines", exact=True).click()
    page.get_by_label("One text per line").fill("Hello world\nA text with a\u23celine break inside")
    page.get_by_label("One text per line").press("Control+Enter")
    expect(page.get_by_text("2 texts of 4 to", exact=False)).to_be_visible(timeout=LONG_MS)

    go_to(page, "Benchmark")
    expect(page.get_by_text("own texts, 2 texts")).to_be_visible()
    page.get_by_text("10, as in the tutorial").click()
    expect(page).to_have_url(re.compile("bench_rounds="))
    page.locator(".st-key-bench_run").get_by_role("button").click()
    expect(page.get_by_text("Verdict")).to_be_visible(timeout=LONG_MS)
    expect(page.get_by_text("10 rounds, the 10 rounds asked for")).to_be_visible()
    expect(page.get_by_text("6 of 6 layers ran fused, padding was skipped.")).to_be_visible()
    expect(page.get_by_text("6 of 6 layers ran fused, padding was computed.")).to_be_visible()

    with page.expect_download() as download:
        page.get_by_role("button", name="Report (.md)").click()
    assert "## Proof" in download.value.path().read_text()
    assert complaints == []
    assert not holds_torch(server.pid), "torch must live in the children only"
    assert any(holds_torch(child.pid) for child in measuring_children(server)), (
        "the check above can see torch"
    )


def test_cancel_ends_the_measuring_process(browser: Browser, server: Server) -> None:
    page = open_page(browser, server.url)
    page.get_by_text("skewed-64", exact=True).click()
    expect(page.get_by_text("the worst case of padding", exact=False)).to_be_visible()
    page.get_by_role("button", name=re.compile("^Run")).click()
    expect(page.get_by_role("heading", name="Benchmark")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Cancelled; your settings are kept.")).to_be_visible(timeout=SOON_MS)
    expect(page.get_by_text("skewed-64, 64 texts")).to_be_visible()
    until(lambda: measuring_children(server) == [])
    expect(page.get_by_role("button", name=re.compile("^Run"))).to_be_enabled()


def test_a_direct_link_opens_the_page_inside_its_frame_with_its_settings(
    browser: Browser, server: Server
) -> None:
    page = open_page(browser, f"{server.url}/benchmark?bench_dtype=bf16")
    expect(page.get_by_role("heading", name="Benchmark")).to_be_visible(timeout=SOON_MS)
    expect(page.get_by_test_id("stSidebarNav")).to_contain_text("Walkthrough")
    expect(page.get_by_role("radio", name="bf16")).to_be_checked()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_no_page_is_wider_than_a_telephone(browser: Browser, server: Server) -> None:
    for name in ("", "model", "batch", "benchmark", "doctor", "compare", "walkthrough"):
        page = open_page(browser, f"{server.url}/{name}", width=390)
        expect(page.get_by_role("heading", level=1)).to_be_visible(timeout=SOON_MS)
        main = page.get_by_test_id("stMain")
        assert main.evaluate("element => element.scrollWidth <= element.clientWidth"), name
