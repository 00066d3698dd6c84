"""All figures of the report: the table of their functions, and the files they are written to.

A figure is a function of `Tables` (one data set) in `FIGURES`; it answers None when it has nothing to show, and
its docstring, which says how to read it, stands under it on the page.

>>> for tables in load(Path("results/demo/tables"), "macro_f1"):
...     FIGURES["comparison"](tables).savefig("comparison.pdf")
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
from matplotlib.figure import Figure

from unrolled.class_plots import classes, confusion, data, folds
from unrolled.files import atomic
from unrolled.leak_plots import bands
from unrolled.looks import STYLE
from unrolled.model_plots import calibration, comparison, cost, gradients, headline, losses, splits
from unrolled.results import Tables, load
from unrolled.svg import svg

Draw = Callable[[Tables], Figure | None]


def _styled(draw: Draw) -> Draw:
    """The figure in the house style, whatever the reader's matplotlibrc says."""

    @functools.wraps(draw)
    def styled(tables: Tables) -> Figure | None:
        with mpl.style.context(["default", STYLE], after_reset=True):
            return draw(tables)

    return styled


FIGURES: dict[str, Draw] = {
    draw.__name__: _styled(draw)
    for draw in (
        headline,
        comparison,
        splits,
        bands,
        losses,
        gradients,
        confusion,
        classes,
        calibration,
        cost,
        data,
        folds,
    )
}
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


def describe(name: str) -> str:
    """How to read a figure: the docstring of its function."""
    return (FIGURES[name.split("-")[0]].__doc__ or name).replace(" %", "\u00a0%")


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
