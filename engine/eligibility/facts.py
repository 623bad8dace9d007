"""What the doctor knows of a call, as plain values: read once from torch's objects, judged by pure functions.

The call is watched on a copy, by the slow path, which takes every input; so nothing that may go wrong on the fastpath
has happened yet when the conditions are judged.
"""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.eligibility.subject import Subject
from engine.errors import first_line

TENSORS = (
    "self_attn.in_proj_weight",
    "self_attn.in_proj_bias",
    "self_attn.out_proj.weight",
    "self_attn.out_proj.bias",
    "norm1.weight",
    "norm1.bias",
    "norm2.weight",
    "norm2.bias",
    "linear1.weight",
    "linear1.bias",
    "linear2.weight",
    "linear2.bias",
)
"""What the fused layer is given instead of the modules (torch/nn/modules/transformer.py, `tensor_args`)."""

_PARTS: dict[str, type[nn.Module]] = {
    "self_attn": nn.MultiheadAttention,
    "norm1": nn.LayerNorm,
    "norm2": nn.LayerNorm,
    "linear1": nn.Linear,
    "linear2": nn.Linear,
}


@dataclass(frozen=True)
class SettingFacts:
    """The world around the call, as torch's own checks see it.

    Attributes:
        autocast_seen: `torch.is_autocast_enabled()`, which looks at CUDA only.
        cpu_autocast: dtype of autocast on the CPU, which torch's check does not see; empty where it is off.
        function_mode: a torch function mode is active, so `has_torch_function` is true of every tensor.
        global_hooks: hooks for all modules are registered.
    """

    version: tuple[int, int]
    fastpath: bool
    gradients: bool
    autocast_seen: bool
    cpu_autocast: str
    function_mode: bool
    compiling: bool
    global_hooks: bool


@dataclass(frozen=True)
class MaskFacts:
    """An attention mask or a padding mask given as numbers.

    Attributes:
        graded: a floating-point mask with values other than 0 and minus infinity.
        clear: masks nothing.
        causal: exactly the mask of `generate_square_subsequent_mask`.
    """

    dtype: str
    graded: bool
    clear: bool
    causal: bool = False


@dataclass(frozen=True)
class PaddingFacts:
    """A batch's padding mask: what lies where.

    Attributes:
        lengths: real tokens of each row, wherever they lie.
        left_rows: rows whose padding comes before their first real token.
        inside_rows: rows with padding between real tokens.
        from_ids: the mask was made from the padding id here, so it cannot be the wrong way round.
    """

    mask: MaskFacts
    lengths: tuple[int, ...]
    length: int
    left_rows: int
    inside_rows: int
    from_ids: bool = False

    @property
    def empty_rows(self) -> int:
        """Rows without a real token."""
        return sum(length == 0 for length in self.lengths)

    @property
    def looks_inverted(self) -> bool:
        """Whether it is True on text, as attention masks elsewhere are: every row is empty or padded on the left."""
        return not self.from_ids and self.empty_rows > 0 < self.left_rows and self._all_left_or_empty

    @property
    def _all_left_or_empty(self) -> bool:
        return not self.inside_rows and self.left_rows + self.empty_rows == len(self.lengths)

    @property
    def right_padded(self) -> bool:
        """Whether every row has its real tokens first, as nested tensors need it."""
        return not (self.left_rows or self.inside_rows)


@dataclass(frozen=True)
class CallFacts:
    """What an encoder, a layer or an attention was called with.

    Attributes:
        gradients, autocast_seen, cpu_autocast: the modes in force at the call itself; a model may change them inside.
        nested: layout of a nested input; empty for a plain tensor.
        self_attention: query, key and value are one tensor; True for encoders and layers.
    """

    shape: tuple[int, ...]
    dtype: str
    device: str
    requires_grad: bool = False
    tensor_subclass: bool = False
    nested: str = ""
    mask: MaskFacts | None = None
    padding: PaddingFacts | None = None
    is_causal: bool | None = None
    self_attention: bool = True
    calls: int = 1
    gradients: bool = False
    autocast_seen: bool = False
    cpu_autocast: str = ""


