"""How each failing condition and each danger is mended: the line of code a user would write, and the same on a copy.

A cure that cannot be tried by a machine says why; one that exists only in a new training is no cure and is left out.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import prune
from torch.nn.utils.weight_norm import WeightNorm

from engine.eligibility.facts import ModelFacts
from engine.eligibility.module_reading import position_rows
from engine.eligibility.subject import Subject

Apply = Callable[[Subject, ModelFacts], Subject | str]
"""Gives the cured subject, or in words why it was not tried."""


@dataclass(frozen=True)
class Cure:
    """One way to mend.

    Attributes:
        key: names the treatment; conditions that the same treatment mends share it.
        code: what a user would write.
        gives_up: it makes the answer right by leaving the fastpath, so no further cure follows.
    """

    key: str
    title: str
    code: str
    apply: Apply
    gives_up: bool = False


def cure_for(problem: str) -> Cure | None:
    """The cure of a condition or danger by its key; None where there is none."""
    return _BY_PROBLEM.get(problem)


def cure_codes() -> dict[str, str]:
    """The line of code for every condition and danger that has one."""
    return {problem: cure.code for problem, cure in _BY_PROBLEM.items()}


def _layers(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, nn.TransformerEncoderLayer)]


def _encoders(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, nn.TransformerEncoder)]


def _on_layers(change: Callable[[Any], None]) -> Apply:
    def on_all(model: nn.Module) -> None:
        for layer in _layers(model):
            change(layer)
        _decide_nested_again(model)

    return lambda subject, _facts: subject.changed(on_all)


def _decide_nested_again(model: nn.Module) -> None:
    """Set use_nested_tensor as __init__ would decide it today, where the encoder was asked for sparsity."""
    for encoder in _encoders(model):
        if encoder.enable_nested_tensor:
            # With no layers to clone, __init__ does nothing but decide.
            encoder.use_nested_tensor = nn.TransformerEncoder(encoder.layers[0], 0).use_nested_tensor


def _around_encoders(
    before: Callable[[dict[str, Any], dict[str, Any]], None],
    after: Callable[[Tensor, dict[str, Any]], Tensor] = lambda output, _notes: output,
) -> Callable[[nn.Module], None]:
    """Change what encoders are called with, and what they give, by hooks on the encoders themselves.

    A hook on an `nn.TransformerEncoder` leaves the fastpath alone; only one on its layers does not.

    Args:
        before: changes the keyword arguments in place, and may leave notes for `after`.
        after: changes the output by those notes.
    """

    def change(model: nn.Module) -> None:
        for encoder in _encoders(model):
            notes: dict[str, Any] = {}
            encoder.register_forward_pre_hook(_pre_hook(before, notes), with_kwargs=True)
            encoder.register_forward_hook(lambda _m, _a, output, notes=notes: after(output, notes))

    return change


def _pre_hook(
    before: Callable[[dict[str, Any], dict[str, Any]], None], notes: dict[str, Any]
) -> Callable[..., Any]:
    def hook(
        _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        names = ("src", "mask", "src_key_padding_mask", "is_causal")
        call = {**dict(zip(names, args, strict=False)), **kwargs}
        before(call, notes)
        return (), call

    return hook


def _setting(**settings: Any) -> Apply:
    return lambda subject, _facts: subject.with_setting(**settings)


def _eval_mode(subject: Subject, _facts: ModelFacts) -> Subject:
    return subject.changed(nn.Module.eval)


def _no_mask_check(subject: Subject, facts: ModelFacts) -> Subject | str:
    paddings = [encoder.call.padding for encoder in facts.encoders if encoder.call and encoder.call.padding]
    if not all(padding.right_padded for padding in paddings):
        return "without the check this batch would be encoded wrongly: pad on the right first"

    def change(model: nn.Module) -> None:
        for encoder in _encoders(model):
            encoder.mask_check = False

    return subject.changed(change)


def _nested_on(subject: Subject, _facts: ModelFacts) -> Subject:
    def change(model: nn.Module) -> None:
        for encoder in _encoders(model):
            encoder.enable_nested_tensor = True
        _decide_nested_again(model)

    return subject.changed(change)


def _really_no_nested(subject: Subject, _facts: ModelFacts) -> Subject:
    def change(model: nn.Module) -> None:
        for encoder in _encoders(model):
            encoder.use_nested_tensor = encoder.enable_nested_tensor

    return subject.changed(change)


def _equal_eps(layer: Any) -> None:
    layer.norm2.eps = layer.norm1.eps


def _remove_hooks(layer: Any) -> None:
    for module in layer.modules():
        hooks: list[tuple[int, Any]] = list(module._forward_pre_hooks.items())
        for key, hook in hooks:
            if isinstance(hook, prune.BasePruningMethod):
                prune.remove(module, hook._tensor_name)  # type: ignore[no-untyped-call]
            elif isinstance(hook, WeightNorm):
                hook.remove(module)
                module._forward_pre_hooks.pop(key, None)
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()


def _zero_biases(layer: Any) -> None:
    attention = layer.self_attn
    if attention.in_proj_bias is None:
        attention.in_proj_bias = _zeros(3 * attention.embed_dim, attention.out_proj.weight)
    for module in (attention.out_proj, layer.linear1, layer.linear2, layer.norm1, layer.norm2):
        if module.bias is None:
            module.bias = _zeros(module.weight.shape[0], module.weight)


def _zeros(size: int, like: Tensor) -> nn.Parameter:
    return nn.Parameter(torch.zeros(size, dtype=like.dtype, device=like.device), like.requires_grad)


def _join_weights(layer: Any) -> None:
    attention = layer.self_attn
    if not attention._qkv_same_embed_dim:
        parts = (attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight)
        attention.in_proj_weight = nn.Parameter(torch.cat([part.detach() for part in parts]))
        attention.q_proj_weight = attention.k_proj_weight = attention.v_proj_weight = None
        attention._qkv_same_embed_dim = True


def _known_activation(subject: Subject, facts: ModelFacts) -> Subject | str:
    alike = {layer.activation_alike for layer in facts.all_layers if not layer.activation_code}
    if 0 in alike:
        return "the activation computes neither relu nor the exact gelu; the fused layer has no other"

    def change(layer: Any) -> None:
        for code, function in ((1, functional.relu), (2, functional.gelu)):
            if alike == {code}:
                layer._modules.pop("activation", None)
                layer.activation, layer.activation_relu_or_gelu = function, code

    return _on_layers(change)(subject, facts)


def _activation_as_called(subject: Subject, facts: ModelFacts) -> Subject:
    codes = {layer.name: layer.activation_alike for layer in facts.all_layers}

    def change(model: nn.Module) -> None:
        for name, module in model.named_modules():
            if name in codes:
                module.activation_relu_or_gelu = codes[name]
        _decide_nested_again(model)

    return subject.changed(change)


def _exact_gelu(layer: Any) -> None:
    layer._modules.pop("activation", None)
    layer.activation, layer.activation_relu_or_gelu = functional.gelu, 2


def _torchs_forward(subject: Subject, _facts: ModelFacts) -> Subject:
    def change(model: nn.Module) -> None:
        for layer in _layers(model):
            layer.__dict__.pop("forward", None)
            layer.__class__ = nn.TransformerEncoderLayer
        for encoder in _encoders(model):
            encoder.__dict__.pop("forward", None)
            encoder.__class__ = nn.TransformerEncoder

    return subject.changed(change)


def _plain_linears(subject: Subject, _facts: ModelFacts) -> Subject | str:
    """Replace what stands in a linear layer's place by one nn.Linear that computes the same."""

    def change(model: nn.Module) -> None:
        for layer in _layers(model):
            for name in ("linear1", "linear2"):
                part = getattr(layer, name)
                if type(part).forward is not nn.Linear.forward:
                    setattr(layer, name, _as_linear(part))
            _plain_projection(layer.self_attn)

    try:
        return subject.changed(change)
    except (RuntimeError, TypeError, ValueError) as error:
        return f"the module in its place is not linear: {error}"


