"""A child that answers every request at once with plausible records and no torch.

The models `no-such/model` is refused, `dies/at-once` ends the process, and a run of more than ten texts waits for
ever, so that it can be cancelled. So does a sweep with a batch of 100 texts, after its first three cells; if these are
done before, it measures the others at once.
"""

import os
import sys
import time
from pathlib import Path

from engine.allocator import DEFAULTS, KEPT
from engine.analysis.continuing import continued
from engine.diagnosis import Diagnosis
from engine.events import (
    CellDone,
    CellStarted,
    Diagnosed,
    DoctorRequest,
    Finished,
    Loaded,
    LoadRequest,
    Refused,
    RunRequest,
    Step,
    SweepRequest,
    Swept,
    Tokenized,
    TokenizeRequest,
    model_of,
    read_request,
)
from engine.records import Batch, PathResult, Record, read_run
from tests.samples import a_broken_diagnosis, a_diagnosis, a_silently_wrong_diagnosis, checked_by_every_part
from tests.sweep_samples import a_cell

SAMPLE = read_run((Path(__file__).parents[1] / "data" / "run_minilm_tutorial_big.json").read_bytes())


def tell(event: Record) -> None:
    sys.stdout.write(event.model_dump_json() + "\n")
    sys.stdout.flush()


def tokenized(batch: Batch) -> Batch:
    lengths = tuple(len(text.split()) + 2 for text in batch.texts)
    shape = (len(lengths), max(lengths))
    padding = 1 - sum(lengths) / (shape[0] * shape[1])
    return batch.model_copy(update={"lengths": lengths, "padding_ratio": padding, "shape": shape})


def answer(line: str, loaded: set[str]) -> Record:
    request = read_request(line)
    if not isinstance(request, RunRequest) and model_of(request) == "dies/at-once":
        os._exit(7)
    if isinstance(request, TokenizeRequest):
        return Tokenized(batch=tokenized(request.batch))
    if isinstance(request, LoadRequest):
        if request.model == "no-such/model":
            return Refused(message="There is no model no-such/model on the hub.")
        if request.model not in loaded:
            tell(Step(name="load", text="Loading"))
        loaded.add(request.model)
        assert SAMPLE.model_card is not None
        return Loaded(card=SAMPLE.model_card.model_copy(update={"name": request.model}))
    if isinstance(request, DoctorRequest):
        return Diagnosed(diagnosis=diagnosis_for(request.modifications))
    return answer_sweep(request) if isinstance(request, SweepRequest) else answer_run(request)


def answer_sweep(request: SweepRequest) -> Record:
    plan = request.plan
    for number, place in enumerate(plan.places):
        if number in request.done:
            continue
        tell(CellStarted(title=place.title, done=number, of=plan.size, left_s=20.0))
        if number == 3 and not request.done and 100 in plan.batch_sizes:
            tell(Step(name="measure", text="Measuring for ever"))
            time.sleep(60)
        tell(CellDone(cell=a_cell(plan, number, place), done=number + 1, of=plan.size))
    return Swept(done=plan.size, of=plan.size)


def diagnosis_for(modifications: tuple[str, ...]) -> Diagnosis:
    if "left-padding" in modifications:
        return a_silently_wrong_diagnosis()
    return checked_by_every_part(a_broken_diagnosis()) if modifications else a_diagnosis()


def answer_run(request: RunRequest) -> Record:
    if len(request.experiment.batch.texts) > 10:
        tell(Step(name="measure", text="Measuring for ever"))
        time.sleep(60)
    if request.trace_dir:
        for name in request.experiment.paths:
            (Path(request.trace_dir) / f"{name}.json.gz").write_bytes(b"a trace")
    paths = tuple(result_of(name) for name in request.experiment.paths)
    in_force = KEPT if request.experiment.allocator == "kept" else DEFAULTS
    environment = SAMPLE.environment.model_copy(update={"allocator_in_force": in_force})
    run_id = SAMPLE.id if request.experiment.allocator == "kept" else "of-the-system"
    update = {"id": run_id, "experiment": request.experiment, "paths": paths, "environment": environment}
    run = SAMPLE.model_copy(update=update)
    if request.continues:
        run = continued(request.continues, run.model_copy(update={"id": "longer"}))
    return Finished(run=run)


def result_of(name: str) -> PathResult:
    """The sample's result for a path; for a path it does not have, the fastpath's result under that name."""
    names = [path.name for path in SAMPLE.paths]
    return SAMPLE.path(name if name in names else "fast-nested").model_copy(update={"name": name})


models: set[str] = set()
for request_line in sys.stdin:
    tell(answer(request_line, models))
