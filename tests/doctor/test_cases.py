"""Every condition and danger on a model or input that has it: predicted, proved by counts, cured on a copy."""

import warnings

import pytest

from engine.diagnosis import AS_IT_IS, Counts, Diagnosis, State
from engine.doctor import doctor
from engine.doctor.words import explains
from engine.eligibility.dangers import RISKS
from engine.eligibility.encoder_conditions import CONSTRUCTION_CONDITIONS, ENCODER_CONDITIONS
from engine.eligibility.layer_conditions import LAYER_CONDITIONS
from tests.doctor.cases import CASES, NOTICES_HOOKS, Case


@pytest.fixture(autouse=True)
def _quiet_torch() -> None:
    warnings.filterwarnings("ignore", category=UserWarning, module="torch")


def diagnosis_of(case: Case) -> Diagnosis:
    model, example = case.build()
    with case.around():
        return doctor(model, example, budget_s=0)


def counted(counts: Counts | None) -> tuple[int, int, int] | None:
    return (counts.fused_layers, counts.nested_conversions, counts.native_attentions) if counts else None


def named(diagnosis: Diagnosis) -> set[str]:
    return {check.key for check in diagnosis.failing} | {danger.key for danger in diagnosis.dangers}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_doctor_names_proves_and_cures(case: Case) -> None:
    """The problem is named, the counts are predicted and measured, and after the cure the fastpath is proved."""
    diagnosis = diagnosis_of(case)
    as_it_is = diagnosis.state(AS_IT_IS)
    assert case.names in named(diagnosis)
    assert diagnosis.verdict == case.verdict
    assert counted(as_it_is.prediction.counts) == case.counts
    _proved(case, as_it_is)
    assert diagnosis.findings == ()
    _cured(case, diagnosis)


def _proved(case: Case, as_it_is: State) -> None:
    if case.counts is None:
        assert as_it_is.proof.error
        assert as_it_is.prediction.error
    else:
        assert counted(as_it_is.proof.counts) == case.counts
    if case.right is not None:
        assert as_it_is.agreement is not None
        assert as_it_is.agreement.ok is case.right
    assert as_it_is.offered is (case.verdict != "taken but wrong" and case.counts is not None)


def _cured(case: Case, diagnosis: Diagnosis) -> None:
    if not case.cure:
        last = diagnosis.states[-1].proof
        assert last.error or counted(last.counts) != (2, 1, 0)
        return
    cured = diagnosis.state(case.cure)
    assert counted(cured.proof.counts) == case.after
    assert cured.offered
    assert cured.agreement is not None
    assert cured.agreement.ok
    if case.kept is not None:
        assert cured.drift is not None
        assert cured.drift.ok is case.kept


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_torchs_own_reason_is_named(case: Case) -> None:
    """Every reason that torch computes and does not show is covered by one of our failing conditions."""
    diagnosis = diagnosis_of(case)
    for state in diagnosis.states[1:2]:
        for reason in state.proof.torch_reasons:
            assert any(explains(check, reason.reason) for check in diagnosis.checks), reason


def test_every_condition_and_danger_has_its_case() -> None:
    """A condition that never fails in a test may be wrong. Those that need a device or a compiler have other tests."""
    seen = {case.names for case in CASES}
    elsewhere = {
        "device", "device-encoder", "no-autocast", "no-autocast-encoder", "not-compiling", "plain-input",
        "nested-without-mask", "encoder-layer-class", "input", "global-hooks",
        "silent-hooks" if NOTICES_HOOKS else "no-hooks",
    }  # fmt: skip
    keys = [
        *(condition.key for condition in LAYER_CONDITIONS),
        *(condition.key for condition in CONSTRUCTION_CONDITIONS),
        *(condition.key for condition in ENCODER_CONDITIONS),
        *(risk.key for risk in RISKS),
    ]
    assert {key for key in keys if key.removesuffix("-encoder") not in seen} == elsewhere
