"""The tables of the page: for each a function from `Tables` to the `Grid` that the template lays out."""

import csv
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import StringIO
from typing import Any
from urllib.parse import quote

import pandas as pd

from unrolled.results import Tables
from unrolled.wording import decimals, label, number, size


@dataclass(frozen=True)
class Cell:
    """One entry of a table; `value` is what it sorts by, NaN last."""

    text: str
    value: float | str
    note: str = ""

    @property
    def numeric(self) -> bool:
        return not isinstance(self.value, str)

    @property
    def key(self) -> str:
        return self.value if isinstance(self.value, str) else "" if math.isnan(self.value) else f"{self.value:.6g}"


@dataclass(frozen=True)
class Grid:
    """A table of the page; one without rows is left out."""

    title: str
    head: list[str]
    rows: list[list[Cell]]

    @property
    def numeric(self) -> list[bool]:
        return [all(row[i].numeric for row in self.rows) for i in range(len(self.head))]

    @property
    def csv(self) -> str:
        """The table as a data URI; what stands below the numbers of a column is one beside it."""
        stream, columns = StringIO(), list[list[str]]()
        for i, name in enumerate(self.head):
            cells = [row[i] for row in self.rows]
            columns.append([name, *(cell.key for cell in cells)])
            if any(cell.note for cell in cells):
                columns.append([f"{name}: interval", *(cell.note for cell in cells)])
        csv.writer(stream, lineterminator="\n").writerows(zip(*columns, strict=True))
        return "data:text/csv;charset=utf-8," + quote(stream.getvalue())


def _cell(value: Any, digits: int = 3, note: str = "") -> Cell:
    if isinstance(value, str):
        return Cell(value, value, note)
    value = math.nan if value is None else float(value)
    return Cell(number(value, digits), value, note)


def _cells(row: Mapping[Any, Any], *names: str, digits: int = 3) -> list[Cell]:
    return [_cell(row[name], digits) for name in names]


def scores(tables: Tables) -> Grid:
    """Every metric of every model under every split."""
    metrics = list(dict.fromkeys(tables.frames["summary"]["metric"]))
    rows = []
    digits = _digits(tables.frames["summary"], "mean")
    for split in tables.splits:
        known = [tables.scores(split, metric).reindex(tables.models).to_dict("index") for metric in metrics]
        runs = tables.of("runs", split=split)["model"].value_counts()
        for model in tables.models_in("runs", split=split):
            own = ((of[model], digits[metric]) for metric, of in zip(metrics, known, strict=True))
            row = [_score(*each, int(runs[model])) for each in own]
            rows.append([_cell(split), _cell(model), _cell(int(runs[model]), 0), *row])
    head = ["split", "model", "runs", *map(label, metrics)]
    return Grid("All metrics: means over runs, 95\u00a0% intervals below", head, rows)


def _digits(frame: pd.DataFrame, column: str) -> dict[str, int]:
    """Decimals for each metric: three, or more in a small unit."""
    return {str(metric): max(3, decimals(*values) + 1) for metric, values in frame.groupby("metric")[column]}


def _score(row: Mapping[Any, Any], digits: int, runs: int = 0) -> Cell:
    """A mean with its interval and, where it is one of fewer than all runs, of how many."""
    interval = "" if math.isnan(row["low"]) else f"{number(row['low'], digits)} to {number(row['high'], digits)}"
    fewer = f"{row['n']:.0f} of {runs} runs" if 0 < row["n"] < runs else ""
    return _cell(row["mean"], digits, note=", ".join(filter(None, (interval, fewer))))


def pairs(tables: Tables) -> Grid:
    """Paired differences between models."""
    title = "Differences between models, first minus second (paired)"
    return _differences(tables, "models", ["split", "model", "other"], title)


def shifts(tables: Tables) -> Grid:
    """Differences between splits."""
    title = "Differences between splits, first minus second (unpaired)"
    return _differences(tables, "splits", ["model", "split", "other"], title)


def _differences(tables: Tables, table: str, names: list[str], title: str) -> Grid:
    found = tables.of(table, metric=tables.metric)
    digits = _digits(found, "difference").get(tables.metric, 3)
    rows = [
        [*_cells(row, *names, "difference", "low", "high", digits=digits), _reading(row)]
        for row in found.to_dict("records")
    ]
    head = [names[0], "first", "second", f"difference in {label(tables.metric)}", "low", "high", "95\u00a0% interval"]
    return Grid(title, head, rows)


def _reading(row: Mapping[Any, Any]) -> Cell:
    if math.isnan(row["low"]):
        return _cell("missing")
    return _cell("above 0" if row["low"] > 0 else "below 0" if row["high"] < 0 else "includes 0")


def by_class(tables: Tables) -> Grid:
    """Scores of single classes."""
    numbers = ["precision", "recall", "f1", "mcc", "auroc", "auprc"]
    rows = [
        [*_cells(row, "split", "model", "class"), _cell(row["n"], 0), *_cells(row, *numbers)]
        for row in tables.frames["classes"].to_dict("records")
    ]
    head = ["split", "model", "class", "n a run", *map(label, numbers)]
    return Grid("Every class: means over runs", head, rows)


