"""What a sweep shows: the best path of each cell, where sparsity is faster, and the time of a token. Pure.

Each cell is judged on its own, by the rule for runs: the verdicts of one cell hold together with 95 % confidence, those
of all cells do not. Of many cells one may be wrong by chance. It then differs from its neighbours.
"""

from collections.abc import Mapping
from statistics import median

from engine.analysis.conclude import judged
from engine.analysis.crossover import FasterRatios, faster_ratios
from engine.analysis.recommend import keeps_the_answer, recommend
from engine.analysis.stats import fewest_samples, shared_confidence
from engine.analysis.verdict import Situation
from engine.catalog.paths import BASELINE, path_spec
from engine.diagnosis import SweepPoint
from engine.records import PathResult, Record, Run
from engine.sweeps import AXES, Axis, Place, Sweep, SweepCell, SweepPlan

SPARSE, DENSE = "fast-nested", "fast-mha"
"""Native MHA with sparsity and without it: their ratio is the gain from sparsity alone."""


class Best(Record):
    """The path to choose in a cell, among those with the same answer."""

    name: str
    speedup: float
    """Over the cell's baseline."""
    sure: bool
    """Whether every other path is clearly slower, or as fast."""
    as_fast: tuple[str, ...] = ()
    """Paths that are as fast, but less simple."""


class SparsityLine(Record):
    """Where sparsity is faster along the padding axis, for one value of each other axis."""

    at: Place
    """Its `padding` has no meaning."""
    faster: FasterRatios
    against: str
    """The path without sparsity that it was compared with."""


def fewest_rounds(plan: SweepPlan) -> int:
    """Fewest rounds that give every interval of a sweep: those of a cell's paths, and those along a line of padding."""
    comparisons = max(len(plan.paths) - 1, len(plan.padding))
    return fewest_samples(shared_confidence(comparisons))


def best_path(run: Run) -> Best:
    """The path that the project's recommendation chooses in this cell, and whether that is certain."""
    found = recommend(run)
    pick = found.exact if found else None
    name = pick.name if pick else run.experiment.baseline
    as_fast = pick.as_fast if pick else ()
    chosen = run.path(name)
    rivals = [path for path in _candidates(run) if path.name != name and path.name not in as_fast]
    sure = all(_is_not_faster(run, rival, chosen, len(rivals)) for rival in rivals)
    return Best(name=name, speedup=chosen.speedup or 1.0, sure=sure, as_fast=as_fast)


def _candidates(run: Run) -> list[PathResult]:
    return [
        path
        for path in run.paths
        if path.samples_ms
        and keeps_the_answer(run, path)
        and path_spec(path.name).for_inference
        and (path.evidence is None or path.evidence.ok)
    ]


def _is_not_faster(run: Run, rival: PathResult, chosen: PathResult, comparisons: int) -> bool:
    situation = Situation(rounds=run.rounds, round_s=0.0)
    confidence = shared_confidence(comparisons)
    _, _, verdict = judged(rival.samples_ms, chosen.samples_ms, confidence, run.noise_floor.ci95, situation)
    return verdict.word in ("faster", "same")


def ms_per_1000_tokens(run: Run, name: str) -> float | None:
    """Median milliseconds of a path for 1,000 real tokens; None if the path gave no samples."""
    path = run.path(name)
    if not path.samples_ms:
        return None
    return median(path.samples_ms) / run.experiment.batch.real_tokens * 1000


def shown_cells(
    sweep: Sweep, fixed: Mapping[Axis, float | None]
) -> tuple[tuple[Place, SweepCell | None], ...]:
    """The places with these values of the other axes; a place that was not measured yet has no cell."""
    cells = {cell.number: cell for cell in sweep.cells}
    return tuple(
        (place, cells.get(number))
        for number, place in enumerate(sweep.plan.places)
        if all(value_at(place, axis) == value for axis, value in fixed.items())
    )


def value_at(place: Place, axis: Axis) -> float | None:
    """A place's value on an axis."""
    values: dict[Axis, float | None] = {
        "batch_size": place.batch_size,
        "length": place.length,
        "padding": place.padding,
        "threads": place.threads,
    }
    return values[axis]


def sparsity_lines(sweep: Sweep) -> tuple[SparsityLine, ...]:
    """Where sparsity is faster, for every combination of the other axes with two or more measured cells.

    The intervals along one line hold together with 95 % confidence. Sparsity is compared with native MHA without it;
    if that was not measured, with the slow path.
    """
    lines: dict[tuple[float | None, ...], list[tuple[Place, Run]]] = {}
    for place, run in sweep.measured:
        key = tuple(value_at(place, axis) for axis in AXES if axis != "padding")
        lines.setdefault(key, []).append((place, run))
    found = (_line(cells) for cells in lines.values() if len(cells) > 1)
    return tuple(line for line in found if line is not None)


def _line(cells: list[tuple[Place, Run]]) -> SparsityLine | None:
    against = next(
        (name for name in (DENSE, BASELINE) if all(_measured(run, name) for _, run in cells)), None
    )
    if against is None or not all(_measured(run, SPARSE) for _, run in cells):
        return None
    points = [_point(place, run, against, len(cells)) for place, run in cells]
    return SparsityLine(at=cells[0][0], faster=faster_ratios(points), against=against)


def _measured(run: Run, name: str) -> bool:
    return any(path.name == name and path.samples_ms for path in run.paths)


def _point(place: Place, run: Run, against: str, points: int) -> SweepPoint:
    ratio, interval, verdict = judged(
        run.path(against).samples_ms,
        run.path(SPARSE).samples_ms,
        shared_confidence(points),
        run.noise_floor.ci95,
        Situation(rounds=run.rounds, round_s=0.0),
    )
    return SweepPoint(padding_ratio=place.padding, speedup=ratio, ci95=interval, verdict=verdict.word)
