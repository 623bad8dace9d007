"""Sentences of a comparison: what differs first, what has changed, and what must not be concluded."""

from engine.analysis.compare import compare_runs
from engine.analysis.differences import Difference
from engine.analysis.operator_changes import operator_changes
from engine.present.words.comparisons import (
    cause_sentence,
    change_header,
    change_rows,
    continues_sentence,
    difference_words,
    experiment_sentence,
    headline,
    legend,
    machine_sentence,
    operators_sentence,
    speedups_sentence,
    state_words,
)
from engine.records import Batch
from tests.comparisons import (
    elsewhere,
    noisy_run,
    with_environment,
    with_experiment,
    with_profile,
    with_threads,
)


def test_what_differs_is_told_from_the_reference_to_the_later_run() -> None:
    after = with_experiment(with_threads(noisy_run(seed=1), 8), allocator="kept")
    comparison = compare_runs((noisy_run(), after))
    assert experiment_sentence(comparison) == "Threads 2 -> 8; allocator system -> kept."
    assert cause_sentence(comparison) == (
        "More than one thing differs, so a change cannot be assigned to one of them."
    )


def test_of_more_than_two_runs_each_value_names_its_runs() -> None:
    runs = (noisy_run(), with_threads(noisy_run(seed=1), 8), noisy_run(seed=2))
    comparison = compare_runs(runs)
    assert experiment_sentence(comparison) == "Threads 2 (A, C), 8 (B)."
    assert cause_sentence(comparison).startswith("Only one thing differs (threads)")


def test_texts_that_look_alike_still_differ_and_are_not_quoted() -> None:
    batch = Batch(name="own texts", texts=("secret words", "b"))
    runs = [with_experiment(noisy_run(), batch=batch), with_experiment(noisy_run(), batch=batch)]
    other = with_experiment(runs[1], batch=Batch(name="own texts", texts=("other words", "b")))
    words = experiment_sentence(compare_runs((runs[0], other)))
    assert words == "Texts differ."


def test_values_that_are_missing_or_long_are_told_shortly() -> None:
    unknown = Difference(name="machine", values=("host", None, "x" * 200))
    assert difference_words(unknown) == f"machine host (A), not recorded (B), {'x' * 77}... (C)"
    weights = Difference(name="weights", values=("a" * 64, "b" * 64))
    assert difference_words(weights) == f"weights {'a' * 12} -> {'b' * 12}"
    paths = Difference(name="paths", values=("", "compile, packed"))
    assert difference_words(paths) == "paths that not all runs measured: compile, packed in B"


def test_runs_that_do_not_differ_are_said_to_be_of_one_experiment_and_machine() -> None:
    comparison = compare_runs((noisy_run(), noisy_run(seed=1)))
    assert experiment_sentence(comparison) == "Nothing: the runs are of the same experiment."
    assert machine_sentence(comparison) == "The runs are of the same machine and build."
    assert "the code that was measured" in cause_sentence(comparison)


def test_a_regression_comes_first_with_its_figures() -> None:
    words = headline(compare_runs((noisy_run(5.0), noisy_run(6.0, seed=1))))
    assert words.startswith("Native MHA + sparsity regressed: its speedup went from 2.00x to 1.67x (0.83"), (
        words
    )
    assert words.endswith("); no change in the slow path.")


def test_several_runs_have_a_sentence_each() -> None:
    runs = (noisy_run(5.0), noisy_run(5.0, seed=1), noisy_run(5.0, noise=0.3, seed=2))
    words = headline(compare_runs(runs))
    assert words.startswith(
        "B against A: no change in the slow path and native MHA + sparsity. C against A: "
    )
    assert "not sure about" in words


def test_across_machines_the_words_have_no_milliseconds() -> None:
    comparison = compare_runs((noisy_run(), elsewhere(noisy_run(seed=1))))
    assert "ms" not in machine_sentence(comparison)
    assert "Times of different machines are not compared" in machine_sentence(comparison)
    assert change_header(comparison) == ("path", "before", "after", "change", "95 % interval", "verdict")
    shown = [
        headline(comparison),
        legend(comparison),
        *(cell for row in change_rows(comparison) for cell in row),
    ]
    assert not any(" ms" in words for words in shown)


def test_only_baselines_of_two_machines_have_nothing_in_common() -> None:
    run = noisy_run()
    alone = with_experiment(run.model_copy(update={"paths": run.paths[:1]}), paths=("slow",))
    comparison = compare_runs((alone, elsewhere(alone)))
    assert headline(comparison) == "Nothing was compared, because only the baseline was measured."
    assert speedups_sentence(comparison) == "No speedup was compared."


def test_rows_have_the_medians_of_one_machine_and_the_run_if_there_are_several() -> None:
    comparison = compare_runs((noisy_run(), noisy_run(seed=1), elsewhere(noisy_run(seed=2))))
    assert change_header(comparison)[1] == "run"
    rows = change_rows(comparison)
    assert [row[:2] for row in rows] == [("slow", "B"), ("fast-nested", "B"), ("fast-nested", "C")]
    medians = [row[-2] for row in rows]
    assert medians == ["10.0 -> 10.0", "5.0 -> 5.0", ""]
    times = change_rows(comparison, "time")
    assert [row[:2] for row in times] == [("slow", "B"), ("fast-nested", "B")]
    assert times[1][2].endswith(" ms")


def test_the_state_of_a_machine_says_why_it_was_disturbed() -> None:
    quiet, busy = noisy_run(), with_environment(noisy_run(), quiet=False, notes=("others used 40 %",))
    states = compare_runs((quiet, busy)).runs
    assert state_words(states[0]) == "quiet; load 0.1 before, 1.2 after"
    assert state_words(states[1]).startswith("disturbed: others used 40 %; load")


def test_a_run_that_contains_the_rounds_of_another_says_so() -> None:
    before = noisy_run()
    longer = noisy_run(seed=1).model_copy(update={"continues": before.id})
    assert continues_sentence(compare_runs((before, longer))) == "B continues A and contains its rounds."
    assert continues_sentence(compare_runs((before, noisy_run(seed=1)))) == ""


def test_the_operators_that_changed_most_are_named() -> None:
    before = with_profile(noisy_run(), "fast-nested", addmm=4.0, gelu=1.0)
    after = with_profile(noisy_run(), "fast-nested", addmm=6.0, bmm=0.5)
    words = operators_sentence(operator_changes((before, "fast-nested"), (after, "fast-nested")))
    assert (
        words
        == "5.0 ms before, 6.5 ms after: addmm grew (+2.0 ms), gelu vanished (-1.0 ms), bmm appeared (+0.5 ms)."
    )
    same = operators_sentence(operator_changes((before, "fast-nested"), (before, "fast-nested")))
    assert same.endswith("no operator changed by more than 1 %.")
