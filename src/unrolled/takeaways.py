"""What each figure says of this experiment, in one sentence above its explanation."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from unrolled.results import Tables
from unrolled.verdict import ahead
from unrolled.wording import decimals, label, listed, number, percent, signed

ENOUGH = 20  # test sequences a run, in the mean: fewer say nothing of a band


def _leaders(tables: Tables) -> str:
    leaders = {split: tables.ranking(split).index[0] for split in tables.splits if len(tables.ranking(split))}
    if len(set(leaders.values())) > 1:
        return "The leader changes with the split: " + listed([f"{m} under {s}" for s, m in leaders.items()]) + "."
    winner, *_ = leaders.values()
    return f"{winner} has the best mean under {listed(list(leaders))}."


def _first(tables: Tables) -> str:
    best, *others = tables.ranking(tables.headline).index
    if not others:
        return f"Only {best} was run under {tables.headline}."
    lows = [ahead(tables, best, model, tables.headline)[1] for model in others]
    if math.isnan(lows[0]):
        return f"{best} has the best mean; without intervals no difference is clear."
    behind = sum(low > 0 for low in lows)
    if len(others) == 1:
        return f"{best} has the best mean; {others[0]} is {'clearly' if behind else 'not clearly'} behind it."
    return f"{best} has the best mean; {behind} of the {len(others)} others are clearly behind it."


def _dearest(tables: Tables) -> str:
    shifts = {model: tables.shift(model, str(tables.random), tables.headline)[0] for model in tables.models}
    shifts = {model: shift for model, shift in shifts.items() if not math.isnan(shift)}
    if not shifts:
        return "No model was run under both splits."
    least, most = min(shifts, key=lambda m: shifts[m]), max(shifts, key=lambda m: shifts[m])
    against = f"Testing on {tables.random} instead of {tables.headline} changes the score"
    low, high = signed(shifts[least]), signed(shifts[most])
    if low == high:
        return f"{against} of {most if least == most else 'every model'} by {high}."
    return f"{against} by {low} ({least}) to {high} ({most})."


def _near_and_far(tables: Tables) -> str:
    """The best model's score on the nearest and on the furthest test sequences, where that differs most.

    Bands of a few sequences, or without an interval, say nothing.
    """
    rows = tables.of("bands", metric=tables.metric).dropna(subset=["mean", "low"])
    rows = rows[rows["sequences"] >= ENOUGH]
    found = []
    for split in tables.splits:
        ranked = [model for model in tables.ranking(split).index if model in tables.studied]
        own = rows[(rows["split"] == split) & (rows["model"] == ranked[0])] if ranked else rows[:0]
        means = {name: mean for name in tables.bands for mean in own.loc[own["band"] == name, "mean"]}
        if len(means) > 1:
            (far, low), *_, (near, high) = means.items()
            found.append((abs(high - low), split, ranked[0], far, low, near, high))
    if not found:
        return f"No split has {ENOUGH} test sequences a run, and an interval, at each of two distances from training."
    _, split, model, far, low, near, high = max(found)
    n = decimals(low, high)
    ends = (
        f"{number(low, n)} on test sequences found {_apart(far)} identical to training",
        f"{number(high, n)} on those",
    )
    return f"Under {split}, {model} has a {label(tables.metric)} of {ends[0]}, and of {ends[1]} found {_apart(near)}."


def _short_and_long(tables: Tables) -> str:
    """The best network's exact matches on the shortest and on the longest inputs, beside those of the next."""
    split = tables.headline
    rows = tables.of("lengths", split=split, metric="exact_match").sort_values("shortest")
    ranked = [m for m in tables.ranking(split).index if m in tables.studied and (rows["model"] == m).any()]
    if not ranked:
        return "Scores by input length."
    ends = {model: rows[rows["model"] == model].iloc[[0, -1]] for model in ranked[:2]}
    first, last = ends[ranked[0]].to_dict("records")
    spans = [f"{number(end['shortest'], 0)} to {number(end['longest'], 0)}" for end in (first, last)]
    falls = [
        f"{model}'s from {number(own['mean'].iloc[0], 2)} to {number(own['mean'].iloc[1], 2)}"
        for model, own in ends.items()
    ]
    return f"From inputs of {spans[0]} to those of {spans[1]}, exact match under {split} goes: {listed(falls)}."


def _apart(band: str) -> str:
    """A band of identity in words: "<20", "20-30", ">=90"."""
    if band.startswith("<"):
        return f"less than {band[1:]}\u00a0%"
    return f"at least {band[2:]}\u00a0%" if band.startswith(">") else f"{band.replace('-', ' to ')}\u00a0%"


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


def _steepest(tables: Tables) -> str:
    history = tables.frames["history"]
    groups = history.groupby(["split", "model"], sort=False)
    finite = history.assign(norm=history["grad_norm_mean"].where(history["grad_norm_mean"] < math.inf))
    norm, clipped = finite.groupby(["split", "model"], sort=False)["norm"].max(), groups["clipped_share"].mean()
    split, model = _place(norm)
    share = float(clipped.to_dict()[split, model])
    tail = "" if math.isnan(share) else f"; {percent(share)} of its steps were clipped"
    return f"The largest mean gradient norm of an epoch, {norm.max():.3g}, is that of {model} under {split}{tail}."


