"""The figure of what length costs: a function of `Tables`, listed in `unrolled.plots`."""

from itertools import product

from matplotlib.figure import Figure

from unrolled.panels import models_legend, panels
from unrolled.results import Tables
from unrolled.wording import label, short

SHOWN = ("exact_match", "token_accuracy")


def lengths(tables: Tables) -> Figure | None:
    """Scores by input length, in bands of about equal numbers of test sequences; bars are 95 % intervals."""
    frame = tables.frames["lengths"].dropna(subset="mean")
    shown = [(split, metric) for split, metric in product(tables.splits, SHOWN)]
    shown = [(s, m) for s, m in shown if ((frame["split"] == s) & (frame["metric"] == m)).any()]
    if not shown:
        return None
    figure, grid = panels(len(shown), 2, 2.5)
    width = float((frame["longest"] - frame["shortest"]).mean())
    for axes, (split, metric) in zip(grid, shown, strict=True):
        for i, model in enumerate(tables.models):
            rows = tables.of("lengths", split=split, metric=metric, model=model).sort_values("shortest")
            aside = 0.3 * width * ((i + 0.5) / len(tables.models) - 0.5)  # so that no bar hides another
            x, look = (rows["shortest"] + rows["longest"]) / 2 + aside, tables.looks[model]
            axes.vlines(x, rows["low"], rows["high"], color=look.colour, lw=1.2, alpha=0.7)
            axes.plot(x, rows["mean"], **look.points | {"ms": 4})
        axes.set_title(f"{label(metric)}, {short(split, 20)}")
        axes.set_xlabel("length of the input")
        axes.grid(True, axis="y")
    grid[0].set_ylim(-0.03, 1.03)
    models_legend(figure, tables)
    return figure
