"""`pack` refuses every model that it would compute differently, in one sentence that names the part.

Each refused model here was once packed with wrong answers, or ended in another error. What can be computed right is
packed.
"""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (torch's own habit)
from torch.nn.utils import parametrizations, parametrize, prune
from torch.nn.utils import weight_norm as weight_norm_by_hook

from engine.errors import Refusal
from engine.models.encoder import RobertaClassificationHead, draw_weights, empty_model
from engine.packing import PackedRoberta, pack
from engine.records import EncoderShape

WIDTH, INNER, LENGTH = 64, 96, 7


def encoder(layers: int = 2, **options: Any) -> nn.TransformerEncoder:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(WIDTH, 4, INNER, **{"batch_first": True, **options})
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False).eval()


def roberta() -> Any:
    shape = EncoderShape(
        vocab_size=50, embedding_dim=WIDTH, ffn_dimension=INNER, num_attention_heads=4, num_encoder_layers=2,
        padding_idx=1, max_seq_len=20, layer_norm_eps=1e-5,
    )  # fmt: skip
    model = empty_model(shape, "fp32")
    draw_weights(model, 0)
    return model


def in_layer(change: Callable[[Any], object]) -> nn.TransformerEncoder:
    """An encoder after a change of its last layer."""
    model = encoder()
    change(model.layers[-1])
    return model.eval()


def in_model(change: Callable[[Any], object]) -> nn.TransformerEncoder:
    """An encoder after a change."""
    model = encoder()
    change(model)
    return model.eval()


def in_roberta(change: Callable[[Any], object]) -> Any:
    """The model of torchtext after a change."""
    model = roberta()
    change(model)
    return model.eval()


class LayerWithOwnBlock(nn.TransformerEncoderLayer):
    def _ff_block(self, x: Tensor) -> Tensor:
        return super()._ff_block(x) * 2


class LayerWithOwnAttention(nn.TransformerEncoderLayer):
    def _sa_block(self, *args: Any, **keywords: Any) -> Tensor:
        return super()._sa_block(*args, **keywords) * 2


class LayerWithOwnForward(nn.TransformerEncoderLayer):
    def forward(self, *args: Any, **keywords: Any) -> Tensor:
        return super().forward(*args, **keywords) * 2


class OwnCall(nn.Linear):
    def __call__(self, x: Tensor) -> Tensor:
        return super().__call__(x) * 2


class OwnAttention(nn.MultiheadAttention):
    def __call__(self, *args: Any, **keywords: Any) -> Any:
        mixed, weights = super().__call__(*args, **keywords)
        return mixed * 2, weights


