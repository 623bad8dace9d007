"""The facts of a model, a call and the setting around it, as frozen plain values; imports no torch.

`reading.py` and `module_reading.py` read them from torch's objects. Conditions and dangers use only these facts.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class SettingFacts:
    """The setting around the call, as torch's own checks see it.

    Attributes:
        version: torch's (major, minor).
        autocast_seen: `torch.is_autocast_enabled()`, which is about CUDA only.
        cpu_autocast: dtype of autocast on the CPU, which torch's check ignores; empty if it is off.
        function_mode: a torch function mode is active, so `has_torch_function` is true for every tensor.
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
    """A batch's padding mask: where its padding is.

    Attributes:
        lengths: number of real tokens in each row.
        length: tokens of a row, padding included.
        left_rows: number of rows with padding before their first real token.
        inside_rows: number of rows with padding between real tokens.
        from_ids: the mask was made here from the padding id, so it cannot be inverted.
    """

    mask: MaskFacts
    lengths: tuple[int, ...]
    length: int
    left_rows: int
    inside_rows: int
    from_ids: bool = False

    @property
    def empty_rows(self) -> int:
        """Number of rows without a real token."""
        return sum(length == 0 for length in self.lengths)

    @property
    def looks_inverted(self) -> bool:
        """Whether it seems to be True on text, like attention masks: every row is empty or padded on the left."""
        return not self.from_ids and self.empty_rows > 0 < self.left_rows and self._all_left_or_empty

    @property
    def _all_left_or_empty(self) -> bool:
        return not self.inside_rows and self.left_rows + self.empty_rows == len(self.lengths)

    @property
    def right_padded(self) -> bool:
        """Whether every row has its real tokens first, as nested tensors need."""
        return not (self.left_rows or self.inside_rows)


@dataclass(frozen=True)
class CallFacts:
    """What an encoder, a layer or an attention was called with.

    Attributes:
        gradients, autocast_seen, cpu_autocast: the modes at this call; a model may change them in its own forward.
        nested: layout of a nested input; empty for a plain tensor.
        self_attention: query, key and value are one tensor; True for encoders and layers.
        calls: number of calls in one forward of the model.
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
        activation_code: the activation of the fused layer, as `__init__` recorded it: 1 relu, 2 gelu, 0 another.
        activation: the activation of the slow path: "relu", "gelu", or the callable's name.
        activation_exact: whether the two are the same function.
        activation_alike: 1 if the callable computes relu, 2 if it computes gelu, by whatever name; else 0.
        approximates_gelu: the activation is torch's gelu in its approximation by tanh.
        ffn: width of the feed-forward block.
        hooked: modules with forward hooks, the layer itself included.
        replaced: modules with a forward that is not torch's; the fused layer never calls it.
        missing: tensors that the fused layer needs and that do not exist.
        live_dropout: dropout modules in train mode inside a layer in eval mode.
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
    approximates_gelu: bool
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
    """A layer of an encoder that is not an `nn.TransformerEncoderLayer`."""

    name: str
    type_name: str


@dataclass(frozen=True)
class EncoderFacts:
    """An `nn.TransformerEncoder`; `use_nested` is None if the attribute is missing (models saved by old torch)."""

    name: str
    torch_forward: bool
    enable_nested: bool
    use_nested: bool | None
    mask_check: bool
    layers: tuple[LayerFacts | OtherLayer, ...]
    call: CallFacts | None = None

    @property
    def torch_layers(self) -> tuple[LayerFacts, ...]:
        """The layers that torch may fuse."""
        return tuple(layer for layer in self.layers if isinstance(layer, LayerFacts))


@dataclass(frozen=True)
class ModelFacts:
    """All facts that conditions and dangers are judged from.

    Attributes:
        slow_error: the exception that the slow path raised; empty if it raised none.
        position_error: the message if the input has a position or an id that an embedding has no row for; else empty.
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
        """Every encoder layer that torch may fuse."""
        return (*(layer for encoder in self.encoders for layer in encoder.torch_layers), *self.layers)
