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

LINEARS_A_LAYER, NORMS_A_LAYER = 4, 2
CLAIM = "real tokens only"
COMPILED = "its kernels were compiled on the way, some seconds that later starts are spared"
NO_GAIN = "computed with torch's operators, which are faster than its kernels on a processor without AVX-512"
_NOT_TORCHS_PATHS = (Expectation(FUSED_LAYER, 0), Expectation(NESTED_CONVERSION, 0), Expectation(SDPA, 0))


def kernels_folder(settings: Settings) -> Path:
    """Where the lab keeps compiled kernels; the same folder that `pack` takes by default."""
    return settings.data_folder / "kernels"


@contextmanager
def kernels_compiled_meanwhile(
    experiment: Experiment, folder: Path, on_wait: Callable[[], None]
) -> Iterator[None]:
    """Compile the kernels while the block loads the model, where the experiment needs them and they are not there.

    The block is left when the compiler has ended, so that it never runs beside a measurement. Where the kernels cannot
    be compiled, packed execution says why when it is prepared.

    Args:
        folder: where compiled kernels are kept.
        on_wait: called where the compiler takes longer than the block.
    """
    if not _needs_kernels(experiment) or are_compiled(folder):
        yield
        return
    with ThreadPoolExecutor(1) as compiler:  # a thread is enough: the compiler is a process of its own
        compiled: Future[Path] = compiler.submit(build, folder)
        yield
        if not compiled.done():
            on_wait()
        with suppress(NotCompiled):
            compiled.result()


def _needs_kernels(experiment: Experiment) -> bool:
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
    """How its kernels were made, or why torch's operators do their work."""
    if compiled_now:
        return COMPILED
    return stack.without_kernels if stack.kernels or gain_here() else NO_GAIN


def promise(stack: PackedStack) -> Promise:
    """What a packed encoder shows in a profile: the compiled kernels, oneDNN's linear layers, or neither.

    Few rows go through all layers in one call of the kernels. For logits of more rows the last layer's attention is
    computed for the first tokens alone, without the kernel and without a linear layer for keys and values.
    """
    layers = len(stack.layers)
    if stack.kernels:
        # Linear layers of few rows are a kernel of their own, so that their number does not prove anything.
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