def _plain_projection(attention: Any) -> None:
    projection = attention.out_proj
    if callable(projection.weight):  # dynamically quantised: the weight is a method
        attention.out_proj = nn.modules.linear.NonDynamicallyQuantizableLinear(
            projection.in_features, projection.out_features
        )
        attention.out_proj.load_state_dict(_as_linear(projection).state_dict())
        attention.out_proj.eval()


def _as_linear(part: Any) -> nn.Linear:
    width = _in_features(part)
    with torch.no_grad():
        if callable(getattr(part, "weight", None)):
            weight, bias = part.weight().dequantize(), part.bias()
        else:
            bias = part(torch.zeros(1, width))[0]
            weight = (part(torch.eye(width)) - bias).T
    linear = nn.Linear(width, weight.shape[0])
    linear.weight, linear.bias = (
        nn.Parameter(weight.detach().clone()),
        nn.Parameter(bias.detach().clone()),
    )
    return linear.eval()


def _in_features(part: Any) -> int:
    for module in part.modules():
        if hasattr(module, "in_features"):
            return int(module.in_features)
    raise TypeError(f"{type(part).__name__} names no in_features")


def _layer_norms(subject: Subject, facts: ModelFacts) -> Subject | str:
    if any(name.startswith("norm") for layer in facts.all_layers for name in layer.missing):
        return "the fused layer has LayerNorm with a bias only; another norm needs another training"
    return _plain_linears(subject, facts)


