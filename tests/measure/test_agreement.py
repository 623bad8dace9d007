"""Agreement: outputs that differ by more than the tolerance, or are NaN or infinite, never agree."""

import pytest
import torch

from engine.measure.agreement import compare, disagreement


def test_the_error_is_the_largest_difference() -> None:
    agreement = compare(torch.zeros(2, 3), torch.tensor([[0, 0, 1e-6], [0, -4e-6, 0]]), "fp32")
    assert agreement.ok
    assert agreement.max_abs_error == pytest.approx(4e-6)


def test_the_tolerance_grows_with_the_states_but_never_below_one() -> None:
    assert compare(torch.full((1, 1), 20.0), torch.full((1, 1), 20.0), "fp32").tolerance == pytest.approx(
        2e-4
    )
    assert compare(torch.zeros(1, 1), torch.zeros(1, 1), "fp32").tolerance == pytest.approx(1e-5)


@pytest.mark.parametrize(
    ("value", "words"), [(float("nan"), "not numbers"), (0.5, "differ from the slow path's by 0.5")]
)
def test_disagreement_is_said_in_words(value: float, words: str) -> None:
    agreement = compare(torch.zeros(1, 2), torch.tensor([[0.0, value]]), "fp32")
    assert not agreement.ok
    assert words in disagreement(agreement)


def test_agreement_needs_no_words() -> None:
    assert disagreement(compare(torch.zeros(1, 1), torch.zeros(1, 1), "fp32")) == ""


def test_an_infinite_output_is_no_number_either() -> None:
    found = compare(torch.ones(2, 3), torch.full((2, 3), float("inf")), "fp32")
    assert (found.ok, found.max_abs_error) == (False, None)
    assert compare(torch.full((2, 3), float("inf")), torch.ones(2, 3), "fp32").ok is False
