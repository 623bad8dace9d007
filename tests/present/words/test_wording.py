"""Sentences about a run agree with its numbers, also where a result is missing, refuted or not sure."""

from typing import Any

import pytest

from engine.analysis.conclude import concluded
from engine.analysis.continuing import More
from engine.present.words.runs import (
    agreement_sentence,
    agreement_words,
    batch_sentence,
    break_even_sentence,
    evidence_sentence,
    evidence_words,
    interval_words,
    looks_sentence,
    more_words,
    ms_words,
    path_noun,
    preparation_sentence,
    recommendation_sentences,
    speedup_text,
    unfairness_sentence,
    verdict_label,
    verdict_sentence,
)
from engine.records import Agreement, Evidence, PathResult, Run
from tests.samples import a_run_with_costs, sample_path, sample_run

LINEAR, SDPA = "mkldnn::_linear_pointwise", "aten::scaled_dot_product_attention"
FUSED, NESTED = "aten::_transformer_encoder_layer_fwd", "aten::_nested_tensor_from_mask"


def run_with(*paths: PathResult) -> Run:
    run = sample_run()
    slow = sample_path("slow", (10.0,) * 8, 0)
    names = ("slow", *(path.name for path in paths))
    experiment = run.experiment.model_copy(update={"paths": names})
    return concluded(run.model_copy(update={"paths": (slow, *paths), "experiment": experiment}))


def changed(path: PathResult, **facts: Any) -> PathResult:
    return path.model_copy(update=facts)


def test_the_fastest_path_comes_first_with_its_interval() -> None:
    run = run_with(sample_path("fast-mha", (12.5,) * 8, 6), sample_path("fast-nested", (5.0,) * 8, 6))
    assert verdict_sentence(run) == (
        "Native MHA + sparsity is 2.0x as fast as the slow path here (95 % interval 2.0x to 2.0x); "
        "native MHA alone is slower: 0.80x as fast."
    )


def test_a_slower_path_is_not_called_faster() -> None:
    run = run_with(sample_path("fast-mha", (20.0,) * 8, 6))
    assert verdict_sentence(run).startswith(
        "Native MHA alone is slower than the slow path here: 0.50x as fast"
    )


def test_same_and_not_sure_are_named() -> None:
    same = run_with(sample_path("fast-mha", (10.0,) * 8, 6))
    unsure = run_with(sample_path("fast-mha", (5.0, 20.0) * 4, 6))
    assert "is as fast as the slow path" in verdict_sentence(same)
    assert "Not sure whether native MHA alone is faster or slower than the slow path" in verdict_sentence(
        unsure
    )


def test_a_path_without_a_result_is_named_and_never_dropped() -> None:
    lost = PathResult(name="fast-nested", dtype="fp32", status="failed", reason="RuntimeError: no")
    sentence = verdict_sentence(run_with(lost, sample_path("fast-mha", (5.0,) * 8, 6)))
    assert sentence.endswith("Native MHA + sparsity gave no result.")
    assert verdict_label(lost) == "failed"


def test_a_run_of_the_baseline_alone_says_what_to_do() -> None:
    assert "add a path" in verdict_sentence(run_with())