def _mistake(tables: Tables) -> str:
    """The commonest confusion of the best model for which there is a matrix."""
    rows = tables.of("confusion", split=tables.headline)
    ranked = tables.ranking(tables.headline).index
    model = next((m for m in ranked if (rows["model"] == m).any()), rows["model"].iloc[0])
    rows = rows[rows["model"] == model]
    n = rows.groupby("actual")["count"].sum()
    wrong = rows[(rows["actual"] != rows["predicted"]) & (rows["count"] > 0)]
    if wrong.empty:
        return f"Under {tables.headline}, {model} confuses nothing."
    worst = wrong.loc[wrong["count"].idxmax()]
    share = worst["count"] / n[worst["actual"]]
    taken = f"{worst['actual']} for {worst['predicted']}: {percent(share)} of all {worst['actual']}"
    return f"Under {tables.headline}, {model} most often takes {taken}."


def _hardest(tables: Tables) -> str:
    rows = tables.of("classes", split=tables.headline)
    rows = rows[rows["model"].isin(tables.studied)]
    means = rows.groupby("class", sort=False)["f1"].mean().dropna()
    f1 = {str(name): float(mean) for name, mean in means.items()}
    if not f1:
        return "F1 by class."
    extremes = min(f1, key=f1.__getitem__), max(f1, key=f1.__getitem__)
    hard, easy = (f"{name} ({number(f1[name], 2)})" for name in extremes)
    return f"Under {tables.headline} the hardest class by mean F1 is {hard}, the easiest {easy}."


def _confidence(tables: Tables) -> str:
    rows = tables.of("calibration", split=tables.headline)
    rows = rows[rows["model"].isin(tables.studied)]
    if rows.empty or not rows["n"].sum():
        return "Confidence against the share of right answers."
    found = {str(model): _said_and_was(own) for model, own in rows.groupby("model", sort=False) if own["n"].sum()}
    model = max(found, key=lambda name: abs(found[name][0] - found[name][1]))
    said, was = found[model]
    if abs(said - was) < 0.02:
        every = "every neural model" if tables.neural else "every model"
        return f"Under {tables.headline} {every}'s mean confidence is within 0.02 of its share of right answers."
    word = "overconfident" if said > was else "underconfident"
    means = f"mean confidence {number(said, 2)}, share right {number(was, 2)}"
    among = "of the neural models, " if len(tables.neural) > 1 else ""
    return f"Under {tables.headline}, {among}{model} is the most {word}: {means}."


def _dear(tables: Tables) -> str:
    seconds = tables.of("runs", split=tables.headline).groupby("model", sort=False)["seconds"].mean()
    best = next((m for m in tables.ranking(tables.headline).index if m in seconds), None)
    if best is None:
        return "Seconds a run."
    others = [m for m in tables.studied if m in seconds and m != best]
    text = f"A run of {best}, the best by mean, takes {number(seconds[best], 1)} s under {tables.headline}"
    if not others:
        return text + "."
    quick = min(others, key=lambda m: float(seconds[m]))
    kind = "neural model" if tables.neural else "model"
    return f"{text}; {quick}, the fastest other {kind}, {number(seconds[quick], 1)} s."


def _off_by(tables: Tables) -> str:
    """How far the best model's predictions are from the truth."""
    split = tables.headline
    best = next(iter(tables.ranking(split).index), tables.models_in("points")[0])
    rows = tables.of("points", split=split, model=best)
    off = (rows["predicted_value"] - rows["true_value"]).abs().median()
    return f"Under {split}, half of the predictions of {best} are within {off:.3g} of the truth."


def _largest(tables: Tables) -> str:
    counts: dict[str, int] = tables.summary["classes"]
    n = max(tables.summary["n"], 1)
    most, least = max(counts, key=lambda c: counts[c]), min(counts, key=lambda c: counts[c])
    share = {name: percent(counts[name] / n) for name in (most, least)}
    kind = "range" if tables.summary["task"] in ("regression", "transduction") else "class"
    return f"{most} is the largest {kind} ({share[most]} of all sequences), {least} the smallest ({share[least]})."


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
        f"The least balanced: {name} makes up {percent(share)} of fold {fold} under {split}, "
        f"but {percent(whole)} of all sequences."
    )


def _place(values: pd.Series) -> tuple[str, str]:
    """Split and model of the largest value."""
    split, model = list(values.index)[int(np.nanargmax(values))]
    return split, model


def _said_and_was(bins: pd.DataFrame) -> tuple[float, float]:
    """Mean confidence and share of right answers over all bins."""
    said, was = (float(np.average(bins[name], weights=bins["n"])) for name in ("confidence", "accuracy"))
    return said, was


TAKEAWAYS: dict[str, Callable[[Tables], str]] = {
    "headline": _first,
    "comparison": _leaders,
    "splits": _dearest,
    "bands": _near_and_far,
    "lengths": _short_and_long,
    "losses": _overfitting,
    "gradients": _steepest,
    "confusion": _mistake,
    "classes": _hardest,
    "agreement": _off_by,
    "calibration": _confidence,
    "cost": _dear,
    "data": _largest,
    "folds": _balance,
}
