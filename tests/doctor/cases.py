"""Broken models and inputs as users make them, one for each condition and danger.

A case names the condition or danger, the expected counts, and the cure after which the fastpath is proved.
"""

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import prune

from engine.diagnosis import Taken
from engine.doctor.modifications import Adapter

WIDTH, HEADS, FFN, LAYERS, TEXTS, LENGTH = 32, 4, 64, 2, 3, 7
NOTICES_HOOKS = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 5)
"""Older torch does not look for hooks: the fused layers go on and leave them uncalled."""
FULL = (2, 1, 0)
"""Both layers fused, one nested conversion, no attention on its own."""
DENSE = (2, 0, 0)
NONE = (0, 0, 0)


@dataclass(frozen=True)
class Case:
    """One broken call.

    Attributes:
        names: key of the condition that must fail, or of the danger that must be found.
        counts: (fused layers, nested conversions, native attentions) as it is; None if the forward raises.
        cure: name of the state in which `after` must be counted; empty if there is no cure.
        right: whether the outputs of the state as it is are right; None if they cannot be compared.
        kept: whether the cure does not change the answer.
    """

    name: str
    build: Callable[[], tuple[nn.Module, Any]]
    names: str
    verdict: Taken
    counts: tuple[int, int, int] | None
    cure: str
    after: tuple[int, int, int] = FULL
    right: bool | None = True
    kept: bool | None = True
    around: Callable[[], AbstractContextManager[Any]] = torch.no_grad


def encoder(
    heads: int = HEADS, nested: bool = True, mask_check: bool = True, **options: Any
) -> nn.TransformerEncoder:
    """A small seeded encoder in eval mode. Biases and norms are random, so leaving one out changes the answer."""
    torch.manual_seed(0)
    options = {"batch_first": True, **options}
    layer = nn.TransformerEncoderLayer(WIDTH, heads, FFN, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        built = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=nested, mask_check=mask_check)
    for parameter in built.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, 0.5, 0.3)
    return built.eval()


def states(*shape: int) -> Tensor:
    """Seeded hidden states, by default (texts, length, width)."""
    return torch.randn(*(shape or (TEXTS, LENGTH, WIDTH)), generator=torch.Generator().manual_seed(1))


def right_padding() -> Tensor:
    """(texts, length) bool, True on padding."""
    padding = torch.zeros(TEXTS, LENGTH, dtype=torch.bool)
    padding[1, 4:] = True
    padding[2, 2:] = True
    return padding


def call(**more: Any) -> dict[str, Any]:
    """A call of an encoder that takes both parts of the fastpath."""
    return {"src": states(), "src_key_padding_mask": right_padding(), **more}


def each_layer(change: Callable[[Any], object], **options: Any) -> nn.TransformerEncoder:
    """A small encoder whose layers were changed after it was built."""
    built = encoder(**options)
    for layer in built.layers:
        change(layer)
    return built


def causal() -> Tensor:
    """(length, length) bool, True above the diagonal."""
    return torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)


def distance_bias() -> Tensor:
    """(length, length) float, 0 on the diagonal and falling with the distance."""
    places = torch.arange(LENGTH)
    return -0.3 * (places[:, None] - places).abs().float()


def _padding(where: slice | int, row: int = 1) -> Tensor:
    padding = torch.zeros(TEXTS, LENGTH, dtype=torch.bool)
    padding[row, where] = True
    return padding


class OwnForward(nn.TransformerEncoderLayer):
    """A layer with its own forward, as users write it to log something."""

    def forward(  # type: ignore[override]
        self, src: Tensor, src_key_padding_mask: Tensor | None = None, **_rest: Any
    ) -> Tensor:
        """(texts, length, width) -> the same."""
        attended = self.self_attn(src, src, src, key_padding_mask=src_key_padding_mask, need_weights=False)[0]
        middle = self.norm1(src + attended)
        output: Tensor = self.norm2(middle + self.linear2(self.activation(self.linear1(middle))))
        return output


