"""The figures that set models side by side: scores, training, calibration, cost.

Each is a function of `Tables` and answers None when it has nothing to show. `unrolled.plots` lists them.
"""

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from unrolled.looks import INK, MUTED
from unrolled.panels import list_names, log_axis, models_legend, panels, small_multiples
from unrolled.results import Tables
from unrolled.wording import label, short

TRAINING: dict[str, Any] = {"color": MUTED, "lw": 0.8, "ls": (0, (1, 1.5))}
RING: dict[str, Any] = {"marker": "o", "mfc": "white", "ms": 3.5, "mew": 0.9, "ls": ""}


def headline(tables: Tables) -> Figure | None:
    """Means and 95 % intervals under one split, the best on top; baselines are grey and hollow."""
    scores = tables.ranking(tables.headline)
    if scores.empty:
        return None
    figure = Figure(figsize=(3.7, 0.72 + 0.29 * len(scores)), layout="constrained")
    axes = figure.subplots()
    _dots(axes, tables, scores, list(scores.index), interval=True)
    axes.set_title(f"{label(tables.metric)}, {short(tables.headline)}")
    return figure


def comparison(tables: Tables) -> Figure | None:
    """Means and 95 % intervals; small ticks are single runs, the dotted line is the best baseline."""
    if all(tables.scores(split).empty for split in tables.splits):
        return None
    figure, grid = panels(len(tables.splits), 3, 0.75 + 0.32 * len(tables.models))
    for axes, split in zip(grid, tables.splits, strict=True):
        scores = tables.scores(split)
        _dots(axes, tables, scores, list(tables.models))
        _ticks(axes, tables, split)
        baselines = scores.loc[[m for m in scores.index if tables.looks[m].baseline], "mean"]
        if len(baselines):
            best = baselines.min() if tables.lower else baselines.max()
            axes.axvline(best, color=MUTED, lw=0.8, ls=(0, (1, 2)), zorder=0)
        axes.set(title=short(split, 26), xlabel=label(tables.metric))
    return figure


def splits(tables: Tables) -> Figure | None:
    """Hollow: the random split; filled: the other one; at the right their difference and its 95 % interval."""
    others = [split for split in tables.splits if split != tables.random]
    if tables.random is None or not others or tables.scores(tables.random).empty:
        return None
    figure, grid = panels(len(others), 2, 0.75 + 0.32 * len(tables.models))
    for axes, other in zip(grid, others, strict=True):
        for y, model in enumerate(tables.models):
            _dumbbell(axes, tables, model, other, y)
        list_names(axes, tables.models)
        axes.set(title=f"○ {short(tables.random)}\u2003● {short(other)}", xlabel=label(tables.metric))
    return figure


def losses(tables: Tables) -> Figure | None:
    """Training (dotted) and validation (solid) loss by epoch, a line a run; rings mark the epoch kept."""
    models = tables.models_in("history")
    if not models:
        return None
    figure, grid = small_multiples(tables, models, "epoch", "loss", height=1.3)
    for axes, split, model in grid:
        best = tables.of("runs", split=split, model=model).set_index(["fold", "seed"])["best_epoch"]
        for run, rows in tables.of("history", split=split, model=model).groupby(["fold", "seed"]):
            axes.plot(rows["epoch"], rows["train_loss"], **TRAINING)
            axes.plot(rows["epoch"], rows["val_loss"], color=tables.looks[model].colour)
            kept = rows[rows["epoch"] == best.get(run)]
            axes.plot(kept["epoch"], kept["val_loss"], color=tables.looks[model].colour, **RING)
    lines = [Line2D([], [], **TRAINING), Line2D([], [], color=INK), Line2D([], [], color=INK, **RING)]
    figure.legend(lines, ["training", "validation", "epoch kept"], loc="outside upper right", ncols=3)
    return figure


def gradients(tables: Tables) -> Figure | None:
    """Gradient norm before clipping, mean over an epoch, a line a run, log scale; share of steps clipped."""
    norms = tables.frames["history"]["grad_norm_mean"]
    models = tables.models_in("history")
    if not models or not ((norms > 0) & (norms < math.inf)).any():
        return None
    figure, grid = small_multiples(tables, models, "epoch", "gradient norm", height=1.3)
    for axes, split, model in grid:
        rows = tables.of("history", split=split, model=model)
        for _, run in rows.groupby(["fold", "seed"]):
            norm = run["grad_norm_mean"]
            axes.plot(run["epoch"], norm.where((norm > 0) & (norm < math.inf)), color=tables.looks[model].colour)
        if rows["clipped_share"].notna().any():
            clipped = f"{100 * rows['clipped_share'].mean():.0f}\u00a0% clipped"
            axes.text(0.98, 0.96, clipped, transform=axes.transAxes, ha="right", va="top", color=MUTED)
    shared = grid[0][0]
    log_axis(shared, "y", norms)
    low, high = shared.get_ylim()
    shared.set_ylim(low, high * (high / low) ** 0.2)  # room for the remarks
    return figure


