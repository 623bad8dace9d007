"""After how many batches a path has saved as much time as preparing it costs; pure."""

from math import ceil

from engine.findings import Findings
from engine.records import PathResult


def once_ms(path: PathResult) -> float | None:
    """One-time cost of a path in ms: preparing it, and the extra time of its first call.

    None if the run does not have these times, as in older runs.
    """
    if path.prepare_ms is None or path.first_call_ms is None or path.median_ms is None:
        return None
    return max(0.0, path.prepare_ms + path.first_call_ms - path.median_ms)


def break_even_batches(run: Findings, path: PathResult) -> int | None:
    """Batches like this one after which the path has caught up with the baseline; 0 if it costs nothing once.

    None if the path is not faster, or the run does not have its one-time cost. The baseline's first call does not
    count: a user who changes to another path has made it already.
    """
    once, baseline_ms = once_ms(path), run.baseline.median_ms
    if once is None or baseline_ms is None or path.median_ms is None or path.verdict != "faster":
        return None
    saved_ms = baseline_ms - path.median_ms
    return ceil(once / saved_ms) if saved_ms > 0 else None
