"""The median of the rounds' ratios against the ratio of the medians: reported if a reader would see the difference."""

import pytest

from engine.analysis.centres import unlike_centres
from engine.analysis.conclude import concluded
from engine.present.words.runs import centre_sentences
from tests.samples import sample_run


def test_nothing_is_told_where_the_two_agree() -> None:
    run = concluded(sample_run())
    assert unlike_centres(run) == ()
    assert centre_sentences(run) == ()


def test_two_centres_that_differ_visibly_are_both_given() -> None:
    slow_ms, fast_ms = (70.0, 70.0, 70.0, 300.0, 310.0), (140.0, 139.0, 900.0, 600.0, 620.0)
    run = concluded(sample_run(slow_ms, fast_ms))
    (found,) = unlike_centres(run)
    assert found.paired == pytest.approx(0.5)
    assert found.of_medians == pytest.approx(70 / 600)
    (sentence,) = centre_sentences(run)
    assert "0.50x for native MHA + sparsity is the median of the rounds' ratios" in sentence
    assert "not the ratio of the medians (70 ms / 600 ms = 0.12x)" in sentence