def own_forward() -> nn.TransformerEncoder:
    """An encoder of `OwnForward` layers."""
    built = encoder(nested=False)
    for layer in built.layers:
        layer.__class__ = OwnForward
    return built


def pruned(layer: Any) -> None:
    """Prune half of a weight, which torch does by a hook."""
    prune.l1_unstructured(layer.linear1, "weight", 0.5)  # type: ignore[no-untyped-call]


def adapted(layer: Any) -> None:
    """Put an adapter around a linear layer."""
    layer.linear1 = Adapter(layer.linear1)


def without_norm_bias(layer: Any) -> None:
    """Replace a norm by one without a bias."""
    layer.norm1 = NormWithoutBias()


class NormWithoutBias(nn.Module):
    """A root mean square norm, as in newer encoders."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(WIDTH)), 1e-5

    def forward(self, values: Tensor) -> Tensor:
        """(..., width) -> the same."""
        return values * (values.pow(2).mean(-1, keepdim=True) + self.eps).rsqrt() * self.weight


class Tagged(Tensor):
    """A tensor subclass without any behaviour of its own."""


def tagged(layer: Any) -> None:
    """Make one weight a tensor subclass."""
    layer.linear1.weight = nn.Parameter(layer.linear1.weight.detach().as_subclass(Tagged))


def quantised() -> nn.Module:
    """An encoder after quantize_dynamic."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantise: Any = torch.ao.quantization.quantize_dynamic
        built: nn.Module = quantise(encoder(), {nn.Linear}, dtype=torch.qint8)
        return built


def gelu_by_another_name(values: Tensor) -> Tensor:
    """The exact gelu, in a function of the user."""
    return functional.gelu(values)


def separate_weights(layer: Any) -> None:
    """Separate the weights of queries, keys and values, as kdim and vdim do."""
    attention = layer.self_attn
    query, key, value = attention.in_proj_weight.detach().chunk(3)
    attention._qkv_same_embed_dim = False
    attention.in_proj_weight = None
    attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight = (
        nn.Parameter(part.clone()) for part in (query, key, value)
    )


def with_attention(**options: Any) -> nn.TransformerEncoder:
    """An encoder whose attentions have these options."""
    torch.manual_seed(0)

    def change(layer: Any) -> None:
        layer.self_attn = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, **options).eval()

    return each_layer(change)


def built_unnested(change: Callable[[Any], object]) -> nn.TransformerEncoder:
    """An encoder built from changed layers, so that __init__ switches sparsity off."""
    built = each_layer(change)
    built.use_nested_tensor = False
    return built


def _set(name: str, value: Any) -> Callable[[Any], None]:
    return lambda module: setattr(module, name, value)


