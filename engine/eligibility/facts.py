"""What is known of a model, a call and the setting around it, as frozen plain values; imports no torch.

`reading.py` and `module_reading.py` read them from torch's objects; conditions and dangers are judged from them alone.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class SettingFacts:
    """The setting around the call, as torch's own checks see it.

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
        approximates_gelu: the activation is torch's gelu by the approximation with tanh.
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
