"""The figure of what leaking does: a function of `Tables`, listed in `unrolled.plots`."""

import numpy as np
from matplotlib.figure import Figure

from unrolled.looks import MUTED
from unrolled.panels import models_legend, panels
from unrolled.results import Tables
from unrolled.wording import label, short, size


def bands(tables: Tables) -> Figure | None:
    """Scores by highest identity to training; bars are 95 % intervals, the numbers above test sequences a run."""
    rows = tables.of("bands", metric=tables.metric).dropna(subset="mean")
    splits = [split for split in tables.splits if (rows["split"] == split).any()]
    if not splits:
        return None
    names = tables.bands
    figure, grid = panels(len(splits), 2, 2.5)
    for axes, split in zip(grid, splits, strict=True):
        own = rows[rows["split"] == split]
        for i, model in enumerate(tables.models):
            one = own[own["model"] == model].set_index("band").reindex(names)
            x = np.arange(len(names)) + 0.5 * ((i + 0.5) / len(tables.models) - 0.5)
            look = tables.looks[model]
            axes.vlines(x, one["low"], one["high"], color=look.colour, lw=1.2, alpha=0.7)
            axes.plot(x, one["mean"], **look.points | {"ms": 4})
        n = own.groupby("band")["sequences"].mean().reindex(names).fillna(0)
        axes.set_xticks(range(len(names)), [name.replace(">=", "≥\u00a0").replace("<", "<\u00a0") for name in names])
        for place, sequences in enumerate(n):
            axes.annotate(
                size(sequences),
                (place, 1),
                xycoords=axes.get_xaxis_transform(),
                ha="center",
                va="bottom",
                color=MUTED,
            )
        axes.set_xlim(-0.5, len(names) - 0.5)
        axes.set_title(short(split, 26), pad=14)
        searched = tables.certificates.get(split, {}).get("method") != "exhaustive"
        found = "found " if searched else ""
        axes.set_xlabel(f"highest identity {found}to training, % ({own['definition'].iloc[0]})")
        axes.grid(True, axis="y")
    grid[0].set_ylabel(label(tables.metric))
    models_legend(figure, tables)
    return figure
