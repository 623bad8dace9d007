"""The process that measures: one JSON request a line in, JSON events a line out; end of input means stop.

Events leave on a private copy of standard output, and standard output itself is joined to standard error, so that
a stray print of some library cannot break the protocol.
"""

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from queue import SimpleQueue
from typing import TextIO

from pydantic import ValidationError

from engine.catalog import find_model
from engine.errors import Refusal
from engine.events import (
    Event,
    Failed,
    Finished,
    Loaded,
    LoadRequest,
    Refused,
    Request,
    RunRequest,
    Step,
    Tokenized,
    TokenizeRequest,
    read_request,
)
from engine.measure.experiment import Instruments, run_experiment
from engine.measure.inputs import tokenize
from engine.measure.models import LoadedModel, ModelCache, load_model
from engine.records import DType, Run
from engine.settings import Settings, load_settings

END_OF_INPUT = 75
"""Exit code where the parent went away (EX_TEMPFAIL of sysexits.h)."""


class Laboratory:
    """Answers requests one after another and keeps the models it has loaded."""

    def __init__(self, settings: Settings, tell: Callable[[Event], None]) -> None:
        self._settings, self._tell = settings, tell
        self._models = ModelCache(settings.model_cache_mb)

    def answer(self, request: Request) -> Event:
        """The ending of one request; never raises, so that one bad request does not end the child."""
        try:
            return self._ending(request)
        except Refusal as refusal:
            return Refused(message=str(refusal))
        except MemoryError:
            return Refused(
                message="The machine ran out of memory: choose a smaller model or a smaller batch."
            )
        except Exception as error:  # the child's last line of defence
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
        return Finished(run=self._run(request))

    def _run(self, request: RunRequest) -> Run:
        experiment = request.experiment
        loaded = self._model(experiment.model, experiment.dtype, experiment.device)
        trace_dir = Path(request.trace_dir) if request.trace_dir else None
        instruments = Instruments(self._tell, time.perf_counter, trace_dir=trace_dir)
        return run_experiment(experiment, loaded, self._settings, instruments)

    def _model(self, name: str, dtype: DType, device: str) -> LoadedModel:
        spec = find_model(name)

        def load() -> LoadedModel:
            self._tell(Step(name="load", text=f"Loading {spec.title}"))
            return load_model(spec, dtype, device, self._settings, self._tell, time.perf_counter)

        return self._models.get((name, dtype, device), load)


def main() -> None:
    """Serve requests until the input ends."""
    events = _private_output()

    def tell(event: Event) -> None:
        events.write(event.model_dump_json() + "\n")
        events.flush()

    lines: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_read_until_the_end, args=(sys.stdin, lines), daemon=True).start()
    try:
        laboratory = Laboratory(load_settings(), tell)
    except Refusal as refusal:
        tell(Refused(message=str(refusal)))
        sys.exit(2)
    serve(iter(lines.get, None), laboratory, tell)


def serve(lines: Iterable[str], laboratory: Laboratory, tell: Callable[[Event], None]) -> None:
    """Answer each line of requests with events."""
    for line in lines:
        try:
            request = read_request(line)
        except ValidationError as error:
            tell(Refused(message=f"The request cannot be read: {error.errors()[0]['msg']}."))
            continue
        tell(laboratory.answer(request))


def _private_output() -> TextIO:
    private = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return private


def _read_until_the_end(source: Iterable[str], lines: SimpleQueue[str]) -> None:
    # A thread of its own, so that a parent's death ends the child even in the middle of a forward.
    for line in source:
        lines.put(line)
    os._exit(END_OF_INPUT)
