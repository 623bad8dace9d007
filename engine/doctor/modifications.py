"""Changes an encoder or its call on purpose: one function for each name in engine/catalog/modifications.py."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from engine.catalog.modifications import find_modifications
from engine.eligibility.subject import Subject

Tokens = Tensor
DIFFERENT_EPS = 1e-3
DISTANCE_SLOPE = 0.1


class Adapter(nn.Module):
    """A linear layer plus a small second one, like a LoRA adapter; `weight` and `bias` are the base layer's."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.addition = nn.Linear(base.in_features, base.out_features, bias=False)
        self.addition.to(base.weight.dtype)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            self.addition.weight.normal_(0.0, 0.02, generator=generator)

    @property
    def weight(self) -> Tensor:
        """(out, in), the base's."""
        return self.base.weight

    @property
    def bias(self) -> Tensor:
        """(out,), the base's."""
        return self.base.bias

    def forward(self, states: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        base: Tensor = self.base(states)
        addition: Tensor = self.addition(states)
        return base + addition


def under(subject: Subject, names: tuple[str, ...], padding_id: int) -> Subject:
    """The subject after the named modifications; its first argument is tokens, (batch, length) int64.

    Raises:
        Refusal: a name is unknown.
    """
    for modification in find_modifications(names):
        subject = APPLY[modification.name](subject, padding_id)
    return subject


def _encoder(model: nn.Module) -> Any:
    return next(module for module in model.modules() if isinstance(module, nn.TransformerEncoder))


def _to_model(change: Callable[[nn.Module], object]) -> Callable[[Subject, int], Subject]:
    return lambda subject, _padding_id: subject.changed(change)


def _to_setting(**settings: Any) -> Callable[[Subject, int], Subject]:
    return lambda subject, _padding_id: subject.with_setting(**settings)


def _hook(model: nn.Module) -> None:
    layers = _encoder(model).layers
    layers[min(1, len(layers) - 1)].register_forward_hook(lambda _module, _args, _output: None)


def _unequal_eps(model: nn.Module) -> None:
    _encoder(model).layers[0].norm2.eps = DIFFERENT_EPS


def _no_op_switch(model: nn.Module) -> None:
    _encoder(model).enable_nested_tensor = False


def _sparsity_off(model: nn.Module) -> None:
    _encoder(model).use_nested_tensor = False


def _adapter(model: nn.Module) -> None:
    layer = _encoder(model).layers[0]
    layer.linear1 = Adapter(layer.linear1)


def _distance_bias(model: nn.Module) -> None:
    def bias(
        _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        source: Tensor = args[0] if args else kwargs["src"]
        places = torch.arange(source.shape[1], device=source.device)
        distance = (places[:, None] - places).abs().to(source.dtype)
        return args, {**kwargs, "mask": -DISTANCE_SLOPE * distance}

    _encoder(model).register_forward_pre_hook(bias, with_kwargs=True)


def _left_padded(subject: Subject, padding_id: int) -> Subject:
    tokens: Tokens = subject.args[0]
    order = (tokens != padding_id).int().argsort(dim=1, stable=True)
    return replace(subject, args=(tokens.gather(1, order), *subject.args[1:]))


def _pad_inside(subject: Subject, padding_id: int) -> Subject:
    tokens: Tokens = subject.args[0].clone()
    longest = int((tokens != padding_id).sum(1).argmax())
    tokens[longest, min(2, tokens.shape[1] - 1)] = padding_id
    return replace(subject, args=(tokens, *subject.args[1:]))


APPLY: dict[str, Callable[[Subject, int], Subject]] = {
    "train-mode": _to_model(nn.Module.train),
    "gradients": _to_setting(gradients=True),
    "fastpath-off": _to_setting(fastpath=False),
    "autocast": _to_setting(autocast=torch.bfloat16),
    "default-device": _to_setting(default_device="cpu"),
    "hook": _to_model(_hook),
    "unequal-eps": _to_model(_unequal_eps),
    "no-op-switch": _to_model(_no_op_switch),
    "sparsity-off": _to_model(_sparsity_off),
    "left-padding": _left_padded,
    "pad-inside": _pad_inside,
    "float-bias": _to_model(_distance_bias),
    "adapter": _to_model(_adapter),
}
