"""Tables of an experiment -> one self-contained HTML page: the verdict in words, figures, sortable tables, method.

The words are computed from the numbers, so they are true of this experiment or not there. The page asks nobody
for anything: styles, script and figures are inside, and its content security policy forbids the rest.
"""

import base64
import csv
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from unrolled.files import atomic
from unrolled.plots import Tables, describe, difference, drawn, label, load, svg, write_figures

__all__ = ["build_report", "write_figures"]

TEMPLATES = Path(__file__).parent / "templates"
UNITS = {"protein": "residues", "dna": "nucleotides", "rna": "nucleotides"}


def build_report(
    tables: Path,
    data_root: Path,
    out: Path,
    *,
    experiment: str,
    metric: str = "macro_f1",
    matrix: Mapping[str, Sequence[Any]],
    version: str,
    commit: str | None,
) -> None:
    """Write the report of an experiment to `out`; the same input gives the same bytes.

    `tables` is the folder that `compare` wrote; `data_root` holds <data>/summary.json and
    <data>/<split>/split.json. Raises UnrolledError for a missing table and for an unknown `metric`.
    """
    blocks = [_block(one, i) for i, one in enumerate(load(tables, metric, data_root=data_root, matrix=matrix))]
    page = _environment().get_template("report.html.j2")
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    html = page.render(
        experiment=experiment,
        blocks=blocks,
        matrix=matrix,
        runs=sum(block["runs"] for block in blocks),
        version=version,
        commit=commit,
        css=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    with atomic(out) as tmp:
        tmp.write_text(html, encoding="utf-8")


def _environment() -> Environment:
    env = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters["thousands"] = lambda n: number(n, 0)
    return env


def _block(tables: Tables, place: int) -> dict[str, Any]:
    """All that the page says of one data set."""
    figures: dict[str, dict[str, Any]] = {}
    for name, shown, figure in drawn(tables):
        takeaway = TAKEAWAYS[name.split("-")[0]](shown)
        markup = Markup(svg(figure, f"f{place}-{len(figures)}", f"{takeaway} {describe(name)}"))
        width = round(figure.get_size_inches()[0] * 96)
        figures[name] = {"svg": markup, "width": width, "takeaway": takeaway, "reading": describe(name)}
    return {
        "id": f"d{place}",
        "tables": tables,
        "metric": label(tables.metric),
        "runs": len(tables.frames["runs"]),
        "verdict": verdict(tables),
        "figures": figures,
        "grids": {make.__name__: make(tables) for make in GRIDS},
        "facts": facts(tables),
    }


# --- Numbers as text ---


def number(value: float, digits: int = 3) -> str:
    """A number with a true minus sign; "–" if there is none.

    >>> number(-1234.5, 1)
    '−1,234.5'
    """
    if value is None or math.isnan(value):
        return "–"
    rounded = round(value, digits) + 0.0  # + 0.0: minus nothing is nothing
    return f"{rounded:,.{digits}f}".replace("-", "−")


def _percent(share: float) -> str:
    return f"{100 * share:.{1 if 0 < share < 0.1 else 0}f}\u00a0%"


def _digits(*values: float) -> int:
    """2, or 3 where 2 would show something as nothing: 0.004 must not read 0.00."""
    return 3 if any(0.0005 <= abs(value) < 0.005 for value in values) else 2


def _span(low: float, high: float) -> str:
    digits = _digits(low, high)
    return f"{number(low, digits)} to {number(high, digits)}"


def _signed(value: float) -> str:
    return ("+" if value >= 0.0005 else "") + number(value, _digits(value))


def _listed(names: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else ""


# --- The verdict ---


def ahead(tables: Tables, first: str, second: str, split: str) -> tuple[float, float, float]:
    """By how much the first model is better than the second (difference, low, high), positive if it is."""
    rows = tables.of("models", split=split, metric=tables.metric)
    value, low, high = difference(rows, "model", first, second)
    if math.isnan(value):
        mean = tables.scores(split)["mean"]
        value = float(mean[first] - mean[second])
    return (-value, -high, -low) if tables.lower else (value, low, high)


def verdict(tables: Tables) -> dict[str, Any]:
    """Lead sentence and notes: who wins under the headline split, against which baseline, what random hides."""
    ranking = tables.ranking(tables.headline)
    if ranking.empty:
        return {"lead": f"No run has a {label(tables.metric)} under {tables.headline}.", "notes": []}
    notes = [_versus_baseline(tables, ranking), _elsewhere(tables), _flattery(tables)]
    return {"lead": _lead(tables, ranking), "notes": [note for note in notes if note]}


def _lead(tables: Tables, ranking: pd.DataFrame) -> str:
    split, best, second = tables.headline, *[*ranking.index, None][:2]
    reaches = f"{best} reaches {label(tables.metric)} {_value(ranking.loc[best])}"
    if second is None:
        return f"Under {split}, {reaches}; no other model was run."
    value, low, high = ahead(tables, best, second, split)
    gap = f"{number(value, _digits(value))} {'below' if tables.lower else 'above'} {second}"
    if math.isnan(low):
        return f"Under {split}, {reaches}, {gap}; without intervals no winner can be named."
    rivals = [model for model in ranking.index[1:] if not ahead(tables, best, model, split)[1] > 0]
    if rivals:
        return f"No clear winner under {split}: {reaches}, but {_doubt(tables, best, rivals)}."
    return f"Under {split}, {reaches}, {gap} (interval {_span(low, high)})."


def _doubt(tables: Tables, best: str, rivals: Sequence[str]) -> str:
    if len(rivals) > 1:
        return f"the intervals of its leads over {_listed(rivals)} do not stay above 0"
    _, low, high = ahead(tables, best, rivals[0], tables.headline)
    where = "is missing" if math.isnan(low) else f"{'includes' if high >= 0 else 'is below'} 0 ({_span(low, high)})"
    return f"the interval of its lead over {rivals[0]} {where}"


def _value(row: pd.Series) -> str:
    if math.isnan(row["low"]):
        return number(row["mean"], 2)
    return f"{number(row['mean'], 2)} (95\u00a0% interval {_span(row['low'], row['high'])})"


def _versus_baseline(tables: Tables, ranking: pd.DataFrame) -> str:
    neural = [model for model in ranking.index if model in tables.neural]
    baselines = [model for model in ranking.index if model not in tables.neural]
    if not neural or not baselines:
        return "" if neural else "Only baselines were run: nothing here was learned by a neural network."
    value, low, high = ahead(tables, neural[0], baselines[0], tables.headline)
    interval = "" if math.isnan(low) else f" (interval {_span(low, high)})"
    score = number(ranking["mean"][baselines[0]], 2)
    if value <= 0:
        behind = f"the difference is {_signed(value)}{interval}"
        return f"No neural model is ahead of the best baseline, {baselines[0]} ({score}): {behind}."
    doubt = "" if math.isnan(low) or low > 0 else ", which is not clear of 0"
    gap = number(value, _digits(value))
    return f"The best baseline, {baselines[0]}, reaches {score}; {neural[0]} is {gap} better{interval}{doubt}."


def _elsewhere(tables: Tables) -> str:
    """Whether the other splits would have named another winner."""
    best = tables.ranking(tables.headline).index[0]
    others = {split: tables.ranking(split).index for split in tables.splits if split != tables.headline}
    changed = [f"{split} ({names[0]})" for split, names in others.items() if len(names) and names[0] != best]
    return f"Another model leads under {_listed(changed)}." if changed else ""


def _flattery(tables: Tables) -> str:
    """The random split against the headline split, over the neural models if there are any."""
    if tables.random in (None, tables.headline):
        return ""
    models = tables.neural or tables.models
    gains = [gain for model in models if not math.isnan((gain := flattery(tables, model))[0])]
    if not gains:
        return ""
    mean, n = sum(gain[0] for gain in gains) / len(gains), sum(gain[0] > 0 for gain in gains)
    amount = number(abs(mean), _digits(mean)) if tables.lower and mean > 0 else _signed(mean)
    by = f"{amount}{' on average' if len(gains) > 1 else ''} against {tables.headline}"
    if mean <= 0:
        return f"The {tables.random} split does not flatter: {by}."
    kind = "neural model" if tables.neural else "model"
    whom = f"every {kind}" if n == len(gains) else f"{n} of {len(gains)} {kind}s"
    whom = f"the {kind}" if len(gains) == 1 else whom
    clear = sum(gain[1] > 0 for gain in gains)
    doubt = (
        f"; the interval is above 0 for {clear} of {len(gains)}"
        if not all(math.isnan(gain[1]) for gain in gains)
        else ""
    )
    return f"The {tables.random} split flatters {whom}: by {by}{doubt}."


def flattery(tables: Tables, model: str) -> tuple[float, float, float]:
    """By how much random looks better than the headline split (difference, low, high)."""
    rows = tables.of("splits", model=model, metric=tables.metric)
    value, low, high = difference(rows, "split", str(tables.random), tables.headline)
    return (-value, -high, -low) if tables.lower else (value, low, high)


# --- What each figure says, in one sentence ---


def _leaders(tables: Tables) -> str:
    leaders = {split: tables.ranking(split).index[0] for split in tables.splits if len(tables.ranking(split))}
    if len(set(leaders.values())) > 1:
        return "The leader changes with the split: " + _listed([f"{m} under {s}" for s, m in leaders.items()]) + "."
    winner, *_ = leaders.values()
    return f"{winner} has the best mean under {_listed(list(leaders))}."


def _first(tables: Tables) -> str:
    best, *others = tables.ranking(tables.headline).index
    if not others:
        return f"Only {best} was run under {tables.headline}."
    if math.isnan(ahead(tables, best, others[0], tables.headline)[1]):
        return f"{best} has the best mean; without intervals no difference is clear."
    if len(others) == 1:
        word = "clearly" if ahead(tables, best, others[0], tables.headline)[1] > 0 else "not clearly"
        return f"{best} has the best mean; {others[0]} is {word} behind it."
    behind = sum(ahead(tables, best, model, tables.headline)[1] > 0 for model in others)
    return f"{best} has the best mean; {behind} of the {len(others)} others are clearly behind it."


def _dearest(tables: Tables) -> str:
    sign = -1 if tables.lower else 1
    gains = {model: sign * flattery(tables, model)[0] for model in tables.models}
    gains = {model: gain for model, gain in gains.items() if not math.isnan(gain)}
    if not gains:
        return "No model was run under both splits."
    least, most = min(gains, key=lambda m: gains[m]), max(gains, key=lambda m: gains[m])
    against = f"Testing on {tables.random} instead of {tables.headline} changes the score"
    if _signed(gains[least]) == _signed(gains[most]) and least != most:
        return f"{against} of every model by {_signed(gains[most])}."
    if least == most:
        return f"{against} of {most} by {_signed(gains[most])}."
    return f"{against} by {_signed(gains[least])} ({least}) to {_signed(gains[most])} ({most})."


def _overfitting(tables: Tables) -> str:
    """Mean rise of the validation loss from its lowest point to the last epoch."""
    history = tables.frames["history"].dropna(subset="val_loss")
    if history.empty:
        return "No validation loss was recorded."
    loss = history.groupby(["split", "model", "fold", "seed"], sort=False)["val_loss"]
    rise = (loss.last() - loss.min()).groupby(["split", "model"], sort=False).mean()
    if rise.max() < 0.01:
        return "No model's validation loss rises by 0.01 or more after its lowest point."
    split, model = _place(rise)
    most = number(rise.max(), 2)
    return f"After its lowest point, validation loss rises most for {model} under {split}: by {most} until the end."


def _place(values: pd.Series) -> tuple[str, str]:
    """Split and model of the largest value."""
    split, model = list(values.index)[int(np.nanargmax(values))]
    return split, model


def _steepest(tables: Tables) -> str:
    history = tables.frames["history"]
    groups = history.groupby(["split", "model"], sort=False)
    norm, clipped = groups["grad_norm_mean"].max(), groups["clipped_share"].mean()
    split, model = _place(norm)
    share = float(clipped.to_dict()[split, model])
    tail = "" if math.isnan(share) else f"; {_percent(share)} of its steps were clipped"
    return f"The largest mean gradient norm of an epoch, {norm.max():.3g}, is that of {model} under {split}{tail}."


def _mistake(tables: Tables) -> str:
    """The commonest confusion of the best model for which there is a matrix."""
    rows = tables.of("confusion", split=tables.headline)
    model = next(
        (m for m in tables.ranking(tables.headline).index if (rows["model"] == m).any()), rows["model"].iloc[0]
    )
    rows = rows[rows["model"] == model]
    n = rows.groupby("actual")["count"].sum()
    wrong = rows[(rows["actual"] != rows["predicted"]) & (rows["count"] > 0)]
    if wrong.empty:
        return f"Under {tables.headline}, {model} confuses nothing."
    worst = wrong.loc[wrong["count"].idxmax()]
    share = worst["count"] / n[worst["actual"]]
    taken = f"{worst['actual']} for {worst['predicted']}: {_percent(share)} of all {worst['actual']}"
    return f"Under {tables.headline}, {model} most often takes {taken}."


def _hardest(tables: Tables) -> str:
    rows = tables.of("classes", split=tables.headline)
    rows = rows[rows["model"].isin(tables.neural or tables.models)]
    means = rows.groupby("class", sort=False)["f1"].mean().dropna()
    f1 = {str(name): float(mean) for name, mean in means.items()}
    if not f1:
        return "F1 by class."
    hard, easy = (
        f"{name} ({number(f1[name], 2)})" for name in (min(f1, key=f1.__getitem__), max(f1, key=f1.__getitem__))
    )
    return f"Under {tables.headline} the hardest class by mean F1 is {hard}, the easiest {easy}."


def _confidence(tables: Tables) -> str:
    rows = tables.of("calibration", split=tables.headline)
    rows = rows[rows["model"].isin(tables.neural or tables.models)]
    if rows.empty or not rows["n"].sum():
        return "Confidence against the share of right answers."
    found = {str(model): _said_and_was(own) for model, own in rows.groupby("model", sort=False) if own["n"].sum()}
    model = max(found, key=lambda name: abs(found[name][0] - found[name][1]))
    said, was = found[model]
    if abs(said - was) < 0.02:
        return f"Under {tables.headline} every model's mean confidence is within 0.02 of its share of right answers."
    word = "overconfident" if said > was else "underconfident"
    means = f"mean confidence {number(said, 2)}, share right {number(was, 2)}"
    return f"Under {tables.headline}, {model} is the most {word}: {means}."


def _said_and_was(bins: pd.DataFrame) -> tuple[float, float]:
    """Mean confidence and share of right answers over all bins."""
    said, was = (float(np.average(bins[name], weights=bins["n"])) for name in ("confidence", "accuracy"))
    return said, was


def _dear(tables: Tables) -> str:
    seconds = tables.of("runs", split=tables.headline).groupby("model", sort=False)["seconds"].mean()
    best = next((m for m in tables.ranking(tables.headline).index if m in seconds), None)
    if best is None:
        return "Seconds a run."
    others = [m for m in (tables.neural or tables.models) if m in seconds and m != best]
    text = f"A run of {best}, the best by mean, takes {number(seconds[best], 1)} s under {tables.headline}"
    if not others:
        return text + "."
    quick = min(others, key=lambda m: float(seconds[m]))
    kind = "neural model" if tables.neural else "model"
    return f"{text}; {quick}, the fastest other {kind}, {number(seconds[quick], 1)} s."


def _largest(tables: Tables) -> str:
    counts: dict[str, int] = tables.summary["classes"]
    n = max(tables.summary["n"], 1)
    most, least = max(counts, key=lambda c: counts[c]), min(counts, key=lambda c: counts[c])
    share = {name: _percent(counts[name] / n) for name in (most, least)}
    return f"{most} is the largest class ({share[most]} of all sequences), {least} the smallest ({share[least]})."


def _balance(tables: Tables) -> str:
    off = []
    for split in tables.splits:
        for fold in tables.folds.get(split, {}).get("folds", []):
            for name, n in tables.summary["classes"].items():
                whole, share = n / max(tables.summary["n"], 1), fold["classes"].get(name, 0) / max(fold["n"], 1)
                off.append((abs(share - whole), name, fold["fold"], split, share, whole))
    if not off or max(off)[0] < 0.01:
        return "In every fold the share of every class is within one percentage point of its share in all sequences."
    _, name, fold, split, share, whole = max(off)
    return (
        f"The least balanced: {name} makes up {_percent(share)} of fold {fold} under {split}, "
        f"but {_percent(whole)} of all sequences."
    )


TAKEAWAYS: dict[str, Callable[[Tables], str]] = {
    "headline": _first,
    "comparison": _leaders,
    "splits": _dearest,
    "losses": _overfitting,
    "gradients": _steepest,
    "confusion": _mistake,
    "classes": _hardest,
    "calibration": _confidence,
    "cost": _dear,
    "data": _largest,
    "folds": _balance,
}


# --- The tables ---


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
    """A table of the page."""

    title: str
    head: list[str]
    rows: list[list[Cell]]

    @property
    def numeric(self) -> list[bool]:
        return [all(row[i].numeric for row in self.rows) for i in range(len(self.head))]

    @property
    def csv(self) -> str:
        """The table as a data URI."""
        stream = StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerows([self.head, *([cell.key for cell in row] for row in self.rows)])
        return "data:text/csv;charset=utf-8," + quote(stream.getvalue())


def _cell(value: Any, digits: int = 3, note: str = "") -> Cell:
    if isinstance(value, str):
        return Cell(value, value, note)
    value = math.nan if value is None else float(value)
    return Cell(number(value, digits), value, note)


def scores(tables: Tables) -> Grid | None:
    """Every metric of every model under every split."""
    metrics = list(dict.fromkeys(tables.frames["summary"]["metric"]))
    rows = []
    for split in tables.splits:
        by_metric = {metric: tables.scores(split, metric).reindex(tables.models) for metric in metrics}
        runs = tables.of("runs", split=split)["model"].value_counts()
        for model in (model for model in tables.models if model in runs.index):
            row = [_score(by_metric[metric].to_dict("index")[model]) for metric in metrics]
            rows.append([_cell(split), _cell(model), _cell(int(runs[model]), 0), *row])
    return Grid(
        "All metrics: means over runs, 95\u00a0% intervals below",
        ["split", "model", "runs", *map(label, metrics)],
        rows,
    )


def _score(row: Mapping[Any, Any]) -> Cell:
    interval = "" if math.isnan(row["low"]) else f"{number(row['low'])} to {number(row['high'])}"
    return _cell(row["mean"], note=interval)


def pairs(tables: Tables) -> Grid | None:
    """Paired differences between models."""
    frame = tables.of("models", metric=tables.metric)
    return _differences(
        tables, frame, ["split", "model", "other"], "Differences between models, first minus second (paired)"
    )


def shifts(tables: Tables) -> Grid | None:
    """Differences between splits."""
    frame = tables.of("splits", metric=tables.metric)
    return _differences(
        tables, frame, ["model", "split", "other"], "Differences between splits, first minus second (unpaired)"
    )


def _differences(tables: Tables, frame: pd.DataFrame, names: list[str], title: str) -> Grid | None:
    rows = [
        [
            *(_cell(row[name]) for name in names),
            *(_cell(row[c]) for c in ("difference", "low", "high")),
            _reading(row),
        ]
        for row in frame[[*names, "difference", "low", "high"]].to_dict("records")
    ]
    head = [names[0], "first", "second", f"difference in {label(tables.metric)}", "low", "high", "95\u00a0% interval"]
    return Grid(title, head, rows) if rows else None


def _reading(row: Mapping[Any, Any]) -> Cell:
    if math.isnan(row["low"]):
        return _cell("missing")
    return _cell("above 0" if row["low"] > 0 else "below 0" if row["high"] < 0 else "includes 0")


def by_class(tables: Tables) -> Grid | None:
    """Scores of single classes."""
    numbers = ["precision", "recall", "f1", "mcc", "auroc"]
    frame = tables.frames["classes"]
    rows = [
        [
            _cell(row["split"]),
            _cell(row["model"]),
            _cell(row["class"]),
            _cell(row["n"], 0),
            *(_cell(row[c]) for c in numbers),
        ]
        for row in frame.to_dict("records")
    ]
    return (
        Grid("Every class: means over runs", ["split", "model", "class", "n a run", *map(label, numbers)], rows)
        if rows
        else None
    )


def costs(tables: Tables) -> Grid | None:
    """What a run took, in the mean over runs."""
    columns = {"params": 0, "seconds": 1, "epochs": 0, "best_epoch": 0, "tokens_per_second": 0, "peak_memory_mb": 0}
    frame = tables.frames["runs"].reindex(columns=["split", "model", *columns])
    means = frame.groupby(["split", "model"], sort=False)[list(columns)].mean()
    known = means.to_dict("index")
    rows = [
        [_cell(split), _cell(model), *(_cell(known[split, model][name], digits) for name, digits in columns.items())]
        for split in tables.splits
        for model in tables.models
        if (split, model) in known
    ]
    head = ["split", "model", "parameters", "seconds", "epochs", "best epoch", "tokens a second", "peak memory, MB"]
    return Grid("Cost of one run: means over runs", head, rows)


def fold_sizes(tables: Tables) -> Grid | None:
    """Sequences, groups and classes of every fold."""
    classes = list(tables.summary.get("classes", {}))
    rows = []
    for split in tables.splits:
        for fold in tables.folds[split]["folds"]:
            counts = [_cell(fold["classes"].get(name, 0), 0) for name in classes]
            rows.append([_cell(split), *(_cell(fold[c], 0) for c in ("fold", "n", "groups")), *counts])
    return (
        Grid("Sequences in every fold, by class", ["split", "fold", "sequences", "groups", *classes], rows)
        if rows
        else None
    )


def split_facts(tables: Tables) -> Grid | None:
    """What each split groups, and into how many."""
    rows = []
    for split in tables.splits:
        fact = tables.folds[split]
        tools = ", ".join(f"{name} {version}" for name, version in (fact.get("tools") or {}).items())
        identity = math.nan if fact.get("identity") is None else 100 * fact["identity"]
        sizes = [_cell(fact[c], 0) for c in ("n", "n_groups", "largest_group")]
        rows.append(
            [
                _cell(split),
                _cell(fact["title"]),
                _cell(fact["group"]),
                _cell(identity, 0),
                *sizes,
                _cell(tools or "–"),
            ]
        )
    head = ["split", "meaning", "grouped by", "identity, %", "sequences", "groups", "largest group", "tools"]
    return Grid("The splits", head, rows)


def excluded(tables: Tables) -> Grid | None:
    """What was left out, and why."""
    rows = [[_cell(reason), _cell(n, 0)] for reason, n in tables.summary.get("excluded", {}).items()]
    return Grid("Left out", ["reason", "sequences"], rows) if rows else None


GRIDS: tuple[Callable[[Tables], Grid | None], ...] = (
    *(scores, pairs, shifts, by_class, costs, fold_sizes, split_facts, excluded),
)


def facts(tables: Tables) -> dict[str, str]:
    """The data set in a few lines: term -> words."""
    s = tables.summary
    unit = UNITS.get(s["alphabet"], "symbols")
    least, median, most = (
        number(x, 0 if x == int(x) else 1) for x in (s["length"][n] for n in ("min", "median", "max"))
    )
    labels = f", {number(s['labels_per_sequence'], 2)} a sequence" if s["task"] == "multilabel" else ""
    found = {
        "Sequences": f"{number(s['n'], 0)} ({s['alphabet']}); {number(sum(s['excluded'].values()), 0)} left out",
        "Task": f"{s['task']}, {len(s['classes'])} classes{labels}",
        "Lengths": f"{least} to {most} {unit}, median {median}",
        "Shortened": _shortened(s, unit),
        "Licence": s["licence"],
        "Citation": s["citation"],
    }
    return {term: text for term, text in found.items() if text}


def _shortened(summary: Mapping[str, Any], unit: str) -> str:
    if summary["max_length"] is None:
        return "none: there is no length limit"
    limit = number(summary["max_length"], 0)
    return (
        f"{number(summary['n_longer'], 0)} longer than {limit} {unit}: the middle is cut out, both termini are kept"
    )
