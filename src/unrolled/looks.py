"""How the report's figures look: the house style, and a colour and a marker for each model in all of them.

Figures are as wide as the text on A4, so their 8 and 9 point letters print as 8 and 9 points. Colours are Okabe &
Ito's (2008); baselines are grey and hollow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

WIDTH = 7.08  # inches: A4 less margins of 15 mm
INK, MUTED, LINE, BLUE = "#1f2328", "#5b626a", "#d5d9de", "#0072B2"
COLOURS = (BLUE, "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = "osD^vPX"  # 7 and 6 share no factor: 42 models before a pair of colour and marker comes back
HOME = {"lstm": 0, "rnn": 1, "gru": 2}  # the same colour in every experiment
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # wider than the fonts a browser takes instead: what fits here fits there
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8b929a",
    "axes.labelcolor": MUTED,
    "axes.axisbelow": True,
    "axes.linewidth": 0.6,
    "grid.color": LINE,
    "grid.linewidth": 0.5,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.color": "#8b929a",
    "ytick.color": "#8b929a",
    "text.color": INK,
    "text.parse_math": False,  # a name with a dollar sign is a name
    "legend.frameon": False,
    "lines.linewidth": 1.0,
    "svg.fonttype": "none",
}


@dataclass(frozen=True)
class Look:
    """How a model is drawn, everywhere."""

    colour: str
    marker: str
    baseline: bool

    @property
    def points(self) -> dict[str, Any]:
        """What `Axes.plot` takes to draw the model's dots."""
        face = "white" if self.baseline else self.colour
        return {"color": self.colour, "marker": self.marker, "mfc": face, "mew": 1.1, "ms": 5.5}


def assign(runs: pd.DataFrame, models: Sequence[str]) -> dict[str, Look]:
    """A look for each model, neural ones first; the places without a home go to the models in their order."""
    baselines = set(runs.loc[runs["kind"] == "baseline", "model"])
    neural, grey = ([m for m in models if (m in baselines) == b] for b in (False, True))
    taken = {HOME[m] for m in neural if m in HOME}
    free = iter(i for i in range(len(neural) + len(HOME)) if i not in taken)
    place = {m: HOME[m] if m in HOME else next(free) for m in neural}
    looks = {m: Look(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)], False) for m, i in place.items()}
    return looks | {m: Look("#70777f", MARKERS[i % len(MARKERS)], True) for i, m in enumerate(grey)}