def _unwrap_tensors(subject: Subject, _facts: ModelFacts) -> Subject:
    def change(model: nn.Module) -> None:
        for module in model.modules():
            for name, parameter in list(module._parameters.items()):
                if parameter is not None and type(parameter) is not nn.Parameter:
                    with torch._C.DisableTorchFunction():
                        plain = parameter.detach().as_subclass(Tensor)
                    module._parameters[name] = nn.Parameter(plain, parameter.requires_grad)

    return subject.with_setting(function_modes=False, default_device=None).changed(change)


def _texts_first(subject: Subject, _facts: ModelFacts) -> Subject:
    def swap(call: dict[str, Any], _notes: dict[str, Any]) -> None:
        call["src"] = call["src"].transpose(0, 1)

    def change(model: nn.Module) -> None:
        _around_encoders(swap, lambda output, _notes: output.transpose(0, 1))(model)
        for layer in _layers(model):
            layer.self_attn.batch_first = True
        _decide_nested_again(model)

    return subject.changed(change)


def _as_batch(call: dict[str, Any], notes: dict[str, Any]) -> None:
    notes["single"] = call["src"].dim() == 2
    if notes["single"]:
        call["src"] = call["src"].unsqueeze(0)
        if call.get("src_key_padding_mask") is not None:
            call["src_key_padding_mask"] = call["src_key_padding_mask"].unsqueeze(0)


def _real_tokens_first(call: dict[str, Any], notes: dict[str, Any]) -> None:
    """Move each row's real tokens to its front: an encoder does not look at places, so its answer moves along."""
    padding = call.get("src_key_padding_mask")
    if padding is None:
        return
    order = (padding != 0).int().argsort(dim=1, stable=True)
    notes["order"] = order
    call["src"] = _taken(call["src"], order)
    call["src_key_padding_mask"] = padding.gather(1, order)


def _inverted(call: dict[str, Any], _notes: dict[str, Any]) -> None:
    call["src_key_padding_mask"] = call["src_key_padding_mask"] == 0


def _put_back(output: Tensor, notes: dict[str, Any]) -> Tensor:
    return _taken(output, notes["order"].argsort(dim=1)) if "order" in notes else output


def _taken(rows: Tensor, order: Tensor) -> Tensor:
    return rows.gather(1, order[:, :, None].expand_as(rows))


def _drop_clear_mask(subject: Subject, facts: ModelFacts) -> Subject | str:
    masks = [encoder.call.mask for encoder in facts.encoders if encoder.call and encoder.call.mask]
    if not all(mask.clear for mask in masks):
        return (
            "the attention mask masks something, so the answer needs it; nested attention knows lengths only"
        )

    def drop(call: dict[str, Any], _notes: dict[str, Any]) -> None:
        call["mask"] = None

    return subject.changed(_around_encoders(drop))


def _drop_masks(subject: Subject, _facts: ModelFacts) -> Subject:
    kwargs = {name: value for name, value in subject.kwargs.items() if "mask" not in name}
    return replace(subject, args=subject.args[:1], kwargs=kwargs)


def _causal_mask(call: dict[str, Any], _notes: dict[str, Any]) -> None:
    if call.get("mask") is None:
        length = call["src"].shape[-2]
        call["mask"] = torch.ones(length, length, dtype=torch.bool, device=call["src"].device).triu(1)
    call["is_causal"] = False


def _cut(subject: Subject, _facts: ModelFacts) -> Subject | str:
    rows = next(filter(None, map(position_rows, subject.model.modules())), None)
    tokens = subject.args[0] if subject.args else None
    if rows is None or not isinstance(tokens, Tensor) or tokens.is_floating_point() or tokens.ndim != 2:
        return "only you know where the texts may be cut"
    if tokens.shape[1] <= rows:
        return "a token id lies outside the vocabulary: the tokenizer belongs to another model"
    return replace(subject, args=(tokens[:, :rows], *subject.args[1:]))


def _input_precision(subject: Subject, facts: ModelFacts) -> Subject | str:
    dtypes = {layer.attention.weight_dtype for layer in facts.all_layers}
    if len(dtypes) != 1:
        return "the layers themselves are of different precisions"
    target: torch.dtype = getattr(torch, dtypes.pop())

    def convert(call: dict[str, Any], _notes: dict[str, Any]) -> None:
        call["src"] = call["src"].to(target)

    return subject.changed(_around_encoders(convert))


