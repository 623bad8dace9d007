"""Answers the requests of a child one after another: loads, tokenizes, measures and examines.

Measurements wait for the machine's lock, and their number of threads is always set.
"""

import time
import traceback
from collections.abc import Callable
from pathlib import Path

from engine.catalog.models import find_model
from engine.catalog.paths import find_paths
from engine.child.lock import machine_lock
from engine.diagnosis import Diagnosis
from engine.doctor import examine_request
from engine.errors import Refusal
from engine.events import (
    Diagnosed,
    DoctorRequest,
    Event,
    Failed,
    Finished,
    Loaded,
    LoadRequest,
    Refused,
    Request,
    RunRequest,
    Step,
    SweepRequest,
    Swept,
    Tokenized,
    TokenizeRequest,
    allocator_of,
)
from engine.host import check_threads, usable_cores
from engine.measure.experiment import run_experiment
from engine.measure.instruments import Instruments
from engine.measure.sweep import run_sweep
from engine.models.inputs import tokenize
from engine.models.loading import LoadedModel, ModelCache, load_model
from engine.models.memory import NotEnoughMemory
from engine.paths.packed import kernels_compiled_meanwhile, kernels_folder
from engine.records import Allocator, DType, Run
from engine.settings import Settings


class RequestHandler:
    """Answers requests one after another and keeps the models it has loaded.

    Args:
        stop_asked: whether the rounds of what is being measured are to end.
        allocator: which one this process was started for.
    """

    def __init__(
        self,
        settings: Settings,
        tell: Callable[[Event], None],
        stop_asked: Callable[[], bool],
        allocator: Allocator,
    ) -> None:
        self._settings, self._tell = settings, tell
        self._stop_asked, self._allocator = stop_asked, allocator
        self._models = ModelCache(settings.model_cache_mb)

    def answer(self, request: Request) -> Event:
        """The last event of a request; never raises, so that a bad request does not end the child."""
        try:
            return self._ending(request)
        except NotEnoughMemory as refusal:
            return Refused(message=str(refusal), lack="memory")
        except Refusal as refusal:
            return Refused(message=str(refusal))
        except MemoryError:
            words = "The machine ran out of memory: choose a smaller model or a smaller batch."
            return Refused(message=words, lack="memory")
        except Exception as error:  # a defect must not end the child
            traceback.print_exc()
            return Failed(message=f"The measuring process met a defect of ours: {type(error).__name__}.")

    def _ending(self, request: Request) -> Event:
        if isinstance(request, LoadRequest):
            return Loaded(card=self._model(request.model, request.dtype, request.device).card)
        if isinstance(request, TokenizeRequest):
            model = self._model(request.model, "fp32", "cpu")
            return Tokenized(
                batch=tokenize(request.batch, model.tokenizer, model.card.shape, self._settings).record
            )
        self._check_allocator(request)
        with machine_lock(self._settings.lock_file, self._tell):
            if isinstance(request, DoctorRequest):
                return Diagnosed(diagnosis=self._examine(request))
            if isinstance(request, SweepRequest):
                return self._sweep(request)
            return Finished(run=self._run(request))

    def _check_allocator(self, request: Request) -> None:
        asked = allocator_of(request)
        if asked != self._allocator:
            raise Refusal(
                f"This measuring process was started for the allocator {self._allocator!r} and cannot measure "
                f"with {asked!r}, so nothing was measured: start another one (engine/allocator.py)."
            )

    def _run(self, request: RunRequest) -> Run:
        experiment = request.experiment
        check_threads(experiment.threads, usable_cores())
        with kernels_compiled_meanwhile(experiment, kernels_folder(self._settings), self._tell_compiling):
            loaded = self._model(experiment.model, experiment.dtype, experiment.device)
        trace_dir = Path(request.trace_dir) if request.trace_dir else None
        instruments = self._instruments(trace_dir)
        return run_experiment(experiment, loaded, self._settings, instruments, request.continues)

    def _sweep(self, request: SweepRequest) -> Swept:
        plan = request.plan
        find_paths(plan.paths)
        for threads in plan.threads:
            check_threads(threads, usable_cores())
        with kernels_compiled_meanwhile(plan, kernels_folder(self._settings), self._tell_compiling):
            loaded = self._model(plan.model, plan.dtype, plan.device)
        return run_sweep(request, loaded, self._settings, self._instruments())

    def _instruments(self, trace_dir: Path | None = None) -> Instruments:
        return Instruments(self._tell, time.perf_counter, stop_asked=self._stop_asked, trace_dir=trace_dir)

    def _tell_compiling(self) -> None:
        self._tell(Step(name="compile", text="Compiling the kernels of packed execution"))

    def _examine(self, request: DoctorRequest) -> Diagnosis:
        check_threads(request.threads, usable_cores())
        loaded = self._model(request.model, request.dtype, request.device)
        return examine_request(request, loaded, self._settings, self._instruments())

    def _model(self, name: str, dtype: DType, device: str) -> LoadedModel:
        spec = find_model(name)

        def load() -> LoadedModel:
            self._tell(Step(name="load", text=f"Loading {spec.title}"))
            return load_model(spec, dtype, device, self._settings, self._tell, time.perf_counter)

        return self._models.get((name, dtype, device), load)
