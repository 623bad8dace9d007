"""How old something is and how long something takes, in words. Pure functions."""

from datetime import datetime

_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


def age_words(then: datetime, now: datetime) -> str:
    """How long ago something was, in its largest unit: "3 minutes ago".

    Args:
        then, now: with a time zone; a `then` in the future, by another machine's clock, counts as now.
    """
    seconds = (now - then).total_seconds()
    for size, unit in _UNITS:
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return "less than a minute ago"


def duration_words(seconds: float) -> str:
    """About how long something takes: "12 s", "4 minutes"."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} minutes"