def by_length(tables: Tables) -> Grid:
    """Every metric by input length."""
    return _by_part(tables, "lengths", "By length of the input", "shortest", "longest")


def by_identity(tables: Tables) -> Grid:
    """Every metric by highest identity to training."""
    return _by_part(tables, "bands", "By highest identity to training, %", "band")


def _by_part(tables: Tables, table: str, title: str, *names: str) -> Grid:
    frame = tables.frames[table]
    metrics, digits = list(dict.fromkeys(frame["metric"])), _digits(frame, "mean")
    rows = []
    for place, own in frame.groupby(["split", "model", *names, "sequences"], sort=False):
        scores, n = own.set_index("metric").to_dict("index"), float(own["sequences"].iloc[0])
        begin = [*(_cell(one, 0) for one in place[:-1]), Cell(size(n), n)]
        rows.append([*begin, *(_score(scores[metric], digits[metric]) for metric in metrics)])
    head = ["split", "model", *names, "sequences a run", *map(label, metrics)]
    return Grid(f"{title}: means over runs, 95\u00a0% intervals below", head, rows)


def costs(tables: Tables) -> Grid:
    """What a run took, in the mean over runs."""
    columns = {"params": 0, "seconds": 1, "epochs": 0, "best_epoch": 0, "tokens_per_second": 0, "peak_memory_mb": 0}
    frame = tables.frames["runs"].reindex(columns=["split", "model", *columns])
    known = frame.groupby(["split", "model"])[list(columns)].mean().to_dict("index")
    rows = [
        [_cell(split), _cell(model), *(_cell(known[split, model][name], digits) for name, digits in columns.items())]
        for split in tables.splits
        for model in tables.models_in("runs", split=split)
    ]
    head = ["split", "model", "parameters", "seconds", "epochs", "best epoch", "tokens a second", "peak memory, MB"]
    return Grid("Cost of one run: means over runs", head, rows)


def fold_sizes(tables: Tables) -> Grid:
    """Sequences, groups and classes of every fold."""
    classes = list(tables.summary["classes"])
    rows = []
    for split in tables.splits:
        for fold in tables.folds[split]["folds"]:
            counts = [_cell(fold["classes"].get(name, 0), 0) for name in classes]
            rows.append([_cell(split), *_cells(fold, "fold", "n", "groups", digits=0), *counts])
    return Grid("Sequences in every fold, by class", ["split", "fold", "sequences", "groups", *classes], rows)


def split_facts(tables: Tables) -> Grid:
    """What each split groups, and into how many."""
    rows = []
    for split in tables.splits:
        fact = tables.folds[split]
        tools = ", ".join(f"{name} {version}" for name, version in (fact.get("tools") or {}).items())
        identity = "–" if fact.get("identity") is None else _meant(tables, split, fact["identity"])
        sizes = [_cell(fact.get(name, 0), 0) for name in ("n", "removed", "n_groups", "largest_group")]
        rows.append([_cell(split), *_cells(fact, "title", "group"), _cell(identity), *sizes, _cell(tools or "–")])
    head = ["split", "meaning", "grouped by", "identity", "sequences", "removed", "groups"]
    return Grid("The splits", [*head, "largest group", "tools"], rows)


def _meant(tables: Tables, split: str, identity: float) -> str:
    """An identity, with what the split's groups or its audit mean by it."""
    group = tables.folds[split]["group"]
    by = "mmseqs" if group == "cluster" else tables.certificates.get(split, {}).get("definition", "")
    return f"{100 * identity:g}\u00a0% {by}".strip()


def leakage(tables: Tables) -> Grid:
    """What each split's certificate says: how many sequences have a relative in another fold."""
    rows = [
        [
            _cell(split),
            _cell(100 * one["share_above"], 2),
            _cell(one["above_threshold"], 0),
            _cell(math.nan if one["max_identity"] is None else 100 * one["max_identity"], 1),
            _cell(f"{one['definition']}, {100 * one['threshold']:g}\u00a0%"),
            _cell(one["statement"]),
        ]
        for split, one in tables.certificates.items()
    ]
    head = ["split", "found with a relative in another fold, %", "sequences", "highest identity, %", "relative means"]
    return Grid("Leakage measured by the audit of each split", [*head, "what was checked"], rows)


def excluded(tables: Tables) -> Grid:
    """What was left out, and why."""
    rows = [[_cell(reason), _cell(n, 0)] for reason, n in tables.summary["excluded"].items()]
    return Grid("Left out", ["reason", "sequences"], rows)


def unused(tables: Tables) -> Grid:
    """What of the annotations of its sequences a data set did not use, and why."""
    rows = [[_cell(reason), _cell(n, 0)] for reason, n in tables.summary.get("unused", {}).items()]
    return Grid("Annotations that were not used", ["annotation", "times"], rows)


GRIDS: tuple[Callable[[Tables], Grid], ...] = (
    *(
        scores,
        pairs,
        shifts,
        leakage,
        by_identity,
        by_length,
        by_class,
        costs,
        fold_sizes,
        split_facts,
        excluded,
        unused,
    ),
)
