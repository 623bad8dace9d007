"""Uploaded and typed texts stay exactly the same, and bad files are refused with a sentence."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import Refusal
from pages.kit.batches import texts_of_grid
from pages.kit.uploads import LINE_BREAK_SIGN, one_line, texts_of_lines, texts_of_upload, with_breaks

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=f"\r{LINE_BREAK_SIGN}"))


@given(texts)
def test_a_text_shown_on_one_line_is_read_back_unchanged(text: str) -> None:
    assert "\n" not in one_line(text)
    assert with_breaks(one_line(text)) == text


@given(st.lists(texts.filter(str.strip), min_size=1))
def test_texts_shown_as_lines_are_read_back_unchanged(several: list[str]) -> None:
    assert texts_of_lines("\n".join(map(one_line, several))) == tuple(several)


def test_unedited_rows_of_the_grid_keep_their_text_exactly() -> None:
    base = ("windows\r\nline", f"a literal {LINE_BREAK_SIGN}", "changed")
    cells = [(0, one_line(base[0])), (1, one_line(base[1])), (2, f"new{LINE_BREAK_SIGN}text"), (3, None)]
    assert texts_of_grid(cells, base) == (base[0], base[1], "new\ntext", "")


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.txt", b"one\r\ntwo\n\n", ("one", "two")),
        ("a.TXT", b"\xef\xbb\xbfone", ("one",)),
        ("a.csv", b'id,Text\n1,"two\nlines"\n2,\n3,"with, comma"\n', ("two\nlines", "with, comma")),
        ("a.csv", b"no header\nsecond\n", ("no header", "second")),
        ("a.json", b'["one", "two\\nlines"]', ("one", "two\nlines")),
        ("a.json", json.dumps({"texts": ["one"]}).encode(), ("one",)),
    ],
)
def test_each_kind_of_file_gives_its_texts(name: str, data: bytes, expected: tuple[str, ...]) -> None:
    assert texts_of_upload(data, name) == expected


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("a.txt", b"\xff", "not UTF-8"),
        ("a.txt", b"\n \n", "has no texts"),
        ("a.csv", b"", "has no texts"),
        ("a.csv", b'"never closed', "not valid CSV"),
        ("a.json", b"{", "not valid JSON"),
        ("a.json", b"[" * 100_000, "not valid JSON"),
        ("a.json", b'{"texts": [1]}', "list of strings"),
        ("a.pdf", b"%PDF", "none of txt, csv, json"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(name: str, data: bytes, sentence: str) -> None:
    with pytest.raises(Refusal, match=sentence):
        texts_of_upload(data, name)