@pytest.mark.parametrize(
    ("name", "ops", "kept", "expected"),
    [
        ("slow", {FUSED: 0.0, NESTED: 0.0}, True, "0 of 6 layers ran fused, padding was computed."),
        ("fast-nested", {FUSED: 6.0, NESTED: 1.0}, True, "6 of 6 layers ran fused, padding was skipped."),
        (
            "fast-nested",
            {FUSED: 0.0, NESTED: 0.0},
            False,
            "The fastpath was not taken: 0 of 6 layers ran fused, padding was computed.",
        ),
        (
            "tutorial-mha",
            {FUSED: 6.0, NESTED: 1.0},
            False,
            "Expected: no nesting. The profile shows something else: 6 of 6 layers ran fused, padding was skipped.",
        ),
        (
            "slow-train",
            {FUSED: 0.0, "aten::bernoulli_": 19.0},
            True,
            "0 of 6 layers ran fused, dropout was drawn.",
        ),
        (
            "packed@bf16",
            {FUSED: 0.0, NESTED: 0.0, SDPA: 0.0, LINEAR: 25.0},
            True,
            "25 linear layers ran on laid-out weights, no padding was computed.",
        ),
        (
            "packed",
            {FUSED: 0.0, NESTED: 0.0, SDPA: 0.0, "packed::attention": 6.0, "packed::add_and_norm": 12.0},
            True,
            "Attention ran in a compiled kernel in 6 of 6 layers, no padding was computed.",
        ),
        (
            "packed",
            {FUSED: 0.0, NESTED: 0.0, SDPA: 0.0, "packed::attention": 5.0, "packed::add_and_norm": 12.0},
            True,
            "Attention ran in a compiled kernel in 5 of 6 layers (the last layer computes attention for each text's "
            "first token only, without the kernel), no padding was computed.",
        ),
        (
            "packed",
            {FUSED: 0.0, NESTED: 0.0, SDPA: 0.0, "packed::encoder": 1.0},
            True,
            "All layers ran in one call of compiled kernels, no padding was computed.",
        ),
        (
            "packed",
            {FUSED: 0.0, NESTED: 0.0, SDPA: 0.0},
            True,
            "No fused layer ran, no padding was computed.",
        ),
        (
            "bucketed",
            {FUSED: 0.0, NESTED: 0.0, SDPA: 12.0},
            True,
            "2 groups of texts of similar length, each padded to its longest text only.",
        ),
    ],
)
def test_the_sentence_about_a_path_follows_its_profile(
    name: str, ops: dict[str, float], kept: bool, expected: str
) -> None:
    path = changed(sample_path(name, (1.0,), 0), evidence=Evidence(claim="no nesting", ops=ops, ok=kept))
    assert evidence_sentence(path, 6) == expected
    assert evidence_words(path).startswith("proven" if kept else "refuted")


def test_a_path_without_a_profile_has_no_proof() -> None:
    assert "nothing proves" in evidence_sentence(changed(sample_path("slow", (1.0,), 0), evidence=None), 6)


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (True, "The library runs the encoder, torch only the classification head."),
        (
            False,
            "Expected: the library runs the encoder, torch only the classification head. The profile shows something "
            "else: 0 x _transformer_encoder_layer_fwd, 26 x linear per forward.",
        ),
    ],
)
def test_a_path_of_another_library_is_compared_with_its_claim(kept: bool, expected: str) -> None:
    ops = {FUSED: 0.0, "aten::linear": 2.0 if kept else 26.0}
    evidence = Evidence(
        claim="the library runs the encoder, torch only the classification head", ops=ops, ok=kept
    )
    path = changed(sample_path("onnxruntime@int8", (1.0,), 0), evidence=evidence)
    assert evidence_sentence(path, 6) == expected


def test_a_verdict_on_many_paths_names_the_fastest_few() -> None:
    many = [sample_path(f"path-{number}", (10.0 + number,) * 8, 0) for number in range(7)]
    sentence = verdict_sentence(run_with(*many))
    assert sentence.count(";") == 5
    assert sentence.endswith("2 more paths have lower speedups.")


def test_the_name_of_a_lower_precision_path_has_path_and_precision() -> None:
    assert path_noun("packed@bf16") == "packed execution in bf16"
    assert path_noun("onnxruntime@int8") == "ONNX Runtime in int8"


def test_one_time_costs_are_shown_with_the_number_of_batches_that_pays_them_back() -> None:
    run = a_run_with_costs()
    packed = run.path("packed")
    assert preparation_sentence(packed) == "Prepared in 40 ms, 42 MB of weights in addition to the model's."
    assert break_even_sentence(run, packed) == (
        "Preparing it and its first call cost 66 ms once, paid back after 11 batches like this one."
    )
    assert preparation_sentence(run.baseline) == break_even_sentence(run, run.baseline) == ""
    free = changed(run.path("fast-nested"), first_call_ms=5.0)
    assert break_even_sentence(run, free) == "It has no one-time cost: it saves time from the first batch on."
    assert [ms_words(value) for value in (0.44, 35.2, 2140.0)] == ["0.4 ms", "35 ms", "2.1 s"]


