"""Every condition that torch checks before it takes a fastpath, as a table of pure judgements over plain facts.

Read from torch/nn/modules/transformer.py and activation.py of torch 2.3.1 to 2.15.0; where versions differ, the
condition names the first one that has it. Conditions stand in torch's own order, so that the first one that fails is
the reason torch itself computes, and never shows (pytorch#82919).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from engine.diagnosis import Part
from engine.eligibility.facts import (
    AttentionFacts,
    CallFacts,
    EncoderFacts,
    LayerFacts,
    OtherLayer,
    SettingFacts,
)

Module = TypeVar("Module", EncoderFacts, LayerFacts, AttentionFacts)

Version = tuple[int, int]
OLDEST: Version = (2, 3)
SUPPORTED_DEVICES = {"cpu", "cuda", "privateuseone"}
XPU_SINCE: Version = (2, 10)
HOOKS_SINCE: Version = (2, 5)
COMPILING_SINCE: Version = (2, 10)


@dataclass(frozen=True)
class ConditionInput(Generic[Module]):
    """What a condition looks at: a module, what it is called with, and the world around.

    A call is None where the watched forward never reached the module.
    """

    module: Module
    call: CallFacts | None
    setting: SettingFacts


@dataclass(frozen=True)
class Condition(Generic[Module]):
    """One thing torch asks.

    Attributes:
        key: names the condition, and its cure (engine/doctor/cures.py).
        torch_says: how torch's own reason begins; empty where torch has none.
        since: the first torch version that asks.
        met, has: judge a given, and tell in words what it has.
    """

    key: str
    part: Part
    torch_says: str
    needs: str
    why: str
    met: Callable[[ConditionInput[Module]], bool]
    has: Callable[[ConditionInput[Module]], str]
    since: Version = OLDEST


_FUSED_BOTH = "The fused layer is native code that knows one kind of layer only."
_INFERENCE = "The fastpath is for inference: native code computes no gradients and draws no dropout."
_PARAMETER_WHY = "With gradients on, torch must be able to compute them, and the native code cannot."


def _supported(devices: Iterable[str], setting: SettingFacts) -> bool:
    known = SUPPORTED_DEVICES | ({"xpu"} if setting.version >= XPU_SINCE else set())
    return set(devices) <= known


def _gradient_sources(given: ConditionInput[LayerFacts] | ConditionInput[AttentionFacts]) -> tuple[str, ...]:
    source = ("the input",) if given.call and given.call.requires_grad else ()
    return (*source, *given.module.requires_grad)


def _gradients(given: ConditionInput[LayerFacts] | ConditionInput[AttentionFacts]) -> str:
    sources = _gradient_sources(given)
    state = "on" if given.setting.gradients else "off"
    if not sources:
        return f"gradients {state}; nothing asks for them"
    return f"gradients {state}; {sources[0]}{f' and {len(sources) - 1} more' if sources[1:] else ''} would get one"


def _subclasses(given: ConditionInput[LayerFacts] | ConditionInput[AttentionFacts]) -> str:
    if given.setting.function_mode:
        return "a torch function mode is active, as set_default_device and `with torch.device` make one"
    if given.call and given.call.tensor_subclass:
        return "the input is a tensor subclass"
    return f"tensor subclasses: {', '.join(given.module.subclasses) or 'none'}"


def _plain_tensors(given: ConditionInput[LayerFacts] | ConditionInput[AttentionFacts]) -> bool:
    input_is_subclass = bool(given.call and given.call.tensor_subclass)
    return not (given.setting.function_mode or input_is_subclass or given.module.subclasses)


def _shape(call: CallFacts | None) -> str:
    if call is None:
        return "it was not called"
    return f"a nested tensor ({call.nested})" if call.nested else f"an input of shape {call.shape}"


def _batched(call: CallFacts | None) -> bool:
    return call is None or bool(call.nested) or len(call.shape) == 3


def _masks_with_nested(call: CallFacts | None) -> bool:
    return bool(call and call.nested and (call.mask or call.padding))


def _no_gradients_asked(given: ConditionInput[LayerFacts] | ConditionInput[AttentionFacts]) -> bool:
    return not (given.setting.gradients and _gradient_sources(given))


def _own_or_torchs(torchs: bool) -> str:
    return "torch's" if torchs else "its own"


def _on_off(value: bool) -> str:
    return "on" if value else "off"


LAYER_CONDITIONS: tuple[Condition[LayerFacts], ...] = (
    Condition(
        "own-forward",
        "native MHA",
        "",
        "torch's own TransformerEncoderLayer.forward",
        "Only torch's own forward calls the fused operator; a subclass with its own forward never does.",
        lambda s: s.module.torch_forward,
        lambda s: f"{s.module.type_name} with {_own_or_torchs(s.module.torch_forward)} forward",
    ),
    Condition(
        "fastpath-enabled",
        "native MHA",
        "torch.backends.mha.get_fastpath_enabled() was not True",
        "the process-wide switch on",
        "torch.backends.mha.set_fastpath_enabled(False) turns every fastpath in the process off.",
        lambda s: s.setting.fastpath,
        lambda s: f"the switch is {_on_off(s.setting.fastpath)}",
    ),
    Condition(
        "batched",
        "native MHA",
        "input not batched",
        "a batch: an input of three dimensions",
        "The fused operator takes (texts, length, width) only.",
        lambda s: _batched(s.call),
        lambda s: _shape(s.call),
    ),
    Condition(
        "eval-mode",
        "native MHA",
        "training is enabled",
        "eval mode",
        _INFERENCE,
        lambda s: not s.module.training,
        lambda s: "train mode" if s.module.training else "eval mode",
    ),
    Condition(
        "batch-first",
        "native MHA",
        "self_attn.batch_first was not True",
        "batch_first=True",
        "The fused operator is written for (texts, length, width).",
        lambda s: s.module.attention.batch_first,
        lambda s: f"batch_first={s.module.attention.batch_first}",
    ),
    Condition(
        "attention-bias",
        "native MHA",
        "self_attn was passed bias=False",
        "an attention with biases",
        "The fused operator adds the biases without asking; zeros would do.",
        lambda s: s.module.attention.has_bias,
        lambda s: "biases" if s.module.attention.has_bias else "bias=False",
    ),
    Condition(
        "same-widths",
        "native MHA",
        "self_attn._qkv_same_embed_dim was not True",
        "one joined weight for queries, keys and values",
        "The fused operator multiplies by one joined matrix.",
        lambda s: s.module.attention.same_widths,
        lambda s: "one joined weight" if s.module.attention.same_widths else "three separate weights",
    ),
    Condition(
        "activation",
        "native MHA",
        "activation_relu_or_gelu was not True",
        "relu or gelu, given as torch's own function, module or name",
        f"{_FUSED_BOTH} It has relu and the exact gelu, and recognises them by identity, not by what they compute.",
        lambda s: s.module.activation_code != 0,
        lambda s: s.module.activation,
    ),
    Condition(
        "equal-eps",
        "native MHA",
        "norm1.eps is not equal to norm2.eps",
        "both norms with the same eps",
        "The fused operator takes one eps for both.",
        lambda s: s.module.eps[0] == s.module.eps[1],
        lambda s: f"eps {s.module.eps[0]:g} and {s.module.eps[1]:g}",
    ),
    Condition(
        "nested-without-mask",
        "native MHA",
        "neither src_key_padding_mask nor src_mask are not supported with NestedTensor input",
        "no mask beside a nested input",
        "A nested tensor knows its lengths itself.",
        lambda s: not _masks_with_nested(s.call),
        lambda s: "a nested input and a mask" if _masks_with_nested(s.call) else _shape(s.call),
    ),
    Condition(
        "even-heads",
        "native MHA",
        "num_head is odd",
        "an even number of heads",
        "torch has tested its fused operator with even numbers of heads only; the number is fixed by training.",
        lambda s: s.module.attention.num_heads % 2 == 0,
        lambda s: f"{s.module.attention.num_heads} heads",
    ),
    Condition(
        "no-autocast",
        "native MHA",
        "autocast is enabled",
        "no autocast",
        "The native code takes tensors as they are; autocast converts inside torch's Python code.",
        lambda s: not s.setting.autocast_seen,
        lambda s: f"autocast on CUDA is {_on_off(s.setting.autocast_seen)}",
    ),
    Condition(
        "no-hooks",
        "native MHA",
        "forward pre-/hooks are attached to the module",
        "no forward hook on the layer or anything inside it",
        "The fused operator never calls the modules inside the layer, so their hooks would stay silent.",
        lambda s: not s.module.hooked,
        lambda s: f"hooks on {', '.join(s.module.hooked) or 'nothing'}",
        since=HOOKS_SINCE,
    ),
    Condition(
        "plain-tensors",
        "native MHA",
        "some Tensor argument has_torch_function",
        "plain tensors and no torch function mode",
        "Tensor subclasses and function modes intercept torch's functions; native code cannot be intercepted.",
        _plain_tensors,
        _subclasses,
    ),
    Condition(
        "device",
        "native MHA",
        "some Tensor argument's device is neither one of",
        "a CPU or a CUDA device",
        "There is native code for these devices only.",
        lambda s: _supported((*s.module.devices, *((s.call.device,) if s.call else ())), s.setting),
        lambda s: ", ".join(s.module.devices),
    ),
    Condition(
        "no-gradients",
        "native MHA",
        "grad is enabled and at least one of query or the input/output projection weights",
        "gradients off, or nothing that asks for them",
        _PARAMETER_WHY,
        _no_gradients_asked,
        _gradients,
    ),
)


def _first_layer(given: ConditionInput[EncoderFacts]) -> LayerFacts | None:
    first = given.module.layers[0] if given.module.layers else None
    return first if isinstance(first, LayerFacts) else None


def _of_first(judge: Callable[[LayerFacts], bool]) -> Callable[[ConditionInput[EncoderFacts]], bool]:
    def met(given: ConditionInput[EncoderFacts]) -> bool:
        first = _first_layer(given)
        return first is None or judge(first)

    return met


def _tell_first(tell: Callable[[LayerFacts], str]) -> Callable[[ConditionInput[EncoderFacts]], str]:
    def has(given: ConditionInput[EncoderFacts]) -> str:
        first = _first_layer(given)
        return tell(first) if first else "layers of another class"

    return has


def _as_layer(given: ConditionInput[EncoderFacts]) -> ConditionInput[LayerFacts] | None:
    first = _first_layer(given)
    return ConditionInput(first, given.call, given.setting) if first else None


def _padding_order(given: ConditionInput[EncoderFacts]) -> str:
    padding = given.call.padding if given.call else None
    if padding is None:
        return "no padding mask"
    if padding.right_padded:
        return "padding on the right only"
    return f"padding on the left in {padding.left_rows} rows, inside the text in {padding.inside_rows}"


CONSTRUCTION_CONDITIONS: tuple[Condition[EncoderFacts], ...] = (
    Condition(
        "encoder-layer-class",
        "sparsity",
        "encoder_layer was not TransformerEncoderLayer",
        "layers of torch's class TransformerEncoderLayer",
        "Only they take a nested tensor.",
        lambda s: _first_layer(s) is not None,
        lambda s: (
            s.module.layers[0].type_name
            if s.module.layers and isinstance(s.module.layers[0], OtherLayer)
            else "TransformerEncoderLayer"
        ),
    ),
    Condition(
        "post-norm",
        "sparsity",
        "encoder_layer.norm_first was True",
        "norm_first=False",
        "Nested tensors are supported for layers that normalise after each block; the choice is made in training. "
        "Native MHA needs no such thing and stays.",
        _of_first(lambda first: not first.norm_first),
        _tell_first(lambda first: f"norm_first={first.norm_first}"),
    ),
    Condition(
        "batch-first-encoder",
        "sparsity",
        "encoder_layer.self_attn.batch_first was not True",
        "batch_first=True",
        "A nested tensor is a list of texts, so the texts must come first.",
        _of_first(lambda first: first.attention.batch_first),
        _tell_first(lambda first: f"batch_first={first.attention.batch_first}"),
    ),
    Condition(
        "same-widths-encoder",
        "sparsity",
        "encoder_layer.self_attn._qkv_same_embed_dim was not True",
        "one joined weight for queries, keys and values",
        "Sparsity needs the fused layer, which multiplies by one joined matrix.",
        _of_first(lambda first: first.attention.same_widths),
        _tell_first(
            lambda first: "one joined weight" if first.attention.same_widths else "three separate weights"
        ),
    ),
    Condition(
        "attention-bias-encoder",
        "sparsity",
        "encoder_layer.self_attn was passed bias=False",
        "an attention with biases",
        "Sparsity needs the fused layer, which adds the biases without asking.",
        _of_first(lambda first: first.attention.has_bias),
        _tell_first(lambda first: "biases" if first.attention.has_bias else "bias=False"),
    ),
    Condition(
        "activation-encoder",
        "sparsity",
        "encoder_layer.activation_relu_or_gelu was not True",
        "relu or gelu, given as torch's own function, module or name",
        "Sparsity needs the fused layer, which has relu and the exact gelu.",
        _of_first(lambda first: first.activation_code != 0),
        _tell_first(lambda first: first.activation),
    ),
    Condition(
        "equal-eps-encoder",
        "sparsity",
        "encoder_layer.norm1.eps was not equal to encoder_layer.norm2.eps",
        "both norms with the same eps",
        "Sparsity needs the fused layer, which takes one eps for both.",
        _of_first(lambda first: first.eps[0] == first.eps[1]),
        _tell_first(lambda first: f"eps {first.eps[0]:g} and {first.eps[1]:g}"),
    ),
    Condition(
        "even-heads-encoder",
        "sparsity",
        "encoder_layer.self_attn.num_heads is odd",
        "an even number of heads",
        "Sparsity needs the fused layer, which torch offers for even numbers of heads only.",
        _of_first(lambda first: first.attention.num_heads % 2 == 0),
        _tell_first(lambda first: f"{first.attention.num_heads} heads"),
    ),
)
"""What `TransformerEncoder.__init__` looks at once, in its first layer, to decide `use_nested_tensor`."""


def _could_be_sparse(given: ConditionInput[EncoderFacts]) -> bool:
    return all(condition.met(given) for condition in CONSTRUCTION_CONDITIONS)


def _nested_switch(given: ConditionInput[EncoderFacts]) -> str:
    if given.module.use_nested is None:
        return "no such attribute: the model was saved by an older torch"
    if given.module.use_nested:
        return "use_nested_tensor=True"
    wanted = "although everything it needs is there" if _could_be_sparse(given) else "decided in __init__"
    return f"use_nested_tensor=False, {wanted}"


ENCODER_CONDITIONS: tuple[Condition[EncoderFacts], ...] = (
    Condition(
        "own-forward-encoder",
        "sparsity",
        "",
        "torch's own TransformerEncoder.forward",
        "Only torch's own forward makes nested tensors.",
        lambda s: s.module.torch_forward,
        lambda s: f"{_own_or_torchs(s.module.torch_forward)} forward",
    ),
    Condition(
        "fastpath-enabled-encoder",
        "sparsity",
        "torch.backends.mha.get_fastpath_enabled() was not True",
        "the process-wide switch on",
        "torch.backends.mha.set_fastpath_enabled(False) turns every fastpath in the process off.",
        lambda s: s.setting.fastpath,
        lambda s: f"the switch is {_on_off(s.setting.fastpath)}",
    ),
    Condition(
        "nested-attribute",
        "sparsity",
        "use_nested_tensor attribute not present",
        "the attribute use_nested_tensor",
        "Models pickled by torch before 2.1 lack it.",
        lambda s: s.module.use_nested is not None,
        _nested_switch,
    ),
    Condition(
        "use-nested",
        "sparsity",
        "self.use_nested_tensor (set in init) was not True",
        "use_nested_tensor=True",
        "forward() reads use_nested_tensor, decided in __init__; enable_nested_tensor only says what was asked for.",
        lambda s: bool(s.module.use_nested),
        _nested_switch,
    ),
    Condition(
        "eval-mode-encoder",
        "sparsity",
        "self.layers[0] was in training mode",
        "eval mode",
        _INFERENCE,
        _of_first(lambda first: not first.training),
        _tell_first(lambda first: "train mode" if first.training else "eval mode"),
    ),
    Condition(
        "batched-encoder",
        "sparsity",
        "input not batched",
        "a batch: an input of three dimensions",
        "A nested tensor is a batch of texts of different lengths.",
        lambda s: _batched(s.call),
        lambda s: _shape(s.call),
    ),
    Condition(
        "padding-mask",
        "sparsity",
        "src_key_padding_mask was None",
        "a padding mask",
        "Without src_key_padding_mask nobody knows which tokens are padding.",
        lambda s: s.call is None or s.call.padding is not None,
        lambda s: _padding_mask(s.call),
    ),
    Condition(
        "not-compiling",
        "sparsity",
        "mask_check enabled with torch.compile or torch.export",
        "mask_check=False under torch.compile and torch.export",
        "The check of the mask looks at values, which a compiled graph cannot do.",
        lambda s: not (s.setting.compiling and s.module.mask_check),
        lambda s: (
            f"{'compiled' if s.setting.compiling else 'not compiled'}, mask_check={s.module.mask_check}"
        ),
        since=COMPILING_SINCE,
    ),
    Condition(
        "right-padded",
        "sparsity",
        "mask_check enabled, and src and src_key_padding_mask was not left aligned",
        "padding on the right only (checked unless mask_check=False)",
        "A nested tensor keeps the first tokens of each row, as many as are real.",
        lambda s: not (s.module.mask_check and s.call and s.call.padding and not s.call.padding.right_padded),
        _padding_order,
    ),
    Condition(
        "plain-input",
        "sparsity",
        "NestedTensor input is not supported",
        "a plain tensor",
        "A nested input needs no conversion.",
        lambda s: not (s.call and s.call.nested),
        lambda s: _shape(s.call),
    ),
    Condition(
        "no-attention-mask",
        "sparsity",
        "src_key_padding_mask and mask were both supplied",
        "no attention mask beside the padding mask",
        "Nested attention knows the texts' lengths only, and no other mask.",
        lambda s: not (s.call and s.call.mask),
        lambda s: _attention_mask(s.call),
    ),
    Condition(
        "no-autocast-encoder",
        "sparsity",
        "autocast is enabled",
        "no autocast",
        "The native code takes tensors as they are; autocast converts inside torch's Python code.",
        lambda s: not s.setting.autocast_seen,
        lambda s: f"autocast on CUDA is {_on_off(s.setting.autocast_seen)}",
    ),
    Condition(
        "plain-tensors-encoder",
        "sparsity",
        "some Tensor argument has_torch_function",
        "plain tensors and no torch function mode",
        "Tensor subclasses and function modes intercept torch's functions; native code cannot be intercepted.",
        lambda s: (layer := _as_layer(s)) is None or _plain_tensors(layer),
        lambda s: _subclasses(layer) if (layer := _as_layer(s)) else "layers of another class",
    ),
    Condition(
        "device-encoder",
        "sparsity",
        "src device is neither one of",
        "a CPU or a CUDA device",
        "There is native code for these devices only.",
        lambda s: s.call is None or _supported((s.call.device,), s.setting),
        lambda s: s.call.device if s.call else "it was not called",
    ),
    Condition(
        "no-gradients-encoder",
        "sparsity",
        "grad is enabled and at least one of query or the input/output projection weights",
        "gradients off, or nothing that asks for them",
        _PARAMETER_WHY,
        lambda s: (layer := _as_layer(s)) is None or _no_gradients_asked(layer),
        lambda s: _gradients(layer) if (layer := _as_layer(s)) else "layers of another class",
    ),
)


def _padding_mask(call: CallFacts | None) -> str:
    if call is None:
        return "it was not called"
    return "a padding mask" if call.padding else "src_key_padding_mask=None"


def _attention_mask(call: CallFacts | None) -> str:
    if call is None or call.mask is None:
        return "no attention mask"
    kind = "causal" if call.mask.causal else "that masks nothing" if call.mask.clear else "of its own"
    return f"an attention mask {kind}, {call.mask.dtype}"


def _float_masks(call: CallFacts | None) -> bool:
    masks = (call.mask, call.padding.mask if call.padding else None) if call else ()
    return any(mask is not None and mask.dtype != "bool" for mask in masks)


ATTENTION_CONDITIONS: tuple[Condition[AttentionFacts], ...] = (
    Condition(
        "bool-masks-attention",
        "attention",
        "floating-point masks are not supported for fast path.",
        "masks of booleans",
        "The native attention knows masked and not masked, nothing between.",
        lambda s: not _float_masks(s.call),
        lambda s: "a floating-point mask" if _float_masks(s.call) else "no floating-point mask",
    ),
    Condition(
        "fastpath-enabled-attention",
        "attention",
        "torch.backends.mha.get_fastpath_enabled() was not True",
        "the process-wide switch on",
        "torch.backends.mha.set_fastpath_enabled(False) turns every fastpath in the process off.",
        lambda s: s.setting.fastpath,
        lambda s: f"the switch is {_on_off(s.setting.fastpath)}",
    ),
    Condition(
        "batched-attention",
        "attention",
        "input not batched",
        "a batch: a query of three dimensions",
        "The native attention takes (texts, length, width) only.",
        lambda s: _batched(s.call),
        lambda s: _shape(s.call),
    ),
    Condition(
        "self-attention",
        "attention",
        "non-self attention was used",
        "query, key and value the same tensor",
        "The native attention projects one input by one joined matrix.",
        lambda s: s.call is None or s.call.self_attention,
        lambda s: "one tensor" if s.call is None or s.call.self_attention else "different tensors",
    ),
    Condition(
        "attention-dtype",
        "attention",
        "dtypes of query",
        "input and weights of one precision",
        "The native attention converts nothing.",
        lambda s: s.call is None or not s.module.weight_dtype or s.call.dtype == s.module.weight_dtype,
        lambda s: (
            f"{s.call.dtype if s.call else 'no input'} and {s.module.weight_dtype or 'no joined weight'}"
        ),
    ),
    Condition(
        "joined-weight-attention",
        "attention",
        "in_proj_weight was None",
        "one joined weight for queries, keys and values",
        "The native attention multiplies by one joined matrix.",
        lambda s: s.module.has_weight,
        lambda s: "one joined weight" if s.module.has_weight else "three separate weights",
    ),
    Condition(
        "eval-mode-attention",
        "attention",
        "training is enabled",
        "eval mode",
        _INFERENCE,
        lambda s: not s.module.training,
        lambda s: "train mode" if s.module.training else "eval mode",
    ),
    Condition(
        "even-heads-attention",
        "attention",
        "self.num_heads is not even",
        "an even number of heads",
        "torch offers its native attention for even numbers of heads only.",
        lambda s: s.module.num_heads % 2 == 0,
        lambda s: f"{s.module.num_heads} heads",
    ),
    Condition(
        "batch-first-attention",
        "attention",
        "batch_first was not True",
        "batch_first=True",
        "The native attention is written for (texts, length, width).",
        lambda s: s.module.batch_first,
        lambda s: f"batch_first={s.module.batch_first}",
    ),
    Condition(
        "no-bias-kv-attention",
        "attention",
        "self.bias_k was not None",
        "no add_bias_kv",
        "The native attention adds no row to keys and values.",
        lambda s: not s.module.bias_kv,
        lambda s: f"add_bias_kv={s.module.bias_kv}",
    ),
    Condition(
        "no-zero-attention",
        "attention",
        "add_zero_attn was enabled",
        "no add_zero_attn",
        "The native attention adds no row to keys and values.",
        lambda s: not s.module.zero_attention,
        lambda s: f"add_zero_attn={s.module.zero_attention}",
    ),
    Condition(
        "same-widths-attention",
        "attention",
        "_qkv_same_embed_dim was not True",
        "keys and values as wide as queries",
        "The native attention multiplies by one joined matrix.",
        lambda s: s.module.same_widths,
        lambda s: "same widths" if s.module.same_widths else "different widths",
    ),
    Condition(
        "nested-without-mask-attention",
        "attention",
        "supplying both src_key_padding_mask and src_mask at the same time",
        "no mask beside a nested input",
        "A nested tensor knows its lengths itself.",
        lambda s: not _masks_with_nested(s.call),
        lambda s: "a nested input and a mask" if _masks_with_nested(s.call) else _shape(s.call),
    ),
    Condition(
        "no-autocast-attention",
        "attention",
        "autocast is enabled",
        "no autocast",
        "The native code takes tensors as they are.",
        lambda s: not s.setting.autocast_seen,
        lambda s: f"autocast on CUDA is {_on_off(s.setting.autocast_seen)}",
    ),
    Condition(
        "plain-tensors-attention",
        "attention",
        "some Tensor argument has_torch_function",
        "plain tensors and no torch function mode",
        "Tensor subclasses and function modes intercept torch's functions; native code cannot be intercepted.",
        _plain_tensors,
        _subclasses,
    ),
    Condition(
        "device-attention",
        "attention",
        "some Tensor argument's device is neither one of",
        "a CPU or a CUDA device",
        "There is native code for these devices only; for attention alone, none on xpu.",
        lambda s: {*s.module.devices, *((s.call.device,) if s.call else ())} <= SUPPORTED_DEVICES,
        lambda s: ", ".join(s.module.devices),
    ),
    Condition(
        "no-gradients-attention",
        "attention",
        "grad is enabled and at least one of query or the input/output projection weights",
        "gradients off, or nothing that asks for them",
        _PARAMETER_WHY,
        _no_gradients_asked,
        _gradients,
    ),
    Condition(
        "not-traced-attention",
        "attention",
        "we are running make_fx tracing",
        "no tracing by torch.compile or torch.export",
        "A traced graph keeps the parts of attention apart, so that they can be optimised.",
        lambda s: not s.setting.compiling,
        lambda s: "compiled" if s.setting.compiling else "not compiled",
    ),
    Condition(
        "biases-attention",
        "attention",
        "",
        "an attention with biases",
        "torch goes on to the native attention only if there are biases, and computes no reason otherwise.",
        lambda s: s.module.has_bias,
        lambda s: "biases" if s.module.has_bias else "bias=False",
    ),
)


def asked(conditions: tuple[Condition[Module], ...], setting: SettingFacts) -> tuple[Condition[Module], ...]:
    """The conditions that this version of torch checks."""
    return tuple(condition for condition in conditions if condition.since <= setting.version)


def all_met(conditions: tuple[Condition[Module], ...], given: ConditionInput[Module]) -> bool:
    """Whether a given meets every condition this version of torch checks."""
    return all(condition.met(given) for condition in asked(conditions, given.setting))
