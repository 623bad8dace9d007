"""The doctor's sentences say what was proved, never praise a wrong answer, and offer no cure that does harm."""

from dataclasses import replace
from datetime import timedelta

import pytest

from engine.diagnosis import AS_IT_IS, SLOW, Counts, Danger, Diagnosis, Effect, Prediction, Proof, SweepPoint
from engine.present.words import doctor as words
from engine.present.words import doctor_cures, doctor_obstacles, doctor_sparsity
from engine.records import Agreement, VerdictWord
from tests.samples import (
    a_broken_diagnosis,
    a_diagnosis,
    a_silently_wrong_diagnosis,
    a_sweep_point,
    checked_by_every_part,
    some_sparsity,
)


def with_state(diagnosis: Diagnosis, name: str, **changes: object) -> Diagnosis:
    states = tuple(
        state.model_copy(update=changes) if state.name == name else state for state in diagnosis.states
    )
    return diagnosis.model_copy(update={"states": states})


@pytest.mark.parametrize(
    ("diagnosis", "headline", "tone"),
    [
        (a_diagnosis(), "The fastpath is taken", "good"),
        (a_broken_diagnosis(), "The fastpath is not taken", "bad"),
        (a_silently_wrong_diagnosis(), "The fastpath is taken and its answer is wrong", "bad"),
        (
            a_diagnosis().model_copy(update={"verdict": "partly taken"}),
            "The fastpath is partly taken",
            "middling",
        ),
    ],
)
def test_the_headline_is_never_better_than_the_answers(
    diagnosis: Diagnosis, headline: str, tone: str
) -> None:
    assert (words.headline(diagnosis), words.tone(diagnosis)) == (headline, tone)


@pytest.mark.parametrize("diagnosis", [a_diagnosis(), a_broken_diagnosis(), a_silently_wrong_diagnosis()])
def test_the_headline_begins_the_summary(diagnosis: Diagnosis) -> None:
    assert diagnosis.summary.startswith(words.headline(diagnosis))


def test_an_answer_that_is_right_by_chance_is_not_called_wrong() -> None:
    """An adapter of zeros changes nothing until it is trained; the summary has said so, and the page said "wrong"."""
    by_chance = with_state(
        a_silently_wrong_diagnosis(), AS_IT_IS, agreement=a_diagnosis().states[1].agreement
    )
    assert words.headline(by_chance) == "The fastpath is taken and its answer cannot be trusted"


def test_a_forward_that_raises_is_the_headline() -> None:
    nothing = Counts(fused_layers=0, nested_conversions=0, native_attentions=0)
    raised = with_state(
        a_diagnosis(),
        AS_IT_IS,
        prediction=Prediction(counts=None, error="nested tensors meet a layer that cannot take them"),
        proof=Proof(counts=nothing, error="RuntimeError: no"),
        agreement=None,
    )
    assert (words.headline(raised), words.tone(raised)) == ("The forward ends with an error", "bad")
    assert all(status.agree for status in words.part_statuses(raised))
    native, sparsity = words.part_statuses(raised)
    assert (native.tone, sparsity.tone) == ("bad", "bad")
    assert native.proved == "0 of 6 layers fused, before the error"
    assert words.prediction_sentence(native) == "Predicted an error; the forward raised it."
    went_well = with_state(raised, AS_IT_IS, proof=a_diagnosis().state(AS_IT_IS).proof)
    assert (
        words.prediction_sentence(words.part_statuses(went_well)[0])
        == "Predicted an error; the forward raised none."
    )
    assert doctor_cures.answer_words(words.as_it_is(raised)) == "none: RuntimeError: no"
    assert doctor_cures.verdict_cell(raised, words.as_it_is(raised)) == "raises, not recommended"


def test_a_fastpath_with_a_danger_is_not_good() -> None:
    danger = Danger(key="k", effect="ignored", module="encoder", has="h", why="w", cure="")
    assert words.tone(a_diagnosis().model_copy(update={"dangers": (danger,)})) == "middling"