def test_the_recommendation_has_its_figures_and_the_faster_path_its_error() -> None:
    exact, approximate = recommendation_sentences(a_run_with_costs())
    assert exact == (
        "Choose packed execution for the same answer: 2.5x as fast as the slow path (2.5x to 2.5x). Its outputs differ "
        "by at most 1e-06; up to 1e-05 counts as rounding. Its one-time costs are paid back after 11 batches like this "
        "one. It holds 42 MB of weights in addition to the model's."
    )
    assert approximate.startswith(
        "If differences of up to 0.02 in the hidden states are acceptable, choose packed execution in bf16: 5.0x as "
        "fast (5.0x to 5.0x), 2.0x as fast as packed execution. "
    )


def test_a_lower_precision_has_a_close_answer_not_the_same_one() -> None:
    run = a_run_with_costs()
    assert agreement_sentence(run, run.path("packed@bf16")).startswith("Close answer: in bf16 outputs differ")
    assert agreement_sentence(run, run.path("packed")).startswith("Same answer")


def test_where_nothing_is_faster_the_baseline_is_recommended() -> None:
    (sentence,) = recommendation_sentences(run_with(sample_path("fast-mha", (20.0,) * 8, 6)))
    assert sentence.startswith("Stay with the slow path")
    (open_yet,) = recommendation_sentences(run_with(sample_path("fast-mha", (5.0, 20.0) * 4, 6)))
    assert open_yet.startswith("Stay with the slow path until more is known")
    assert recommendation_sentences(run_with()) == ()


@pytest.mark.parametrize(
    ("agreement", "sentence", "cell"),
    [
        (Agreement(max_abs_error=1e-6, tolerance=1e-5, ok=True), "Same answer", "within 1.0e-06"),
        (Agreement(max_abs_error=3.0, tolerance=1e-5, ok=False), "do not use it", "differs by 3.0e+00"),
        (Agreement(max_abs_error=None, tolerance=1e-5, ok=False), "not all numbers", "not a number"),
        (None, "not compared", "not compared"),
    ],
)
def test_a_different_answer_is_always_reported(agreement: Agreement | None, sentence: str, cell: str) -> None:
    path = changed(sample_path("fast-mha", (5.0,) * 8, 6), agreement=agreement)
    assert sentence in agreement_sentence(run_with(path), path)
    assert cell in agreement_words(path)


def test_an_unfair_comparison_is_shown_beside_the_fair_one() -> None:
    run = run_with(sample_path("slow-train", (30.0,) * 8, 0), sample_path("fast-nested", (5.0,) * 8, 6))
    sentence = unfairness_sentence(run, "slow-train", "fast-nested")
    assert "looks 6.0x as fast" in sentence
    assert sentence.endswith("without gradients it is 2.0x as fast.")


def test_numbers_have_the_digits_that_matter() -> None:
    assert [speedup_text(value) for value in (0.854, 1.004, 1.996, 2.14)] == [
        "0.85x",
        "1.00x",
        "2.0x",
        "2.1x",
    ]
    assert interval_words(None) == ""
    assert batch_sentence((4, 6), 1 / 6, (1,)).endswith("17% of the padded batch is padding. 1 truncated to the "
                                                        "longest length allowed.")  # fmt: skip


def test_a_button_says_how_many_rounds_can_be_added() -> None:
    assert more_words(More(rounds=None, seconds=20)) == "20 s more"
    assert more_words(More(rounds=49, seconds=36.7)) == "49 more rounds, about 37 s"
    assert more_words(More(rounds=1, seconds=0.2)) == "1 more round, about a second"


def test_a_continued_run_says_how_often_and_how_wide_its_intervals_are() -> None:
    run = sample_run()
    assert looks_sentence(run) == ""
    once = run.model_copy(update={"sessions": (5, 3), "continues": "another"})
    assert looks_sentence(once).startswith("Continued once after its result was seen")
    assert looks_sentence(once).endswith("at 97.5 %.")
    twice = run.model_copy(update={"sessions": (5, 2, 1)})
    assert looks_sentence(twice).startswith("Continued 2 times")
    assert looks_sentence(twice).endswith("at 98.75 %.")
