"""`compile`: torch.compile of the slow path, with dynamic shapes and the whole model in one graph.

torchtext's encoder calls `torch.jit.isinstance` on its output, which breaks the graph in two places; the compiled
function leaves that call out. Preparing compiles it with a small batch. The result runs every batch of two texts or
more; for a single text inductor compiles a separate graph.
"""

import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

from engine.catalog.operators import FUSED_LAYER, LINEAR, NESTED_CONVERSION, SDPA
from engine.models.encoder import RobertaModel
from engine.paths.execution import (
    ExecutionPath,
    Expectation,
    PreparedPath,
    Promise,
    Unavailable,
    on_a_copy,
)
from engine.paths.huggingface import example_tokens
from engine.paths.switches import SLOW

CACHE_LOOKUP = "TorchDynamo Cache Lookup"
"""The profile has one of these for each compiled graph that is called; a graph break makes it two."""
NOTE = "compiled for batches of two texts or more; a single text is compiled in its first call"

PROMISE = Promise(
    "one compiled graph, none of its layers called by Python",
    (
        Expectation(FUSED_LAYER, 0),
        Expectation(NESTED_CONVERSION, 0),
        Expectation(CACHE_LOOKUP, 1),
        Expectation(SDPA, 0),
        Expectation(LINEAR, 0),
    ),
)

LogitsAndStates = Callable[[Tensor], tuple[Tensor, Tensor]]


def _prepare(model: RobertaModel, exports: Path | None) -> PreparedPath:
    tokens = example_tokens(model)
    _require_compiler(tokens.device)
    inner = SLOW.prepare(model, exports)
    compiled: LogitsAndStates = torch.compile(logits_and_states(model), dynamic=True, fullgraph=True)
    with inner.switches():
        compiled(tokens)
    return PreparedPath(
        forward=lambda tokens: compiled(tokens)[0],
        hidden=lambda tokens: compiled(tokens)[1],
        promise=PROMISE,
        switches=inner.switches,
        encoder=model,
        note=NOTE,
    )


def logits_and_states(model: RobertaModel) -> LogitsAndStates:
    """The function to compile: one graph for logits, which are timed, and hidden states, which are compared."""
    transformer, head = model.encoder.transformer, model.head

    def call(tokens: Tensor) -> tuple[Tensor, Tensor]:
        states = transformer(tokens).transpose(0, 1)
        return head(states), states

    separate: LogitsAndStates = _with_a_copy_of_its_code(call)
    return separate


def _with_a_copy_of_its_code(function: Any) -> Any:
    """The same function with a copy of its code object.

    torch stops compiling after eight graphs for one code object, and all models of a process would share the eight.
    """
    return FunctionType(
        function.__code__.replace(),
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )


def _require_compiler(device: torch.device) -> None:
    """Refuse if torch would not find the compiler that it needs.

    Raises:
        Unavailable: it is not on this machine.
    """
    if device.type == "cuda":
        if find_spec("triton") is None:
            raise Unavailable("torch.compile needs Triton on a GPU, and it is not installed here.")
        return
    compiler = os.environ.get("CXX") or {"win32": "cl", "darwin": "clang++"}.get(sys.platform, "g++")
    if which(compiler) is None:
        raise Unavailable(f"torch.compile needs a C++ compiler, and {compiler} is not found on this machine.")


PATH = ExecutionPath("compile", _prepare)
IN_BF16 = on_a_copy(PATH, "bf16")
