"""Paths through other libraries: the same answer, exports that are kept, one sentence if something is missing."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.catalog.batches import PRESETS
from engine.catalog.paths import PATHS
from engine.measure.agreement import compare, hidden_states
from engine.measure.profiling import profile
from engine.models.encoder import RobertaModel, draw_weights, empty_model
from engine.models.inputs import TokenBatch, tokenize
from engine.models.loading import LoadedModel
from engine.paths import EXECUTION_PATHS, PreparedPath, onnxruntime_path, openvino_path
from engine.paths.compiled import logits_and_states
from engine.paths.execution import Unavailable
from engine.paths.huggingface import huggingface_encoder
from engine.paths.peers import FOUND, PARTIAL, STALE_S, export_of
from engine.records import EncoderShape
from engine.settings import Settings
from tests.paths.here import runs_here

pytestmark = pytest.mark.xdist_group("paths")

ROOT = Path(__file__).parents[2]
Prepared = Callable[[str], PreparedPath]
RIVALS = tuple(name for name in EXECUTION_PATHS if PATHS[name].kind == "library")
EXPORTED = tuple(name for name in RIVALS if name.startswith(("onnxruntime", "openvino")))


@pytest.fixture(scope="module")
def batches(minilm: LoadedModel) -> tuple[TokenBatch, ...]:
    """Two texts, and five longer ones for a path that was prepared with the two."""
    small, mixed = (
        tokenize(PRESETS[name], minilm.tokenizer, minilm.card.shape, Settings())
        for name in ("tutorial-small", "mixed")
    )
    return small, replace(mixed, tokens=mixed.tokens[:5, :30].contiguous())


def tiny_model() -> RobertaModel:
    """One layer with seeded weights and a padding index other than 0; quick to compile and to export."""
    shape = EncoderShape(
        vocab_size=11,
        embedding_dim=8,
        ffn_dimension=16,
        num_attention_heads=2,
        num_encoder_layers=1,
        padding_idx=1,
        max_seq_len=12,
        layer_norm_eps=1e-5,
    )
    model = empty_model(shape, "fp32")
    draw_weights(model, seed=3)
    return model


@pytest.fixture(scope="module")
def tiny() -> RobertaModel:
    return tiny_model()


def _one_file(folder: Path) -> None:
    (folder / "file").touch()


def _logits(path: PreparedPath, batch: TokenBatch) -> torch.Tensor:
    with path.switches():
        return path.forward(batch.tokens).float()


@pytest.mark.parametrize("name", RIVALS)
def test_a_peer_gives_the_slow_paths_answer_on_batches_of_any_shape(
    name: str, prepared: Prepared, batches: tuple[TokenBatch, ...]
) -> None:
    slow, rival, path = prepared("slow"), prepared(name), EXECUTION_PATHS[name]
    precision = path.precision or "fp32"
    for batch in batches:
        assert compare(hidden_states(slow, batch), hidden_states(rival, batch), precision).ok
        assert compare(_logits(slow, batch), _logits(rival, batch), precision).ok
        profiled = profile(rival, batch.tokens, time.perf_counter, forwards=2)
        assert rival.promise.evidence(profiled.calls).ok


def test_the_peers_run_outside_torch_and_say_so(prepared: Prepared) -> None:
    assert {name for name in RIVALS if PATHS[name].outside_torch} == set(EXPORTED)
    ready = {name for name in RIVALS if runs_here(name)}
    assert {name for name in ready if prepared(name).weights_mb > 0} == ready & set(EXPORTED)


@pytest.mark.parametrize("name", ["compile", "compile@bf16"])
def test_nothing_is_compiled_after_preparing(
    name: str, prepared: Prepared, batches: tuple[TokenBatch, ...]
) -> None:
    path = prepared(name)
    # Since it was compiled, other paths have run the same model in other modes and with other switches.
    _logits(prepared("slow-train"), batches[0])
    with torch.compiler.set_stance("fail_on_recompile"):
        for batch in batches:
            _logits(path, batch)


def test_each_compiled_model_has_its_own_cache(tiny: RobertaModel) -> None:
    tokens = torch.tensor([[2, 3, 4, 5], [6, 7, 1, 1], [8, 9, 10, 1]])
    slow = EXECUTION_PATHS["slow"].prepare(tiny)
    with torch._dynamo.config.patch(recompile_limit=1), slow.switches():
        functions = [
            torch.compile(logits_and_states(tiny), backend="eager", dynamic=True, fullgraph=True)
            for _ in range(3)
        ]
        logits = [function(tokens)[0] for function in functions]
    assert torch.equal(logits[0], logits[2])


def test_without_a_compiler_there_is_one_sentence(
    tiny: RobertaModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(Unavailable, match=r"needs a C\+\+ compiler, and no-such-compiler is not found"):
        EXECUTION_PATHS["compile"].prepare(tiny)


def test_hugging_face_shares_every_weight(minilm: LoadedModel) -> None:
    def storages(module: torch.nn.Module) -> set[int]:
        return {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}

    peer = huggingface_encoder(minilm.model)
    new = peer.model.embeddings.token_type_embeddings.weight
    assert storages(peer) - storages(minilm.model.encoder) == {new.untyped_storage().data_ptr()}
    assert torch.equal(new, torch.zeros(1, 384))


@pytest.mark.parametrize("name", ["hf-sdpa", *EXPORTED])
def test_positions_equal_torchtexts_for_any_padding_index(name: str, tiny: RobertaModel) -> None:
    tokens = torch.tensor([[2, 3, 4, 5, 6, 7, 8, 9, 10, 2], [0, 3, 1, 1, 1, 1, 1, 1, 1, 1]])
    with torch.no_grad():
        states = EXECUTION_PATHS[name].prepare(tiny).hidden(tokens)
    slow = EXECUTION_PATHS["slow"].prepare(tiny)
    with slow.switches():
        expected = slow.hidden(tokens)
    real = tokens.ne(1)
    assert compare(expected[real], states[real].float(), EXECUTION_PATHS[name].precision or "fp32").ok


@pytest.mark.parametrize("name", EXPORTED)
def test_an_export_is_kept_and_used_again(
    name: str, minilm: LoadedModel, batches: tuple[TokenBatch, ...], tmp_path: Path
) -> None:
    exports = tmp_path / "exports"
    first = EXECUTION_PATHS[name].prepare(minilm.model, exports)
    files = {file: file.stat().st_mtime_ns for file in exports.rglob("*")}
    second = EXECUTION_PATHS[name].prepare(minilm.model, exports)
    assert (first.note, second.note) == ("", FOUND)
    assert {file: file.stat().st_mtime_ns for file in exports.rglob("*")} == files
    assert not list(exports.glob(f"{PARTIAL}*"))
    assert torch.equal(_logits(first, batches[0]), _logits(second, batches[0]))


def test_an_export_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def half(folder: Path) -> None:
        (folder / "weights").write_bytes(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), export_of(tmp_path / "exports", "x", half):
        pass
    assert not list((tmp_path / "exports").iterdir())


def test_a_partial_export_of_an_ended_process_is_not_used_and_is_removed_later(tmp_path: Path) -> None:
    old, new = tmp_path / f"{PARTIAL}old", tmp_path / f"{PARTIAL}new"
    for folder in (old, new):
        (folder / "x").mkdir(parents=True)
    long_ago = time.time() - STALE_S - 60
    os.utime(old, (long_ago, long_ago))
    with export_of(tmp_path, "x", _one_file) as export:
        assert (export.note, export.folder) == ("", tmp_path / "x")
    assert {path.name for path in tmp_path.iterdir()} == {"x", new.name}


def test_the_slower_of_two_processes_takes_the_others_export(tmp_path: Path) -> None:
    def overtaken(folder: Path) -> None:
        (folder / "file").write_text("mine")
        (tmp_path / "x").mkdir()
        (tmp_path / "x" / "file").write_text("theirs")

    with export_of(tmp_path, "x", overtaken) as export:
        assert (export.folder / "file").read_text() == "theirs"


def test_without_a_folder_an_export_is_not_kept() -> None:
    with export_of(None, "x", _one_file) as export:
        assert (export.folder / "file").exists()
    assert not export.folder.exists()


@pytest.mark.parametrize(
    ("name", "module", "title"),
    [
        ("hf-sdpa", "transformers", "Hugging Face transformers"),
        ("hf-sdpa@bf16", "transformers", "Hugging Face transformers"),
        ("onnxruntime", "onnxruntime", "ONNX Runtime"),
        ("onnxruntime", "onnx", "ONNX"),
        ("onnxruntime@int8", "transformers", "Hugging Face transformers"),
        ("openvino", "openvino", "OpenVINO"),
        ("openvino", "transformers", "Hugging Face transformers"),
    ],
)
def test_a_missing_library_is_one_sentence(
    name: str, module: str, title: str, tiny: RobertaModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(Unavailable) as refusal:
        EXECUTION_PATHS[name].prepare(tiny)
    assert str(refusal.value) == f"{title} is not installed: pip install -r requirements-peers.txt"


@pytest.mark.parametrize("name", EXPORTED)
def test_exports_need_fp32_weights_on_the_cpu(name: str, tiny: RobertaModel) -> None:
    for model, word in ((deepcopy(tiny).bfloat16(), "fp32"), (deepcopy(tiny).to("meta"), "CPU")):
        with pytest.raises(Unavailable, match=word):
            EXECUTION_PATHS[name].prepare(model)


def test_hugging_face_refuses_an_encoder_that_normalizes_first(tiny: RobertaModel) -> None:
    model = deepcopy(tiny)
    model.encoder.transformer.normalize_before = True
    with pytest.raises(Unavailable, match="normalizes after each layer"):
        EXECUTION_PATHS["hf-sdpa"].prepare(model)


def test_openvino_refuses_a_precision_that_the_processor_lacks(
    tiny: RobertaModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(openvino_path.CAPABILITIES, "bf16", "NONE")
    with pytest.raises(Unavailable, match="does not compute in bf16"):
        EXECUTION_PATHS["openvino@bf16"].prepare(tiny)


def test_quantising_is_refused_if_memory_is_too_small(
    tiny: RobertaModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = EXECUTION_PATHS["onnxruntime@int8"]
    monkeypatch.setattr(onnxruntime_path, "memory_available_mb", lambda: 0.001)
    with pytest.raises(Unavailable, match="Quantising takes about"):
        path.prepare(tiny, tmp_path)
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    path.prepare(tiny, tmp_path)
    monkeypatch.setattr(onnxruntime_path, "memory_available_mb", lambda: 0.001)
    assert path.prepare(tiny, tmp_path).note == FOUND


def test_openvino_reports_nothing_over_the_network(prepared: Prepared) -> None:
    prepared("openvino")
    assert not [name for name, module in sys.modules.items() if "openvino_telemetry" in name and module]


def test_ctrl_c_reaches_its_handler_after_two_openvino_paths_were_released() -> None:
    """If the first one has freed the signal stack that the second restores, Ctrl-C ends the process."""
    code = (
        "import signal; from tests.paths.test_peers import EXECUTION_PATHS, tiny_model\n"
        "paths = [EXECUTION_PATHS['openvino'].prepare(tiny_model()) for _ in range(2)]\n"
        "del paths[0]; del paths[0]\n"
        "signal.signal(signal.SIGINT, lambda *_: print('handled'))\n"
        "signal.raise_signal(signal.SIGINT)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


@pytest.mark.parametrize("name", EXPORTED)
def test_the_next_call_keeps_states(name: str, prepared: Prepared, batches: tuple[TokenBatch, ...]) -> None:
    path = prepared(name)
    states = path.hidden(batches[0].tokens)
    before = states.clone()
    path.forward(batches[0].tokens.flip(0))
    assert torch.equal(states, before)
