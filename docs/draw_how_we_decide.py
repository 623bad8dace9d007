"""Draws docs/how-we-decide.svg: seven intervals and what the rule makes of each (python -m docs.draw_how_we_decide)."""

from pathlib import Path

import altair as alt
import pandas as pd
import vl_convert

from engine.analysis.verdict import MARGIN, Situation, decide
from engine.records import Interval

NOISE_FLOOR: Interval = (0.955, 1.04)
EXAMPLES: tuple[Interval, ...] = (
    (1.21, 1.32),
    (1.06, 1.12),
    (1.03, 1.09),
    (0.985, 1.015),
    (0.93, 1.06),
    (0.90, 0.94),
    (0.72, 0.79),
)
COLOURS = {"faster": "#0072B2", "same": "#111111", "not sure": "#E69F00", "slower": "#B03A2E"}


def _rows() -> pd.DataFrame:
    situation = Situation(rounds=20, round_s=0.4)
    words = [decide(example, NOISE_FLOOR, situation).word for example in EXAMPLES]
    return pd.DataFrame(
        {
            "row": [f"{number}: {word}" for number, word in enumerate(words, start=1)],
            "low": [low for low, _ in EXAMPLES],
            "high": [high for _, high in EXAMPLES],
            "middle": [(low * high) ** 0.5 for low, high in EXAMPLES],
            "verdict": words,
        }
    )


def _band(low: float, high: float, colour: str, opacity: float) -> alt.Chart:
    edges = pd.DataFrame({"low": [low], "high": [high]})
    return alt.Chart(edges).mark_rect(color=colour, opacity=opacity).encode(x=_x(), x2="high:Q")


def _x(column: str = "low") -> alt.X:
    scale = alt.Scale(domain=[0.68, 1.36], zero=False, nice=False)
    return alt.X(f"{column}:Q", title="speedup over the baseline", scale=scale)


def picture() -> alt.LayerChart:
    """Intervals over the margin (dark band) and the noise floor (light band)."""
    x = _x()
    y = alt.Y("row:N", title=None, sort=None)
    colour = alt.Color(
        "verdict:N", legend=None, scale=alt.Scale(domain=list(COLOURS), range=list(COLOURS.values()))
    )
    rows = alt.Chart(_rows())
    return alt.layer(
        _band(*NOISE_FLOOR, "#9aa5b1", 0.35),
        _band(1 / (1 + MARGIN), 1 + MARGIN, "#5c6770", 0.45),
        rows.mark_rule(strokeWidth=4).encode(x=x, x2="high:Q", y=y, color=colour),
        rows.mark_point(filled=True, size=110).encode(x=_x("middle"), y=y, color=colour),
    ).properties(width=560, height=220, background="white")


if __name__ == "__main__":
    svg = vl_convert.vegalite_to_svg(picture().to_dict())
    Path(__file__).with_name("how-we-decide.svg").write_text(svg, encoding="utf-8")
