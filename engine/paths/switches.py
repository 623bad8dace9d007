"""The paths that call the model itself with torch's switches set: the slow paths, the fastpath, the tutorial's switch.

One row per path: its switches, and the operator counts that prove it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from engine.catalog.operators import DROPOUT_DRAW, FUSED_LAYER, NESTED_CONVERSION, SDPA
from engine.models.encoder import RobertaModel
from engine.paths.execution import (
    ExecutionPath,
    Expectation,
    Promise,
    Switches,
    layers_of,
    on_a_copy,
    under_switches,
)


@dataclass(frozen=True)
class _Row:
    """A path's switches, and its promise for a number of layers."""

    switches: Switches
    promise: Callable[[int], Promise]
    stochastic: bool = False


def _dropout_drawn(_layers: int) -> Promise:
    drawn = Expectation(DROPOUT_DRAW, 1, at_least=True)
    return Promise("no fused layer, dropout is drawn", (Expectation(FUSED_LAYER, 0), drawn))


def _not_fused(layers: int) -> Promise:
    counts = (Expectation(FUSED_LAYER, 0), Expectation(SDPA, layers))
    return Promise(f"no fused layer, {layers} attentions by SDPA", counts)


def _slow(layers: int) -> Promise:
    counts = (Expectation(FUSED_LAYER, 0), Expectation(NESTED_CONVERSION, 0), Expectation(SDPA, layers))
    return Promise(f"no fused layer, no nested tensor, {layers} attentions by SDPA", counts)


def _fused(layers: int) -> Promise:
    counts = (Expectation(FUSED_LAYER, layers), Expectation(NESTED_CONVERSION, 0))
    return Promise(f"{layers} fused layers, no nested tensor", counts)


def _nested(layers: int) -> Promise:
    counts = (Expectation(FUSED_LAYER, layers), Expectation(NESTED_CONVERSION, 1))
    return Promise(f"{layers} fused layers, 1 conversion to a nested tensor", counts)


_ROWS = {
    # The tutorial's first slow path.
    "slow-train": _Row(
        Switches(train=True, gradients=True, fastpath=True, sparsity=True), _dropout_drawn, stochastic=True
    ),
    # The tutorial's later slow path: recorded gradients keep torch off the fastpath.
    "slow-grad": _Row(Switches(train=False, gradients=True, fastpath=True, sparsity=True), _not_fused),
    "slow": _Row(Switches(train=False, gradients=False, fastpath=False, sparsity=False), _slow),
    "fast-mha": _Row(Switches(train=False, gradients=False, fastpath=True, sparsity=False), _fused),
    "fast-nested": _Row(Switches(train=False, gradients=False, fastpath=True, sparsity=True), _nested),
    # The tutorial sets `enable_nested_tensor = False` after construction; `forward()` reads `use_nested_tensor`, which
    # `__init__` has set (torch/nn/modules/transformer.py, the same in 2.3.1 and 2.13). So sparsity stays on, and the
    # profile refutes the tutorial.
    "tutorial-mha": _Row(
        Switches(train=False, gradients=False, fastpath=True, sparsity=True, constructor_flag=False), _fused
    ),
}


def _path(name: str, row: _Row) -> ExecutionPath:
    def promise(model: RobertaModel) -> Promise:
        return row.promise(layers_of(model))

    return ExecutionPath(name, under_switches(row.switches, promise), stochastic=row.stochastic)


SWITCHED: dict[str, ExecutionPath] = {name: _path(name, row) for name, row in _ROWS.items()}
SLOW = SWITCHED["slow"]
SLOW_IN_BF16 = on_a_copy(SLOW, "bf16")
FAST_NESTED_IN_BF16 = on_a_copy(SWITCHED["fast-nested"], "bf16")
