"""What torch checks before an encoder leaves padding out (sparsity), in `__init__` and in every forward.

Source: torch/nn/modules/transformer.py of torch 2.3.1 to 2.15.0. The conditions are in torch's order, so the first that
fails is the reason that torch computes and never shows (pytorch#82919).
"""

from collections.abc import Callable

from engine.eligibility.facts import (
    CallFacts,
    EncoderFacts,
    LayerFacts,
    OtherLayer,
)
from engine.eligibility.judging import (
    COMPILING_SINCE,
    INFERENCE,
    PARAMETER_WHY,
    ConditionInput,
    TorchCondition,
    batched,
    gradients_words,
    no_gradients_asked,
    on_off,
    own_or_torchs,
    plain_tensors,
    shape_words,
    subclass_words,
    supported,
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


CONSTRUCTION_CONDITIONS: tuple[TorchCondition[EncoderFacts], ...] = (
    TorchCondition(
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
    TorchCondition(
        "post-norm",
        "sparsity",
        "encoder_layer.norm_first was True",
        "norm_first=False",
        "torch supports nested tensors only in layers that normalise after each block, which training fixes. "
        "Native MHA does not need this.",
        _of_first(lambda first: not first.norm_first),
        _tell_first(lambda first: f"norm_first={first.norm_first}"),
    ),
    TorchCondition(
        "batch-first-encoder",
        "sparsity",
        "encoder_layer.self_attn.batch_first was not True",
        "batch_first=True",
        "A nested tensor is a list of texts, so the texts must come first.",
        _of_first(lambda first: first.attention.batch_first),
        _tell_first(lambda first: f"batch_first={first.attention.batch_first}"),
    ),
    TorchCondition(
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
    TorchCondition(
        "attention-bias-encoder",
        "sparsity",
        "encoder_layer.self_attn was passed bias=False",
        "an attention with biases",
        "Sparsity needs the fused layer, which always adds biases.",
        _of_first(lambda first: first.attention.has_bias),
        _tell_first(lambda first: "biases" if first.attention.has_bias else "bias=False"),
    ),
    TorchCondition(
        "activation-encoder",
        "sparsity",
        "encoder_layer.activation_relu_or_gelu was not True",
        "relu or gelu, given as torch's own function, module or name",
        "Sparsity needs the fused layer, which has relu and the exact gelu.",
        _of_first(lambda first: first.activation_code != 0),
        _tell_first(lambda first: first.activation),
    ),
    TorchCondition(
        "equal-eps-encoder",
        "sparsity",
        "encoder_layer.norm1.eps was not equal to encoder_layer.norm2.eps",
        "both norms with the same eps",
        "Sparsity needs the fused layer, which takes one eps for both.",
        _of_first(lambda first: first.eps[0] == first.eps[1]),
        _tell_first(lambda first: f"eps {first.eps[0]:g} and {first.eps[1]:g}"),
    ),
    TorchCondition(
        "even-heads-encoder",
        "sparsity",
        "encoder_layer.self_attn.num_heads is odd",
        "an even number of heads",
        "Sparsity needs the fused layer, which torch offers for even numbers of heads only.",
        _of_first(lambda first: first.attention.num_heads % 2 == 0),
        _tell_first(lambda first: f"{first.attention.num_heads} heads"),
    ),
)
"""`TransformerEncoder.__init__` checks these once, in its first layer, and stores the answer in `use_nested_tensor`."""


def _could_be_sparse(given: ConditionInput[EncoderFacts]) -> bool:
    return all(condition.met(given) for condition in CONSTRUCTION_CONDITIONS)


def _nested_switch(given: ConditionInput[EncoderFacts]) -> str:
    if given.module.use_nested is None:
        return "no such attribute: the model was saved by an older torch"
    if given.module.use_nested:
        return "use_nested_tensor=True"
    wanted = "although its conditions are met" if _could_be_sparse(given) else "decided in __init__"
    return f"use_nested_tensor=False, {wanted}"


ENCODER_CONDITIONS: tuple[TorchCondition[EncoderFacts], ...] = (
    TorchCondition(
        "own-forward-encoder",
        "sparsity",
        "",
        "torch's own TransformerEncoder.forward",
        "Only torch's own forward makes nested tensors.",
        lambda s: s.module.torch_forward,
        lambda s: f"{own_or_torchs(s.module.torch_forward)} forward",
    ),
    TorchCondition(
        "fastpath-enabled-encoder",
        "sparsity",
        "torch.backends.mha.get_fastpath_enabled() was not True",
        "the process-wide switch on",
        "torch.backends.mha.set_fastpath_enabled(False) turns every fastpath in the process off.",
        lambda s: s.setting.fastpath,
        lambda s: f"the switch is {on_off(s.setting.fastpath)}",
    ),
    TorchCondition(
        "nested-attribute",
        "sparsity",
        "use_nested_tensor attribute not present",
        "the attribute use_nested_tensor",
        "Models pickled by torch before 2.1 lack it.",
        lambda s: s.module.use_nested is not None,
        _nested_switch,
    ),
    TorchCondition(
        "use-nested",
        "sparsity",
        "self.use_nested_tensor (set in init) was not True",
        "use_nested_tensor=True",
        "forward() reads use_nested_tensor, which __init__ has set; enable_nested_tensor is only the request.",
        lambda s: bool(s.module.use_nested),
        _nested_switch,
    ),
    TorchCondition(
        "eval-mode-encoder",
        "sparsity",
        "self.layers[0] was in training mode",
        "eval mode",
        INFERENCE,
        _of_first(lambda first: not first.training),
        _tell_first(lambda first: "train mode" if first.training else "eval mode"),
    ),
    TorchCondition(
        "batched-encoder",
        "sparsity",
        "input not batched",
        "a batch: an input of three dimensions",
        "A nested tensor is a batch of texts of different lengths.",
        lambda s: batched(s.call),
        lambda s: shape_words(s.call),
    ),
    TorchCondition(
        "padding-mask",
        "sparsity",
        "src_key_padding_mask was None",
        "a padding mask",
        "Without src_key_padding_mask torch does not know which tokens are padding.",
        lambda s: s.call is None or s.call.padding is not None,
        lambda s: _padding_mask(s.call),
    ),
    TorchCondition(
        "not-compiling",
        "sparsity",
        "mask_check enabled with torch.compile or torch.export",
        "mask_check=False under torch.compile and torch.export",
        "The check reads the values of the mask, which a compiled graph cannot do.",
        lambda s: not (s.setting.compiling and s.module.mask_check),
        lambda s: (
            f"{'compiled' if s.setting.compiling else 'not compiled'}, mask_check={s.module.mask_check}"
        ),
        since=COMPILING_SINCE,
    ),
    TorchCondition(
        "right-padded",
        "sparsity",
        "mask_check enabled, and src and src_key_padding_mask was not left aligned",
        "padding on the right only (checked unless mask_check=False)",
        "A nested tensor keeps the first tokens of each row, as many as are real.",
        lambda s: not (s.module.mask_check and s.call and s.call.padding and not s.call.padding.right_padded),
        _padding_order,
    ),
    TorchCondition(
        "plain-input",
        "sparsity",
        "NestedTensor input is not supported",
        "a plain tensor",
        "A nested input needs no conversion.",
        lambda s: not (s.call and s.call.nested),
        lambda s: shape_words(s.call),
    ),
    TorchCondition(
        "no-attention-mask",
        "sparsity",
        "src_key_padding_mask and mask were both supplied",
        "no attention mask beside the padding mask",
        "Nested attention uses the lengths of the texts and no other mask.",
        lambda s: not (s.call and s.call.mask),
        lambda s: _attention_mask(s.call),
    ),
    TorchCondition(
        "no-autocast-encoder",
        "sparsity",
        "autocast is enabled",
        "no autocast",
        "The native code does not convert tensors; autocast converts them in torch's Python code.",
        lambda s: not s.setting.autocast_seen,
        lambda s: f"autocast on CUDA is {on_off(s.setting.autocast_seen)}",
    ),
    TorchCondition(
        "plain-tensors-encoder",
        "sparsity",
        "some Tensor argument has_torch_function",
        "plain tensors and no torch function mode",
        "Tensor subclasses and function modes intercept torch's functions; native code cannot be intercepted.",
        lambda s: (layer := _as_layer(s)) is None or plain_tensors(layer),
        lambda s: subclass_words(layer) if (layer := _as_layer(s)) else "layers of another class",
    ),
    TorchCondition(
        "device-encoder",
        "sparsity",
        "src device is neither one of",
        "a CPU or a CUDA device",
        "There is native code for these devices only.",
        lambda s: s.call is None or supported((s.call.device,), s.setting),
        lambda s: s.call.device if s.call else "it was not called",
    ),
    TorchCondition(
        "no-gradients-encoder",
        "sparsity",
        "grad is enabled and at least one of query or the input/output projection weights",
        "gradients off, or nothing that asks for them",
        PARAMETER_WHY,
        lambda s: (layer := _as_layer(s)) is None or no_gradients_asked(layer),
        lambda s: gradients_words(layer) if (layer := _as_layer(s)) else "layers of another class",
    ),
)


def _padding_mask(call: CallFacts | None) -> str:
    if call is None:
        return "it was not called"
    return "a padding mask" if call.padding else "src_key_padding_mask=None"


def _attention_mask(call: CallFacts | None) -> str:
    if call is None or call.mask is None:
        return "no attention mask"
    if call.mask.causal:
        return f"a causal attention mask, {call.mask.dtype}"
    masked = "nothing" if call.mask.clear else "some tokens"
    return f"an attention mask that masks {masked}, {call.mask.dtype}"
