"""Huge pages are asked for page by page, once each, and never change what lies there."""

from pathlib import Path

import pytest
import torch

from engine.packing import huge_pages

PAGE = 2 << 20
Calls = list[tuple[int, int, int]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    asked: Calls = []
    monkeypatch.setattr(huge_pages, "_page_bytes", lambda: PAGE)
    monkeypatch.setattr(huge_pages, "_madvise", lambda: lambda *call: asked.append(call))
    return asked


def test_every_page_that_is_touched_is_asked_for_once(calls: Calls) -> None:
    huge_pages.gather([(5 * PAGE - 10, 20), (5 * PAGE + 100, 50), (9 * PAGE, PAGE)])
    assert calls == [(page * PAGE, PAGE, huge_pages.MADV_COLLAPSE) for page in (4, 5, 9)]


def test_where_the_system_has_none_nothing_is_asked(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huge_pages, "_page_bytes", lambda: None)
    huge_pages.gather([(5 * PAGE, PAGE)])
    assert calls == []


@pytest.mark.parametrize(
    ("text", "found"), [("2097152\n", PAGE), ("536870912\n", None), ("none", None), (None, None)]
)
def test_pages_of_another_size_are_left_alone(
    text: str | None, found: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "size"
    if text is not None:
        told.write_text(text)
    monkeypatch.setattr(huge_pages, "SIZE", told)
    assert huge_pages._page_bytes.__wrapped__() == found


def test_what_lies_there_stays_and_a_place_that_is_not_there_hurts_nobody() -> None:
    numbers = torch.arange(3 * PAGE // 8)
    huge_pages.gather([(numbers.data_ptr(), numbers.nbytes), (PAGE, PAGE)])
    assert torch.equal(numbers, torch.arange(3 * PAGE // 8))
