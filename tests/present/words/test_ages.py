"""An age is given in its largest unit, and is never in the future."""

from datetime import UTC, datetime, timedelta

import pytest

from engine.present.words.ages import age_words

THEN = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("passed", "words"),
    [
        (timedelta(seconds=-5), "less than a minute ago"),
        (timedelta(seconds=59), "less than a minute ago"),
        (timedelta(seconds=60), "1 minute ago"),
        (timedelta(minutes=59, seconds=59), "59 minutes ago"),
        (timedelta(hours=1), "1 hour ago"),
        (timedelta(hours=47), "1 day ago"),
        (timedelta(days=400), "400 days ago"),
    ],
)
def test_an_age_in_words(passed: timedelta, words: str) -> None:
    assert age_words(THEN, THEN + passed) == words
