"""The report's figures: tables of `compare` -> matplotlib figures -> small accessible SVG.

Every figure is one function of `Tables` (one data set) in `FIGURES`; it answers None when it has nothing to
show. Figures are as wide as the text on A4, so their 8 and 9 point letters print as 8 and 9 points. Colours
are Okabe & Ito's (2008); a model keeps its colour and marker in every figure, baselines are grey and hollow.

>>> for tables in load(Path("results/demo/tables"), "macro_f1"):
...     FIGURES["comparison"](tables).savefig("comparison.pdf")
"""

import functools
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from unrolled.errors import UnrolledError
from unrolled.files import atomic, read_json
from unrolled.metrics import HIGHER_IS_BETTER

WIDTH = 7.08  # inches: A4 less margins of 15 mm
INK, MUTED, LINE, BLUE = "#1f2328", "#5b626a", "#d5d9de", "#0072B2"
COLOURS = (BLUE, "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = "osD^vPX"  # 7 and 6 share no factor: 42 models before a pair of colour and marker comes back
HOME = {"lstm": 0, "rnn": 1, "gru": 2}  # the same colour in every experiment
FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
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

ALONE = {"sequence", "random"}  # the group of a random split; its usual name where no split.json is read
TEXT = {"data", "split", "model", "other", "metric", "kind", "class", "actual", "predicted"}
COLUMNS = {
    "runs": "data split model fold seed params seconds peak_memory_mb tokens_per_second n_shortened kind",
    "summary": "data split model metric mean low high n",
    "models": "data split metric model other difference low high",
    "splits": "data model metric split other difference low high",
    "history": "data split model fold seed epoch train_loss val_loss grad_norm_mean clipped_share",
    "classes": "data split model class n precision recall f1 mcc auroc",
    "confusion": "data split model actual predicted count",
    "calibration": "data split model confidence accuracy n",
}


@dataclass(frozen=True)
class Look:
    """How a model is drawn, everywhere."""

    colour: str
    marker: str
    baseline: bool

    @property
    def points(self) -> dict[str, Any]:
        face = "white" if self.baseline else self.colour
        return {"color": self.colour, "marker": self.marker, "mfc": face, "mew": 1.1, "ms": 5.5}


@dataclass(frozen=True)
class Tables:
    """The tables of one data set with the order and the looks that all its figures share."""

    data: str
    metric: str
    models: tuple[str, ...]
    splits: tuple[str, ...]
    looks: dict[str, Look]
    frames: dict[str, pd.DataFrame]
    summary: dict[str, Any]  # summary.json, {} if there is none
    folds: dict[str, dict[str, Any]]  # split -> split.json

    def of(self, table: str, **where: str) -> pd.DataFrame:
        """The rows of a table in which the named columns hold these values."""
        frame = self.frames[table]
        for column, value in where.items():
            frame = frame[frame[column] == value]
        return frame

    def scores(self, split: str, metric: str | None = None) -> pd.DataFrame:
        """mean, low, high and n by model, in the matrix's order; models without a score are left out."""
        frame = self.of("summary", split=split, metric=metric or self.metric).set_index("model")
        return frame.reindex(self.models)[["mean", "low", "high", "n"]].dropna(subset="mean")

    def ranking(self, split: str) -> pd.DataFrame:
        """`scores`, the best first."""
        return self.scores(split).sort_values("mean", ascending=self.lower, kind="stable")

    @property
    def lower(self) -> bool:
        """Whether a lower value of the metric is better."""
        return not HIGHER_IS_BETTER.get(self.metric, True)

    @property
    def neural(self) -> tuple[str, ...]:
        return tuple(model for model in self.models if not self.looks[model].baseline)

    @property
    def random(self) -> str | None:
        """The split that ignores likeness, known by its groups of one sequence each."""
        return next((s for s in self.splits if self.folds.get(s, {"group": s}).get("group") in ALONE), None)

    @property
    def headline(self) -> str:
        """The split of the verdict: the one of lowest identity; random only if it is alone."""
        others = [split for split in self.splits if split != self.random] or list(self.splits)
        return min(others, key=lambda split: self.folds.get(split, {}).get("identity") or math.inf)


def difference(frame: pd.DataFrame, axis: str, first: str, second: str) -> tuple[float, float, float]:
    """(difference, low, high) of first - second on an axis, "model" or "split", whichever way it was written.

    NaN if the pair is not there.
    """
    for a, b, sign in ((first, second, 1.0), (second, first, -1.0)):
        rows = frame[(frame[axis] == a) & (frame["other"] == b)]
        if len(rows):
            value, low, high = (sign * float(rows.iloc[0][name]) for name in ("difference", "low", "high"))
            return (value, low, high) if sign > 0 else (value, high, low)
    return math.nan, math.nan, math.nan


def label(metric: str) -> str:
    """A metric's name as people write it: "macro_f1" -> "macro-F1"."""
    known = {"f1": "F1", "mcc": "MCC", "auroc": "AUROC", "auprc": "AUPRC", "ece": "ECE"}
    text = " ".join(known.get(word, word) for word in metric.split("_"))
    return re.sub(r"^(macro|micro) ", r"\1-", text)


# --- Reading ---


def load(
    folder: Path,
    metric: str,
    *,
    data_root: Path | None = None,
    matrix: Mapping[str, Sequence[Any]] | None = None,
) -> list[Tables]:
    """The tables of `compare` in `folder`, one `Tables` a data set, in the matrix's order.

    `data_root` holds <data>/summary.json and <data>/<split>/split.json; without it the figures that need them
    are left out. Raises UnrolledError for a missing table or column and for an unknown metric.
    """
    frames = {name: _read(folder / f"{name}.csv", columns.split()) for name, columns in COLUMNS.items()}
    known = list(dict.fromkeys(frames["summary"]["metric"]))
    if metric not in known:
        raise UnrolledError(
            f"{folder / 'summary.csv'} has no metric '{metric}': choose one of {', '.join(known) or 'none'}"
        )
    runs, order = frames["runs"], matrix or {}
    looks = _looks(runs, _ordered(runs["model"], order.get("model", ())))
    return [
        _one(data, metric, frames, looks, order, data_root) for data in _ordered(runs["data"], order.get("data", ()))
    ]


def _one(
    data: str,
    metric: str,
    frames: dict[str, pd.DataFrame],
    looks: dict[str, Look],
    order: Mapping[str, Sequence[Any]],
    root: Path | None,
) -> Tables:
    own = {name: frame[frame["data"] == data] for name, frame in frames.items()}
    splits = tuple(_ordered(own["runs"]["split"], order.get("split", ())))
    present = set(own["runs"]["model"])
    models = tuple(model for model in looks if model in present)
    summary = _facts(root / data / "summary.json", "table") if root else {}
    folds = {split: _facts(root / data / split / "split.json", "split") for split in splits} if root else {}
    return Tables(data, metric, models, splits, looks, own, summary, folds)


def _facts(path: Path, command: str) -> dict[str, Any]:
    if not path.is_file():
        raise UnrolledError(f"{path} is missing: write it with `unrolled {command}`")
    facts: dict[str, Any] = read_json(path)
    return facts


def _read(path: Path, columns: list[str]) -> pd.DataFrame:
    """Names stay text, also "NA" and "001"; everything else becomes numbers, blanks NaN."""
    if not path.is_file():
        raise UnrolledError(f"{path} is missing: write it with `unrolled compare`")
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except pd.errors.EmptyDataError:
        frame = pd.DataFrame(columns=columns, dtype=str)
    if absent := [name for name in columns if name not in frame]:
        raise UnrolledError(f"{path} has no column {', '.join(absent)}: write it again with `unrolled compare`")
    numbers = {name: pd.to_numeric(frame[name], errors="coerce") for name in frame if name not in TEXT}
    return frame.assign(**{str(name): values.astype(float) for name, values in numbers.items()})


def _ordered(names: Any, first: Sequence[Any]) -> list[str]:
    """The distinct names: those in `first` in its order, then the others as they appear."""
    present = dict.fromkeys(names)
    return [
        *(str(name) for name in first if str(name) in present),
        *(n for n in present if n not in map(str, first)),
    ]


def _looks(runs: pd.DataFrame, models: Sequence[str]) -> dict[str, Look]:
    """Neural models before baselines; the free places go to the models in their order."""
    baselines = set(runs.loc[runs["kind"] == "baseline", "model"])
    neural, grey = ([m for m in models if (m in baselines) == b] for b in (False, True))
    taken = {HOME[m] for m in neural if m in HOME}
    free = iter(i for i in range(len(neural) + len(HOME)) if i not in taken)
    place = {m: HOME[m] if m in HOME else next(free) for m in neural}
    looks = {m: Look(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)], False) for m, i in place.items()}
    return looks | {m: Look("#70777f", MARKERS[i % len(MARKERS)], True) for i, m in enumerate(grey)}