class Tokens(nn.Module):
    """From token ids to states: an embedding with positions, then an encoder."""

    def __init__(self, positions: int = LENGTH, **options: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(20, WIDTH)
        self.positions = nn.Embedding(positions, WIDTH)
        self.encoder = encoder(**options)
        self.eval()

    def forward(self, tokens: Tensor) -> Tensor:
        """(texts, length) int64, 0 is padding -> (texts, length, width)."""
        placed = self.words(tokens) + self.positions(torch.arange(tokens.shape[1]))
        output: Tensor = self.encoder(placed, src_key_padding_mask=tokens == 0)
        return output


def tokens() -> Tensor:
    """(texts, length) int64, right-padded with 0."""
    ids = torch.arange(1, 1 + TEXTS * LENGTH).reshape(TEXTS, LENGTH) % 19 + 1
    return ids.masked_fill(right_padding(), 0)


def _equal_eps_broken(layer: Any) -> None:
    layer.norm2.eps = 1e-3


def _hooked() -> nn.TransformerEncoder:
    built = encoder()
    built.layers[1].register_forward_hook(lambda _m, _a, _o: None)
    return built


def _hooked_inside() -> nn.TransformerEncoder:
    built = encoder()
    built.layers[0].linear1.register_forward_pre_hook(lambda _m, _a: None)
    return built


def _second_in_training() -> nn.TransformerEncoder:
    built = encoder()
    built.layers[1].train()
    return built


def _without_attribute() -> nn.TransformerEncoder:
    built = encoder()
    del built.use_nested_tensor
    return built


def _unpadded_call(**more: Any) -> dict[str, Any]:
    return {"src": states(), **more}


def _default_device() -> AbstractContextManager[Any]:
    return torch.device("cpu")


def _cpu_autocast() -> AbstractContextManager[Any]:
    return torch.autocast("cpu", torch.bfloat16)


class _Both(AbstractContextManager[Any]):
    """No gradients, together with another context."""

    def __init__(self, other: Callable[[], AbstractContextManager[Any]]) -> None:
        self._parts = (torch.no_grad(), other())

    def __enter__(self) -> None:
        for part in self._parts:
            part.__enter__()

    def __exit__(self, *error: object) -> None:
        for part in reversed(self._parts):
            part.__exit__(*error)


class _FastpathOff(AbstractContextManager[Any]):
    """The process-wide switch is off."""

    def __enter__(self) -> None:
        torch.backends.mha.set_fastpath_enabled(False)

    def __exit__(self, *error: object) -> None:
        torch.backends.mha.set_fastpath_enabled(True)


CASES: tuple[Case, ...] = (
    Case(
        "train mode", lambda: (encoder().train(), call()), "eval-mode", "not taken", NONE, "eval", right=None
    ),
    Case(
        "gradients on",
        lambda: (encoder(), call()),
        "no-gradients",
        "not taken",
        NONE,
        "no-gradients",
        around=nullcontext,
    ),
    Case(
        "fastpath switched off",
        lambda: (encoder(), call()),
        "fastpath-enabled",
        "not taken",
        NONE,
        "fastpath-on",
        around=lambda: _Both(_FastpathOff),
    ),
    Case(
        "a default device",
        lambda: (encoder(), call()),
        "plain-tensors",
        "not taken",
        NONE,
        "plain-tensors",
        around=lambda: _Both(_default_device),
    ),
    Case(
        "bfloat16 autocast on the CPU",
        lambda: (encoder(), call()),
        "cpu-autocast",
        "not taken",
        None,
        "no-autocast",
        right=None,
        kept=None,
        around=lambda: _Both(_cpu_autocast),
    ),
    Case(
        "a tensor subclass",
        lambda: (each_layer(tagged), call()),
        "plain-tensors",
        "not taken",
        NONE,
        "plain-tensors",
    ),
    Case(
        "length first",
        lambda: (encoder(batch_first=False), call(src=states(LENGTH, TEXTS, WIDTH))),
        "batch-first",
        "not taken",
        NONE,
        "batch-first",
    ),
    Case("no biases", lambda: (encoder(bias=False), call()), "attention-bias", "not taken", NONE, "biases"),
    Case(
        "separate weights",
        lambda: (built_unnested(separate_weights), call()),
        "same-widths",
        "not taken",
        NONE,
        "joined-weight",
    ),
    Case(
        "gelu in a lambda",
        lambda: (encoder(activation=gelu_by_another_name), call()),
        "activation",
        "not taken",
        NONE,
        "known-activation",
    ),
    Case("silu", lambda: (encoder(activation=functional.silu), call()), "activation", "not taken", NONE, ""),
    Case(
        "silu, no mask",
        lambda: (encoder(activation=functional.silu), _unpadded_call()),
        "activation",
        "partly taken",
        (0, 0, 2),
        "",
    ),
    Case(
        "unequal eps",
        lambda: (built_unnested(_equal_eps_broken), call()),
        "equal-eps",
        "not taken",
        NONE,
        "equal-eps",
        kept=False,
    ),
    Case(
        "unequal eps after the encoder was built",
        lambda: (each_layer(_equal_eps_broken), call()),
        "equal-eps",
        "partly taken",
        (0, 1, 2),
        "equal-eps",
        kept=False,
    ),
    Case("odd heads", lambda: (encoder(heads=1), call()), "even-heads", "not taken", NONE, ""),
    Case("norms first", lambda: (encoder(norm_first=True), call()), "post-norm", "partly taken", DENSE, ""),
    Case(
        "a hook on a layer",
        lambda: (_hooked(), call()),
        "no-hooks" if NOTICES_HOOKS else "silent-hooks",
        "partly taken" if NOTICES_HOOKS else "taken",
        (1, 1, 1) if NOTICES_HOOKS else FULL,
        "no-hooks",
    ),
    Case(
        "a hook inside a layer",
        lambda: (_hooked_inside(), call()),
        "no-hooks" if NOTICES_HOOKS else "silent-hooks",
        "partly taken" if NOTICES_HOOKS else "taken",
        (1, 1, 1) if NOTICES_HOOKS else FULL,
        "no-hooks",
    ),
    Case(
        "pruning",
        lambda: (each_layer(pruned), call()),
        "no-hooks" if NOTICES_HOOKS else "silent-hooks",
        "partly taken" if NOTICES_HOOKS else "taken",
        (0, 1, 2) if NOTICES_HOOKS else FULL,
        "no-hooks",
    ),
    Case(
        "one text without a batch",
        lambda: (encoder(), {"src": states(LENGTH, WIDTH), "src_key_padding_mask": right_padding()[1]}),
        "batched",
        "not taken",
        NONE,
        "as-batch",
    ),
    Case(
        "a layer with its own forward",
        lambda: (own_forward(), call()),
        "own-forward",
        "not taken",
        NONE,
        "torchs-forward",
    ),
    Case(
        "sparsity not asked for",
        lambda: (encoder(nested=False), call()),
        "use-nested",
        "partly taken",
        DENSE,
        "nested-on",
    ),
    Case(
        "an encoder saved by an older torch",
        lambda: (_without_attribute(), call()),
        "nested-attribute",
        "partly taken",
        DENSE,
        "nested-attribute",
    ),
    Case("no padding mask", lambda: (encoder(), _unpadded_call()), "padding-mask", "taken", DENSE, ""),
    Case(
        "two masks",
        lambda: (encoder(), call(mask=causal())),
        "no-attention-mask",
        "partly taken",
        DENSE,
        "",
    ),
    Case(
        "two masks, one of which masks nothing",
        lambda: (encoder(), call(mask=torch.zeros(LENGTH, LENGTH, dtype=torch.bool))),
        "no-attention-mask",
        "partly taken",
        DENSE,
        "no-attention-mask",
    ),
    Case(
        "left padding, noticed by the mask check",
        lambda: (encoder(), call(src_key_padding_mask=_padding(slice(0, 3)))),
        "right-padded",
        "partly taken",
        DENSE,
        "right-padded",
    ),
    Case(
        "left padding, mask check off",
        lambda: (encoder(mask_check=False), call(src_key_padding_mask=_padding(slice(0, 3)))),
        "left-padding",
        "taken but wrong",
        FULL,
        "right-padded",
        right=False,
    ),
    Case(
        "padding inside a text",
        lambda: (encoder(mask_check=False), call(src_key_padding_mask=_padding(2))),
        "padding-inside",
        "taken but wrong",
        FULL,
        "right-padded",
        right=False,
    ),
    Case(
        "a batch of nothing but padding",
        lambda: (encoder(), call(src_key_padding_mask=torch.ones(TEXTS, LENGTH, dtype=torch.bool))),
        "only-padding",
        "not taken",
        None,
        "",
        right=None,
    ),
    Case(
        "a row of nothing but padding",
        lambda: (encoder(nested=False), call(src_key_padding_mask=_padding(slice(None)))),
        "empty-row",
        "taken but wrong",
        DENSE,
        "nested-on",
    ),
    Case(
        "a mask the wrong way round",
        lambda: (encoder(), call(src_key_padding_mask=~right_padding())),
        "inverted-mask",
        "taken but wrong",
        DENSE,
        "mask-inverted",
        kept=None,
    ),
    Case(
        "an empty batch",
        lambda: (encoder(), call(src=states()[:0], src_key_padding_mask=right_padding()[:0])),
        "empty-input",
        "not taken",
        None,
        "",
        right=None,
    ),
    Case(
        "texts without a token",
        lambda: (encoder(), call(src=states()[:, :0], src_key_padding_mask=right_padding()[:, :0])),
        "empty-input",
        "not taken",
        None,
        "",
        right=None,
    ),
    Case(
        "a text longer than the positions",
        lambda: (Tokens(positions=5), tokens()),
        "beyond-positions",
        "not taken",
        None,
        "",
        right=None,
    ),
    Case(
        "a distance bias",
        lambda: (encoder(), _unpadded_call(mask=distance_bias())),
        "graded-mask",
        "taken but wrong",
        DENSE,
        "fastpath-off",
        after=NONE,
        right=False,
    ),
    Case(
        "a graded padding mask",
        lambda: (encoder(), call(src_key_padding_mask=-0.5 * right_padding().float())),
        "graded-padding",
        "taken but wrong",
        FULL,
        "fastpath-off",
        after=NONE,
        right=False,
    ),
    Case(
        "is_causal without a mask",
        lambda: (encoder(), _unpadded_call(is_causal=True)),
        "causal-hint",
        "taken but wrong",
        DENSE,
        "causal-mask",
        after=DENSE,
        right=None,
        kept=None,
    ),
    Case(
        "an activation swapped later",
        lambda: (each_layer(_set("activation", functional.silu)), call()),
        "activation-swapped",
        "taken but wrong",
        FULL,
        "activation-noted",
        after=NONE,
        right=False,
    ),
    Case(
        "an approximate gelu",
        lambda: (encoder(activation=nn.GELU(approximate="tanh")), call()),
        "approximate-gelu",
        "taken but wrong",
        FULL,
        "exact-gelu",
        right=False,
        kept=False,
    ),
    Case(
        "an adapter",
        lambda: (each_layer(adapted), call()),
        "replaced-part",
        "taken but wrong",
        FULL,
        "merged",
        right=False,
    ),
    Case(
        "add_bias_kv",
        lambda: (with_attention(add_bias_kv=True), call()),
        "bias-kv",
        "taken but wrong",
        FULL,
        "fastpath-off",
        after=NONE,
        right=False,
    ),
    Case(
        "add_zero_attn",
        lambda: (with_attention(add_zero_attn=True), call()),
        "zero-attention",
        "taken but wrong",
        FULL,
        "fastpath-off",
        after=NONE,
        right=False,
    ),
    Case(
        "dropout left in train mode",
        lambda: (each_layer(lambda layer: layer.dropout1.train()), call()),
        "live-dropout",
        "taken but wrong",
        FULL,
        "eval",
        right=None,
    ),
    Case(
        "the second layer in train mode",
        lambda: (_second_in_training(), call()),
        "nested-input",
        "not taken",
        None,
        "eval",
        right=None,
    ),
    Case(
        "quantised layers",
        lambda: (quantised(), call()),
        "missing-tensors",
        "not taken",
        None,
        "plain-layers",
        right=None,
        kept=None,
    ),
    Case(
        "norms without a bias",
        lambda: (each_layer(without_norm_bias), call()),
        "missing-tensors",
        "not taken",
        None,
        "",
        right=None,
    ),
    Case(
        "two precisions",
        lambda: (encoder(), call(src=states().half())),
        "mixed-precision",
        "not taken",
        None,
        "input-precision",
        right=None,
        kept=None,
    ),
    Case(
        "the tutorial's switch",
        lambda: (_switched(), call()),
        "no-op-switch",
        "taken",
        FULL,
        "really-off",
        after=DENSE,
    ),
)


def _switched() -> nn.TransformerEncoder:
    built = encoder()
    built.enable_nested_tensor = False
    return built
