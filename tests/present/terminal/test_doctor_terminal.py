"""The doctor's report in a terminal: every finding is printed at any width, and code is never cut."""

from io import StringIO
from typing import get_args

import pytest
from rich.console import Console, RenderableType

from engine.catalog.modifications import MODIFICATIONS
from engine.diagnosis import AS_IT_IS, Diagnosis, Taken, TorchReason
from engine.present.terminal.doctor import conditions_table, doctor_report, modifications_table, states_table
from engine.present.words.doctor import part_statuses
from engine.present.words.doctor_obstacles import passing_sentence
from tests.samples import a_broken_diagnosis, a_diagnosis, a_silently_wrong_diagnosis

LONG_CURE = 'encoder.layers[1].register_forward_hook(probe).remove()  # the fused operator calls no hooks: "remove" it'


def _printed(shown: RenderableType, width: int = 120) -> str:
    console = Console(file=StringIO(), width=width)
    console.print(shown, crop=False)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def _squeezed(text: str) -> str:
    """The text without rules and line breaks, which depend on the width."""
    return "".join(character for character in text if not character.isspace() and character not in "│─┃━")


def _with_first_check(diagnosis: Diagnosis, **changes: object) -> Diagnosis:
    first, *rest = diagnosis.checks
    return diagnosis.model_copy(update={"checks": (first.model_copy(update=changes), *rest)})


def test_the_verdict_comes_first_and_both_parts_follow() -> None:
    diagnosis = a_diagnosis()
    lines = _printed(doctor_report(diagnosis)).splitlines()
    assert lines[2] == diagnosis.summary
    for line, part in zip(lines[3:5], part_statuses(diagnosis), strict=True):
        assert line == f"{part.title}: predicted {part.predicted}; proved {part.proved}"


@pytest.mark.parametrize("verdict", get_args(Taken))
def test_every_verdict_can_be_printed(verdict: Taken) -> None:
    diagnosis = a_diagnosis().model_copy(update={"verdict": verdict})
    assert diagnosis.summary in _printed(doctor_report(diagnosis))


def test_a_proof_that_differs_from_the_prediction_says_so() -> None:
    diagnosis = a_diagnosis()
    now = diagnosis.state(AS_IT_IS)
    other = now.proof.counts.model_copy(update={"fused_layers": 5})
    differing = now.model_copy(update={"proof": now.proof.model_copy(update={"counts": other})})
    told = _printed(doctor_report(diagnosis.model_copy(update={"states": (diagnosis.states[0], differing)})))
    assert told.count("they differ; the profile is right") == 1


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_failing_condition_is_printed_in_full_at_any_width(width: int) -> None:
    diagnosis = a_broken_diagnosis()
    told = _squeezed(_printed(doctor_report(diagnosis), width))
    for check in diagnosis.failing:
        for words in (check.key, check.needs, check.has, check.why, check.cure, check.torch_says):
            assert _squeezed(words) in told


def test_conditions_with_the_same_cure_are_grouped_and_native_mha_comes_first() -> None:
    """One forgotten eval() breaks conditions of the encoder, of every layer and of every attention."""
    diagnosis = a_broken_diagnosis()
    train, *others = diagnosis.checks
    shared = train.model_copy(
        update={"key": "eval-mode-encoder", "part": "sparsity", "torch_says": "layers[0] was"}
    )
    told = _printed(doctor_report(diagnosis.model_copy(update={"checks": (shared, train, *others)})))
    assert f"Native MHA: {train.key} (" in told
    assert "and also        Sparsity: eval-mode-encoder “layers[0] was”" in told
    assert told.count(train.why) == 1


def test_torchs_internal_reasons_are_quoted_from_the_proof() -> None:
    heard = TorchReason(where="nn.MultiheadAttention", reason="something only torch computed", calls=1)
    diagnosis = a_diagnosis()
    now = diagnosis.state(AS_IT_IS)
    heard_now = now.model_copy(update={"proof": now.proof.model_copy(update={"torch_reasons": (heard,)})})
    told = _printed(doctor_report(diagnosis.model_copy(update={"states": (diagnosis.states[0], heard_now)})))
    assert (
        "torch's internal reasons (not logged)\nnn.MultiheadAttention: something only torch computed" in told
    )


def test_a_condition_that_no_line_of_code_cures_says_so() -> None:
    told = _printed(doctor_report(_with_first_check(a_broken_diagnosis(), cure="")))
    assert "no line of code cures this" in told


def test_a_danger_comes_before_what_is_fine_and_names_its_cure() -> None:
    diagnosis = a_silently_wrong_diagnosis()
    told = _printed(doctor_report(diagnosis))
    assert told.index("Silently wrong: left-padding") < told.index(passing_sentence(diagnosis))
    assert "cure  tokenizer.padding_side" in told
    assert "Prediction and proof disagree: Sparsity was predicted for 1 encoder" in told