TICKS = ((0.7, (1, 2, 3, 5, 7)), (1.3, (1, 2, 5)), (2.3, (1, 3)), (math.inf, (1,)))  # by decades
TRAINING: dict[str, Any] = {"color": MUTED, "lw": 0.8, "ls": (0, (1, 1.5))}
RING: dict[str, Any] = {"marker": "o", "mfc": "white", "ms": 3.5, "mew": 0.9, "ls": ""}


# --- The figures ---

Draw = Callable[[Tables], Figure | None]
FIGURES: dict[str, Draw] = {}


def _figure(draw: Draw) -> Draw:
    """Register a figure and draw it in the house style, whatever the reader's matplotlibrc says."""

    @functools.wraps(draw)
    def styled(tables: Tables) -> Figure | None:
        with mpl.style.context(["default", STYLE], after_reset=True):
            return draw(tables)

    FIGURES[draw.__name__] = styled
    return styled


@_figure
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


@_figure
def comparison(tables: Tables) -> Figure | None:
    """Means and 95 % intervals; small ticks are single runs, the dotted line is the best baseline."""
    if all(tables.scores(split).empty for split in tables.splits):
        return None
    figure, panels = _panels(len(tables.splits), 3, 0.75 + 0.32 * len(tables.models))
    for axes, split in zip(panels, tables.splits, strict=True):
        scores = tables.scores(split)
        _dots(axes, tables, scores, list(tables.models))
        _ticks(axes, tables, split)
        baselines = scores.loc[[m for m in scores.index if tables.looks[m].baseline], "mean"]
        if len(baselines):
            best = baselines.min() if tables.lower else baselines.max()
            axes.axvline(best, color=MUTED, lw=0.8, ls=(0, (1, 2)), zorder=0)
        axes.set(title=short(split, 26), xlabel=label(tables.metric))
    return figure