class OwnNorm(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2


class OwnReLU(nn.ReLU):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2


class OwnEncoder(nn.TransformerEncoder):
    def __call__(self, src: Tensor, *args: Any, **keywords: Any) -> Tensor:
        return super().__call__(src * 2, *args, **keywords)


class Scaled(nn.Module):
    """A dropout that is none in eval mode."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2


class LowRank(nn.Module):
    """A wrapper of the kind that adapters are: the frozen layer, and a product of two narrow matrices."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base, self.down, self.up = base, nn.Linear(base.in_features, 2), nn.Linear(2, base.out_features)

    @property
    def weight(self) -> Tensor:
        return self.base.weight

    @property
    def bias(self) -> Tensor:
        return self.base.bias

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.up(self.down(x))  # type: ignore[no-any-return]


def layer_of(kind: type[nn.TransformerEncoderLayer]) -> nn.TransformerEncoder:
    return nn.TransformerEncoder(
        kind(WIDTH, 4, INNER, batch_first=True), 2, enable_nested_tensor=False
    ).eval()


def with_layer(**options: Any) -> nn.TransformerEncoder:
    model = encoder(**({"norm_first": True} if options.pop("pre_norm_first", False) else {}))
    heads = options.pop("heads", 4)
    model.layers[1] = nn.TransformerEncoderLayer(WIDTH, heads, INNER, **{"batch_first": True, **options})
    return model.eval()


def own(name: str, part: str) -> Callable[[nn.Module], None]:
    """Give a part of a layer a method of its own, as monkey patches do."""

    def change(layer: nn.Module) -> None:
        module = layer.get_submodule(part)
        setattr(module, name, partial(getattr(module, name)))

    return change


def nothing(*_: Any) -> None:
    """A hook that looks at its module only."""


def hooked(part: str, register: str) -> Callable[[nn.Module], None]:
    def change(model: nn.Module) -> None:
        getattr(model.get_submodule(part), register)(nothing)

    return change


def replaced(**parts: Any) -> Callable[[nn.Module], None]:
    def change(module: nn.Module) -> None:
        for place, value in parts.items():
            *way, name = place.split("__")
            setattr(module.get_submodule(".".join(way)), name, value)

    return change


def sparse(layer: Any) -> None:
    layer.linear1.weight = nn.Parameter(layer.linear1.weight.detach().to_sparse_csr(), requires_grad=False)


def integers(layer: Any) -> None:
    layer.linear2.weight = nn.Parameter(layer.linear2.weight.detach().to(torch.int8), requires_grad=False)


def on_meta() -> nn.TransformerEncoder:
    with torch.device("meta"):
        return encoder()


HOSTILE: dict[str, tuple[Callable[[], Any], str]] = {
    "head counts differ": (lambda: with_layer(heads=2), "number of heads.* 4 in layers.0 and 2 in layers.1"),
    "batch_first differs": (lambda: with_layer(batch_first=False), "batch_first"),
    "pre-norm after post-norm": (lambda: with_layer(norm_first=True), "norm_first"),
    "post-norm after pre-norm": (lambda: with_layer(pre_norm_first=True), "norm_first"),
    "subclassed _ff_block": (lambda: layer_of(LayerWithOwnBlock), "layers.0 is of type LayerWithOwnBlock"),
    "subclassed _sa_block": (lambda: layer_of(LayerWithOwnAttention), "of type LayerWithOwnAttention"),
    "subclassed forward": (lambda: layer_of(LayerWithOwnForward), "of type LayerWithOwnForward"),
    "subclassed encoder": (
        lambda: OwnEncoder(encoder().layers[0], 2, enable_nested_tensor=False).eval(),
        "the model is of type OwnEncoder",
    ),
    "subclassed linear": (
        lambda: in_layer(replaced(linear1=OwnCall(WIDTH, INNER))),
        "layers.1.linear1 is of type OwnCall, and only Linear",
    ),
    "subclassed attention": (
        lambda: in_layer(replaced(self_attn=OwnAttention(WIDTH, 4, batch_first=True))),
        "layers.1.self_attn is of type OwnAttention",
    ),
    "subclassed output of attention": (
        lambda: in_layer(replaced(self_attn__out_proj=OwnCall(WIDTH, WIDTH))),
        "layers.1.self_attn.out_proj is of type OwnCall",
    ),
    "subclassed norm": (lambda: in_layer(replaced(norm2=OwnNorm(WIDTH))), "layers.1.norm2 is of type OwnNorm"),
    "subclassed final norm": (
        lambda: in_model(replaced(norm=OwnNorm(WIDTH))),
        "pack: norm is of type OwnNorm",
    ),
    "subclassed relu": (lambda: encoder(activation=OwnReLU()), "layers.0.activation is OwnReLU"),
    "adapter": (
        lambda: in_layer(lambda layer: setattr(layer, "linear2", LowRank(layer.linear2))),
        "layers.1.linear2 is of type LowRank",
    ),
    "scaling dropout": (lambda: in_layer(replaced(dropout1=Scaled())), "layers.1.dropout1 is of type Scaled"),
    "no norm": (lambda: in_layer(replaced(norm1=nn.Identity())), "layers.1.norm1 is of type Identity"),
    "rms norm": (lambda: in_layer(replaced(norm1=nn.RMSNorm(WIDTH))), "layers.1.norm1 is of type RMSNorm"),
    "norm over two axes": (
        lambda: in_layer(replaced(norm2=nn.LayerNorm((LENGTH, WIDTH)))),
        "not over the width alone",
    ),
    "norm of another width": (lambda: in_layer(replaced(norm2=nn.LayerNorm(1))), "not over the width alone"),
    "patched forward": (lambda: in_layer(own("forward", "linear1")), "layers.1.linear1 has a forward of its own"),
    "patched block": (lambda: in_layer(own("_ff_block", "")), "layers.1 has a _ff_block of its own"),
    "patched encoder": (
        lambda: in_model(own("forward", "")),
        "the model has a forward of its own",
    ),
    "parametrization": (
        lambda: in_layer(lambda layer: parametrizations.weight_norm(layer.linear1)),
        "layers.1.linear1 is of type ParametrizedLinear",
    ),
    "weight norm by a hook": (
        lambda: in_layer(lambda layer: weight_norm_by_hook(layer.linear1)),
        "layers.1.linear1 has forward hooks",
    ),
    "pruning": (lambda: in_layer(lambda layer: prune.l1_unstructured(layer.linear1, "weight", 0.5)), "forward hooks"),
    "hook of a linear layer": (
        lambda: in_layer(hooked("linear1", "register_forward_hook")),
        "layers.1.linear1 has forward hooks",
    ),
    "pre-hook of a norm": (
        lambda: in_layer(hooked("norm2", "register_forward_pre_hook")),
        "layers.1.norm2 has forward hooks",
    ),
    "hook of a dropout": (lambda: in_layer(hooked("dropout", "register_forward_hook")), "dropout has forward hooks"),
    "hook of the encoder": (
        lambda: in_model(hooked("", "register_forward_hook")),
        "the model has forward hooks",
    ),
    "extra keys": (
        lambda: in_layer(replaced(self_attn=nn.MultiheadAttention(WIDTH, 4, add_bias_kv=True, batch_first=True))),
        "layers.1.self_attn adds keys and values",
    ),
    "keys of another width": (
        lambda: in_layer(replaced(self_attn=nn.MultiheadAttention(WIDTH, 4, kdim=8, batch_first=True))),
        "layers.1.self_attn has keys or values of another width",
    ),
    "heads that do not divide": (lambda: in_layer(replaced(self_attn__num_heads=3)), "3 heads, which do not divide 64"),
    "feed-forward of two widths": (
        lambda: in_layer(replaced(linear1=nn.Linear(WIDTH, 32))),
        r"layers.1.linear2.weight has the shape \(64, 96\), and \(64, 32\) is expected",
    ),
    "short bias": (
        lambda: in_layer(lambda layer: setattr(layer.linear1, "bias", nn.Parameter(torch.zeros(1)))),
        r"layers.1.linear1.bias has the shape \(1,\)",
    ),
    "sparse weight": (lambda: in_layer(sparse), "layers.1.linear1.weight is of type torch.sparse_csr"),
    "integers": (lambda: in_layer(integers), "layers.1.linear2.weight is torch.int8"),
    "float64 in one layer": (lambda: in_layer(lambda layer: layer.linear1.double()), "linear1.weight is torch.float64"),
    "lazy layer": (lambda: in_layer(replaced(linear1=nn.LazyLinear(INNER))), "linear1 is of type LazyLinear"),
    "meta model": (on_meta, "layers.0.self_attn.in_proj_weight is on the device meta"),
    "one layer on meta": (
        lambda: in_layer(lambda layer: layer.to("meta")),
        "layers.1.self_attn.in_proj_weight is on the device meta",
    ),
    "missing part": (lambda: in_layer(lambda layer: delattr(layer, "norm1")), "layers.1.norm1 is of type NoneType"),
    "compiled": (lambda: torch.compile(encoder()), "Cannot pack a OptimizedModule"),
    "scripted": (lambda: torch.jit.script(encoder()), "Cannot pack a RecursiveScriptModule"),
    "wrapped": (lambda: nn.DataParallel(encoder()), "Cannot pack a DataParallel"),
    "nothing": (lambda: None, "Cannot pack a NoneType"),
}  # fmt: skip

ROBERTA: dict[str, tuple[Callable[[], Any], str]] = {
    "subclassed layer norm": (
        lambda: in_roberta(replaced(encoder__transformer__embedding_layer_norm=OwnNorm(WIDTH))),
        "embedding_layer_norm is of type OwnNorm",
    ),
    "hook of the embedding": (
        lambda: in_roberta(hooked("encoder.transformer.token_embedding", "register_forward_hook")),
        "token_embedding has forward hooks",
    ),
    "hook of the model": (lambda: in_roberta(hooked("", "register_forward_pre_hook")), "the model has forward"),
    "patched encoder": (lambda: in_roberta(own("forward", "encoder")), "encoder has a forward of its own"),
    "patched positions": (
        lambda: in_roberta(own("_make_positions", "encoder.transformer.positional_embedding")),
        "positional_embedding has a _make_positions of its own",
    ),
    "embedding that renormalizes": (
        lambda: in_roberta(replaced(encoder__transformer__token_embedding__max_norm=1.0)),
        "max_norm",
    ),
    "two padding ids": (
        lambda: in_roberta(replaced(encoder__transformer__positional_embedding__pad_index=3)),
        "padding id",
    ),
    "another class of embedding": (
        lambda: in_roberta(replaced(encoder__transformer__token_embedding=nn.EmbeddingBag(50, WIDTH))),
        "token_embedding is of type EmbeddingBag",
    ),
    "texts behind tokens": (
        lambda: in_roberta(
            lambda model: [
                setattr(layer.self_attn, "batch_first", False) for layer in model.encoder.transformer.layers.layers
            ]
        ),
        "not batch_first",
    ),
    "adapter in a layer": (
        lambda: in_roberta(replaced(encoder__transformer__layers__layers__1__linear1=OwnCall(WIDTH, INNER))),
        "encoder.transformer.layers.layers.1.linear1 is of type OwnCall",
    ),
    "head that is a function": (lambda: in_roberta(lambda m: m.__dict__.update(head=torch.sin)), "head is of type"),
    "a head of batch norm in training mode": (
        lambda: (model := in_roberta(replaced(head=nn.BatchNorm1d(7)))).head.train() and model,
        "training mode",
    ),
    "head elsewhere": (lambda: in_roberta(lambda model: model.head.to("meta")), "several devices"),
}  # fmt: skip


def values(model: Any) -> dict[str, Any]:
    if not isinstance(model, nn.Module):
        return {}
    return {name: (id(value), value._version) for name, value in model.named_parameters()}


@pytest.mark.parametrize(("make", "words"), [*HOSTILE.values(), *ROBERTA.values()], ids=[*HOSTILE, *ROBERTA])
@pytest.mark.filterwarnings("ignore")
def test_a_model_that_would_be_computed_differently_is_refused_and_left_alone(make: Any, words: str) -> None:
    model = make()
    before = values(model)
    with pytest.raises(Refusal, match=words) as refusal:
        pack(model, release=True, compiled=False)
    assert values(model) == before
    assert "\n" not in str(refusal.value)


@pytest.fixture
def a_hook_of_all_modules() -> Iterator[None]:
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    yield
    handle.remove()


@pytest.mark.usefixtures("a_hook_of_all_modules")
def test_a_hook_of_all_modules_is_refused() -> None:
    with pytest.raises(Refusal, match="hooks of all modules"):
        pack(encoder(), compiled=False)


def test_a_stand_in_for_a_tensor_is_refused() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    packed = pack(encoder(), compiled=False)
    with FakeTensorMode() as mode:
        fake = torch.zeros(2, LENGTH, WIDTH)
        with pytest.raises(Refusal, match="plain tensor"):
            packed(fake)
        with pytest.raises(Refusal, match="makes a FakeTensor"):
            pack(encoder(), compiled=False)
        faked = encoder()
    assert mode is not None
    with pytest.raises(Refusal, match="FakeTensor"):
        pack(faked, compiled=False)


def exotic_norms(layer: Any) -> None:
    layer.norm1 = nn.LayerNorm(WIDTH, eps=0.1, elementwise_affine=False)
    layer.norm2 = nn.LayerNorm(WIDTH, eps=1e-3, bias=False)


def another_inner_width(layer: Any) -> None:
    layer.linear1, layer.linear2 = nn.Linear(WIDTH, 32, bias=False), nn.Linear(32, WIDTH)


def shared_layers() -> nn.TransformerEncoder:
    model = encoder(3)
    model.layers = nn.ModuleList([model.layers[0], model.layers[1], model.layers[0]])
    return model


def shared_parts() -> nn.TransformerEncoder:
    model = encoder(3)
    model.layers[2].linear1 = model.layers[0].linear1
    model.layers[1].linear2.weight = model.layers[0].linear2.weight
    return model


def frozen() -> nn.TransformerEncoder:
    return encoder().requires_grad_(False)


FINE: dict[str, Callable[[], Any]] = {
    "eps and biases differ": lambda: in_layer(exotic_norms),
    "feed-forward widths differ": lambda: in_layer(another_inner_width),
    "activations differ": lambda: in_layer(replaced(activation=nn.GELU("tanh"))),
    "torch.relu": lambda: encoder(activation=torch.relu),
    "relu in place": lambda: encoder(activation=nn.ReLU(inplace=True)),
    "no dropout": lambda: in_layer(
        replaced(dropout=nn.Identity(), dropout1=nn.Dropout1d(), dropout2=nn.AlphaDropout())
    ),
    "a plain linear layer after attention": lambda: in_layer(replaced(self_attn__out_proj=nn.Linear(WIDTH, WIDTH))),
    "a sequence of layers": lambda: in_model(
        lambda model: setattr(model, "layers", nn.Sequential(*model.layers))
    ),
    "a layer used twice": shared_layers,
    "shared parts": shared_parts,
    "frozen": frozen,
    "parametrization removed": lambda: in_layer(
        lambda layer: parametrize.remove_parametrizations(parametrizations.weight_norm(layer.linear1), "weight")
    ),
    "a compiled call": lambda: in_layer(lambda layer: layer.compile(backend="eager")),
    "copied": lambda: copy.deepcopy(encoder()),
}  # fmt: skip


def slow(model: Any, *args: Any) -> Tensor:
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            return model(*args)  # type: ignore[no-any-return]
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


@pytest.mark.parametrize("release", [False, True], ids=["kept", "released"])
@pytest.mark.parametrize("compiled", [True, False], ids=["kernels", "operators"])
@pytest.mark.parametrize("make", FINE.values(), ids=FINE)
def test_what_can_be_computed_right_is_packed(make: Callable[[], Any], compiled: bool, release: bool) -> None:
    model, src = make(), torch.randn(3, LENGTH, WIDTH, generator=torch.Generator().manual_seed(1))
    expected = slow(model, src)
    found = pack(model, compiled=compiled, release=release)(src)
    assert torch.allclose(found, expected, atol=1e-5)


class HeadOfItsOwn(RobertaClassificationHead):  # type: ignore[misc, valid-type]
    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features) * 2  # type: ignore[no-any-return]