def test_prediction_and_proof_are_shown_side_by_side_and_a_difference_is_named() -> None:
    agreed, sparsity = words.part_statuses(a_diagnosis())
    assert agreed.proved == "6 of 6 layers fused"
    assert words.prediction_sentence(agreed) == "Predicted 6 of 6 layers fused, and the profile proves it."
    assert sparsity.proved == "1 nested conversion: padding left out"
    fewer = Counts(fused_layers=5, nested_conversions=0, native_attentions=1)
    differing = with_state(a_diagnosis(), AS_IT_IS, proof=Proof(counts=fewer))
    native, sparsity = words.part_statuses(differing)
    assert (native.tone, native.agree, sparsity.tone, sparsity.agree) == ("middling", False, "bad", False)
    assert "proves 5 of 6 layers fused, 1 native attention." in words.prediction_sentence(native)


def test_a_model_without_layers_is_described_by_its_attentions() -> None:
    two = Counts(fused_layers=0, nested_conversions=0, native_attentions=2)
    alone = with_state(a_diagnosis(), AS_IT_IS, proof=Proof(counts=two), prediction=Prediction(counts=two))
    native, _ = words.part_statuses(alone.model_copy(update={"layers": 0}))
    assert (native.proved, native.tone, native.agree) == ("2 native attentions", "good", True)


@pytest.mark.parametrize(
    ("failing", "expected"),
    [
        ((), "encoder.layers"),
        ((1,), "encoder.layers, layer 1"),
        ((0, 1, 2, 4), "encoder.layers, layers 0 to 2, 4"),
        (tuple(range(6)), "encoder.layers, all 6 layers"),
    ],
)
def test_numbers_of_layers_are_shortened(failing: tuple[int, ...], expected: str) -> None:
    check = a_broken_diagnosis().failing[0].model_copy(update={"failing_layers": failing})
    assert doctor_obstacles.where_words(check, 6) == expected


def test_what_is_silently_wrong_comes_first() -> None:
    effects: tuple[Effect, ...] = ("ignored", "error", "not a number", "wrong")
    dangers = tuple(
        Danger(key=effect, effect=effect, module="m", has="h", why="w", cure="c") for effect in effects
    )
    shown = doctor_obstacles.sorted_dangers(a_diagnosis().model_copy(update={"dangers": dangers}))
    assert [danger.effect for danger in shown] == list(reversed(effects))


def test_conditions_are_counted() -> None:
    assert doctor_obstacles.passing_sentence(a_diagnosis()) == "All 2 conditions are met"
    assert doctor_obstacles.passing_sentence(a_broken_diagnosis()) == "1 of 3 conditions are met"


def test_torchs_own_reasons_are_quoted() -> None:
    train = doctor_obstacles.obstacles(checked_by_every_part(a_broken_diagnosis()))[0]
    assert doctor_obstacles.torchs_reason(train) == (
        "torch's internal reason (not logged): “training is enabled”, “self.layers[0] was in training mode”"
    )
    assert doctor_obstacles.torchs_reason(replace(train, torch_says=())) == ""


def test_a_condition_of_several_parts_is_listed_once_in_the_words_of_the_layers() -> None:
    train, gradients = doctor_obstacles.obstacles(checked_by_every_part(a_broken_diagnosis()))
    assert (train.parts, train.check.part) == (("native MHA", "sparsity"), "native MHA")
    assert gradients.parts == ("native MHA",)
    assert doctor_obstacles.obstacles(a_diagnosis()) == ()


def test_conditions_of_native_attention_alone_are_listed_only_without_layers() -> None:
    broken = checked_by_every_part(a_broken_diagnosis())
    needs = "masks of booleans"
    assert needs not in [obstacle.check.needs for obstacle in doctor_obstacles.obstacles(broken)]
    without_layers = broken.model_copy(update={"layers": 0})
    assert needs in [obstacle.check.needs for obstacle in doctor_obstacles.obstacles(without_layers)]


def test_the_explanation_does_not_repeat_the_headline() -> None:
    assert words.explanation(a_diagnosis()) == "6 of 6 layers are fused, sparsity is on."
    assert words.explanation(a_broken_diagnosis()) == "What stands in the way first: train mode."


def test_an_older_diagnosis_is_explained_by_its_summary() -> None:
    older = a_diagnosis().model_copy(update={"explanation": ""})
    assert words.explanation(older) == "The fastpath is taken: 6 of 6 layers are fused, sparsity is on."


