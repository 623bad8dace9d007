"""Packed modules against the originals: every kind of layer, mask and precision, memory, refusals, varlen attention."""

import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.errors import Refusal
from engine.models.encoder import draw_weights, empty_model
from engine.models.loading import LoadedModel
from engine.packing import PackedEncoder, PackedRoberta, attention, kernels, linear, pack, stack
from engine.packing.build import NotCompiled
from engine.records import DType, EncoderShape

WIDTH, HEADS = 64, 4
TOLERANCES: dict[DType, float] = {"fp32": 1e-5, "bf16": 6e-2, "fp16": 1e-2}


def encoder(**options: Any) -> nn.TransformerEncoder:
    torch.manual_seed(0)
    final = options.pop("final", None)
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 64, **{"batch_first": True, **options})
    return nn.TransformerEncoder(layer, 3, norm=final, enable_nested_tensor=False).eval()


def batch() -> tuple[Tensor, Tensor]:
    """(texts, length, width), and its padding mask: padded right, left, inside, equally long, and full."""
    padding = torch.zeros(6, 9, dtype=torch.bool)
    padding[0, 4:] = padding[1, :3] = padding[2, 2:4] = padding[3, 5:] = padding[4, 5:] = True
    return torch.randn(6, 9, WIDTH, generator=torch.Generator().manual_seed(1)), padding