HEADS: dict[str, Callable[[Any], object]] = {
    "subclassed": replaced(head=HeadOfItsOwn(2, WIDTH)),
    "adapter": lambda model: setattr(model.head, "dense", LowRank(model.head.dense)),
    "hook": lambda model: model.head.dense.register_forward_hook(lambda _m, _a, output: output * 2),
    "hook of the head": lambda model: model.head.register_forward_hook(lambda _m, _a, output: output * 2),
    "float64": lambda model: model.head.double(),
    "without parameters": replaced(head=nn.Softmax(-1)),
    "none": replaced(head=None),
}


@pytest.mark.parametrize("change", HEADS.values(), ids=HEADS)
def test_a_head_of_another_kind_is_called_as_it_is(change: Callable[[Any], object]) -> None:
    model, tokens = in_roberta(change), torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])
    hidden = slow(model.encoder, tokens)
    if model.head is not None:
        parameter = next(model.head.parameters(), hidden)
        expected = slow(model.head, hidden.to(parameter.dtype))
    else:
        expected = hidden
    packed = pack(model, compiled=False, release=True)
    assert isinstance(packed, PackedRoberta)
    assert torch.allclose(packed(tokens), expected, atol=1e-5)


@pytest.mark.parametrize("compiled", [True, False], ids=["kernels", "operators"])
def test_another_default_device_changes_nothing(compiled: bool) -> None:
    """It once ended the process: new tensors had no values where the kernels write."""
    model, texts = encoder(), [torch.randn(2, length, WIDTH) for length in (3, 70)]
    tokens = torch.randint(2, 50, (3, 12))
    tokens[1, 5:] = 1
    twin = roberta()
    expected = [slow(model, src) for src in texts], slow(twin, tokens)
    with torch.device("meta"):
        packed, packed_twin = pack(model, compiled=compiled), pack(twin, compiled=compiled, release=True)
        found = [packed(src) for src in texts], packed_twin(tokens)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found[0], expected[0], strict=True))
    assert torch.allclose(found[1], expected[1], atol=1e-5)
    assert F.relu(found[1]).device.type == "cpu"


