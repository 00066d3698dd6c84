"""The figures that set classes side by side: what is confused, scores, and how the data are made up.

Each is a function of `Tables` and answers None when it has nothing to show. `unrolled.plots` lists them.
"""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unrolled.looks import BLUE, INK, MUTED, WIDTH
from unrolled.panels import list_names, models_legend, name_axes, panels
from unrolled.results import Tables
from unrolled.wording import short


def confusion(tables: Tables) -> Figure | None:
    """Counts summed over runs; the darker a cell, the larger its share of the row; empty cells are 0."""
    split = tables.headline
    rows = tables.of("confusion", split=split)
    models = tables.models_in("confusion", split=split)
    if not models:
        return None
    names = list(dict.fromkeys(rows["actual"]))
    room = 0.45 + 0.068 * max(len(short(name, 18)) for name in names)  # inches for the class names
    columns, side = _matrix_size(len(names), len(f"{rows['count'].max():.0f}"), len(models), room)
    size = (room + columns * (side + 0.1), room + 0.25 + math.ceil(len(models) / columns) * (side + 0.28))
    figure = Figure(figsize=size, layout="compressed")
    grid = figure.subplots(math.ceil(len(models) / columns), columns, sharex=True, sharey=True, squeeze=False)
    for axes in grid.ravel()[len(models) :]:
        axes.set_axis_off()
    for axes, model in zip(grid.ravel(), models, strict=False):
        _matrix(axes, rows[rows["model"] == model], names)
        axes.set_title(short(model, int(side * 72 / 5.6)))
    figure.suptitle(short(split, 26), x=0.01, ha="left", fontsize=9, color=MUTED)
    name_axes(figure, "predicted", "actual")
    return figure


def classes(tables: Tables) -> Figure | None:
    """F1 of every class, means over runs; the largest class is on top."""
    frame = tables.frames["classes"].dropna(subset="f1")
    if frame.empty:
        return None
    names = list(frame.groupby("class", sort=False)["n"].mean().sort_values(ascending=False, kind="stable").index)
    figure, grid = panels(len(tables.splits), 2, 0.75 + 0.24 * len(names))
    for axes, split in zip(grid, tables.splits, strict=True):
        for model in tables.models:
            rows = tables.of("classes", split=split, model=model).set_index("class").reindex(names)
            axes.plot(rows["f1"], np.arange(len(names)), ls="", alpha=0.9, **tables.looks[model].points)
        list_names(axes, names)
        axes.set(title=short(split, 26), xlabel="F1", xlim=(-0.04, 1.04))
    models_legend(figure, tables)
    return figure


def data(tables: Tables) -> Figure | None:
    """Sequences in each class; of numbers, in each fifth of them; of labelled positions, by the commonest label."""
    counts: dict[str, int] = tables.summary.get("classes", {})
    if len(counts) < 2:
        return None
    names = _by_size(counts)
    figure = Figure(figsize=(WIDTH * 0.75, 0.3 + 0.24 * len(names)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(range(len(names)), [counts[name] for name in names], 0.68, color=BLUE)
    axes.bar_label(bars, [f"{counts[name]:,}" for name in names], padding=4)
    list_names(axes, names)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    axes.grid(False)
    axes.margins(x=0.1)
    return figure


def folds(tables: Tables) -> Figure | None:
    """Share of every class in every fold (dots) and in all (tick): dots on the tick mean balanced folds."""
    shown = [split for split in tables.splits if tables.folds.get(split, {}).get("folds")]
    counts: dict[str, int] = tables.summary.get("classes", {})
    if not shown or len(counts) < 2:
        return None
    names = _by_size(counts)
    y = np.arange(len(names))
    figure, grid = panels(len(shown), 3, 0.65 + 0.24 * len(names))
    for axes, split in zip(grid, shown, strict=True):
        for fold in tables.folds[split]["folds"]:
            share = [100 * fold["classes"].get(name, 0) / max(fold["n"], 1) for name in names]
            axes.plot(share, y, "o", color=BLUE, ms=5, alpha=0.55, mew=0)
        whole = [100 * counts[name] / max(tables.summary["n"], 1) for name in names]
        axes.plot(whole, y, "|", color=INK, ms=10, mew=1.1, zorder=1)
        list_names(axes, names)
        axes.set(title=short(split, 26), xlabel="% of the fold's sequences")
        axes.set_xlim(left=min(0, axes.get_xlim()[0]))
    return figure


def _by_size(counts: dict[str, int]) -> list[str]:
    """The classes, the largest first."""
    return sorted(counts, key=lambda name: -counts[name])


def _matrix_size(classes: int, digits: int, n: int, room: float) -> tuple[int, float]:
    """Matrices in a row and their side in inches, so that counts of 8 points fit into the cells."""
    sides = {columns: (WIDTH - room) / columns - 0.1 for columns in (4, 3, 2, 1)}
    fitting = [c for c, side in sides.items() if 72 * side / classes >= 5.2 * digits + 3]
    columns = min(max(fitting, default=1), n)
    return columns, min(sides[columns], max(1.2, 0.42 * classes))


def _matrix(axes: Axes, rows: pd.DataFrame, names: list[str]) -> None:
    """One confusion matrix: the share of its row colours a cell, its count is written into it."""
    counts = rows.pivot_table(index="actual", columns="predicted", values="count", aggfunc="sum", fill_value=0)
    n = counts.reindex(index=names, columns=names, fill_value=0).to_numpy(float)
    share = n / np.maximum(n.sum(1, keepdims=True), 1)
    axes.pcolormesh(share, cmap="Blues", vmin=0, vmax=1, edgecolors="white", linewidth=0.6)
    for (i, j), count in np.ndenumerate(n):
        if count:
            colour = "white" if share[i, j] > 0.55 else INK
            axes.text(j + 0.5, i + 0.5, f"{count:.0f}", color=colour, ha="center", va="center_baseline")
    at = np.arange(len(names)) + 0.5
    labels = [short(name, 18) for name in names]
    axes.set_xticks(at, labels, rotation=90, rotation_mode="anchor", ha="right", va="center")
    axes.set_yticks(at, labels)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlim=(0, len(names)), ylim=(len(names), 0), aspect="equal")