@dataclass(frozen=True)
class AttentionFacts:
    """An `nn.MultiheadAttention`."""

    name: str
    training: bool
    batch_first: bool
    num_heads: int
    same_widths: bool
    """`_qkv_same_embed_dim`: keys and values are as wide as the queries."""
    has_weight: bool
    has_bias: bool
    weight_dtype: str
    bias_kv: bool
    zero_attention: bool
    requires_grad: tuple[str, ...]
    devices: tuple[str, ...]
    subclasses: tuple[str, ...]
    call: CallFacts | None = None


@dataclass(frozen=True)
class LayerFacts:
    """An encoder layer.

    Attributes:
        torch_forward: its forward is nn.TransformerEncoderLayer's own.
        activation_code: what `__init__` noted and the fused layer computes: 1 relu, 2 gelu, 0 something else.
        activation: what the slow path computes: "relu", "gelu", or the callable's name.
        activation_exact: whether the two are the same function.
        activation_alike: 1 or 2 where the callable computes relu or gelu under another name; else 0.
        replaced: modules inside whose forward the fused layer never calls although it is not torch's own.
        missing: tensors that the fused layer asks for and that are not there.
        live_dropout: dropouts that are in train mode inside a layer in eval mode.
    """

    name: str
    type_name: str
    torch_forward: bool
    training: bool
    norm_first: bool
    activation_code: int
    activation: str
    activation_exact: bool
    activation_alike: int
    eps: tuple[float, float]
    width: int
    ffn: int
    hooked: tuple[str, ...]
    replaced: tuple[str, ...]
    missing: tuple[str, ...]
    requires_grad: tuple[str, ...]
    devices: tuple[str, ...]
    subclasses: tuple[str, ...]
    live_dropout: tuple[str, ...]
    attention: AttentionFacts
    call: CallFacts | None = None


@dataclass(frozen=True)
class OtherLayer:
    """A layer of an encoder that is no `nn.TransformerEncoderLayer`."""

    name: str
    type_name: str


@dataclass(frozen=True)
class EncoderFacts:
    """An `nn.TransformerEncoder`; `use_nested` is None where the attribute is missing (models saved by old torch)."""

    name: str
    torch_forward: bool
    enable_nested: bool
    use_nested: bool | None
    mask_check: bool
    layers: tuple[LayerFacts | OtherLayer, ...]
    call: CallFacts | None = None

    @property
    def torch_layers(self) -> tuple[LayerFacts, ...]:
        """The layers that torch can fuse at all."""
        return tuple(layer for layer in self.layers if isinstance(layer, LayerFacts))


@dataclass(frozen=True)
class ModelFacts:
    """Everything the conditions are judged by.

    Attributes:
        slow_error: the exception by which the slow path ended; empty where it came to its end.
        position_error: the input has a position or an id that an embedding has no row for.
    """

    setting: SettingFacts
    encoders: tuple[EncoderFacts, ...]
    layers: tuple[LayerFacts, ...]
    """Encoder layers outside any `nn.TransformerEncoder`."""
    attentions: tuple[AttentionFacts, ...]
    """Attentions outside any encoder layer."""
    slow_error: str = ""
    position_error: str = ""

    @property
    def all_layers(self) -> tuple[LayerFacts, ...]:
        """Every encoder layer torch can fuse."""
        return (*(layer for encoder in self.encoders for layer in encoder.torch_layers), *self.layers)


@dataclass(frozen=True)
class _Modes:
    """What torch's state was when a module was called."""

    gradients: bool
    autocast_seen: bool
    cpu_autocast: str


