"""The changes that cures make to modules, always on a copy of the model.

If a change cannot be made, the function returns the reason in words.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import prune
from torch.nn.utils.weight_norm import WeightNorm

from engine.eligibility.facts import ModelFacts
from engine.eligibility.subject import Subject

Apply = Callable[[Subject, ModelFacts], Subject | str]
"""Returns the cured subject, or the reason why the cure was not tried."""


def layers(model: nn.Module) -> list[Any]:
    """The encoder layers of a model."""
    return [module for module in model.modules() if isinstance(module, nn.TransformerEncoderLayer)]


def encoders(model: nn.Module) -> list[Any]:
    """The encoders of a model."""
    return [module for module in model.modules() if isinstance(module, nn.TransformerEncoder)]


def on_layers(change: Callable[[Any], None]) -> Apply:
    """A change of every encoder layer."""

    def on_all(model: nn.Module) -> None:
        for layer in layers(model):
            change(layer)
        decide_nested_again(model)

    return lambda subject, _facts: subject.changed(on_all)


def decide_nested_again(model: nn.Module) -> None:
    """Set use_nested_tensor as __init__ would set it for the present layers, if sparsity was requested."""
    for encoder in encoders(model):
        if encoder.enable_nested_tensor:
            # With 0 layers, __init__ clones nothing and only decides.
            encoder.use_nested_tensor = nn.TransformerEncoder(encoder.layers[0], 0).use_nested_tensor


def eval_mode(subject: Subject, _facts: ModelFacts) -> Subject:
    """Set eval mode."""
    return subject.changed(nn.Module.eval)


def no_mask_check(subject: Subject, facts: ModelFacts) -> Subject | str:
    """Set `mask_check=False`, unless this batch would then be encoded wrongly."""
    paddings = [encoder.call.padding for encoder in facts.encoders if encoder.call and encoder.call.padding]
    if not all(padding.right_padded for padding in paddings):
        return "without the check, this batch would be encoded wrongly: pad on the right first"

    def change(model: nn.Module) -> None:
        for encoder in encoders(model):
            encoder.mask_check = False

    return subject.changed(change)


def nested_on(subject: Subject, _facts: ModelFacts) -> Subject:
    """Switch sparsity on, if the conditions of __init__ are met."""

    def change(model: nn.Module) -> None:
        for encoder in encoders(model):
            encoder.enable_nested_tensor = True
        decide_nested_again(model)

    return subject.changed(change)


def really_no_nested(subject: Subject, _facts: ModelFacts) -> Subject:
    """Switch sparsity off, as the tutorial's switch was meant to do."""

    def change(model: nn.Module) -> None:
        for encoder in encoders(model):
            encoder.use_nested_tensor = encoder.enable_nested_tensor

    return subject.changed(change)


def equal_eps(layer: Any) -> None:
    """Give the second norm the eps of the first."""
    layer.norm2.eps = layer.norm1.eps


def remove_hooks(layer: Any) -> None:
    """Remove the hooks. Weights that pruning and weight norm have computed are kept."""
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


def zero_biases(layer: Any) -> None:
    """Add biases of zeros to modules without biases."""
    attention = layer.self_attn
    if attention.in_proj_bias is None:
        attention.in_proj_bias = _zeros(3 * attention.embed_dim, attention.out_proj.weight)
    for module in (attention.out_proj, layer.linear1, layer.linear2, layer.norm1, layer.norm2):
        if module.bias is None:
            module.bias = _zeros(module.weight.shape[0], module.weight)


def _zeros(size: int, like: Tensor) -> nn.Parameter:
    return nn.Parameter(torch.zeros(size, dtype=like.dtype, device=like.device), like.requires_grad)


def join_weights(layer: Any) -> None:
    """Join the weights of queries, keys and values into one."""
    attention = layer.self_attn
    if not attention._qkv_same_embed_dim:
        parts = (attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight)
        attention.in_proj_weight = nn.Parameter(torch.cat([part.detach() for part in parts]))
        attention.q_proj_weight = attention.k_proj_weight = attention.v_proj_weight = None
        attention._qkv_same_embed_dim = True


def known_activation(subject: Subject, facts: ModelFacts) -> Subject | str:
    """Replace an activation by torch's own function that computes the same."""
    alike = {layer.activation_alike for layer in facts.all_layers if not layer.activation_code}
    if 0 in alike:
        return "the activation computes neither relu nor the exact gelu, and the fused layer has no other"

    def change(layer: Any) -> None:
        for code, function in ((1, functional.relu), (2, functional.gelu)):
            if alike == {code}:
                layer._modules.pop("activation", None)
                layer.activation, layer.activation_relu_or_gelu = function, code

    return on_layers(change)(subject, facts)


def activation_as_called(subject: Subject, facts: ModelFacts) -> Subject:
    """Set `activation_relu_or_gelu` to what the activation computes."""
    codes = {layer.name: layer.activation_alike for layer in facts.all_layers}

    def change(model: nn.Module) -> None:
        for name, module in model.named_modules():
            if name in codes:
                module.activation_relu_or_gelu = codes[name]
        decide_nested_again(model)

    return subject.changed(change)


def exact_gelu(layer: Any) -> None:
    """Replace the activation by the exact gelu."""
    layer._modules.pop("activation", None)
    layer.activation, layer.activation_relu_or_gelu = functional.gelu, 2


def torchs_forward(subject: Subject, _facts: ModelFacts) -> Subject:
    """Give subclasses torch's own forward."""

    def change(model: nn.Module) -> None:
        for layer in layers(model):
            layer.__dict__.pop("forward", None)
            layer.__class__ = nn.TransformerEncoderLayer
        for encoder in encoders(model):
            encoder.__dict__.pop("forward", None)
            encoder.__class__ = nn.TransformerEncoder

    return subject.changed(change)


def plain_linears(subject: Subject, _facts: ModelFacts) -> Subject | str:
    """Replace modules in the place of linear layers by an nn.Linear that computes the same."""

    def change(model: nn.Module) -> None:
        for layer in layers(model):
            for name in ("linear1", "linear2"):
                part = getattr(layer, name)
                if type(part).forward is not nn.Linear.forward:
                    setattr(layer, name, _as_linear(part))
            _plain_projection(layer.self_attn)

    try:
        return subject.changed(change)
    except (RuntimeError, TypeError, ValueError) as error:
        return f"the module in the place of the linear layer is not linear: {error}"


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


def layer_norms(subject: Subject, facts: ModelFacts) -> Subject | str:
    """Replace quantised and wrapped layers by plain ones. Another kind of norm cannot be replaced."""
    if any(name.startswith("norm") for layer in facts.all_layers for name in layer.missing):
        return (
            "the fused layer has only LayerNorm with a bias; a model with another norm must be trained again"
        )
    return plain_linears(subject, facts)


def unwrap_tensors(subject: Subject, _facts: ModelFacts) -> Subject:
    """Replace tensor subclasses by plain parameters, and switch off every function mode."""

    def change(model: nn.Module) -> None:
        for module in model.modules():
            for name, parameter in list(module._parameters.items()):
                if parameter is not None and type(parameter) is not nn.Parameter:
                    with torch._C.DisableTorchFunction():
                        plain = parameter.detach().as_subclass(Tensor)
                    module._parameters[name] = nn.Parameter(plain, parameter.requires_grad)

    return subject.with_setting(function_modes=False, default_device=None).changed(change)