def slow(model: nn.TransformerEncoder, src: Tensor, padding: Tensor) -> Tensor:
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            return model(src, src_key_padding_mask=padding)  # type: ignore[no-any-return]
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"activation": "gelu"},
        {"activation": nn.GELU(approximate="tanh")},
        {"norm_first": True},
        {"norm_first": True, "activation": "gelu", "final": nn.LayerNorm(WIDTH)},
        {"bias": False},
    ],
    ids=["relu", "gelu", "gelu-tanh", "pre-norm", "pre-norm-final", "no-bias"],
)
@pytest.mark.parametrize("onednn", [True, False], ids=["onednn", "plain"])
@pytest.mark.parametrize("compiled", [True, False], ids=["kernels", "operators"])
def test_an_encoder_gives_the_same_states_on_real_tokens(
    options: dict[str, Any], dtype: DType, onednn: bool, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not onednn:
        monkeypatch.setattr(linear, "onednn_serves", lambda _dtype, _device: False)
    model, (src, padding) = encoder(**options), batch()
    packed = pack(model, dtype, compiled=compiled)
    assert isinstance(packed, PackedEncoder)
    assert packed.stack.kernels is (compiled and dtype != "fp16")
    expected, found = slow(model, src, padding), packed(src, src_key_padding_mask=padding)
    assert found.shape == expected.shape
    assert float((found - expected)[~padding].abs().max()) <= TOLERANCES[dtype] * max(
        1, float(expected.abs().max())
    )
    assert float(found[padding].abs().max()) == 0


def test_a_head_of_another_width_is_computed_with_torchs_operators() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(48, 2, 64, batch_first=True)
    model, (src, padding) = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval(), batch()
    packed = pack(model)
    assert isinstance(packed, PackedEncoder)
    assert (packed.stack.kernels, packed.stack.without_kernels) == (False, "")
    expected = slow(model, src[..., :48], padding)
    found = packed(src[..., :48], src_key_padding_mask=padding)
    assert torch.allclose(found[~padding], expected[~padding], atol=1e-5)


@pytest.mark.parametrize("capability", ["AVX2", "AVX512", "DEFAULT"])
def test_kernels_are_used_where_they_gain_unless_somebody_chooses(
    capability: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    gains = capability == "AVX512"
    for compiled, used in ((None, gains), (True, True), (False, False)):
        packed = pack(encoder(), compiled=compiled)
        assert isinstance(packed, PackedEncoder)
        assert packed.stack.kernels is used


def test_without_a_compiler_torchs_operators_do_the_work_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_compiler(_folder: Path) -> Any:
        raise NotCompiled("no C++ compiler is found here")

    monkeypatch.setattr(kernels, "load_kernels", no_compiler)
    model, (src, padding) = encoder(), batch()
    packed = pack(model, compiled=True)
    assert isinstance(packed, PackedEncoder)
    assert packed.stack.without_kernels == "computed with torch's operators: no C++ compiler is found here"
    expected = slow(model, src, padding)
    assert torch.allclose(packed(src, src_key_padding_mask=padding)[~padding], expected[~padding], atol=1e-5)


def test_a_batch_behind_its_length_and_one_without_padding() -> None:
    model, (src, padding) = encoder(batch_first=False), batch()
    packed = pack(model)
    expected = slow(model, src.transpose(0, 1), padding)
    found = packed(src.transpose(0, 1), src_key_padding_mask=padding)
    assert torch.allclose(found.transpose(0, 1)[~padding], expected.transpose(0, 1)[~padding], atol=1e-5)
    nothing = torch.zeros_like(padding)
    assert torch.allclose(packed(src.transpose(0, 1)), slow(model, src.transpose(0, 1), nothing), atol=1e-5)


def test_the_input_is_left_as_it_was() -> None:
    model, (src, padding) = encoder(norm_first=True), batch()
    before = src.clone()
    pack(model)(src, src_key_padding_mask=padding)
    assert torch.equal(src, before)


def roberta(**conf: Any) -> Any:
    shape = EncoderShape(
        vocab_size=50, embedding_dim=WIDTH, ffn_dimension=64, num_attention_heads=HEADS, num_encoder_layers=2,
        padding_idx=1, max_seq_len=20, layer_norm_eps=1e-5,
    )  # fmt: skip
    model = empty_model(shape, "fp32")
    draw_weights(model, 0)
    model.encoder.transformer.normalize_before = conf.get("normalize_before", False)
    for layer in model.encoder.transformer.layers.layers:
        layer.norm_first = conf.get("normalize_before", False)
    return model


TOKENS = torch.tensor([[5, 6, 7, 8, 9], [10, 11, 12, 1, 1], [13, 14, 1, 1, 1], [15, 16, 17, 18, 19]])


@pytest.fixture(params=[0, stack.WHOLE_LAYER_ROWS], ids=["pruned", "few-rows"])
def few_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits from the first tokens alone in the last layer, and from all states, as for batches of few rows."""
    monkeypatch.setattr(stack, "WHOLE_LAYER_ROWS", request.param)


@pytest.mark.usefixtures("few_rows")
@pytest.mark.parametrize("normalize_before", [False, True])
def test_a_roberta_model_keeps_its_call(normalize_before: bool) -> None:
    model = roberta(normalize_before=normalize_before)
    packed = pack(model)
    assert isinstance(packed, PackedRoberta)
    torch.backends.mha.set_fastpath_enabled(False)
    with torch.no_grad():
        assert torch.allclose(packed(TOKENS), model(TOKENS), atol=1e-6)
        real = TOKENS != 1
        assert torch.allclose(packed.hidden(TOKENS)[real], model.encoder(TOKENS)[real], atol=1e-5)
        chosen = torch.zeros_like(TOKENS)
        chosen[0, 2] = chosen[3, 1] = 1
        head, model.head = model.head, None
        assert torch.allclose(pack(model)(TOKENS, chosen), model(TOKENS, chosen), atol=1e-5)
        model.head = nn.Linear(WIDTH, 3)
        assert torch.allclose(pack(model)(TOKENS)[real], model(TOKENS)[real], atol=1e-5)
        model.head = head
    torch.backends.mha.set_fastpath_enabled(True)


@pytest.mark.usefixtures("few_rows")
def test_padding_on_the_left_changes_no_answer_and_an_empty_text_disturbs_nobody() -> None:
    packed = pack(roberta())
    right = packed(TOKENS)
    left = torch.stack([torch.cat([row[row == 1], row[row != 1]]) for row in TOKENS])
    assert torch.allclose(packed(left), right, atol=1e-6)
    with_empty = torch.cat([TOKENS[:2], torch.ones_like(TOKENS[:1]), TOKENS[2:]])
    assert torch.allclose(packed(with_empty)[[0, 1, 3, 4]], right, atol=1e-6)
    assert packed(torch.ones_like(TOKENS)).shape == right.shape


def test_a_token_without_an_embedding_is_an_index_error_as_in_the_original() -> None:
    with pytest.raises(IndexError):
        pack(roberta())(torch.tensor([[5, 50]]))


def test_released_weights_do_not_double_the_memory(minilm: LoadedModel) -> None:
    from copy import deepcopy

    model = deepcopy(minilm.model)
    tokens = torch.tensor([[101, 7592, 2088, 102]])
    expected = pack(minilm.model)(tokens)
    layers = sum(p.numel() for p in model.encoder.transformer.layers.parameters() if p.ndim == 2)
    packed = pack(model, release=True)
    gc.collect()
    left = sum(p.numel() for p in model.encoder.transformer.layers.parameters() if p.ndim == 2)
    assert left == 0
    assert isinstance(packed, PackedRoberta)
    # The last layer's keys and values lie there once more, as they are, and the head's dense layer is laid out.
    assert packed.weights_mb == pytest.approx((layers + 3 * 384**2) * 4 / 1e6, rel=0.01)
    assert torch.equal(packed(tokens), expected)


def test_bf16_with_fp32_residuals_is_closer_than_a_model_in_bf16(minilm: LoadedModel) -> None:
    from copy import deepcopy

    tokens = torch.tensor([[101, 7592, 2088, 102, 0, 0], [101, 2129, 2024, 2017, 999, 102]])
    real = tokens != 0
    exact, packed = pack(minilm.model, "fp32"), pack(minilm.model, "bf16")
    assert isinstance(exact, PackedRoberta)
    assert isinstance(packed, PackedRoberta)
    with torch.no_grad():
        rounded = deepcopy(minilm.model).bfloat16().encoder(tokens).float()
    reference = exact.hidden(tokens)

    def rms(states: Tensor) -> float:
        return float((states - reference)[real].pow(2).mean().sqrt())

    assert rms(packed.hidden(tokens)) < rms(rounded)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: nn.Linear(3, 3), "give a torchtext RobertaModel or an nn.TransformerEncoder"),
        (lambda: encoder(activation=nn.functional.silu), "only relu and gelu"),
        (lambda: encoder().double(), "choose fp32, bf16 or fp16"),
    ],
)
def test_what_is_not_known_is_refused_in_one_sentence(model: Any, words: str) -> None:
    with pytest.raises(Refusal, match=words):
        pack(model())


def test_an_attention_mask_is_refused() -> None:
    src, padding = batch()
    packed = pack(encoder())
    with pytest.raises(Refusal, match="no attention mask"):
        packed(src, torch.zeros(9, 9))
    with pytest.raises(Refusal, match="booleans"):
        packed(src, src_key_padding_mask=padding.float())


@pytest.mark.usefixtures("few_rows")
def test_varlen_attention_is_asked_for_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's kernel needs CUDA; a stand-in with its call (torch/nn/attention/varlen.py) computes text by text."""

    def varlen_attn(
        query: Tensor, key: Tensor, value: Tensor, cu_seq_q: Tensor, cu_seq_k: Tensor, max_q: int, max_k: int
    ) -> Tensor:
        assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
        assert int(cu_seq_q.diff().max()) == max_q
        assert int(cu_seq_k.diff().max()) == max_k
        texts = zip(cu_seq_q, cu_seq_q[1:], cu_seq_k, cu_seq_k[1:], strict=False)
        return torch.cat(
            [
                nn.functional.scaled_dot_product_attention(
                    query[a:b].transpose(0, 1), key[c:d].transpose(0, 1), value[c:d].transpose(0, 1)
                ).transpose(0, 1)
                for a, b, c, d in texts
            ]
        )

    packed = pack(roberta(), compiled=False)
    assert isinstance(packed, PackedRoberta)
    logits, hidden = packed(TOKENS), packed.hidden(TOKENS)
    monkeypatch.setattr(attention, "_varlen_attn", lambda: varlen_attn)
    for part in (attention, stack):
        monkeypatch.setattr(part, "takes_varlen", lambda _rows: True)
    assert torch.allclose(packed(TOKENS), logits, atol=1e-6)
    assert torch.allclose(packed.hidden(TOKENS), hidden, atol=1e-5)


def test_a_packed_encoder_is_a_module_in_eval_mode() -> None:
    packed = pack(encoder())
    assert isinstance(packed, PackedEncoder)
    assert not packed.training
    assert packed.weights_mb > 0
