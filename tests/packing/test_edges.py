"""Unusual inputs and calls: the original's answer, or one sentence that says what to do."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.errors import Refusal
from engine.models.encoder import draw_weights, empty_model
from engine.packing import pack
from engine.records import EncoderShape

WIDTH, LENGTH = 64, 9


@pytest.fixture(params=[True, False], ids=["kernels", "operators"])
def compiled(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def encoder(**options: Any) -> nn.TransformerEncoder:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(WIDTH, 4, 64, **{"batch_first": True, **options})
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()


def roberta() -> Any:
    shape = EncoderShape(
        vocab_size=50, embedding_dim=WIDTH, ffn_dimension=64, num_attention_heads=4, num_encoder_layers=2,
        padding_idx=1, max_seq_len=20, layer_norm_eps=1e-5,
    )  # fmt: skip
    model = empty_model(shape, "fp32")
    draw_weights(model, 0)
    return model


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("padded", [True, False])
@torch.no_grad()
def test_one_text_without_a_batch(compiled: bool, batch_first: bool, padded: bool) -> None:
    model, src = encoder(batch_first=batch_first), drawn(LENGTH, WIDTH)
    padding = torch.arange(LENGTH) >= (5 if padded else LENGTH)
    expected = model(src, src_key_padding_mask=padding)
    packed = pack(model, compiled=compiled)
    found = packed(src, src_key_padding_mask=padding)
    assert found.shape == expected.shape
    assert torch.allclose(found[~padding], expected[~padding], atol=1e-5)
    if not padded:
        assert torch.allclose(packed(src), expected, atol=1e-5)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("shape", [(0, LENGTH, WIDTH), (3, 0, WIDTH), (0, 0, WIDTH), (0, WIDTH)])
@torch.no_grad()
def test_an_empty_batch_and_empty_texts(compiled: bool, batch_first: bool, shape: tuple[int, ...]) -> None:
    """The original's answer. With a mask the original raises an error of reshape; here the mask changes nothing."""
    model, src = encoder(batch_first=batch_first), drawn(*shape)
    expected, packed = model(src), pack(model, compiled=compiled)
    batch = shape[1::-1] if len(shape) == 3 and not batch_first else shape[:-1]
    for padding in (None, torch.zeros(batch, dtype=torch.bool)):
        found = packed(src, src_key_padding_mask=padding)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)


def test_a_roberta_model_without_texts_or_tokens(compiled: bool) -> None:
    packed = pack(roberta(), compiled=compiled)
    tokens = torch.zeros(0, 5, dtype=torch.int64)
    assert packed(tokens).shape == (0, 2)
    assert packed.hidden(tokens).shape == (0, 5, WIDTH)  # type: ignore[operator]
    with pytest.raises(Refusal, match="no first token"):
        packed(torch.zeros(3, 0, dtype=torch.int64))


@pytest.mark.parametrize(
    "padding", [None, torch.ones(3, LENGTH, dtype=torch.bool)], ids=["real", "all padding"]
)
def test_the_result_has_the_inputs_precision(compiled: bool, padding: Tensor | None) -> None:
    packed = pack(encoder(), compiled=compiled)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert packed(drawn(3, LENGTH, WIDTH).to(dtype), src_key_padding_mask=padding).dtype == dtype


@pytest.mark.parametrize("precision", ["int4", "float32", torch.float16, 32])
def test_an_unknown_precision_is_refused(precision: Any) -> None:
    with pytest.raises(Refusal, match="choose 'fp32', 'bf16' or 'fp16'"):
        pack(encoder(), precision, compiled=False)


def in_part(model: nn.TransformerEncoder) -> nn.TransformerEncoder:
    model.layers[1].train()
    return model