def calibration(tables: Tables) -> Figure | None:
    """Reliability diagrams: share right by confidence, dot area by number; overconfident below the dashes."""
    models = tables.models_in("calibration")
    if not models:
        return None
    figure, grid = small_multiples(tables, models, "confidence", "share right", height=1.4)
    for axes, split, model in grid:
        rows, colour = tables.of("calibration", split=split, model=model), tables.looks[model].colour
        axes.plot([0, 1], [0, 1], color=MUTED, lw=0.7, ls=(0, (3, 3)))
        axes.plot(rows["confidence"], rows["accuracy"], color=colour)
        area = 4 + 60 * rows["n"] / max(rows["n"].sum(), 1)
        axes.scatter(rows["confidence"], rows["accuracy"], area, colour, linewidths=0, zorder=3)
    shared = grid[0][0]  # set once: every panel tells all others, which takes seconds for many panels
    shared.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    shared.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    shared.set(xlim=(-0.03, 1.05), ylim=(-0.03, 1.05))
    return figure


def agreement(tables: Tables) -> Figure | None:
    """Predicted against true numbers of the test sequences, at most 1,000 a run; on the dashes they are equal."""
    models = tables.models_in("points")
    if not models:
        return None
    figure, grid = small_multiples(tables, models, "true", "predicted", height=1.5)
    every = tables.frames["points"][["true_value", "predicted_value"]]
    low, high = float(every.min().min()), float(every.max().max())
    for axes, split, model in grid:
        rows, colour = tables.of("points", split=split, model=model), tables.looks[model].colour
        axes.plot([low, high], [low, high], color=MUTED, lw=0.7, ls=(0, (3, 3)))
        axes.scatter(rows["true_value"], rows["predicted_value"], 6, colour, alpha=0.35, linewidths=0)
    return figure


def cost(tables: Tables) -> Figure | None:
    """Mean seconds of a run (log scale) against its score with 95 % interval; what is further left is cheaper."""
    runs = tables.frames["runs"]
    seconds = runs[runs["seconds"] > 0].groupby(["split", "model"])["seconds"].mean()
    if seconds.empty:
        return None
    figure, grid = panels(len(tables.splits), 3, 2.3)
    for axes, split in zip(grid, tables.splits, strict=True):
        for model, row in tables.scores(split).iterrows():
            if (x := seconds.get((split, model))) is not None:
                look = tables.looks[str(model)]
                axes.plot([x, x], [row["low"], row["high"]], color=look.colour, lw=1.2)
                axes.plot(x, row["mean"], **look.points)
        log_axis(axes, "x", seconds)
        axes.grid(True)
        axes.margins(0.09)
        axes.set(title=short(split, 26), xlabel="seconds a run")
    grid[0].set_ylabel(label(tables.metric))
    models_legend(figure, tables)
    return figure


def _dots(axes: Axes, tables: Tables, scores: pd.DataFrame, models: Sequence[str], *, interval: bool = False) -> None:
    """One line a model: dot, interval and, at the right, the numbers."""
    rows = scores.to_dict("index")
    for y, model in enumerate(models):
        if model in rows:
            row, look = rows[model], tables.looks[model]
            axes.plot([row["low"], row["high"]], [y, y], color=look.colour, lw=1.6, solid_capstyle="round")
            axes.plot(row["mean"], y, **look.points)
            low, high = (row["low"], row["high"]) if interval else (math.nan, math.nan)
            _aside(axes, y, f"{row['mean']:.2f}", low, high)
    list_names(axes, models, 16 if interval else 22)
    axes.margins(x=0.08)


def _aside(axes: Axes, y: float, value: str, low: float, high: float) -> None:
    """At the right of the panel, at height y of the data: a number and, in grey, its interval."""
    place: dict[str, Any] = {"xy": (1, y), "xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
    axes.annotate(value.replace("-", "−"), xytext=(34, 0), ha="right", va="center", **place)
    if not math.isnan(low):
        interval = f"{low:.2f} to {high:.2f}".replace("-", "−")
        axes.annotate(interval, xytext=(42, 0), va="center", color=MUTED, **place)


def _ticks(axes: Axes, tables: Tables, split: str) -> None:
    """The single runs, as ticks under their model's dot."""
    runs = tables.of("runs", split=split)
    for y, model in enumerate(tables.models):
        x = runs.loc[runs["model"] == model, tables.metric]
        axes.plot(x, np.full(len(x), y + 0.3), "|", color=tables.looks[model].colour, ms=4.5, mew=0.8, alpha=0.8)


def _dumbbell(axes: Axes, tables: Tables, model: str, other: str, y: int) -> None:
    """One line from the score under the random split to that under another one."""
    random = str(tables.random)
    ends = [tables.scores(split)["mean"].get(model, math.nan) for split in (random, other)]
    look = tables.looks[model]
    axes.plot(ends, [y, y], color=look.colour, lw=1.6, alpha=0.45)
    axes.plot(ends[0], y, **{**look.points, "marker": "o", "mfc": "white"})
    axes.plot(ends[1], y, **{**look.points, "marker": "o", "mfc": look.colour})
    value, low, high = tables.shift(model, random, other)
    if not math.isnan(value):
        _aside(axes, y, re.sub(r"^[+-](0.00)$", r"\1", f"{value:+.2f}"), low, high)
