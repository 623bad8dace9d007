"""Texts that people type: what does not fit is refused with the text's number and the limit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import Refusal
from engine.settings import Settings
from engine.texts import checked_texts, decode_upload, split_lines

SETTINGS = Settings(max_texts=3, max_characters=10)


@pytest.mark.parametrize(
    ("texts", "clue"),
    [
        ((), "no texts"),
        (("", " \n"), "blank"),
        (("a",) * 4, "remove 1"),
        (("a", "b" * 11), "Text 2 has 11 characters"),
        (("a", "x\ud800"), "Text 2 holds half of a character at position 2"),
    ],
)
def test_refused_in_one_sentence(texts: tuple[str, ...], clue: str) -> None:
    with pytest.raises(Refusal, match=clue) as refusal:
        checked_texts(texts, SETTINGS)
    assert "\n" not in str(refusal.value)


def test_valid_texts_are_unchanged_even_blank_ones() -> None:
    assert checked_texts(["a", ""], SETTINGS) == ("a", "")


def test_an_upload_that_is_not_utf8_names_the_line() -> None:
    with pytest.raises(Refusal, match=r"words\.txt is not UTF-8 \(line 2\)"):
        decode_upload(b"fine\nna\xefve\n", "words.txt")


def test_a_byte_order_mark_is_no_part_of_the_first_text() -> None:
    assert decode_upload("\ufeffHello".encode(), "a.txt") == "Hello"


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\r\n", codec="utf-8"))))
def test_lines_are_unchanged_and_blank_ones_left_out(lines: list[str]) -> None:
    assert split_lines("\r\n".join(lines)) == tuple(line for line in lines if line.strip())
