"""What an execution path is: a way to call the same model, what it promises, and where it can run.

Most paths are switches around one model. Some of torch's switches are process-global
(`torch.backends.mha.set_fastpath_enabled`), so a path holds them only while it runs and puts them back.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

FUSED_LAYER = "aten::_transformer_encoder_layer_fwd"
NESTED_CONVERSION = "aten::_nested_tensor_from_mask"
SDPA = "aten::scaled_dot_product_attention"
DROPOUT_DRAW = "aten::bernoulli_"


class EncoderModel(Protocol):
    """torchtext's RobertaModel as the paths see it."""

    training: bool
    encoder: Any
    """RobertaEncoder; its `transformer.layers` is the `nn.TransformerEncoder`."""

    def __call__(self, tokens: Tensor) -> Tensor:
        """Tokens (batch, length) int64 -> logits (batch, classes)."""

    def train(self, mode: bool) -> Any:
        """Switch between train mode and eval mode."""


@dataclass(frozen=True)
class Expectation:
    """How often an operator must be seen in a forward: exactly `calls`, or at least so often."""

    op: str
    calls: int
    at_least: bool = False

    def met(self, seen: float) -> bool:
        """Whether this many calls per forward keep the promise."""
        return seen >= self.calls if self.at_least else seen == self.calls


@dataclass(frozen=True)
class PreparedPath:
    """A path that is ready to run.

    Attributes:
        forward: tokens (batch, length) int64 -> logits (batch, classes); this is what is timed.
        hidden: tokens -> hidden states (batch, length, width); this is what is compared.
        switches: holds the path's settings while a call runs; never part of the timed region.
    """

    forward: Callable[[Tensor], Tensor]
    hidden: Callable[[Tensor], Tensor]
    switches: Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class ExecutionPath:
    """A way to execute the encoder.

    Attributes:
        claim: the promise in words, for an encoder of this many layers.
        expectations: the operator counts that prove the promise.
        stochastic: True where outputs are drawn anew each time and cannot be compared.
    """

    name: str
    claim: Callable[[int], str]
    expectations: Callable[[int], tuple[Expectation, ...]]
    switches: Callable[[EncoderModel], AbstractContextManager[None]]
    stochastic: bool = False

    def prepare(self, model: EncoderModel) -> PreparedPath:
        """Make the path ready for a torchtext RobertaModel."""
        return PreparedPath(forward=model, hidden=model.encoder, switches=lambda: self.switches(model))


@contextmanager
def switched(
    model: EncoderModel, *, train: bool, gradients: bool, fastpath: bool, sparsity: bool
) -> Iterator[None]:
    """Hold torch's switches for a path and put every one of them back.

    `enable_nested_tensor` is what the tutorial sets, but `forward()` reads `use_nested_tensor`
    (torch/nn/modules/transformer.py, `TransformerEncoder.__init__`), so both are set.
    """
    layers = model.encoder.transformer.layers
    before = (model.training, torch.backends.mha.get_fastpath_enabled())
    sparsity_before = (layers.use_nested_tensor, layers.enable_nested_tensor)
    model.train(train)
    torch.backends.mha.set_fastpath_enabled(fastpath)
    layers.use_nested_tensor = layers.enable_nested_tensor = sparsity
    try:
        with torch.set_grad_enabled(gradients):
            yield
    finally:
        model.train(before[0])
        torch.backends.mha.set_fastpath_enabled(before[1])
        layers.use_nested_tensor, layers.enable_nested_tensor = sparsity_before
