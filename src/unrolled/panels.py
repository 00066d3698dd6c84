"""What several figures are built from: grids of panels that share axes, names down an axis, a legend of models."""

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from unrolled.looks import INK, MUTED, WIDTH
from unrolled.results import Tables
from unrolled.wording import short

TICKS = ((0.7, (1, 2, 3, 5, 7)), (1.3, (1, 2, 5)), (2.3, (1, 3)), (math.inf, (1,)))  # by decades


def panels(n: int, columns: int, height: float) -> tuple[Figure, list[Axes]]:
    """n panels of `height` inches that share axes, at most `columns` in a row; a single one is narrower."""
    columns = min(n, columns)
    rows = math.ceil(n / columns)
    width = WIDTH if columns > 1 else WIDTH * 0.65
    figure = Figure(figsize=(width, rows * height), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes in grid:
        axes.tick_params(labelbottom=True)
    for axes in grid[n:]:
        axes.set_axis_off()
    return figure, list(grid[:n])


def small_multiples(
    tables: Tables, models: Sequence[str], xlabel: str, ylabel: str, *, height: float
) -> tuple[Figure, list[tuple[Axes, str, str]]]:
    """A panel a model, a row (or more, of five panels) a split: the figure and (axes, split, model).

    All panels share their axes. What stands above an empty place shows the x axis in its stead.
    """
    columns = min(len(models), 5)
    rows = math.ceil(len(models) / columns)
    width = WIDTH * min(1.0, 0.2 + 0.25 * columns)
    figure = Figure(figsize=(width, rows * len(tables.splits) * height + 0.45), layout="constrained")
    grid = figure.subplots(rows * len(tables.splits), columns, sharex=True, sharey=True, squeeze=False)
    found = []
    for split, block in zip(tables.splits, grid.reshape(len(tables.splits), -1), strict=True):
        first, last = split == tables.splits[0], split == tables.splits[-1]
        block[0].set_ylabel(short(split, 18), color=INK, fontsize=9)
        for axes in block[len(models) :]:
            axes.set_axis_off()
        for i, (axes, model) in enumerate(zip(block, models, strict=False)):
            axes.set_title(short(model, 14) if first or rows > 1 else "")
            axes.grid(True)
            axes.xaxis.set_major_locator(MaxNLocator(3, integer=xlabel == "epoch"))
            if (last or rows > 1) and i >= len(models) - columns:
                axes.tick_params(labelbottom=True)
            found.append((axes, split, model))
    name_axes(figure, xlabel, ylabel)
    return figure, found


def name_axes(figure: Figure, x: str, y: str) -> None:
    """One name for the x axes of all panels, one for their y axes."""
    figure.supxlabel(x, fontsize=8, color=MUTED)
    figure.supylabel(y, fontsize=8, color=MUTED)


def list_names(axes: Axes, names: Sequence[str], n: int = 22) -> None:
    """Names down the y axis, the first on top, with a grid to read x from."""
    axes.set_yticks(range(len(names)), [short(name, n) for name in names])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.grid(True, axis="x")


def log_axis(axes: Axes, which: str, values: pd.Series) -> None:
    """A log axis, "x" or "y", with plain numbers, the fewer the further `values` reach."""
    positive = values[(values > 0) & (values < math.inf)]
    decades = math.log10(positive.max() / positive.min())
    axes.set(**{f"{which}scale": "log"})
    axis: Axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(LogLocator(subs=next(subs for reach, subs in TICKS if decades < reach)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.10g}"))


def models_legend(figure: Figure, tables: Tables) -> None:
    """The marker of every model, below the figure, in as many columns as there is room for."""
    handles = [Line2D([], [], ls="", **tables.looks[model].points) for model in tables.models]
    labels = [short(model) for model in tables.models]
    columns = max(1, min(len(labels), int(95 / (7 + max(map(len, labels))))))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)
