"""An HTML report opens from a file, in a browser without a network, in light and dark, on a telephone and on paper."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from engine.analysis.conclude import concluded
from engine.present.reports.embedded import run_of_report
from engine.present.reports.figures import figures
from engine.present.reports.html import html_report
from engine.settings import Settings
from engine.store.store import Store, store_url
from tests.e2e.conftest import Server
from tests.present.reports.test_html import hostile
from tests.samples import an_eight_path_run, sample_run

pytestmark = pytest.mark.xdist_group("e2e")

SOON_MS, LONG_MS = 20_000, 120_000
A4_MM = (210, 297)


@dataclass
class Opened:
    """A page with everything that it asked for and complained about."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(html_report((an_eight_path_run(),)), encoding="utf-8")
    return file


@contextmanager
def opened(
    browser: Browser, file: Path, scheme: Literal["light", "dark"] = "light", width: int = 1280
) -> Iterator[Opened]:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.set_offline(True)
    seen = Opened(context.new_page())
    seen.page.set_default_timeout(SOON_MS)
    seen.page.on("request", lambda request: seen.requests.append(request.url))
    seen.page.on("console", lambda message: seen.complaints.append(message.text))
    seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    seen.page.on("dialog", lambda dialog: (seen.dialogs.append(dialog.message), dialog.dismiss()))
    seen.page.goto(file.as_uri())
    yield seen
    context.close()


def charts(page: Page) -> Any:
    return page.locator(".chart svg.marks")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_opens_offline_without_a_request_or_a_complaint(
    browser: Browser, report: Path, scheme: Literal["light", "dark"], width: int
) -> None:
    with opened(browser, report, scheme, width) as seen:
        page = seen.page
        expect(page.get_by_role("heading", name="Verdict")).to_be_visible()
        expect(charts(page)).to_have_count(len(figures(an_eight_path_run())) - 1)  # rounds are folded up
        for chart in charts(page).all():
            box = chart.bounding_box()
            assert box is not None
            assert box["height"] > 100
            assert box["width"] <= width
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        page.get_by_text("Raw rounds", exact=True).click()
        expect(charts(page)).to_have_count(len(figures(an_eight_path_run())))
        assert seen.requests == [report.as_uri()]
        assert seen.complaints == []


def test_too_few_rounds_for_intervals_are_no_complaint(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "few.html"
    file.write_text(html_report((concluded(sample_run((10.0,) * 3, (5.0,) * 3)),)), encoding="utf-8")
    with opened(browser, file) as seen:
        expect(charts(seen.page).first).to_be_visible()
        expect(seen.page.get_by_text("3 rounds are too few for an interval").first).to_be_visible()
        assert seen.complaints == []


def test_charts_are_readable_in_both_schemes(browser: Browser, report: Path) -> None:
    inks = []
    for scheme in ("light", "dark"):
        with opened(browser, report, scheme) as seen:
            label = seen.page.locator(".chart svg .role-axis-label text").first
            expect(label).to_be_visible()
            ink = label.evaluate("element => getComputedStyle(element).fill")
            assert ink == seen.page.evaluate("getComputedStyle(document.body).color")
            inks.append(ink)
    assert inks[0] != inks[1]


def test_the_table_of_operators_is_searched(browser: Browser, report: Path) -> None:
    with opened(browser, report) as seen:
        page = seen.page
        page.get_by_text("Table of all operators").click()
        rows = page.locator("#run-1-operators tbody tr")
        everything = rows.count()
        page.get_by_label("Search").fill("sparsity ADDMM")
        shown = [row.inner_text() for row in rows.all() if row.is_visible()]
        assert 0 < len(shown) < everything
        assert all("sparsity" in row and "addmm" in row for row in shown)
        expect(page.get_by_text(f"{len(shown)} of {everything} rows")).to_be_visible()
        page.get_by_label("Search").fill("")
        expect(page.get_by_text(f"{everything} rows", exact=True)).to_be_visible()


def test_it_prints_on_a4(browser: Browser, report: Path) -> None:
    with opened(browser, report, "dark") as seen:
        expect(charts(seen.page).first).to_be_visible()
        pdf = seen.page.pdf(prefer_css_page_size=True, print_background=True)
    sizes = [box.split(b"]")[0].split() for box in pdf.split(b"/MediaBox [")[1:]]
    assert sizes
    for _, _, width, height in sizes:
        points = (float(width), float(height))
        assert points == pytest.approx(tuple(mm / 25.4 * 72 for mm in A4_MM), abs=2)


def test_a_chart_is_saved_from_its_menu(browser: Browser, report: Path) -> None:
    with opened(browser, report) as seen:
        page = seen.page
        menu = page.locator(".chart").first.locator("summary")
        menu.click()
        with page.expect_download() as download:
            page.get_by_text("Save as SVG").first.click()
        assert "<svg" in download.value.path().read_text()
        assert seen.complaints == []


def test_a_strangers_text_does_nothing(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "hostile.html"
    run = hostile(an_eight_path_run())
    file.write_text(html_report((run,)), encoding="utf-8")
    with opened(browser, file) as seen:
        expect(seen.page.get_by_role("heading", name="alert(1)", exact=False).first).to_be_visible()
        expect(charts(seen.page).first).to_be_visible()
        assert (seen.dialogs, seen.complaints, seen.requests) == ([], [], [file.as_uri()])
        assert seen.page.locator("img").count() == 0
    assert run_of_report(file.read_bytes()) == run


def test_a_page_gives_the_report_the_script_and_each_chart(
    browser: Browser, server: Server, tmp_path: Path
) -> None:
    run = an_eight_path_run()
    Store(store_url(Settings(data_folder=tmp_path / "data"))).save(run)
    page = browser.new_context().new_page()
    page.set_default_timeout(LONG_MS)
    page.goto(f"{server.url}/history?run={run.id}")

    def downloaded(key: str) -> Path:
        with page.expect_download(timeout=LONG_MS) as download:
            page.locator(f".st-key-history_{key}").get_by_role("button").click()
        file = tmp_path / download.value.suggested_filename
        download.value.save_as(file)
        return file

    report = downloaded("download_html")
    assert run_of_report(report.read_bytes()) == run
    assert "import torch" in downloaded("download_py").read_text()
    page.get_by_role("button", name="Tables").click()
    assert downloaded("download_rounds_parquet").read_bytes().startswith(b"PAR1")
    page.keyboard.press("Escape")
    page.locator(".st-key-history_speedups_save").get_by_role("button").first.click()
    assert downloaded("speedups_save_svg").read_text().startswith("<svg")
    assert downloaded("speedups_save_png").read_bytes().startswith(b"\x89PNG")
    with opened(browser, report) as seen:
        expect(charts(seen.page).first).to_be_visible()
