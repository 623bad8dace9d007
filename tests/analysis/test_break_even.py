"""The one-time cost of a path against what it saves in every batch."""

import pytest

from engine.analysis.break_even import break_even_batches, once_ms
from engine.analysis.conclude import concluded
from engine.records import PathResult, Run
from tests.samples import sample_run


def _measured(prepare_ms: float | None, first_call_ms: float, fast_ms: float = 5.0) -> tuple[Run, PathResult]:
    run = concluded(sample_run(fast_ms=(fast_ms,) * 8))
    return run, run.path("fast-nested").model_copy(
        update={"prepare_ms": prepare_ms, "first_call_ms": first_call_ms}
    )


@pytest.mark.parametrize(
    ("prepare_ms", "first_call_ms", "batches"),
    [(100.0, 10.0, 21), (95.0, 10.0, 20), (95.1, 10.0, 21), (0.0, 5.0, 0), (0.0, 4.0, 0)],
)
def test_a_saving_of_5_ms_a_batch_pays_what_was_spent_once(
    prepare_ms: float, first_call_ms: float, batches: int
) -> None:
    assert break_even_batches(*_measured(prepare_ms, first_call_ms)) == batches


def test_what_is_not_faster_never_pays() -> None:
    assert break_even_batches(*_measured(0.0, 5.0, fast_ms=10.0)) is None
    assert break_even_batches(*_measured(0.0, 5.0, fast_ms=20.0)) is None
    run = concluded(sample_run())
    assert break_even_batches(run, run.baseline) is None


def test_an_older_run_does_not_tell() -> None:
    run, path = _measured(None, 5.0)
    assert once_ms(path) is None
    assert break_even_batches(run, path) is None