EVAL = Cure("eval", "Eval mode", "model.eval()", _eval_mode)
NO_GRAD = Cure(
    "no-gradients",
    "No gradients",
    "with torch.inference_mode(): model(tokens)",
    _setting(gradients=False),
)
FASTPATH_ON = Cure(
    "fastpath-on",
    "Fastpath switched on",
    "torch.backends.mha.set_fastpath_enabled(True)",
    _setting(fastpath=True),
)
FASTPATH_OFF = Cure(
    "fastpath-off",
    "The slow path, which is right",
    "torch.backends.mha.set_fastpath_enabled(False)",
    _setting(fastpath=False),
    gives_up=True,
)
NO_AUTOCAST = Cure(
    "no-autocast",
    "No autocast",
    "model.to(torch.bfloat16)  # instead of autocast; a module in bfloat16 takes the fastpath",
    _setting(autocast="off"),
)
PLAIN_TENSORS = Cure(
    "plain-tensors",
    "Plain tensors, no default device",
    "torch.set_default_device(None)  # and parameters as plain nn.Parameter",
    _unwrap_tensors,
)
NO_HOOKS = Cure(
    "no-hooks",
    "Hooks removed",
    "handle.remove()  # for pruning: prune.remove(module, 'weight')",
    _on_layers(_remove_hooks),
)
EQUAL_EPS = Cure(
    "equal-eps",
    "Equal eps",
    "layer.norm2.eps = layer.norm1.eps  # before the encoder is built, or set use_nested_tensor again",
    _on_layers(_equal_eps),
)
TEXTS_FIRST = Cure(
    "batch-first",
    "Texts first",
    "nn.TransformerEncoderLayer(..., batch_first=True)  # and pass (texts, length, width)",
    _texts_first,
)
BIASES = Cure(
    "biases",
    "Biases of zeros",
    "nn.TransformerEncoderLayer(..., bias=True)  # load with strict=False and zero the new biases",
    _on_layers(_zero_biases),
)
JOINED = Cure(
    "joined-weight",
    "One joined weight",
    "attention.in_proj_weight = nn.Parameter(torch.cat([q_weight, k_weight, v_weight]))",
    _on_layers(_join_weights),
)
KNOWN_ACTIVATION = Cure(
    "known-activation",
    "torch's own activation",
    "nn.TransformerEncoderLayer(..., activation=F.gelu)  # the function itself, no lambda around it",
    _known_activation,
)
AS_BATCH = Cure(
    "as-batch",
    "A batch of one",
    "encoder(src.unsqueeze(0))[0]",
    lambda subject, _facts: subject.changed(
        _around_encoders(_as_batch, lambda output, notes: output[0] if notes["single"] else output)
    ),
)
NESTED_ON = Cure(
    "nested-on",
    "Sparsity switched on",
    "nn.TransformerEncoder(layer, n, enable_nested_tensor=True)  # afterwards: encoder.use_nested_tensor = True",
    _nested_on,
)
PADDING_MASK = Cure(
    "padding-mask",
    "A padding mask",
    "encoder(src, src_key_padding_mask=(tokens == padding_id))",
    lambda _subject, _facts: "only you know which tokens are padding; without any there is nothing to gain",
)
MASK_CHECK_OFF = Cure(
    "mask-check-off",
    "No check of the mask",
    "nn.TransformerEncoder(layer, n, mask_check=False)  # only if every text is padded on the right",
    _no_mask_check,
)
RIGHT_PADDED = Cure(
    "right-padded",
    "Padded on the right",
    "tokenizer.padding_side = 'right'  # real tokens first, and no padding id inside a text",
    lambda subject, _facts: subject.changed(_around_encoders(_real_tokens_first, _put_back)),
)
NO_MASK = Cure(
    "no-attention-mask",
    "No attention mask",
    "encoder(src, src_key_padding_mask=padding)  # mask=None",
    _drop_clear_mask,
)
NESTED_ALONE = Cure("nested-alone", "No mask beside a nested input", "layer(nested)", _drop_masks)
TORCHS_FORWARD = Cure(
    "torchs-forward",
    "torch's own forward",
    "layer = nn.TransformerEncoderLayer(...)  # and load_state_dict",
    _torchs_forward,
)
CAUSAL_MASK = Cure(
    "causal-mask",
    "The causal mask itself",
    "encoder(src, mask=nn.Transformer.generate_square_subsequent_mask(length))",
    lambda subject, _facts: subject.changed(_around_encoders(_causal_mask)),
)
ACTIVATION_NOTED = Cure(
    "activation-noted",
    "The activation noted again",
    "layer.activation_relu_or_gelu = 0  # 1 for relu, 2 for gelu, 0 leaves the fastpath",
    _activation_as_called,
    gives_up=True,
)
EXACT_GELU = Cure(
    "exact-gelu",
    "The exact gelu",
    "layer.activation = F.gelu  # changes the answer a little, to what the fastpath gives",
    _on_layers(_exact_gelu),
)
PLAIN_LINEARS = Cure(
    "merged",
    "Merged into one linear layer",
    "model = peft_model.merge_and_unload()  # one nn.Linear that computes the same",
    _plain_linears,
)
PLAIN_LAYERS = Cure(
    "plain-layers",
    "Plain linear layers",
    "layer.linear1 = nn.Linear(...)  # leave the encoder's layers out of quantize_dynamic",
    _layer_norms,
)
REAL_DROPPED = Cure(
    "no-empty-batch",
    "A batch with text in it",
    "tokens = tokens[(tokens != padding_id).any(1)]",
    lambda _subject, _facts: "a batch of nothing but padding has nothing to encode",
)
INVERTED = Cure(
    "mask-inverted",
    "The mask the right way round",
    "encoder(src, src_key_padding_mask=~attention_mask.bool())  # True on padding",
    lambda subject, _facts: subject.changed(_around_encoders(_inverted)),
)
CUT = Cure("cut", "Texts cut", "tokens = tokens[:, :max_tokens]", _cut)
INPUT_PRECISION = Cure("input-precision", "One precision", "encoder(src.to(weight.dtype))", _input_precision)
NESTED_REALLY_OFF = Cure(
    "really-off",
    "Sparsity really off",
    "encoder.use_nested_tensor = False  # what enable_nested_tensor = False was meant to do",
    _really_no_nested,
    gives_up=True,
)
OLD_ATTRIBUTE = Cure("nested-attribute", "The attribute set", "encoder.use_nested_tensor = True", _nested_on)

