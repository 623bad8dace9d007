"""After how many batches what a path costs once has paid for itself against the baseline; pure."""

from math import ceil

from engine.records import PathResult, Run


def once_ms(path: PathResult) -> float | None:
    """Milliseconds that a path costs once: preparing it, and what its first call takes beyond any other.

    None where the run does not tell, as runs of before it was recorded do not.
    """
    if path.prepare_ms is None or path.first_call_ms is None or path.median_ms is None:
        return None
    return max(0.0, path.prepare_ms + path.first_call_ms - path.median_ms)


def break_even_batches(run: Run, path: PathResult) -> int | None:
    """Batches like this one after which the path has caught up with the baseline; 0 where nothing is to pay.

    None where the path is not faster, or the run does not tell what it costs once. The baseline's own first call is
    not held against it: whoever changes paths has paid that already.
    """
    once, baseline_ms = once_ms(path), run.baseline.median_ms
    if once is None or baseline_ms is None or path.median_ms is None or path.verdict != "faster":
        return None
    saved_ms = baseline_ms - path.median_ms
    return ceil(once / saved_ms) if saved_ms > 0 else None