def test_a_batch_without_padding_has_no_padding_to_skip() -> None:
    nothing = Counts(fused_layers=6, nested_conversions=0, native_attentions=0)
    dense = with_state(
        a_diagnosis(), AS_IT_IS, proof=Proof(counts=nothing), prediction=Prediction(counts=nothing)
    )
    sparsity = some_sparsity().model_copy(update={"padding_ratio": 0.0})
    _, status = words.part_statuses(dense.model_copy(update={"sparsity": sparsity}))
    assert status.proved == "0 nested conversions, and no padding to leave out"
    assert status.tone == "middling"


def test_every_kind_of_answer_has_its_words() -> None:
    healthy, wrong = a_diagnosis().states[1], a_silently_wrong_diagnosis().states[1]
    nan = Agreement(max_abs_error=None, tolerance=1e-4, ok=False)
    assert doctor_cures.answer_words(a_diagnosis().state(SLOW)) == "the reference"
    assert doctor_cures.answer_words(healthy) == "yes, within 1.2e-06"
    assert doctor_cures.answer_words(wrong) == "no, off by 2.8"
    exact = Agreement(max_abs_error=0.0, tolerance=1e-4, ok=True)
    assert doctor_cures.answer_words(healthy.model_copy(update={"agreement": exact})) == "yes, exactly"
    assert doctor_cures.answer_words(healthy.model_copy(update={"agreement": nan})) == "no, not a number"
    assert doctor_cures.answer_words(healthy.model_copy(update={"agreement": None})) == "nothing to compare"
    assert "the cure changes them: off by 2.8" in doctor_cures.answer_words(
        healthy.model_copy(update={"drift": wrong.agreement})
    )


def test_the_fastest_right_answer_is_recommended_and_a_wrong_one_never() -> None:
    assert doctor_cures.gain_sentence(a_broken_diagnosis()) == (
        "“no gradients” is the fastest state with right answers: 2.9x (2.9x to 3.0x) against “As it is”."
    )
    wrong = a_silently_wrong_diagnosis()
    assert doctor_cures.gain_sentence(wrong) == "No other state with right answers was timed."
    assert doctor_cures.gain_sentence(wrong.model_copy(update={"baseline": AS_IT_IS})).startswith(
        "“As it is” gives wrong answers. Of the states with right answers, “Slow path” comes nearest"
    )
    assert doctor_cures.gain_sentence(a_diagnosis()) == (
        "No state is clearly faster than “As it is”; "
        "“Slow path” comes nearest with 0.54x (0.53x to 0.55x): slower."
    )
    assert doctor_cures.verdict_cell(wrong, wrong.state(AS_IT_IS)) == "wrong results, not recommended"
    untimed = with_state(with_state(wrong, SLOW, timing=None), AS_IT_IS, timing=None)
    assert doctor_cures.gain_sentence(untimed) == "No other state with right answers was timed."
    assert doctor_cures.verdict_cell(untimed, untimed.state(SLOW)) == "not timed"


def test_all_cures_are_in_order_and_those_not_tried_follow() -> None:
    broken = a_broken_diagnosis()
    assert doctor_cures.all_cures(broken).splitlines() == [
        "model.eval()",
        "torch.inference_mode().__enter__()",
    ]
    third = broken.failing[0].model_copy(update={"cure": "handle.remove()"})
    more = broken.model_copy(update={"checks": (*broken.checks, third)})
    assert doctor_cures.all_cures(more).splitlines()[-2:] == [
        "# suggested, not tried here:",
        "handle.remove()",
    ]
    assert doctor_cures.all_cures(a_diagnosis()) == ""


def test_a_cure_that_led_to_wrong_answers_is_not_offered() -> None:
    harmful = with_state(a_broken_diagnosis(), "layer.gradients", offered=False)
    assert doctor_cures.all_cures(harmful) == "model.eval()"


def test_a_cure_whose_wrong_answers_a_later_one_repairs_is_offered_with_it() -> None:
    """With gradients off, the fastpath is taken on a left-padded batch and is wrong; right padding then repairs it."""
    broken = a_broken_diagnosis()
    first = with_state(broken, broken.states[2].name, offered=False)
    assert doctor_cures.all_cures(first) == doctor_cures.all_cures(broken)


