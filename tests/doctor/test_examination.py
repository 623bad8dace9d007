"""`doctor` takes any model with an encoder and the user's own call; it changes nothing of the user's."""

import copy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from threading import Lock
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import engine
from engine.catalog.batches import PRESETS
from engine.catalog.models import find_model
from engine.diagnosis import AS_IT_IS, SLOW, WITHOUT_SPARSITY, read_diagnosis
from engine.doctor import doctor, examine_request
from engine.doctor.modifications import Adapter
from engine.eligibility.plan import checks, plan_of
from engine.eligibility.reading import read_facts
from engine.eligibility.subject import admit
from engine.errors import Refusal
from engine.events import DoctorRequest, Event, Round, Step
from engine.measure.instruments import Instruments
from engine.models.loading import LoadedModel
from engine.present.words.doctor import headline
from engine.settings import Settings
from tests.doctor.cases import (
    DENSE,
    FULL,
    LENGTH,
    NONE,
    WIDTH,
    Tokens,
    call,
    causal,
    encoder,
    right_padding,
    states,
    tokens,
)

VERSION = tuple(map(int, torch.__version__.split(".")[:2]))


def counted(diagnosis: Any, state: str = AS_IT_IS) -> tuple[int, int, int]:
    counts = diagnosis.state(state).proof.counts
    return counts.fused_layers, counts.nested_conversions, counts.native_attentions


@torch.no_grad()
def examined(model: nn.Module, example: Any) -> Any:
    return doctor(model, example, budget_s=0)


