"""A teacher breaks a working model on purpose; the doctor finds it, with real weights in a real browser."""

import re
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, expect

from engine.catalog.modifications import MODIFICATIONS
from engine.diagnosis import AS_IT_IS, read_diagnosis
from tests.e2e.conftest import Server
from tests.e2e.test_first_run import LONG_MS, holds_torch, open_page

pytestmark = pytest.mark.xdist_group("e2e")


def test_a_forgotten_eval_is_found_cured_and_downloaded(browser: Browser, server: Server) -> None:
    broken = MODIFICATIONS["train-mode"]
    # As wide as a telephone, because this result is the widest part of the app.
    page = open_page(browser, f"{server.url}/doctor?doctor_modifications={quote(broken.title)}", width=390)
    # Streamlit fetches its code block in a request of its own, which takes seconds on a busy machine.
    expect(page.get_by_text(broken.code, exact=True)).to_be_visible(timeout=LONG_MS)
    page.get_by_role("button", name=re.compile("Examine")).click()
    expect(page.get_by_role("heading", name="The fastpath is not taken")).to_be_visible(timeout=LONG_MS)
    expect(page.get_by_text("0 of 6 layers fused", exact=True)).to_be_visible()
    expect(page.get_by_text("internal reason", exact=False).first).to_be_visible()
    main = page.get_by_test_id("stMain")
    assert main.evaluate("element => element.scrollWidth <= element.clientWidth")

    with page.expect_download() as download:
        page.get_by_role("button", name="Diagnosis (.json)").click()
    diagnosis = read_diagnosis(download.value.path().read_bytes())
    assert diagnosis.modifications == (broken.name,)
    assert diagnosis.state(AS_IT_IS).proof.counts.fused_layers == 0
    assert diagnosis.states[-1].proof.counts.fused_layers == diagnosis.layers == 6
    assert not holds_torch(server.pid), "torch must live in the children only"