@dataclass
class _Seen:
    """First call, its modes, and number of calls of each watched module, while the slow path runs.

    Gradients are switched off inside watched modules, so that no graph of a large encoder is ever held.
    """

    first: dict[nn.Module, tuple[tuple[Any, ...], dict[str, Any], _Modes]] = field(default_factory=dict)
    calls: dict[nn.Module, int] = field(default_factory=dict)
    _gradients: list[bool] = field(default_factory=list)

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        modes = _Modes(torch.is_grad_enabled(), torch.is_autocast_enabled(), _cpu_autocast())
        self.first.setdefault(module, (args, dict(kwargs), modes))
        self.calls[module] = self.calls.get(module, 0) + 1
        self._gradients.append(modes.gradients)
        torch.set_grad_enabled(False)

    def leave(self, _module: nn.Module, _args: tuple[Any, ...], _output: Any) -> None:
        torch.set_grad_enabled(self._gradients.pop())


def read_facts(subject: Subject) -> ModelFacts:
    """Watch one call by the slow path and write down all that the conditions ask for."""
    # Gradients as the call has them: whether the encoder's input would get one is seen only then.
    watched = subject.slow().with_setting(gradients=subject.setting.gradients)
    seen, slow_error = _watch(watched)
    names = {module: name for name, module in watched.model.named_modules()}
    original = dict(subject.model.named_modules())

    def call_of(module: nn.Module) -> CallFacts | None:
        if module not in seen.first:
            return None
        args, kwargs, modes = seen.first[module]
        arguments = bound_call(module, args, kwargs)
        return _call_facts(arguments, seen.calls[module], modes) if arguments else None

    encoders = _outermost(watched.model, nn.TransformerEncoder, ())
    layers = _outermost(watched.model, nn.TransformerEncoderLayer, tuple(encoders))
    attentions = _outermost(watched.model, nn.MultiheadAttention, (*encoders, *layers))
    with subject.setting.held():
        setting = _setting_facts(subject)
    return ModelFacts(
        setting=setting,
        encoders=tuple(
            _encoder_facts(original[names[encoder]], names[encoder], call_of(encoder)) for encoder in encoders
        ),
        layers=tuple(_layer_facts(original[names[layer]], names[layer], call_of(layer)) for layer in layers),
        attentions=tuple(
            _attention_facts(original[names[attention]], names[attention], call_of(attention))
            for attention in attentions
        ),
        slow_error=slow_error,
        position_error=slow_error if slow_error.startswith("IndexError") else "",
    )


def presumed_facts(model: nn.Module, tokens: Tensor, padding_id: int) -> ModelFacts:
    """The same for a torchtext encoder, without running anything, under the settings that are in force.

    Args:
        tokens: (batch, length) int64; torchtext takes every `padding_id` for padding.
    """
    padding = replace(_padding_facts(tokens == padding_id), from_ids=True)
    encoders = {
        name: module for name, module in model.named_modules() if isinstance(module, nn.TransformerEncoder)
    }
    return ModelFacts(
        setting=_setting_facts(Subject(model)),
        encoders=tuple(
            _encoder_facts(encoder, name, _presumed_call(encoder, tokens, padding))
            for name, encoder in encoders.items()
        ),
        layers=(),
        attentions=(),
        position_error=beyond_positions(model, max(padding.lengths)),
    )


def _presumed_call(encoder: Any, tokens: Tensor, padding: PaddingFacts) -> CallFacts:
    weight = encoder.layers[0].linear1.weight
    return CallFacts(
        shape=(*tokens.shape, weight.shape[1]),
        dtype=_short(weight.dtype),
        device=tokens.device.type,
        requires_grad=torch.is_grad_enabled() and weight.requires_grad,
        padding=padding,
        gradients=torch.is_grad_enabled(),
        autocast_seen=torch.is_autocast_enabled(),
        cpu_autocast=_cpu_autocast(),
    )


