"""`tutorial-mha`: the tutorial's own "native MHA only" switch, kept to show by its profile that it does nothing.

The tutorial sets `enable_nested_tensor = False` after construction; `forward()` reads `use_nested_tensor`, which
`__init__` has set (torch/nn/modules/transformer.py, the same in 2.3.1 and 2.13). So sparsity stays on.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from engine.paths import fast_mha
from engine.paths.execution import EncoderModel, ExecutionPath, around, switched


@contextmanager
def _switches(model: EncoderModel) -> Iterator[None]:
    with switched(model, train=False, gradients=False, fastpath=True, sparsity=True):
        model.encoder.transformer.layers.enable_nested_tensor = False
        yield


PATH = ExecutionPath(
    name="tutorial-mha",
    claim=fast_mha.PATH.claim,
    expectations=fast_mha.PATH.expectations,
    preparation=around(_switches),
)
