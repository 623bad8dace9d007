"""Axes of the charts."""

from typing import Any

import altair as alt

TICKS = 3
"""Vega chooses a round step that gives about this many intervals, so an axis has two to five grid lines."""


def few_ticks(**options: Any) -> alt.Axis:
    """The axis of a quantity, with few grid lines.

    Args:
        options: of the axis, as Altair names them.
    """
    return alt.Axis(tickCount=TICKS, **options)
