"""All figures of the report: the table of their functions.

A figure is a function of `Tables` (one data set) in `FIGURES`; it answers None when it has nothing to show, and
its docstring, which says how to read it, stands under it on the page.

>>> for tables in load(Path("results/demo/tables"), "macro_f1"):
...     FIGURES["comparison"](tables).savefig("comparison.pdf")
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace

import matplotlib as mpl
import matplotlib.style
from matplotlib.figure import Figure

from unrolled.class_plots import classes, confusion, data, folds
from unrolled.leak_plots import bands
from unrolled.length_plots import lengths
from unrolled.looks import STYLE
from unrolled.model_plots import agreement, calibration, comparison, cost, gradients, headline, losses, splits
from unrolled.results import Tables

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
        lengths,
        losses,
        gradients,
        confusion,
        classes,
        agreement,
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
