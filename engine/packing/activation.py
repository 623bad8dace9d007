"""The activations that can be packed, read from a layer."""

from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  (torch's own habit)

from engine.errors import Refusal

Activation = Literal["relu", "gelu", "gelu-tanh"]


def activation_of(function: Any, place: str) -> Activation:
    """The activation of a layer: F.relu, torch.relu, F.gelu, or exactly an nn.ReLU or nn.GELU.

    Raises:
        Refusal: it is another one.
    """
    if function is F.relu or function is torch.relu or type(function) is nn.ReLU:
        return "relu"
    if function is F.gelu:
        return "gelu"
    if type(function) is nn.GELU and function.approximate in ("none", "tanh"):
        return "gelu-tanh" if function.approximate == "tanh" else "gelu"
    name = getattr(function, "__name__", type(function).__name__)
    raise Refusal(f"Cannot pack: {place} is {name}, and only relu and gelu are supported.")