@pytest.mark.parametrize("dtype", [[], {}, object(), "FP32", ""])
def test_a_precision_that_is_none_is_refused(dtype: Any) -> None:
    with pytest.raises(Refusal, match="choose 'fp32'"):
        pack(encoder(), dtype, compiled=False)


@pytest.mark.parametrize(
    ("src", "options", "words"),
    [
        ([[1.0]], {}, "this one is of type list"),
        (torch.zeros(2, 3, WIDTH).to_sparse(), {}, "torch.sparse_coo"),
        (torch.zeros(2, 3, WIDTH), {"src_key_padding_mask": [[True] * 3] * 2}, "of type list"),
        (torch.zeros(2, 3, WIDTH, dtype=torch.complex64), {}, "complex64"),
    ],
)
def test_an_input_of_another_kind_is_refused(src: Any, options: Any, words: str) -> None:
    with pytest.raises(Refusal, match=words):
        pack(encoder(), compiled=False)(src, **options)


def test_a_packed_encoder_keeps_the_weights_it_was_packed_with() -> None:
    """The norms were once shared, so training the original changed half of the packed one."""
    model, src = encoder(), torch.randn(2, LENGTH, WIDTH)
    packed = pack(model, compiled=False)
    expected = packed(src)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    assert torch.equal(packed(src), expected)