@_figure
def splits(tables: Tables) -> Figure | None:
    """Hollow: the random split; filled: the other one; at the right their difference and its 95 % interval."""
    others = [split for split in tables.splits if split != tables.random]
    if tables.random is None or not others or tables.scores(tables.random).empty:
        return None
    figure, panels = _panels(len(others), 2, 0.75 + 0.32 * len(tables.models))
    for axes, other in zip(panels, others, strict=True):
        for y, model in enumerate(tables.models):
            _dumbbell(axes, tables, model, other, y)
        _names(axes, tables.models)
        axes.set(title=f"○ {short(tables.random)}\u2003● {short(other)}", xlabel=label(tables.metric))
    return figure


@_figure
def losses(tables: Tables) -> Figure | None:
    """Training (dotted) and validation (solid) loss by epoch, a line a run; rings mark the epoch kept."""
    models = _trained(tables)
    if not models:
        return None
    figure, panels = _small_multiples(tables, models, "epoch", "loss", height=1.3)
    for axes, split, model in panels:
        best = tables.of("runs", split=split, model=model).set_index(["fold", "seed"])["best_epoch"]
        for run, rows in tables.of("history", split=split, model=model).groupby(["fold", "seed"]):
            axes.plot(rows["epoch"], rows["train_loss"], **TRAINING)
            axes.plot(rows["epoch"], rows["val_loss"], color=tables.looks[model].colour)
            kept = rows[rows["epoch"] == best.get(run)]
            axes.plot(kept["epoch"], kept["val_loss"], color=tables.looks[model].colour, **RING)
    lines = [Line2D([], [], **TRAINING), Line2D([], [], color=INK), Line2D([], [], color=INK, **RING)]
    _legend(figure, lines, ["training", "validation", "epoch kept"], "outside upper right")
    return figure