_PROBLEMS: dict[Cure, tuple[str, ...]] = {
    EVAL: ("eval-mode", "eval-mode-encoder", "eval-mode-attention", "live-dropout"),
    NO_GRAD: ("no-gradients", "no-gradients-encoder", "no-gradients-attention"),
    FASTPATH_ON: ("fastpath-enabled", "fastpath-enabled-encoder", "fastpath-enabled-attention"),
    FASTPATH_OFF: ("graded-mask", "graded-padding", "bias-kv", "zero-attention", "global-hooks"),
    NO_AUTOCAST: ("no-autocast", "no-autocast-encoder", "no-autocast-attention", "cpu-autocast"),
    PLAIN_TENSORS: ("plain-tensors", "plain-tensors-encoder", "plain-tensors-attention"),
    NO_HOOKS: ("no-hooks", "silent-hooks"),
    EQUAL_EPS: ("equal-eps", "equal-eps-encoder"),
    TEXTS_FIRST: ("batch-first", "batch-first-encoder"),
    BIASES: ("attention-bias", "attention-bias-encoder"),
    JOINED: ("same-widths", "same-widths-encoder"),
    KNOWN_ACTIVATION: ("activation", "activation-encoder"),
    AS_BATCH: ("batched", "batched-encoder"),
    NESTED_ON: ("use-nested",),
    OLD_ATTRIBUTE: ("nested-attribute",),
    PADDING_MASK: ("padding-mask",),
    MASK_CHECK_OFF: ("not-compiling",),
    RIGHT_PADDED: ("right-padded", "left-padding", "padding-inside"),
    NO_MASK: ("no-attention-mask",),
    NESTED_ALONE: ("nested-without-mask",),
    TORCHS_FORWARD: ("own-forward", "own-forward-encoder"),
    CAUSAL_MASK: ("causal-hint",),
    ACTIVATION_NOTED: ("activation-swapped",),
    EXACT_GELU: ("approximate-gelu",),
    PLAIN_LINEARS: ("replaced-part",),
    PLAIN_LAYERS: ("missing-tensors",),
    REAL_DROPPED: ("only-padding", "empty-row"),
    INVERTED: ("inverted-mask",),
    CUT: ("beyond-positions",),
    INPUT_PRECISION: ("mixed-precision", "attention-dtype"),
    NESTED_REALLY_OFF: ("no-op-switch",),
}
_BY_PROBLEM = {problem: cure for cure, problems in _PROBLEMS.items() for problem in problems}
