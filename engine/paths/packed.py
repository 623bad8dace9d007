"""`packed`: padding-free execution on weights laid out once for the device (engine/packing)."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.catalog.operators import FUSED_LAYER, NESTED_CONVERSION, SDPA
from engine.catalog.paths import path_spec
from engine.errors import Refusal
from engine.models.encoder import RobertaModel
from engine.packing import PackedRoberta, PackedStack, pack
from engine.packing.build import NotCompiled, are_compiled, build, gain_here
from engine.packing.kernels import ADD_AND_NORM, ATTENTION, ENCODER
from engine.packing.linear import PACKED_LINEAR
from engine.paths.execution import (
    ExecutionPath,
    Expectation,
    Preparation,
    PreparedPath,
    Promise,
    Unavailable,
    computing_in,
)
from engine.records import DType, Experiment
from engine.settings import Settings, load_settings
from engine.sweeps import SweepPlan

LINEARS_A_LAYER, NORMS_A_LAYER = 4, 2
CLAIM = "real tokens only"
COMPILED = "this includes compiling its kernels, which takes some seconds and is done only once"
NO_GAIN = "with torch's operators, which are faster than its kernels on a processor without AVX-512"
_NOT_TORCHS_PATHS = (Expectation(FUSED_LAYER, 0), Expectation(NESTED_CONVERSION, 0), Expectation(SDPA, 0))


def kernels_folder(settings: Settings) -> Path:
    """Where the lab keeps compiled kernels; the same folder that `pack` takes by default."""
    return settings.data_folder / "kernels"


@contextmanager
def kernels_compiled_meanwhile(
    experiment: Experiment | SweepPlan, folder: Path, on_wait: Callable[[], None]
) -> Iterator[None]:
    """Compile the kernels while the block loads the model, if the experiment needs them and they do not exist yet.

    The context ends only after the compiler, so that it never runs during a measurement. If the kernels cannot be
    compiled, packed execution says why when it is prepared.

    Args:
        folder: where compiled kernels are kept.
        on_wait: called if the compiler takes longer than the block.
    """
    if not _needs_kernels(experiment) or are_compiled(folder):
        yield
        return
    with ThreadPoolExecutor(1) as compiler:  # a thread is enough: the compiler is another process
        compiled: Future[Path] = compiler.submit(build, folder)
        yield
        if not compiled.done():
            on_wait()
        with suppress(NotCompiled):
            compiled.result()


def _needs_kernels(experiment: Experiment | SweepPlan) -> bool:
    packed = any(path_spec(name).kind == "packed" for name in experiment.paths)
    return packed and experiment.device == "cpu" and gain_here()


def _preparation(dtype: DType | None) -> Preparation:
    def prepare(model: RobertaModel, _exports: Path | None) -> PreparedPath:
        try:
            folder = kernels_folder(load_settings())
            compiled_before = are_compiled(folder)
            packed = pack(model, dtype, kernels_folder=folder)
        except Refusal as refusal:
            raise Unavailable(str(refusal)) from None
        assert isinstance(packed, PackedRoberta)  # noqa: S101  (what a RobertaModel becomes)
        compiled_now = packed.stack.kernels and not compiled_before
        return PreparedPath(
            packed,
            packed.hidden,
            weights_mb=packed.weights_mb,
            note=_note(packed.stack, compiled_now=compiled_now),
            promise=promise(packed.stack),
        )

    return prepare


def _note(stack: PackedStack, *, compiled_now: bool) -> str:
    """That its kernels were compiled now, or why torch's operators are used instead."""
    if compiled_now:
        return COMPILED
    return stack.without_kernels if stack.kernels or gain_here() else NO_GAIN


def promise(stack: PackedStack) -> Promise:
    """The profile of a packed encoder: the compiled kernels, oneDNN's linear layers, or neither.

    A batch of few tokens goes through all layers in one call of the kernels. For a larger one, logits need the last
    layer's attention for the first tokens only; it is computed without the kernel, and without a linear layer for
    keys and values.
    """
    layers = len(stack.layers)
    if stack.kernels:
        # For few rows linear layers run in another kernel, so their number proves nothing.
        return Promise(
            f"{CLAIM}: compiled kernels in {layers} layers, linear layers on laid-out weights",
            (
                *_NOT_TORCHS_PATHS,
                Expectation(ATTENTION, layers - 1, at_least=True),
                Expectation(ADD_AND_NORM, NORMS_A_LAYER * layers),
            ),
            alternative=(*_NOT_TORCHS_PATHS, Expectation(ENCODER, 1)),
        )
    if stack.onednn:
        linears = LINEARS_A_LAYER * layers
        return Promise(
            f"{CLAIM}: {linears} linear layers or more on laid-out weights",
            (*_NOT_TORCHS_PATHS, Expectation(PACKED_LINEAR, linears, at_least=True)),
        )
    return Promise(f"{CLAIM}: torch's own linear layers", _NOT_TORCHS_PATHS)


PATH = ExecutionPath("packed", _preparation(None), copies=1.0)
IN_BF16 = computing_in(PATH, "bf16", _preparation("bf16"))