@_figure
def gradients(tables: Tables) -> Figure | None:
    """Gradient norm before clipping, mean over an epoch, a line a run, log scale; share of steps clipped."""
    norms = tables.frames["history"]["grad_norm_mean"]
    models = _trained(tables)
    if not models or not (norms > 0).any():
        return None
    figure, panels = _small_multiples(tables, models, "epoch", "gradient norm", height=1.3)
    for axes, split, model in panels:
        rows = tables.of("history", split=split, model=model)
        for _, run in rows.groupby(["fold", "seed"]):
            axes.plot(
                run["epoch"],
                run["grad_norm_mean"].where(run["grad_norm_mean"] > 0),
                color=tables.looks[model].colour,
            )
        if rows["clipped_share"].notna().any():
            clipped = f"{100 * rows['clipped_share'].mean():.0f}\u00a0% clipped"
            axes.text(0.98, 0.96, clipped, transform=axes.transAxes, ha="right", va="top", color=MUTED)
    shared = panels[0][0]
    _log(shared, "y", norms)
    low, high = shared.get_ylim()
    shared.set_ylim(low, high * (high / low) ** 0.2)  # room for the remarks
    return figure


@_figure
def confusion(tables: Tables) -> Figure | None:
    """Counts summed over runs; the darker a cell, the larger its share of the row; empty cells are 0."""
    split = tables.headline
    rows = tables.of("confusion", split=split)
    models = [model for model in tables.models if (rows["model"] == model).any()]
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
    figure.supxlabel("predicted", fontsize=8, color=MUTED)
    figure.supylabel("actual", fontsize=8, color=MUTED)
    return figure


@_figure
def classes(tables: Tables) -> Figure | None:
    """F1 of every class, means over runs; the largest class is on top."""
    frame = tables.frames["classes"].dropna(subset="f1")
    if frame.empty:
        return None
    names = list(frame.groupby("class", sort=False)["n"].mean().sort_values(ascending=False, kind="stable").index)
    figure, panels = _panels(len(tables.splits), 2, 0.75 + 0.24 * len(names))
    for axes, split in zip(panels, tables.splits, strict=True):
        for model in tables.models:
            rows = tables.of("classes", split=split, model=model).set_index("class").reindex(names)
            axes.plot(rows["f1"], np.arange(len(names)), ls="", alpha=0.9, **tables.looks[model].points)
        _names(axes, names)
        axes.set(title=short(split, 26), xlabel="F1", xlim=(-0.04, 1.04))
    _models_legend(figure, tables)
    return figure


@_figure
def calibration(tables: Tables) -> Figure | None:
    """Reliability diagrams: share right by confidence, dot area by number; overconfident below the dashes."""
    models = [model for model in tables.models if (tables.frames["calibration"]["model"] == model).any()]
    if not models:
        return None
    figure, panels = _small_multiples(tables, models, "confidence", "share right", height=1.4)
    for axes, split, model in panels:
        rows, colour = tables.of("calibration", split=split, model=model), tables.looks[model].colour
        axes.plot([0, 1], [0, 1], color=MUTED, lw=0.7, ls=(0, (3, 3)))
        axes.plot(rows["confidence"], rows["accuracy"], color=colour)
        area = 4 + 60 * rows["n"] / max(rows["n"].sum(), 1)
        axes.scatter(rows["confidence"], rows["accuracy"], area, colour, linewidths=0, zorder=3)
    shared = panels[0][0]  # set once: every panel tells all others, which takes seconds for many panels
    shared.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    shared.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    shared.set(xlim=(-0.03, 1.05), ylim=(-0.03, 1.05))
    return figure