class Doubled(nn.Linear):
    """An adapter: it computes something else than its weight says."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2


class OwnEncoder(nn.TransformerEncoder):
    def forward(self, src: Tensor, *args: Any, **keywords: Any) -> Tensor:
        return super().forward(src * 2, *args, **keywords)


def with_adapter() -> nn.TransformerEncoder:
    model = encoder()
    model.layers[1].linear1 = Doubled(WIDTH, 64)
    return model.eval()


def with_hook() -> nn.TransformerEncoder:
    model = encoder()
    model.layers[1].linear1.register_forward_hook(lambda _module, _args, output: output * 2)
    return model


def with_other_heads() -> nn.TransformerEncoder:
    model = encoder()
    model.layers[1] = nn.TransformerEncoderLayer(WIDTH, 2, 64, batch_first=True)
    return model.eval()


def released() -> nn.TransformerEncoder:
    model = encoder()
    pack(model, release=True, compiled=False)
    return model


def without_layers() -> nn.TransformerEncoder:
    model = encoder()
    model.layers = nn.ModuleList()
    return model.eval()


def with_norm(norm: nn.Module) -> nn.TransformerEncoder:
    model = encoder()
    model.norm = norm
    return model.eval()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: encoder().train(), "training mode: call eval"),
        (lambda: in_part(encoder()), "training mode: call eval"),
        (lambda: roberta().train(), "training mode: call eval"),
        (with_adapter, "layers.1.linear1 is of type Doubled"),
        (lambda: OwnEncoder(encoder().layers[0], 2, enable_nested_tensor=False).eval(), "of type OwnEncoder"),
        (with_hook, "forward hooks"),
        (with_other_heads, "layers differ"),
        (released, "freed the weights"),
        (without_layers, "without layers"),
        (lambda: with_norm(nn.RMSNorm(WIDTH)), "RMSNorm"),
        (lambda: with_norm(nn.LayerNorm((LENGTH, WIDTH))), "not over the width alone"),
        (nn.ReLU, "Cannot pack a ReLU"),
    ],
)
def test_a_model_whose_answer_would_differ_is_refused_and_left_as_it_was(model: Any, words: str) -> None:
    given = model()
    before = {name: value.clone() for name, value in given.state_dict().items()}
    with pytest.raises(Refusal, match=words):
        pack(given, release=True, compiled=False)
    after = given.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def nested() -> Tensor:
    return torch.nested.nested_tensor([drawn(3, WIDTH), drawn(2, WIDTH)])


@pytest.mark.parametrize(
    ("src", "options", "words"),
    [
        (drawn(2, 3, WIDTH).requires_grad_(), {}, "no gradients"),
        (nested(), {}, "nested tensor"),
        (drawn(2, 3, WIDTH), {"mask": torch.zeros(3, 3)}, "no attention mask"),
        (drawn(2, 3, WIDTH), {"is_causal": True}, "no attention mask"),
        (drawn(2, 3, 32), {}, "of width 64"),
        (drawn(WIDTH), {}, "three dimensions"),
        (drawn(1, 2, 3, WIDTH), {}, "three dimensions"),
        (drawn(2, 3, WIDTH).double(), {}, "float64"),
        (torch.zeros(2, 3, WIDTH, dtype=torch.int64), {}, "int64"),
        (torch.zeros(2, 3, WIDTH, device="meta"), {}, "input is on meta"),
        (drawn(2, 3, WIDTH), {"src_key_padding_mask": torch.zeros(2, 3)}, "booleans"),
        (
            drawn(2, 3, WIDTH),
            {"src_key_padding_mask": torch.zeros(3, 2, dtype=torch.bool)},
            r"needs \(2, 3\)",
        ),
        (drawn(3, WIDTH), {"src_key_padding_mask": torch.zeros(1, 3, dtype=torch.bool)}, r"needs \(3,\)"),
        (
            drawn(2, 3, WIDTH),
            {"src_key_padding_mask": torch.zeros(2, 3, dtype=torch.bool, device="meta")},
            "padding mask is on meta",
        ),
    ],
)
def test_an_input_that_is_not_supported_is_refused_in_one_sentence(
    src: Tensor, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(Refusal, match=words):
        pack(encoder(), compiled=False)(src, **options)


@pytest.mark.parametrize(
    "tokens", [torch.zeros(5, dtype=torch.int64), torch.zeros(2, 5), torch.zeros(2, 5, dtype=torch.bool)]
)
def test_tokens_of_another_kind_are_refused(tokens: Tensor) -> None:
    packed = pack(roberta(), compiled=False)
    for call in (packed, packed.hidden):
        with pytest.raises(Refusal, match="takes tokens"):
            call(tokens)  # type: ignore[operator]


def test_an_input_that_wants_gradients_is_taken_where_none_are_recorded(compiled: bool) -> None:
    packed, src = pack(encoder(), compiled=compiled), drawn(2, LENGTH, WIDTH)
    expected = packed(src)
    assert not expected.requires_grad
    wanting = src.clone().requires_grad_()
    with torch.no_grad():
        assert torch.equal(packed(wanting), expected)
    with torch.inference_mode():
        assert torch.equal(packed(wanting), expected)
    assert torch.equal(packed(wanting.detach()), expected)


def test_a_model_packed_in_inference_mode_serves_outside(compiled: bool) -> None:
    model, src = encoder(), drawn(2, LENGTH, WIDTH)
    expected = pack(model, compiled=compiled)(src)
    with torch.inference_mode():
        packed = pack(model, compiled=compiled)
        assert torch.equal(packed(src), expected)
    assert torch.equal(packed(src), expected)


def test_autocast_changes_nothing(compiled: bool) -> None:
    tokens = torch.tensor([[5, 6, 7], [8, 9, 1]])
    for model, given in ((encoder(), drawn(2, 40, WIDTH)), (roberta(), tokens)):
        packed = pack(model, compiled=compiled)
        expected = packed(given)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(packed(given), expected)
            assert torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("model", [encoder, roberta])
def test_what_would_do_half_of_it_is_refused(model: Any) -> None:
    packed = pack(model(), compiled=False)
    for act, words in (
        (copy.deepcopy, "cannot be copied"),
        (pickle.dumps, "cannot be copied or pickled"),
        (nn.Module.state_dict, "no state_dict"),
        (
            lambda module: module.load_state_dict({"0.head.weight": torch.zeros(1)}, strict=False),
            "loads no state_dict",
        ),
        (nn.Module.train, "cannot be trained"),
        (nn.Module.half, "stays torch.float32 on cpu"),
        (lambda module: module.to("meta"), "stays torch.float32 on cpu"),
    ):
        within = nn.Sequential(packed)
        with pytest.raises(Refusal, match=words):
            act(within)
    with pytest.raises(Refusal, match="cannot be copied"):
        copy.copy(packed)
    assert packed.to("cpu").float().eval() is packed


def test_threads_may_share_a_packed_model(compiled: bool) -> None:
    packed = pack(encoder(), compiled=compiled)
    batches = [drawn(1 + i % 3, 5 + i, WIDTH) for i in range(12)]
    expected = [packed(batch) for batch in batches]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(packed, batches * 5))
    assert all(torch.equal(a, b) for a, b in zip(found, expected * 5, strict=True))
