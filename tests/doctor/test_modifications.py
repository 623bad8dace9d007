"""The doctor finds what a teacher changes on purpose, on real weights; each modification has a function."""

import pytest

from engine.catalog.batches import PRESETS
from engine.catalog.modifications import MODIFICATIONS
from engine.diagnosis import AS_IT_IS, Taken
from engine.doctor import examine_request, modifications
from engine.events import DoctorRequest
from engine.measure.instruments import Instruments
from engine.models.loading import LoadedModel
from engine.settings import Settings
from tests.doctor.cases import NOTICES_HOOKS

FOUND: dict[str, tuple[Taken, str]] = {
    "train-mode": ("not taken", "eval-mode"),
    "gradients": ("not taken", "no-gradients"),
    "fastpath-off": ("not taken", "fastpath-enabled"),
    "autocast": ("not taken", "cpu-autocast"),
    "default-device": ("not taken", "plain-tensors"),
    "hook": ("partly taken", "no-hooks") if NOTICES_HOOKS else ("taken", "silent-hooks"),
    "unequal-eps": ("partly taken", "equal-eps"),
    "no-op-switch": ("taken", "no-op-switch"),
    "sparsity-off": ("partly taken", "use-nested"),
    "left-padding": ("taken but wrong", "left-padding"),
    "pad-inside": ("taken but wrong", "padding-inside"),
    "float-bias": ("taken but wrong", "graded-mask"),
    "adapter": ("taken but wrong", "replaced-part"),
}


@pytest.mark.parametrize("name", MODIFICATIONS)
def test_what_was_done_is_found_and_cured(minilm: LoadedModel, name: str) -> None:
    """The verdict and the named cause fit the modification, and the last state may be recommended."""
    request = DoctorRequest(
        model="minilm", batch=PRESETS["tutorial-small"], modifications=(name,), budget_s=0
    )
    diagnosis = examine_request(request, minilm, Settings(), Instruments(lambda _e: None, lambda: 0.0))
    verdict, key = FOUND[name]
    assert diagnosis.verdict == verdict
    assert key in {c.key for c in diagnosis.failing} | {d.key for d in diagnosis.dangers}
    assert diagnosis.findings == ()
    assert diagnosis.modifications == (name,)
    assert diagnosis.states[-1].name != AS_IT_IS
    assert diagnosis.states[-1].offered


def test_every_name_has_its_function() -> None:
    """A modification without a function would be examined as an unmodified model."""
    assert set(modifications.APPLY) == set(MODIFICATIONS)


def test_the_loaded_model_is_not_changed(minilm: LoadedModel) -> None:
    """The next visitor gets the model that was loaded, not the one that was broken."""
    encoder = minilm.model.encoder.transformer.layers
    everything = tuple(name for name in MODIFICATIONS if name not in ("left-padding", "pad-inside"))
    request = DoctorRequest(
        model="minilm", batch=PRESETS["tutorial-small"], modifications=everything, budget_s=0
    )
    examine_request(request, minilm, Settings(), Instruments(lambda _e: None, lambda: 0.0))
    assert not minilm.model.training
    assert encoder.use_nested_tensor
    assert encoder.enable_nested_tensor
    assert not encoder.layers[1]._forward_hooks
    assert encoder.layers[0].norm2.eps == encoder.layers[0].norm1.eps