def test_importing_the_engine_imports_no_torch_until_the_doctor_is_called_for() -> None:
    """`engine.doctor` is the documented name, and the app's server must not import torch."""
    code = (
        "import sys, engine; assert 'torch' not in sys.modules; engine.doctor; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    with pytest.raises(AttributeError, match="no attribute 'nurse'"):
        engine.nurse  # noqa: B018


@pytest.mark.parametrize(
    "imports",
    [
        "from engine import doctor",
        "import engine; doctor = engine.doctor; from engine import doctor as again; assert again is doctor",
        "import engine.doctor.sparsity; from engine import doctor",
        "from engine.doctor import examine_request; from engine import doctor",
        "import engine; engine.doctor; import engine.doctor.curing; doctor = engine.doctor",
    ],
)
def test_the_doctor_can_be_called_in_whatever_order_it_is_imported(imports: str) -> None:
    """Its package has the same name, which an import of any of its modules puts into `engine`."""
    code = (
        f"{imports}; import inspect, torch\n"
        "assert [*inspect.signature(doctor).parameters][:3] == ['model', 'example', 'title']\n"
        "encoder = torch.nn.TransformerEncoder(torch.nn.TransformerEncoderLayer(8, 2, batch_first=True), 1).eval()\n"
        "with torch.no_grad(): print(doctor(encoder, torch.randn(2, 3, 8), budget_s=0).verdict)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout == "taken\n", done.stderr


@pytest.mark.parametrize("example", [tokens(), (tokens(),), [tokens()], {"tokens": tokens()}])
def test_the_example_may_be_a_tensor_positional_or_named(example: Any) -> None:
    """All four forms of a call give the same examination."""
    diagnosis = examined(Tokens(), example)
    assert (diagnosis.verdict, counted(diagnosis)) == ("taken", FULL)


def test_nothing_of_the_owner_is_changed() -> None:
    """After all cures were tried, weights, modes, hooks and torch's own switches are as before."""
    model = Tokens().train()
    model.encoder.layers[0].register_forward_hook(lambda _m, _a, _o: None)
    before = copy.deepcopy(model.state_dict())
    random = torch.random.get_rng_state()
    doctor(model, tokens(), budget_s=0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training
    assert model.encoder.layers[1].training
    assert len(model.encoder.layers[0]._forward_hooks) == 1
    assert not model.encoder._forward_pre_hooks
    assert torch.is_grad_enabled()
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch.equal(torch.random.get_rng_state(), random)


def test_a_buffer_that_a_forward_changes_is_the_copys() -> None:
    """In train mode batch norms count their calls; the count in the user's model must not change."""

    class Counting(Tokens):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(WIDTH)

        def forward(self, ids: Tensor) -> Tensor:
            return self.norm(super().forward(ids).flatten(0, 1))  # type: ignore[no-any-return]

    model = Counting().train()
    examined(model, tokens())
    assert int(model.norm.num_batches_tracked or 0) == 0


def test_the_callers_own_context_is_what_is_examined() -> None:
    """Outside no_grad, gradients are on: there the same model does not take the fastpath, and inside it does."""
    assert doctor(encoder(), call(), budget_s=0).verdict == "not taken"
    assert examined(encoder(), call()).verdict == "taken"


def test_a_danger_that_gradients_hide_is_named_before_it_is_cured() -> None:
    """With a hook, gradients and left padding together no nested tensor is made, so the padding does no harm yet."""
    model = Tokens(mask_check=False)
    model.encoder.layers[1].register_forward_hook(lambda _m, _a, _o: None)
    diagnosis = doctor(model, tokens().flip(1), budget_s=0)
    failing = {check.key for check in diagnosis.failing}
    assert ({"no-hooks", "no-gradients"} if VERSION >= (2, 5) else {"no-gradients"}) <= failing
    assert "left-padding" in [danger.key for danger in diagnosis.dangers_after_cures]
    assert "left-padding" not in {danger.key for danger in diagnosis.dangers}
    assert "right-padded" in [state.name for state in diagnosis.states]


def test_frozen_parameters_take_the_fastpath_with_gradients_on() -> None:
    """Torch checks for tensors that would get a gradient, not only for the mode."""
    assert doctor(encoder().requires_grad_(False), call(), budget_s=0).verdict == "taken"


def test_a_live_embedding_in_front_of_a_frozen_encoder_is_seen() -> None:
    """Its output would get a gradient, which is visible only while gradients are on; no_grad is the cure."""
    model = Tokens()
    model.encoder.requires_grad_(False)
    diagnosis = doctor(model, tokens(), budget_s=0)
    assert (diagnosis.verdict, diagnosis.findings) == ("not taken", ())
    assert "the input would get one" in {check.key: check.has for check in diagnosis.failing}["no-gradients"]
    assert counted(diagnosis, "no-gradients") == FULL


def test_modes_that_the_model_changes_inside_are_those_that_count() -> None:
    """Many models enter no_grad or autocast in their own forward."""

    class Careful(Tokens):
        def forward(self, ids: Tensor) -> Tensor:
            with torch.no_grad():
                return super().forward(ids)

    class Mixed(Tokens):
        def forward(self, ids: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                return super().forward(ids)

    careful = doctor(Careful(), tokens(), budget_s=0)
    assert (careful.verdict, careful.failing, careful.findings) == ("taken", (), ())
    mixed = examined(Mixed(), tokens())
    assert [danger.key for danger in mixed.dangers] == ["cpu-autocast"]
    assert mixed.findings == ()


def test_a_model_without_an_encoder_is_refused() -> None:
    """The refusal is one sentence without a traceback."""
    with pytest.raises(Refusal, match=r"holds no nn.TransformerEncoder"):
        examined(nn.Linear(3, 3), torch.ones(2, 3))


def test_a_call_that_does_not_fit_the_model_is_a_finding() -> None:
    """The exception comes from the model itself, and no path can run this call."""
    diagnosis = examined(encoder(), {"nope": states()})
    assert diagnosis.verdict == "not taken"
    assert [danger.key for danger in diagnosis.dangers] == ["input"]
    assert "nope" in diagnosis.summary


def test_a_layer_alone() -> None:
    """Many models keep layers in their own list: native MHA, but no encoder that makes tensors nested."""
    layer = encoder().layers[0]
    diagnosis = examined(layer, {"src": states(), "src_key_padding_mask": right_padding()})
    assert counted(diagnosis) == (1, 0, 0)
    assert diagnosis.verdict == "taken"


def test_a_nested_input_with_a_mask_is_cured_by_leaving_the_mask_out() -> None:
    """A nested tensor contains its lengths; torch refuses a mask beside it."""
    nested = torch.nested.nested_tensor([states(4, WIDTH), states(2, WIDTH)])
    diagnosis = examined(
        encoder().layers[0], {"src": nested, "src_key_padding_mask": torch.zeros(2, 4).bool()}
    )
    assert "nested-without-mask" in {check.key for check in diagnosis.failing}
    assert counted(diagnosis, "nested-alone") == (1, 0, 0)


def test_a_nested_input_is_taken_without_conversion() -> None:
    """There is nothing to convert, so the conditions of sparsity do not matter for the layers."""
    nested = torch.nested.nested_tensor([states(4, WIDTH), states(2, WIDTH)])
    diagnosis = examined(encoder(), nested)
    assert counted(diagnosis) == DENSE


@pytest.mark.parametrize(("mask", "native"), [(causal(), 1), (causal().float(), 0)])
def test_an_attention_alone(mask: Tensor, native: int) -> None:
    """nn.MultiheadAttention has its own conditions: boolean masks, and one tensor as query, key and value."""
    attention = nn.MultiheadAttention(WIDTH, 4, batch_first=True).eval()
    here = states()
    diagnosis = examined(attention, {"query": here, "key": here, "value": here, "attn_mask": mask})
    assert counted(diagnosis) == (0, 0, native)
    assert ("bool-masks-attention" in {check.key for check in diagnosis.failing}) is (native == 0)


def test_two_encoders_are_both_examined() -> None:
    """In a model with two encoders, the one that does not take the fastpath is named."""

    class Towers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = encoder(), encoder(activation=torch.tanh)

        def forward(self, source: Tensor, padding: Tensor) -> Tensor:
            left: Tensor = self.left(source, src_key_padding_mask=padding)
            right: Tensor = self.right(source, src_key_padding_mask=padding)
            return left + right

    diagnosis = examined(Towers().eval(), (states(), right_padding()))
    assert counted(diagnosis) == (2, 1, 0)
    assert diagnosis.verdict == "partly taken"
    assert {check.module.split(".")[0] for check in diagnosis.failing} == {"right"}


def on_device(facts: Any, device: str) -> Any:
    """The same facts as if every tensor were on another device."""
    if isinstance(facts, tuple):
        return tuple(on_device(fact, device) for fact in facts)
    if not is_dataclass(facts) or isinstance(facts, type):
        return facts
    named = {"device": device, "devices": (device,)}
    values = {field.name: getattr(facts, field.name) for field in fields(facts)}
    return replace(
        facts, **{name: named.get(name, on_device(value, device)) for name, value in values.items()}
    )


@torch.no_grad()
def test_a_device_without_native_code_has_no_fastpath() -> None:
    """Torch has native code only for the devices in its own list; no machine of these tests has another one."""
    facts = read_facts(admit(encoder(), call(src_key_padding_mask=None)))

    def failing(seen: Any) -> set[str]:
        return {check.key for check in checks(plan_of(seen), {}) if not check.ok}

    everywhere = {"device", "device-attention", "device-encoder"}
    assert failing(on_device(facts, "mps")) - failing(facts) == everywhere


def test_layers_of_another_class_have_no_fused_form() -> None:
    """The encoder runs them, but torch fuses only layers of its own class."""

    class Foreign(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.self_attn = nn.MultiheadAttention(WIDTH, 4, batch_first=True)

        def forward(self, source: Tensor, **_masks: Any) -> Tensor:
            return source

    model = encoder(nested=False)
    model.layers = nn.ModuleList([Foreign(), Foreign()])
    diagnosis = examined(model.eval(), call())
    assert "encoder-layer-class" in {check.key for check in diagnosis.failing}
    assert counted(diagnosis) == NONE


def test_autocast_on_cuda_is_seen_by_torch_itself() -> None:
    """Torch checks CUDA's autocast, which can be switched on without a GPU."""
    with torch.no_grad(), cuda_autocast():
        diagnosis = doctor(encoder(), call(), budget_s=0)
    assert {"no-autocast", "no-autocast-encoder"} <= {check.key for check in diagnosis.failing}
    assert counted(diagnosis) == NONE
    assert counted(diagnosis, "no-autocast") == FULL


@contextmanager
def cuda_autocast() -> Iterator[None]:
    """Only the flag: without a GPU, entering autocast for CUDA warns and does not switch it on."""
    before = torch.is_autocast_enabled()
    torch.set_autocast_enabled(True)
    try:
        yield
    finally:
        torch.set_autocast_enabled(before)


def test_a_hook_for_all_modules_is_not_called_inside_fused_layers() -> None:
    """The layers check only for hooks on modules."""
    handle = nn.modules.module.register_module_forward_hook(lambda _m, _a, _o: None)
    try:
        diagnosis = examined(encoder(), call())
    finally:
        handle.remove()
    assert [danger.key for danger in diagnosis.dangers] == ["global-hooks"]


def test_a_compiled_model_is_examined_as_compiled() -> None:
    """The check of the mask cannot be compiled, so sparsity needs mask_check=False (torch 2.10 and later)."""
    compiled: Any = torch.compile(encoder(), backend="eager")
    diagnosis = examined(compiled, call())
    failing = {check.key for check in diagnosis.failing}
    assert ("not-compiling" in failing) is (VERSION >= (2, 10))
    assert diagnosis.findings == ()


def compiled_by_its_own_method() -> nn.Module:
    """`Module.compile` does not replace the module; it compiles its call."""
    model = Tokens()
    model.compile(backend="eager")
    return model


def compiled_in_part() -> nn.Module:
    """Only the encoder inside is compiled."""
    model = Tokens()
    model.encoder = torch.compile(model.encoder, backend="eager")  # type: ignore[assignment]
    return model


def part_compiled_by_its_own_method() -> nn.Module:
    """The same, by the encoder's own method."""
    model = Tokens()
    model.encoder.compile(backend="eager")
    return model


@pytest.mark.parametrize(
    "build", [compiled_by_its_own_method, compiled_in_part, part_compiled_by_its_own_method]
)
def test_a_compiled_part_is_examined_as_compiled(build: Any) -> None:
    """In every way of compiling; operators that run while tracing are not counted."""
    diagnosis = examined(build(), tokens())
    assert diagnosis.findings == ()
    assert counted(diagnosis)[0] == 2
    assert ("not-compiling" in {check.key for check in diagnosis.failing}) is (VERSION >= (2, 10))


@pytest.mark.parametrize("at", ["before", "after"])
def test_a_model_that_raises_by_itself_is_told_from_the_fastpath(at: str) -> None:
    """An exception from the model itself is a danger; nothing is said of calls that did not happen."""

    class Raising(Tokens):
        def forward(self, ids: Tensor) -> Tensor:
            if at == "before":
                raise ValueError("of my own")
            super().forward(ids)
            raise ValueError("of my own")

    diagnosis = examined(Raising(), tokens())
    assert diagnosis.verdict == "not taken"
    assert [danger.key for danger in diagnosis.dangers] == ["input"]
    assert (diagnosis.failing, diagnosis.findings) == ((), ())
    assert diagnosis.summary == "The forward ends with an error: ValueError: of my own."


def test_what_cannot_be_copied_is_shared() -> None:
    """Models in servers hold locks and open files."""
    model: Any = Tokens()
    model.lock = Lock()
    assert examined(model, tokens()).verdict == "taken"


def test_an_adapter_of_zeros_cannot_be_trusted() -> None:
    """It has no effect until it is trained; then the fastpath leaves it out."""
    model: Any = encoder()
    for layer in model.layers:
        layer.linear1 = Adapter(layer.linear1)
        nn.init.zeros_(layer.linear1.addition.weight)
    diagnosis = examined(model, call())
    assert diagnosis.verdict == "taken but wrong"
    assert "cannot be trusted" in diagnosis.summary
    assert diagnosis.summary.startswith(headline(diagnosis))


def test_a_batch_without_a_padding_mask_is_not_called_unpadded() -> None:
    """Without the mask it is unknown whether there is padding."""
    assert examined(encoder(), states()).summary.endswith("and no padding mask was given.")


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (nn.TransformerEncoder, "type is no nn.Module"),
        (torch.ones(3), "Tensor is no nn.Module"),
        (torch.jit.script(nn.Linear(3, 3)), "pass the module that it was made from"),
    ],
)
def test_what_is_no_module_to_look_into_is_refused(model: Any, sentence: str) -> None:
    """A class, arguments in the wrong order, TorchScript: one sentence each."""
    with pytest.raises(Refusal, match=sentence):
        doctor(model, states())


@pytest.mark.parametrize("budget", [-1, float("nan"), float("inf"), "5"])
def test_a_budget_that_is_no_time_is_refused(budget: Any) -> None:
    """It is refused before anything is examined."""
    with pytest.raises(Refusal, match="budget_s must be a finite number of seconds"):
        doctor(encoder(), call(), budget_s=budget)


def test_states_are_timed_in_the_same_rounds(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slow path, the model as it is, every cure, and the state without sparsity; all against the model as it is."""
    monkeypatch.setenv("FASTPATH_DATA_FOLDER", str(tmp_path))
    told = list[Event]()
    diagnosis = doctor(encoder(), call(), budget_s=1.5, tell=told.append)
    assert diagnosis.baseline == AS_IT_IS
    timed = {state.name: state.timing for state in diagnosis.states}
    assert set(timed) == {SLOW, AS_IT_IS, "no-gradients"}
    assert all(timing and len(timing.samples_ms) == diagnosis.rounds for timing in timed.values())
    assert diagnosis.sparsity is not None
    assert diagnosis.sparsity.measured is not None
    assert diagnosis.sparsity.crossover is not None
    assert diagnosis.sparsity.real_tokens == 7 + 4 + 2
    assert WITHOUT_SPARSITY not in timed
    assert {type(event) for event in told} == {Step, Round}
    assert read_diagnosis(diagnosis.model_dump_json()) == diagnosis


def test_a_state_that_raises_is_not_timed_and_the_slow_path_is_the_baseline() -> None:
    """A speedup needs a baseline that runs."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        diagnosis = doctor(encoder(), call(), budget_s=0.5)
    assert diagnosis.baseline == SLOW
    assert diagnosis.state(AS_IT_IS).timing is None
    assert diagnosis.state("no-autocast").timing is not None


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_an_unmodified_model_has_no_danger(minilm: LoadedModel, preset: str) -> None:
    """Real weights on every preset: no condition fails, there is no danger, and both parts are counted."""
    texts = PRESETS[preset].texts
    # Of sixty-four texts the longest and the shortest ones: all of them take a minute.
    few = sorted(texts, key=len)[-4:] + sorted(texts, key=len)[:4] if len(texts) > 8 else texts
    batch = PRESETS[preset].model_copy(update={"texts": tuple(few)})
    request = DoctorRequest(model="minilm", batch=batch, budget_s=0)
    diagnosis = examine_request(request, minilm, Settings(), Instruments(lambda _e: None, lambda: 0.0))
    assert diagnosis.verdict == "taken"
    assert (diagnosis.failing, diagnosis.dangers, diagnosis.findings) == ((), (), ())
    assert counted(diagnosis) == (6, 1, 0)


def test_an_unknown_modification_is_refused(minilm: LoadedModel) -> None:
    """The message lists the known ones."""
    request = DoctorRequest(
        model=find_model("minilm").name, batch=PRESETS["dense"], modifications=("rain",), budget_s=0
    )
    with pytest.raises(Refusal, match=r"no modification 'rain'\. Choose among train-mode"):
        examine_request(request, minilm, Settings(), Instruments(lambda _e: None, lambda: 0.0))


def test_a_length_that_the_shape_shows() -> None:
    """The bound counts operations, not tokens: attention grows with the square of the length."""
    diagnosis = examined(encoder(), call())
    assert diagnosis.sparsity is not None
    assert diagnosis.sparsity.bound > 3 * LENGTH / diagnosis.sparsity.real_tokens > 1
