"""A sweep as rows: one for every path of every cell, with units in the names; and the same as CSV."""

import csv
from io import StringIO

from engine.analysis.sweeps import best_path, ms_per_1000_tokens
from engine.records import PathResult, Run
from engine.sweeps import Place, Sweep, SweepCell

COLUMNS = (
    *("batch_size", "length_tokens", "padding_ratio_asked", "padding_ratio", "threads", "path", "status"),
    *("median_ms", "speedup", "speedup_low", "speedup_high", "verdict", "best", "ms_per_1000_real_tokens"),
    *("evidence", "rounds", "stop_reason", "reason"),
)


def sweep_rows(sweep: Sweep) -> list[dict[str, object]]:
    """A row for every path of every complete cell; a cell without a result has one row, with the reason."""
    places = sweep.plan.places
    return [row for cell in sweep.cells for row in _cell_rows(places[cell.number], cell)]


def sweep_csv(sweep: Sweep) -> str:
    """The same rows as CSV; a figure that is not known is empty."""
    out = StringIO()
    writer = csv.DictWriter(out, COLUMNS)
    writer.writeheader()
    writer.writerows(sweep_rows(sweep))
    return out.getvalue()


def _cell_rows(place: Place, cell: SweepCell) -> list[dict[str, object]]:
    at: dict[str, object] = {
        **dict.fromkeys(COLUMNS),
        "batch_size": place.batch_size,
        "length_tokens": place.length,
        "padding_ratio_asked": place.padding,
        "threads": place.threads,
        "reason": cell.reason,
    }
    if cell.run is None:
        return [at | {"status": "no result"}]
    best = best_path(cell.run)
    return [at | _path_row(cell.run, path, best.name) for path in cell.run.paths]


def _path_row(run: Run, path: PathResult, best: str) -> dict[str, object]:
    low, high = path.speedup_ci95 or (None, None)
    return {
        "padding_ratio": run.experiment.batch.padding_ratio,
        "threads": run.environment.threads,
        "path": path.name,
        "status": path.status,
        "median_ms": path.median_ms,
        "speedup": path.speedup,
        "speedup_low": low,
        "speedup_high": high,
        "verdict": path.verdict or ("baseline" if path.name == run.experiment.baseline else None),
        "best": path.name == best,
        "ms_per_1000_real_tokens": ms_per_1000_tokens(run, path.name),
        "evidence": None if path.evidence is None else ("proven" if path.evidence.ok else "refuted"),
        "rounds": run.rounds,
        "stop_reason": run.stop_reason,
        "reason": path.reason,
    }
