"""What an execution path is: a way to call the same model, what it promises, and where it can run.

Some paths are switches around the model, others are built from its weights. Some of torch's switches are
process-global (`torch.backends.mha.set_fastpath_enabled`), so a path holds them only while it runs.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from engine.errors import Refusal
from engine.packing.precisions import TORCH_DTYPES
from engine.records import MEGABYTE, DType, Evidence, Precision

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
class Promise:
    """What a path claims, in words, and the operator counts that prove it.

    Attributes:
        alternative: counts that prove it as well, where the path goes two ways; none where it goes one.
    """

    claim: str
    expectations: tuple[Expectation, ...]
    alternative: tuple[Expectation, ...] = ()

    def evidence(self, calls: Callable[[str], float]) -> Evidence:
        """Hold the promise against the calls per forward that a profile shows of an operator."""
        found = self._held_against(self.expectations, calls)
        if found.ok or not self.alternative:
            return found
        otherwise = self._held_against(self.alternative, calls)
        return otherwise if otherwise.ok else found

    def _held_against(self, expectations: tuple[Expectation, ...], calls: Callable[[str], float]) -> Evidence:
        counts = {expectation.op: calls(expectation.op) for expectation in expectations}
        kept = all(expectation.met(counts[expectation.op]) for expectation in expectations)
        return Evidence(claim=self.claim, ops=counts, ok=kept)


class Unavailable(Refusal):
    """A path cannot run this model here: a library, a device or a precision is missing; one sentence for people."""


@dataclass(frozen=True)
class PreparedPath:
    """A path that is ready to run.

    Attributes:
        forward: tokens (batch, length) int64 -> logits (batch, classes); this is what is timed.
        hidden: tokens -> hidden states (batch, length, width); this is what is compared.
        switches: holds the path's settings while a call runs; never part of the timed region.
        weights_mb: weights in MB that the path holds beside the model's own.
        encoder: the model whose `nn.TransformerEncoder` the path goes through; None where it goes another way, so
            that torch's own traps are none of its concern.
        inside_torch: whether torch's allocator sees the path's memory.
        note: what people should know of its preparation; most often nothing.
        promise: what it promises where that depends on what it was made of; None for what the path always does.
    """

    forward: Callable[[Tensor], Tensor]
    hidden: Callable[[Tensor], Tensor]
    switches: Callable[[], AbstractContextManager[Any]] = torch.no_grad
    weights_mb: float = 0.0
    encoder: EncoderModel | None = None
    inside_torch: bool = True
    note: str = ""
    promise: Promise | None = None


Preparation = Callable[[EncoderModel, Path | None], PreparedPath]
"""Makes a path ready for a model; exported files go into the folder, or into none that outlives the process."""


@dataclass(frozen=True)
class ExecutionPath:
    """A way to execute the encoder.

    Attributes:
        claim: the promise in words, for an encoder of this many layers.
        expectations: the operator counts that prove the promise.
        preparation: makes it ready.
        stochastic: True where outputs are drawn anew each time and cannot be compared.
        precision: what it computes in whatever the model's dtype; None for the model's own.
        copies: how often the weights, in the path's precision, come to lie in memory beside the model's own.
    """

    name: str
    claim: Callable[[int], str]
    expectations: Callable[[int], tuple[Expectation, ...]]
    preparation: Preparation
    stochastic: bool = False
    precision: Precision | None = None
    copies: float = 0.0

    def prepare(self, model: EncoderModel, exports: Path | None = None) -> PreparedPath:
        """Make the path ready for a torchtext RobertaModel.

        Args:
            exports: folder for files that are worth keeping, of this very model; None keeps none.

        Raises:
            Unavailable: the path cannot run this model here.
        """
        return self.preparation(model, exports)

    def promise(self, prepared: PreparedPath, layers: int) -> Promise:
        """What the path promises, made ready like this, for an encoder of so many layers."""
        return prepared.promise or Promise(self.claim(layers), self.expectations(layers))


def around(switches: Callable[[EncoderModel], AbstractContextManager[None]]) -> Preparation:
    """A path that calls the model itself while some switches are held."""

    def prepare(model: EncoderModel, _exports: Path | None) -> PreparedPath:
        return PreparedPath(
            forward=model, hidden=model.encoder, switches=lambda: switches(model), encoder=model
        )

    return prepare


def computing_in(
    path: ExecutionPath, precision: Precision, preparation: Preparation, copies: float = 1.0
) -> ExecutionPath:
    """The same path in a precision of its own, whatever the model was loaded in."""
    name = f"{path.name}@{precision}"
    return replace(path, name=name, preparation=preparation, precision=precision, copies=copies)


def on_a_copy(path: ExecutionPath, dtype: DType) -> ExecutionPath:
    """The same path on a copy of the model in another precision; paths of one model share the copy."""

    def prepare(model: EncoderModel, exports: Path | None) -> PreparedPath:
        return path.preparation(converted(model, dtype), exports)

    return computing_in(path, dtype, prepare)


_COPIES: WeakKeyDictionary[Any, dict[DType, Any]] = WeakKeyDictionary()


def converted(model: EncoderModel, dtype: DType) -> EncoderModel:
    """The model in this precision: itself, or a copy that lives as long as it does."""
    assert isinstance(model, nn.Module)  # noqa: S101  (every model is one; the protocol cannot say so)
    if next(model.parameters()).dtype == TORCH_DTYPES[dtype]:
        return model
    copies: dict[DType, Any] = _COPIES.setdefault(model, {})
    if dtype not in copies:
        copies[dtype] = deepcopy(model).to(TORCH_DTYPES[dtype])
    return copies[dtype]  # type: ignore[no-any-return]


def megabytes(*tensors: Tensor) -> float:
    """Memory in MB of some tensors."""
    return sum(tensor.nbytes for tensor in tensors) / MEGABYTE


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