def test_the_sentence_on_sparsity_has_its_limit_and_its_measured_gain() -> None:
    sparsity = some_sparsity()
    sentence = doctor_sparsity.sparsity_sentence(sparsity)
    assert "200 of 570 tokens are real, 65% is padding" in sentence
    assert "3.1x as fast. Measured: 1.70x (1.67x to 1.73x), faster." in sentence
    unmeasured = doctor_sparsity.sparsity_sentence(sparsity.model_copy(update={"measured": None}))
    assert unmeasured.endswith("Sparsity was not measured here.")


def test_the_crossover_says_on_which_side_the_batch_is() -> None:
    crossover = some_sparsity().crossover
    assert crossover is not None
    said = doctor_sparsity.crossover_sentence(crossover, 0.65)
    assert (
        "sparsity becomes faster between 0% and 40% padding; not sure at 20%. This batch has more, 65%."
        in said
    )
    assert "This batch lies between, at 10%." in doctor_sparsity.crossover_sentence(crossover, 0.1)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (("same", "slower"), "sparsity is not faster at any padding ratio that was tried."),
        (("faster", "faster"), "sparsity is faster at every padding ratio that was tried."),
        (
            ("not sure", "faster"),
            "sparsity is faster from 50% padding on, perhaps from less; not sure at 0%.",
        ),
        (("same", "not sure"), "sparsity is not faster at 0% padding; not sure at 50%."),
        (
            ("faster", "slower"),
            "sparsity is faster at 0% padding and not at 50%; more padding should not make it",
        ),
        (("not sure", "not sure"), "the sweep is not precise enough to tell where sparsity is faster."),
    ],
)
def test_the_crossover_is_stated_only_as_far_as_verdicts_are_clear(
    verdicts: tuple[VerdictWord, VerdictWord], expected: str
) -> None:
    """A figure without a clear verdict is never turned into a statement."""
    crossover = some_sparsity().crossover
    assert crossover is not None
    points = tuple(a_sweep_point(i / 2, 1.5, verdict) for i, verdict in enumerate(verdicts))
    assert expected in doctor_sparsity.crossover_sentence(
        crossover.model_copy(update={"points": points}), 0.3
    )


def test_a_sweep_that_was_too_slow_says_how_many_rounds_it_had() -> None:
    """Its figures have no intervals, and the reader learns why."""
    crossover = some_sparsity().crossover
    assert crossover is not None
    slow = tuple(
        SweepPoint(padding_ratio=ratio, speedup=1.4, verdict="not sure", sparse_ms=(9.0,) * 3)
        for ratio in (0.0, 0.5)
    )
    said = doctor_sparsity.crossover_sentence(crossover.model_copy(update={"points": slow}), 0.65)
    assert (
        "there was time for 3 rounds at each padding ratio, too few to tell where sparsity is faster." in said
    )


def test_a_sweep_of_an_older_version_has_no_crossover() -> None:
    """It had single figures without intervals, and its interpolated ratio is not repeated."""
    crossover = some_sparsity().crossover
    assert crossover is not None
    older = crossover.model_copy(update={"points": (), "crossover": 0.24})
    assert "not precise enough" in doctor_sparsity.crossover_sentence(older, 0.65)


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (timedelta(seconds=5), "less than a minute ago"),
        (timedelta(minutes=61), "1 hour ago"),
        (timedelta(days=3, hours=5), "3 days ago"),
    ],
)
def test_a_stored_sweep_is_shown_with_its_age(age: timedelta, expected: str) -> None:
    crossover = some_sparsity().crossover
    assert crossover is not None
    assert expected in doctor_sparsity.crossover_age(crossover, crossover.measured_at + age)
    fresh = crossover.model_copy(update={"cached": False})
    assert (
        doctor_sparsity.crossover_age(fresh, crossover.measured_at + age) == "Measured in this examination."
    )


def test_an_examination_without_timing_says_so() -> None:
    assert "8 rounds, precise enough" in words.conditions_sentence(a_diagnosis())
    untimed = a_diagnosis().model_copy(update={"rounds": 0})
    assert words.conditions_sentence(untimed).endswith("nothing was timed.")