def test_a_state_with_wrong_answers_is_shown_and_not_recommended() -> None:
    (row,) = [
        line for line in _printed(states_table(a_silently_wrong_diagnosis())).splitlines() if "As it" in line
    ]
    assert "off by 2.8" in row
    assert "not recommended" in row


def test_the_table_of_states_has_each_cure_its_time_and_its_speedup() -> None:
    diagnosis = a_broken_diagnosis()
    told = _printed(states_table(diagnosis))
    rows = {
        state.name: next(row for row in told.splitlines() if row.startswith(state.title))
        for state in diagnosis.states
    }
    assert "torch.inference_mode().__enter__()" in told
    assert "baseline" in rows[AS_IT_IS]
    assert "1.00x" not in rows[AS_IT_IS]
    for words in ("6 of 6", "33.0 ms", "2.9x", "faster"):
        assert words in rows["layer.gradients"]


def test_native_attention_alone_has_a_column_where_it_occurs() -> None:
    diagnosis = a_diagnosis()
    assert "attention alone" not in _printed(states_table(diagnosis))
    now = diagnosis.state(AS_IT_IS)
    counts = now.proof.counts.model_copy(update={"native_attentions": 3})
    some = now.model_copy(update={"proof": now.proof.model_copy(update={"counts": counts})})
    told = _printed(states_table(diagnosis.model_copy(update={"states": (diagnosis.states[0], some)})))
    assert "attention alone" in told
    assert "3 native" in told


def test_a_comment_on_a_cure_is_in_the_code_and_not_in_the_table() -> None:
    diagnosis = a_broken_diagnosis()
    first = diagnosis.states[0].model_copy(update={"cure": "model.eval()  # before anything else"})
    commented = diagnosis.model_copy(update={"states": (first, *diagnosis.states[1:])})
    assert "before anything else" not in _printed(states_table(commented))
    assert "model.eval()  # before anything else" in _printed(doctor_report(commented))


def test_without_timing_no_times_are_shown() -> None:
    diagnosis = a_diagnosis()
    untimed = tuple(state.model_copy(update={"timing": None}) for state in diagnosis.states)
    told = _printed(
        doctor_report(
            diagnosis.model_copy(update={"states": untimed, "rounds": 0, "baseline": "", "sparsity": None})
        )
    )
    assert "not timed" in told
    assert "median" not in told
    assert "speedup" not in told
    assert "nothing was timed" in told


def test_sparsity_is_shown_with_its_limit_its_gain_the_crossover_and_its_age() -> None:
    told = " ".join(_printed(doctor_report(a_diagnosis())).split())
    assert "200 of 570 tokens are real" in told
    assert "3.1x as fast. Measured: 1.70x" in told
    assert "becomes faster between 0% and 40% padding" in told
    assert "From a stored sweep, measured 3 days ago." in told


def test_cures_that_were_not_tried_and_modifications_are_shown() -> None:
    told = _printed(doctor_report(a_broken_diagnosis()))
    assert "Not tried: The hook was left alone: it may be yours." in told
    assert "Modified on purpose: train-mode, gradients." in told


def test_conditions_that_are_met_are_counted_and_listed_only_on_request() -> None:
    diagnosis = a_broken_diagnosis()
    met = [check for check in diagnosis.checks if check.ok]
    few, every = (_printed(doctor_report(diagnosis, every_condition=asked)) for asked in (False, True))
    assert f"{passing_sentence(diagnosis)}." in few
    assert met
    assert not any(check.key in few for check in met)
    assert all(check.key in every for check in diagnosis.checks)
    assert _printed(conditions_table(diagnosis)).count(" yes ") == len(met)


def test_all_cures_can_be_copied_from_a_narrow_terminal() -> None:
    """A line of code that is broken or cut does not work any more."""
    diagnosis = _with_first_check(a_broken_diagnosis(), cure=LONG_CURE)
    lines = _printed(doctor_report(diagnosis), width=60).splitlines()
    block = lines[lines.index("All cures together") :]
    assert "model.eval()" in block
    assert "torch.inference_mode().__enter__()" in block
    assert LONG_CURE in block


def test_square_brackets_in_code_are_not_read_as_markup() -> None:
    diagnosis = _with_first_check(a_broken_diagnosis(), has="x[i] and [bold]", cure="del encoder.hooks[key]")
    told = _printed(doctor_report(diagnosis, every_condition=True))
    assert told.count("x[i] and [bold]") == 2
    assert "del encoder.hooks[key]" in told


def test_every_modification_is_listed_with_its_code() -> None:
    told = _squeezed(_printed(modifications_table(MODIFICATIONS.values())))
    for modification in MODIFICATIONS.values():
        assert _squeezed(modification.name + modification.title + modification.code) in told