def beyond_positions(model: nn.Module, longest: int) -> str:
    """Why a torchtext encoder has no position for a text of so many real tokens; empty where it has."""
    for module in model.modules():
        rows = position_rows(module)
        if rows is not None and longest > rows:
            return f"a text of {longest} tokens, and positions for {rows}"
    return ""


def position_rows(module: nn.Module) -> int | None:
    """Tokens that torchtext's PositionalEmbedding has positions for: its table's rows behind the padding row."""
    if type(module).__name__ != "PositionalEmbedding":
        return None
    table: Any = module.embedding
    pad_index: Any = module.pad_index
    return int(table.num_embeddings) - int(pad_index) - 1


def _watch(subject: Subject) -> tuple[_Seen, str]:
    seen = _Seen()
    kinds = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention)
    for module in subject.model.modules():
        if isinstance(module, kinds):
            module.register_forward_pre_hook(seen.enter, with_kwargs=True)
            module.register_forward_hook(seen.leave)
    try:
        with torch.set_grad_enabled(torch.is_grad_enabled()), subject.setting.held():
            subject.forward()()
    except Exception as error:  # the user's own code may raise anything; it is part of the finding
        return seen, first_line(error)
    return seen, ""


def _outermost(
    model: nn.Module, kind: type[nn.Module], outside: tuple[nn.Module, ...]
) -> tuple[nn.Module, ...]:
    """Modules of a kind that lie in none of the given ones, nor in another of their own kind."""
    inside = {part for module in outside for part in module.modules()}
    found = list[nn.Module]()
    for module in model.modules():
        if isinstance(module, kind) and module not in inside:
            found.append(module)
            inside |= set(module.modules())
    return tuple(found)


def _setting_facts(subject: Subject) -> SettingFacts:
    major, minor = torch.__version__.split(".")[:2]
    plain = torch.empty(0, device="cpu")
    hooks = nn.modules.module._global_forward_hooks or nn.modules.module._global_forward_pre_hooks
    return SettingFacts(
        version=(int(major), int(minor)),
        fastpath=torch.backends.mha.get_fastpath_enabled(),
        gradients=torch.is_grad_enabled(),
        autocast_seen=torch.is_autocast_enabled(),
        cpu_autocast=_cpu_autocast(),
        function_mode=torch.overrides.has_torch_function((plain,)),
        compiling=bool(subject.compiled),
        global_hooks=bool(hooks),
    )


def _cpu_autocast() -> str:
    # The names of torch 2.3; newer ones keep them as aliases, some with a deprecation warning that no user can act on.
    if torch.is_autocast_enabled("cpu") if _autocast_takes_a_device() else torch._C.is_autocast_cpu_enabled():
        dtype = (
            torch.get_autocast_dtype("cpu") if _autocast_takes_a_device() else torch.get_autocast_cpu_dtype()
        )
        return _short(dtype)
    return ""


def _autocast_takes_a_device() -> bool:
    return hasattr(torch, "get_autocast_dtype")


def _encoder_facts(encoder: Any, name: str, call: CallFacts | None) -> EncoderFacts:
    return EncoderFacts(
        name=name,
        torch_forward=_runs(encoder, nn.TransformerEncoder),
        enable_nested=bool(getattr(encoder, "enable_nested_tensor", False)),
        use_nested=getattr(encoder, "use_nested_tensor", None),
        mask_check=bool(getattr(encoder, "mask_check", True)),
        layers=tuple(
            _layer_facts(layer, _joined(name, f"layers.{i}"), None)
            if isinstance(layer, nn.TransformerEncoderLayer)
            else OtherLayer(_joined(name, f"layers.{i}"), type(layer).__name__)
            for i, layer in enumerate(encoder.layers)
        ),
        call=call,
    )