@_figure
def cost(tables: Tables) -> Figure | None:
    """Mean seconds of a run (log scale) against its score with 95 % interval; up and left is better."""
    runs = tables.frames["runs"]
    seconds = runs[runs["seconds"] > 0].groupby(["split", "model"])["seconds"].mean()
    if seconds.empty:
        return None
    figure, panels = _panels(len(tables.splits), 3, 2.3)
    for axes, split in zip(panels, tables.splits, strict=True):
        for model, row in tables.scores(split).iterrows():
            if (x := seconds.get((split, model))) is not None:
                look = tables.looks[str(model)]
                axes.plot([x, x], [row["low"], row["high"]], color=look.colour, lw=1.2)
                axes.plot(x, row["mean"], **look.points)
        _log(axes, "x", seconds)
        axes.grid(True)
        axes.margins(0.09)
        axes.set(title=short(split, 26), xlabel="seconds a run")
    panels[0].set_ylabel(label(tables.metric))
    _models_legend(figure, tables)
    return figure


@_figure
def data(tables: Tables) -> Figure | None:
    """Sequences in each class."""
    counts: dict[str, int] = tables.summary.get("classes", {})
    if not counts:
        return None
    names = sorted(counts, key=lambda name: -counts[name])
    figure = Figure(figsize=(WIDTH * 0.75, 0.3 + 0.24 * len(names)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(range(len(names)), [counts[name] for name in names], 0.68, color=BLUE)
    axes.bar_label(bars, [f"{counts[name]:,}" for name in names], padding=4)
    _names(axes, names)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    axes.grid(False)
    axes.margins(x=0.1)
    return figure


@_figure
def folds(tables: Tables) -> Figure | None:
    """Share of every class in every fold (dots) and in all (tick): dots on the tick mean balanced folds."""
    shown = [split for split in tables.splits if tables.folds.get(split, {}).get("folds")]
    counts: dict[str, int] = tables.summary.get("classes", {})
    if not shown or not counts:
        return None
    names = sorted(counts, key=lambda name: -counts[name])
    y = np.arange(len(names))
    figure, panels = _panels(len(shown), 3, 0.65 + 0.24 * len(names))
    for axes, split in zip(panels, shown, strict=True):
        for fold in tables.folds[split]["folds"]:
            share = [100 * fold["classes"].get(name, 0) / max(fold["n"], 1) for name in names]
            axes.plot(share, y, "o", color=BLUE, ms=5, alpha=0.55, mew=0)
        whole = [100 * counts[name] / max(tables.summary["n"], 1) for name in names]
        axes.plot(whole, y, "|", color=INK, ms=10, mew=1.1, zorder=1)
        _names(axes, names)
        axes.set(title=short(split, 26), xlabel="% of the fold's sequences")
        axes.set_xlim(left=min(0, axes.get_xlim()[0]))
    return figure


# --- Parts of figures ---


def short(name: str, n: int = 22) -> str:
    """A name of at most n characters, its middle left out if it is longer."""
    return name if len(name) <= n else f"{name[: n - n // 3 - 1]}…{name[-(n // 3) :]}"


def _panels(n: int, columns: int, height: float) -> tuple[Figure, list[Axes]]:
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


def _hide(grid: Any, n: int, columns: int) -> None:
    """Empty the places after the n-th; what stands above them shows the x axis in their stead."""
    for axes in grid[n:]:
        axes.set_axis_off()
    for axes in grid[max(n - columns, 0) : n]:
        axes.tick_params(labelbottom=True)


def _small_multiples(
    tables: Tables, models: Sequence[str], xlabel: str, ylabel: str, *, height: float
) -> tuple[Figure, list[tuple[Axes, str, str]]]:
    """A panel a model, a row (or more, of five panels) a split; each row of splits shares its y axis."""
    columns = min(len(models), 5)
    rows = math.ceil(len(models) / columns)
    width = WIDTH * min(1.0, 0.2 + 0.25 * columns)
    figure = Figure(figsize=(width, rows * len(tables.splits) * height + 0.45), layout="constrained")
    grid = figure.subplots(rows * len(tables.splits), columns, sharex=True, sharey=True, squeeze=False).ravel()
    panels = []
    for i, split in enumerate(tables.splits):
        block = grid[i * rows * columns :][: rows * columns]
        _hide(block, len(models), columns if rows > 1 or i == len(tables.splits) - 1 else 0)
        block[0].set_ylabel(short(split, 18), color=INK, fontsize=9)
        for axes, model in zip(block, models, strict=False):
            axes.set_title(short(model, 14) if i == 0 or rows > 1 else "")
            axes.grid(True)
            axes.xaxis.set_major_locator(MaxNLocator(3, integer=xlabel == "epoch"))
            panels.append((axes, split, model))
    figure.supxlabel(xlabel, fontsize=8, color=MUTED)
    figure.supylabel(ylabel, fontsize=8, color=MUTED)
    return figure, panels


def _trained(tables: Tables) -> list[str]:
    """The models that have a training history."""
    return [model for model in tables.models if (tables.frames["history"]["model"] == model).any()]


def _names(axes: Axes, names: Sequence[str], n: int = 22) -> None:
    """Names down the y axis, the first on top, with a grid to read x from."""
    axes.set_yticks(range(len(names)), [short(name, n) for name in names])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.grid(True, axis="x")


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
    _names(axes, models, 16 if interval else 22)
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
    random = str(tables.random)
    ends = [tables.scores(split)["mean"].get(model, math.nan) for split in (random, other)]
    look = tables.looks[model]
    axes.plot(ends, [y, y], color=look.colour, lw=1.6, alpha=0.45)
    axes.plot(ends[0], y, **{**look.points, "marker": "o", "mfc": "white"})
    axes.plot(ends[1], y, **{**look.points, "marker": "o", "mfc": look.colour})
    value, low, high = difference(tables.of("splits", model=model, metric=tables.metric), "split", random, other)
    if not math.isnan(value):
        _aside(axes, y, re.sub(r"^[+-](0.00)$", r"\1", f"{value:+.2f}"), low, high)


def _matrix_size(classes: int, digits: int, n: int, room: float) -> tuple[int, float]:
    """Matrices in a row and their side in inches, so that counts of 8 points fit into the cells."""
    sides = {columns: (WIDTH - room) / columns - 0.1 for columns in (4, 3, 2, 1)}
    fitting = [c for c, side in sides.items() if 72 * side / classes >= 5.2 * digits + 3]
    columns = min(max(fitting, default=1), n)
    return columns, min(sides[columns], max(1.2, 0.42 * classes))


def _matrix(axes: Axes, rows: pd.DataFrame, names: list[str]) -> None:
    counts = rows.pivot_table(index="actual", columns="predicted", values="count", aggfunc="sum", fill_value=0)
    n = counts.reindex(index=names, columns=names, fill_value=0).to_numpy(float)
    share = n / np.maximum(n.sum(1, keepdims=True), 1)
    axes.pcolormesh(share, cmap="Blues", vmin=0, vmax=1, edgecolors="white", linewidth=0.6)
    for (i, j), count in np.ndenumerate(n):
        if count:
            colour = "white" if share[i, j] > 0.55 else INK
            axes.text(j + 0.5, i + 0.5, f"{count:.0f}", color=colour, ha="center", va="center_baseline")
    at = np.arange(len(names)) + 0.5
    axes.set_xticks(
        at, [short(name, 18) for name in names], rotation=90, rotation_mode="anchor", ha="right", va="center"
    )
    axes.set_yticks(at, [short(name, 18) for name in names])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlim=(0, len(names)), ylim=(len(names), 0), aspect="equal")


def _log(axes: Axes, which: str, values: pd.Series) -> None:
    """A log axis with plain numbers, the fewer the further `values` reach."""
    positive = values[values > 0]
    decades = math.log10(positive.max() / positive.min())
    axis: Axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis.set_major_locator(LogLocator(subs=next(subs for reach, subs in TICKS if decades < reach)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.10g}"))


def _legend(figure: Figure, handles: list[Line2D], labels: list[str], loc: Any = "outside lower center") -> None:
    columns = max(1, min(len(labels), int(95 / (7 + max(map(len, labels))))))
    figure.legend(handles, labels, loc=loc, ncols=columns)


def _models_legend(figure: Figure, tables: Tables) -> None:
    handles = [Line2D([], [], ls="", **tables.looks[model].points) for model in tables.models]
    _legend(figure, handles, [short(model) for model in tables.models])


# --- Figures as SVG ---

PER_SPLIT = {"confusion"}


def drawn(tables: Tables) -> Iterator[tuple[str, Tables, Figure]]:
    """All figures of a data set that have something to show: name, the tables drawn, figure.

    Figures of one split, such as confusion matrices, come once a split: "confusion-random".
    """
    for name, draw in FIGURES.items():
        parts = {f"{name}-{s}": replace(tables, splits=(s,)) for s in tables.splits}
        for part, shown in (parts if name in PER_SPLIT else {name: tables}).items():
            if (figure := draw(shown)) is not None:
                yield part, shown, figure


def svg(figure: Figure, prefix: str, description: str) -> str:
    """The figure as one <svg> element, the same bytes every time, named `description` for screen readers.

    Every id starts with `prefix`: matplotlib numbers the parts of each figure from 1, so the ids of two
    figures on one page would clash and one would show the clip paths of the other.
    """
    stream = StringIO()
    style = STYLE | {"svg.hashsalt": prefix}  # layout and ticks are settled only now, so in the same style
    with mpl.style.context(["default", style], after_reset=True), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the reader's fonts may have it
        figure.savefig(stream, format="svg", metadata=dict.fromkeys(["Date", "Creator", "Format", "Type"]))
    body = stream.getvalue()
    body = re.sub(r"<(metadata|style)\b.*?</\1>", "", body[body.index("<svg") :], flags=re.S)
    body = re.sub(r"<[^>]+>", lambda tag: _tidy(tag[0], prefix), body)
    width, height = figure.get_size_inches() * 96
    root = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        f'aria-label="{escape(description)}" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width * 0.75:g} {height * 0.75:g}" font-family="{FONTS}" stroke-linejoin="round">'
    )
    return root + re.sub(r"\s*\n\s*", "\n", body[body.index(">") + 1 :]).strip()


def _tidy(tag: str, prefix: str) -> str:
    """One tag with its ids prefixed, its fonts inherited and its numbers rounded to 1/100 point."""
    tag = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", tag)
    tag = re.sub(r" ?font-family:[^;\"]*sans-serif;?| ?transform=\"rotate\(-0 [^\"]*\"", "", tag)
    return re.sub(r"(\d\.\d\d)\d+", r"\1", tag)


def write_figures(
    tables: Path,
    folder: Path,
    metric: str,
    *,
    data_root: Path | None = None,
    matrix: Mapping[str, Sequence[Any]] | None = None,
) -> list[Path]:
    """Write every figure as <folder>/<data>/<name>.svg; the arguments are those of `load`."""
    written = []
    for one in load(tables, metric, data_root=data_root, matrix=matrix):
        for name, _, figure in drawn(one):
            path = folder / one.data / f"{name}.svg"
            with atomic(path) as tmp:
                tmp.write_text(svg(figure, name, describe(name)) + "\n", encoding="utf-8")
            written.append(path)
    return written


def describe(name: str) -> str:
    """What a figure shows: the docstring of its function."""
    return (FIGURES[name.split("-")[0]].__doc__ or name).replace(" %", "\u00a0%")