@pytest.mark.parametrize("compiled", [True, False], ids=["kernels", "operators"])
def test_weights_in_another_order_of_memory(compiled: bool) -> None:
    model, tokens = roberta(), torch.randint(2, 50, (9, 8))
    for parameter in model.encoder.transformer.layers.parameters():
        if parameter.ndim == 2:
            parameter.data = parameter.data.t().contiguous().t()
        else:
            parameter.data = torch.stack([parameter.data, parameter.data], 1)[:, 0]
    assert torch.allclose(pack(model, compiled=compiled)(tokens), slow(model, tokens), atol=1e-5)


def test_derivatives_and_traces_are_refused_where_they_would_silently_be_wrong() -> None:
    packed, src = pack(encoder(), compiled=False), torch.randn(2, LENGTH, WIDTH)
    with pytest.raises(Refusal, match="no gradients"):
        torch.func.jvp(packed, (src,), (src,))
    with pytest.raises(Refusal, match="no gradients"):
        torch.func.grad(lambda given: packed(given).sum())(src)
    for module, given in ((packed, src), (pack(roberta(), compiled=False), torch.tensor([[5, 6]]))):
        with pytest.raises(Refusal, match="traced"):
            torch.jit.trace(module, (given,))


def test_a_compiled_call_of_a_packed_encoder() -> None:
    packed, src = pack(encoder(), compiled=True), torch.randn(2, LENGTH, WIDTH)
    assert torch.equal(torch.compile(packed, backend="eager")(src), packed(src))
