"""What an execution path is: a way to call the same model, its claim about its profile, and where it can run.

Some paths are switches around the model, others are built from its weights. Some of torch's switches are
process-global (`torch.backends.mha.set_fastpath_enabled`), so a path holds them only while it runs.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from engine.catalog.paths import variant_name
from engine.errors import Refusal
from engine.models.encoder import RobertaModel
from engine.packing.precisions import TORCH_DTYPES
from engine.records import DType, Evidence, Precision


@dataclass(frozen=True)
class Expectation:
    """How often an operator must occur in a forward: exactly `calls` times, or at least."""

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
        alternative: other counts that prove it too, for a path that may run in one of two ways.
    """

    claim: str
    expectations: tuple[Expectation, ...]
    alternative: tuple[Expectation, ...] = ()

    def evidence(self, calls: Callable[[str], float]) -> Evidence:
        """Compare the promise with a profile.

        Args:
            calls: an operator's name -> its calls per forward.
        """
        found = self._compared(self.expectations, calls)
        if found.ok or not self.alternative:
            return found
        other = self._compared(self.alternative, calls)
        return other if other.ok else found

    def _compared(self, expectations: tuple[Expectation, ...], calls: Callable[[str], float]) -> Evidence:
        counts = {expectation.op: calls(expectation.op) for expectation in expectations}
        kept = all(expectation.met(counts[expectation.op]) for expectation in expectations)
        return Evidence(claim=self.claim, ops=counts, ok=kept)


NOTHING_PROMISED = Promise("no claim", ())


class Unavailable(Refusal):
    """A path cannot run this model here because a library, a device or a precision is missing; one sentence."""


@dataclass(frozen=True)
class PreparedPath:
    """A path that is ready to run.

    Attributes:
        forward: tokens (batch, length) int64 -> logits (batch, classes); this is what is timed.
        hidden: tokens -> hidden states (batch, length, width); this is what is compared.
        promise: what its profile must show.
        switches: sets torch's switches for the path while a call runs; never part of the timed region.
        weights_mb: weights in MB that the path holds in addition to the model's.
        encoder: the model whose `nn.TransformerEncoder` the path calls; None where it calls other code, which the
            dangers of torch's fastpath do not affect.
        note: what users should know about its preparation; usually empty.
    """

    forward: Callable[[Tensor], Tensor]
    hidden: Callable[[Tensor], Tensor]
    promise: Promise = NOTHING_PROMISED
    switches: Callable[[], AbstractContextManager[Any]] = torch.no_grad
    weights_mb: float = 0.0
    encoder: RobertaModel | None = None
    note: str = ""


Preparation = Callable[[RobertaModel, Path | None], PreparedPath]
"""Prepares a path for torchtext's RobertaModel; exported files are kept in the folder, or not at all without one."""


@dataclass(frozen=True)
class ExecutionPath:
    """A way to execute the encoder.

    Attributes:
        name: as in engine/catalog/paths.py.
        preparation: prepares it for a model.
        stochastic: True where outputs are random and cannot be compared.
        precision: the precision it always computes in; None if it uses the model's dtype.
        copies: memory it needs in addition to the model, in copies of the weights in the path's precision.
    """

    name: str
    preparation: Preparation
    stochastic: bool = False
    precision: Precision | None = None
    copies: float = 0.0

    def prepare(self, model: RobertaModel, exports: Path | None = None) -> PreparedPath:
        """Prepare the path for a model.

        Args:
            exports: folder where exported files of this model are kept; None keeps none.

        Raises:
            Unavailable: the path cannot run this model here.
        """
        return self.preparation(model, exports)


def computing_in(
    path: ExecutionPath, precision: Precision, preparation: Preparation, copies: float = 1.0
) -> ExecutionPath:
    """The variant of a path that always computes in this precision."""
    name = variant_name(path.name, precision)
    return replace(path, name=name, preparation=preparation, precision=precision, copies=copies)


def on_a_copy(path: ExecutionPath, dtype: DType) -> ExecutionPath:
    """The variant of a path that calls a copy of the model in this precision; paths share the copy."""

    def prepare(model: RobertaModel, exports: Path | None) -> PreparedPath:
        return path.preparation(converted(model, dtype), exports)

    return computing_in(path, dtype, prepare)


_COPIES: WeakKeyDictionary[RobertaModel, dict[DType, RobertaModel]] = WeakKeyDictionary()


def converted(model: RobertaModel, dtype: DType) -> RobertaModel:
    """The model in this precision: the model itself, or a copy that is kept as long as the model."""
    if next(model.parameters()).dtype == TORCH_DTYPES[dtype]:
        return model
    copies = _COPIES.setdefault(model, {})
    if dtype not in copies:
        copies[dtype] = deepcopy(model).to(TORCH_DTYPES[dtype])
    return copies[dtype]


def layers_of(model: RobertaModel) -> int:
    """How many layers the encoder has."""
    return len(model.encoder.transformer.layers.layers)


@dataclass(frozen=True)
class Switches:
    """The settings of torch's switches for a path.

    Attributes:
        sparsity: `use_nested_tensor`, which `forward()` reads.
        constructor_flag: `enable_nested_tensor`, which only the constructor reads; None sets it as `sparsity`.
    """

    train: bool
    gradients: bool
    fastpath: bool
    sparsity: bool
    constructor_flag: bool | None = None

    @contextmanager
    def held(self, model: RobertaModel) -> Iterator[None]:
        """Set the switches, and restore all of them afterwards."""
        layers = model.encoder.transformer.layers
        before = (model.training, torch.backends.mha.get_fastpath_enabled())
        sparsity_before = (layers.use_nested_tensor, layers.enable_nested_tensor)
        model.train(self.train)
        torch.backends.mha.set_fastpath_enabled(self.fastpath)
        layers.use_nested_tensor = self.sparsity
        layers.enable_nested_tensor = (
            self.sparsity if self.constructor_flag is None else self.constructor_flag
        )
        try:
            with torch.set_grad_enabled(self.gradients), without_prototype_warning():
                yield
        finally:
            model.train(before[0])
            torch.backends.mha.set_fastpath_enabled(before[1])
            layers.use_nested_tensor, layers.enable_nested_tensor = sparsity_before


@contextmanager
def without_prototype_warning() -> Iterator[None]:
    """Suppress torch's warning that nested tensors are a prototype, which users of this path know."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The PyTorch API of nested tensors is in prototype stage")
        yield


def under_switches(switches: Switches, promise: Callable[[RobertaModel], Promise]) -> Preparation:
    """A path that calls the model itself with these switches set."""

    def prepare(model: RobertaModel, _exports: Path | None) -> PreparedPath:
        return PreparedPath(
            forward=model,
            hidden=model.encoder,
            promise=promise(model),
            switches=lambda: switches.held(model),
            encoder=model,
        )

    return prepare
