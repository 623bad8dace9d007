"""Measures the cells of a sweep, one run each, on one loaded model.

Each cell is paired inside itself, so cells may be measured in any order and in several sessions. Paths are prepared
once for each number of threads.
"""

from dataclasses import dataclass, field, replace
from functools import partial

from engine.analysis.continuing import changed_conditions
from engine.analysis.sweeps import fewest_rounds
from engine.errors import Refusal
from engine.events import CellDone, CellStarted, SweepRequest, Swept
from engine.host import threads_here
from engine.measure.bench import Extent, PathStock
from engine.measure.environment import read_environment
from engine.measure.experiment import run_experiment
from engine.measure.instruments import Instruments
from engine.models.loading import LoadedModel
from engine.models.memory import check_memory, memory_available_mb
from engine.records import BYTES_PER_VALUE, MEGABYTE, DType, EncoderShape, Run
from engine.settings import Settings
from engine.sweeps import (
    STRETCH,
    Place,
    SweepCell,
    SweepPlan,
    check_fits,
    expected_cell_s,
    experiment_at,
    measuring_order,
)

CELL = Extent(warm_up_cap_s=0.5, stretch=STRETCH, most_profiled=1, costs=False)
"""A cell is a shorter run: each path is still compared, and one profiled forward still proves how it ran."""
STATES_AT_ONCE = 8
"""Copies of the hidden states that a layer holds at once, in an estimate of its working memory."""
SCORES_AT_ONCE = 3
"""Copies of the attention scores: native MHA writes them all, and their softmax."""


@dataclass
class Session:
    """What was measured in this session, for the estimate of the time left; and the paths that are prepared."""

    spent_s: float = 0.0
    expected_s: float = 0.0
    """Estimate of the cells that were measured, made before measuring."""
    threads: int | None = None
    stock: PathStock = field(default_factory=dict)

    def stock_for(self, threads: int | None) -> PathStock:
        """The prepared paths; none if they were prepared for another number of threads."""
        if threads != self.threads:
            self.threads, self.stock = threads, {}
        return self.stock


def run_sweep(
    request: SweepRequest, loaded: LoadedModel, settings: Settings, instruments: Instruments
) -> Swept:
    """Measure the cells that are not done; each is sent as an event when it is complete.

    After a request to stop, the cell that is being measured is dropped, because it has too few rounds.

    Raises:
        Refusal: a batch is too large for the model or the settings, or the conditions are not those of the cells that
            were measured before. Nothing was measured then.
    """
    plan, shape = request.plan, loaded.card.shape
    check_fits(plan, shape, settings.max_tokens, settings.max_texts)
    if request.like is not None:
        _check_conditions(request.like, loaded, plan)
    expected = partial(expected_cell_s, plan, shape=shape, threads=threads_here())
    extent = replace(CELL, min_rounds=fewest_rounds(plan))
    order, session = measuring_order(plan, request.done), Session()
    for position, number in enumerate(order):
        place, done = plan.places[number], len(request.done) + position
        rest_s = sum(expected(plan.places[later]) for later in order[position:])
        left_s = rest_s * session.spent_s / session.expected_s if session.expected_s else None
        instruments.tell(CellStarted(title=place.title, done=done, of=plan.size, left_s=left_s))
        start = instruments.clock()
        cell = _cell(plan, number, loaded, settings, instruments, extent, session.stock_for(place.threads))
        if instruments.stop_asked():
            return Swept(done=done, of=plan.size)
        if cell.run is not None:
            session.spent_s += instruments.clock() - start
            session.expected_s += expected(place)
        instruments.tell(CellDone(cell=cell, done=done + 1, of=plan.size))
    return Swept(done=plan.size, of=plan.size)


def _check_conditions(like: Run, loaded: LoadedModel, plan: SweepPlan) -> None:
    now = read_environment(plan.device, None)
    # The number of threads may be an axis.
    now = now.model_copy(update={"threads": like.environment.threads})
    changed = next(changed_conditions(like, now, loaded.card), None)
    if changed:
        raise Refusal(
            f"This sweep cannot be resumed, because {changed}: its cells are kept as they are; start a new sweep."
        )


def _cell(
    plan: SweepPlan,
    number: int,
    loaded: LoadedModel,
    settings: Settings,
    instruments: Instruments,
    extent: Extent,
    stock: PathStock,
) -> SweepCell:
    """The run of a cell, or why there is none; the other cells go on."""
    place = plan.places[number]
    try:
        experiment = experiment_at(plan, place)
        needed = working_mb(loaded.card.shape, place, plan.dtype)
        check_memory(f"A batch of {place.title}", needed, memory_available_mb(), settings.memory_reserve_mb)
        run = run_experiment(experiment, loaded, settings, instruments, extent=extent, stock=stock)
    except Refusal as refusal:
        return SweepCell(number=number, reason=str(refusal))
    except MemoryError:
        return SweepCell(
            number=number, reason="The machine ran out of memory: this batch is too large for it."
        )
    return SweepCell(number=number, run=run)


def working_mb(shape: EncoderShape, place: Place, dtype: DType) -> float:
    """Estimated memory in MB of one forward of the slow path or the fastpath, beside the weights."""
    tokens = place.batch_size * place.length
    states = tokens * (STATES_AT_ONCE * shape.embedding_dim + shape.ffn_dimension)
    scores = SCORES_AT_ONCE * tokens * place.length * shape.num_attention_heads
    return (states + scores) * BYTES_PER_VALUE[dtype] / MEGABYTE