def _layer_facts(layer: Any, name: str, call: CallFacts | None) -> LayerFacts:
    tensors = dict(_tensors(layer, TENSORS))
    code = int(getattr(layer, "activation_relu_or_gelu", 0))
    alike = _alike(layer.activation)
    return LayerFacts(
        name=name,
        type_name=type(layer).__name__,
        torch_forward=_runs(layer, nn.TransformerEncoderLayer),
        training=layer.training,
        norm_first=bool(layer.norm_first),
        activation_code=code,
        activation=_activation_name(layer.activation),
        activation_exact=code == alike,
        activation_alike=alike,
        eps=(_eps(layer.norm1), _eps(layer.norm2)),
        width=int(layer.self_attn.embed_dim),
        ffn=int(getattr(layer.linear1, "out_features", 0) or 0),
        hooked=tuple(_hooked(layer)),
        replaced=tuple(_replaced(layer)),
        missing=tuple(path for path, value in tensors.items() if not isinstance(value, Tensor)),
        live_dropout=tuple(_live_dropout(layer)),
        attention=_attention_facts(layer.self_attn, _joined(name, "self_attn"), None),
        call=call,
        **_tensor_facts(tensors),
    )


def _attention_facts(attention: Any, name: str, call: CallFacts | None) -> AttentionFacts:
    tensors = dict(
        _tensors(attention, ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"))
    )
    weight = tensors["in_proj_weight"]
    return AttentionFacts(
        name=name,
        training=attention.training,
        batch_first=attention.batch_first,
        num_heads=attention.num_heads,
        same_widths=attention._qkv_same_embed_dim,
        has_weight=weight is not None,
        has_bias=attention.in_proj_bias is not None,
        weight_dtype=_short(weight.dtype) if isinstance(weight, Tensor) else "",
        bias_kv=attention.bias_k is not None or attention.bias_v is not None,
        zero_attention=attention.add_zero_attn,
        call=call,
        **_tensor_facts(tensors),
    )


def _tensor_facts(tensors: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    real = {path: value for path, value in tensors.items() if isinstance(value, Tensor)}
    return {
        "requires_grad": tuple(path for path, value in real.items() if value.requires_grad),
        "devices": tuple(sorted({value.device.type for value in real.values()})),
        "subclasses": tuple(path for path, value in real.items() if _is_subclass(value)),
    }


def _is_subclass(tensor: Tensor) -> bool:
    with torch._C.DisableTorchFunction():
        return type(tensor) not in (Tensor, nn.Parameter)


def _tensors(module: nn.Module, paths: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for path in paths:
        value: Any = module
        for part in path.split("."):
            value = getattr(value, part, None)
        yield path, value


def _runs(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether calling this module runs the forward of this class of torch's, be it by way of super()."""
    if "forward" in vars(module):
        return False
    return type(module).forward is kind.forward or _calls_super(type(module).forward)


def _calls_super(function: Any) -> bool:
    code = getattr(function, "__code__", None)
    return code is not None and "super" in code.co_names and "__class__" in code.co_freevars


def _hooked(layer: nn.Module) -> Iterator[str]:
    for name, module in layer.named_modules():
        if module._forward_hooks or module._forward_pre_hooks:
            yield name or "the layer itself"


def _replaced(layer: nn.Module) -> Iterator[str]:
    for name, kind in _PARTS.items():
        part = getattr(layer, name)
        if not _runs(part, kind):
            yield f"{name} ({type(part).__name__})"


def _live_dropout(layer: nn.Module) -> Iterator[str]:
    if not layer.training:
        yield from (name for name, module in layer.named_modules() if draws_dropout(module))


def draws_dropout(module: nn.Module) -> bool:
    """Whether a module itself drops something in a forward."""
    rate = module.p if isinstance(module, nn.Dropout) else getattr(module, "dropout", 0.0)
    return isinstance(module, nn.Dropout | nn.MultiheadAttention) and module.training and rate > 0


def _eps(norm: nn.Module) -> float:
    return float(getattr(norm, "eps", 0.0) or 0.0)


def _activation_name(activation: Any) -> str:
    if isinstance(activation, nn.GELU) and activation.approximate != "none":
        return f"gelu, approximated by {activation.approximate}"
    if isinstance(activation, nn.Module):
        return type(activation).__name__.lower()
    return str(getattr(activation, "__name__", type(activation).__name__)).strip("<>")


def _alike(activation: Any) -> int:
    """1 where a callable computes relu, 2 where it computes the exact gelu, 0 otherwise: by its values on a grid."""
    grid = torch.linspace(-6.0, 6.0, 97, device="cpu")
    try:
        with torch.no_grad(), torch._C.DisableTorchFunction():
            values = activation(grid)
    except Exception:  # a user's callable that takes no plain tensor is neither
        return 0
    if not isinstance(values, Tensor) or values.shape != grid.shape:
        return 0
    for code, function in ((1, functional.relu), (2, functional.gelu)):
        if torch.allclose(values.float(), function(grid), atol=1e-6, rtol=0):
            return code
    return 0


def bound_call(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """A call's arguments by name; empty where they do not fit the module, which raises by itself."""
    try:
        bound = inspect.signature(type(module).forward).bind(module, *args, **kwargs).arguments
    except TypeError:
        return {}
    return bound if isinstance(bound.get("src", bound.get("query")), Tensor) else {}


def _call_facts(bound: Mapping[str, Any], calls: int, modes: _Modes) -> CallFacts:
    first: Tensor = bound["src"] if "src" in bound else bound["query"]
    mask = next(
        (bound[name] for name in ("mask", "src_mask", "attn_mask") if bound.get(name) is not None), None
    )
    padding = bound.get("src_key_padding_mask", bound.get("key_padding_mask"))
    nested = first.is_nested
    same = bound.get("key", first) is first and bound.get("value", first) is first
    return CallFacts(
        shape=() if nested else tuple(first.shape),
        dtype=_short(first.dtype),
        device=first.device.type,
        requires_grad=first.requires_grad,
        tensor_subclass=_is_subclass(first) and not nested,
        nested=_short(first.layout) if nested else "",
        mask=_mask_facts(mask) if mask is not None else None,
        padding=_padding_facts(padding) if padding is not None else None,
        is_causal=bound.get("is_causal"),
        self_attention=same,
        calls=calls,
        gradients=modes.gradients,
        autocast_seen=modes.autocast_seen,
        cpu_autocast=modes.cpu_autocast,
    )


def _mask_facts(mask: Tensor) -> MaskFacts:
    if mask.dtype == torch.bool:
        blocked, graded = mask, False
    else:
        blocked = mask == float("-inf")
        graded = bool(((mask != 0) & ~blocked).any())
    square = mask.ndim == 2 and mask.shape[0] == mask.shape[1]
    causal = square and torch.equal(blocked, torch.ones_like(blocked).triu(1)) and not graded
    return MaskFacts(_short(mask.dtype), graded, not graded and not bool(blocked.any()), causal)


def _padding_facts(padding: Tensor) -> PaddingFacts:
    # As the nested conversion takes it: whatever is not exactly zero is padding.
    real = (padding == 0).cpu() if padding.ndim == 2 else (padding == 0).cpu()[None]
    if not real.numel():
        return PaddingFacts(_mask_facts(padding), (0,) * real.shape[0], real.shape[1], 0, 0)
    lengths = real.sum(1)
    first = torch.where(lengths > 0, real.int().argmax(1), 0)
    last = torch.where(lengths > 0, real.shape[1] - 1 - real.flip(1).int().argmax(1), -1)
    inside = (lengths > 0) & (last - first + 1 > lengths)
    return PaddingFacts(
        mask=_mask_facts(padding),
        lengths=tuple(lengths.tolist()),
        length=real.shape[1],
        left_rows=int((first > 0).sum()),
        inside_rows=int(inside.sum()),
    )


def _joined(*names: str) -> str:
    return ".".join(name for name in names if name)


def _short(value: object) -> str:
    return str(value).removeprefix("torch.")
