"""A run whose stored conclusions do not follow from its samples is named as such."""

from engine.analysis.conclude import concluded
from engine.present.words.judged_again import judged_again_words
from engine.records import Run
from tests.samples import a_run_with_costs, sample_run

RUN = concluded(sample_run())


def with_path(run: Run, number: int, **changes: object) -> Run:
    paths = list(run.paths)
    paths[number] = paths[number].model_copy(update=changes)
    return run.model_copy(update={"paths": tuple(paths)})


def test_an_honest_run_gives_no_words() -> None:
    assert judged_again_words(RUN) == ""
    assert judged_again_words(with_path(RUN, 1, verdict_reason="in other words")) == ""


def test_another_verdict_is_named_with_the_path() -> None:
    words = judged_again_words(with_path(RUN, 1, verdict="slower", speedup=0.5))
    assert "Native MHA + sparsity: faster (2.0x) instead of slower (0.50x)." in words


def test_a_run_without_conclusions_is_named_too() -> None:
    assert "instead of no verdict" in judged_again_words(sample_run())


def test_another_interval_is_named_in_general() -> None:
    assert "other figures, such as an interval" in judged_again_words(with_path(RUN, 1, ci95_ms=(1.0, 9.0)))


def test_of_many_paths_a_few_are_named() -> None:
    run = concluded(a_run_with_costs())
    for number in range(4):
        run = with_path(run, number, speedup=9.0)
    assert judged_again_words(run).endswith("; and 1 more.")
