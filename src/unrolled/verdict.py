"""The verdict: who wins, against which baseline, and what the random split hides, in sentences.

The words are computed from the numbers, so they are true of this experiment or not there.
"""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from unrolled.results import Interval, Tables, difference
from unrolled.wording import decimals, label, listed, number, span


def verdict(tables: Tables) -> dict[str, Any]:
    """Lead sentence and notes: who wins under the headline split, against which baseline, what random hides."""
    ranking = tables.ranking(tables.headline)
    if ranking.empty:
        return {"lead": f"No run has a {label(tables.metric)} under {tables.headline}.", "notes": []}
    notes = [_versus_baseline(tables, ranking), _elsewhere(tables), _flattery(tables), _trained_once(tables)]
    return {"lead": _lead(tables, ranking), "notes": [note for note in notes if note]}


def ahead(tables: Tables, first: str, second: str, split: str) -> Interval:
    """By how much the first model is better than the second (difference, low, high), positive if it is."""
    rows = tables.of("models", split=split, metric=tables.metric)
    value, low, high = difference(rows, "model", first, second)
    if math.isnan(value):
        mean = tables.scores(split)["mean"]
        value = float(mean[first] - mean[second])
    return tables.gain((value, low, high))


def _lead(tables: Tables, ranking: pd.DataFrame) -> str:
    split, best, second = tables.headline, *[*ranking.index, None][:2]
    reaches = f"{best} reaches {label(tables.metric)} {_value(ranking.loc[best])}"
    if second is None:
        return f"Under {split}, {reaches}; no other model was run."
    value, low, high = ahead(tables, best, second, split)
    gap = f"{number(value, decimals(value))} {'below' if tables.lower else 'above'} {second}"
    if math.isnan(low):
        return f"Under {split}, {reaches}, {gap}; without intervals no winner can be named."
    rivals = [model for model in ranking.index[1:] if not ahead(tables, best, model, split)[1] > 0]
    if rivals:
        return f"No clear winner under {split}: {reaches}, but {_doubt(tables, best, rivals)}."
    return f"Under {split}, {reaches}, {gap} (interval {span(low, high)})."


def _doubt(tables: Tables, best: str, rivals: Sequence[str]) -> str:
    if len(rivals) > 1:
        return f"the intervals of its leads over {listed(rivals)} do not stay above 0"
    _, low, high = ahead(tables, best, rivals[0], tables.headline)
    where = "is missing" if math.isnan(low) else f"{'includes' if high >= 0 else 'is below'} 0 ({span(low, high)})"
    return f"the interval of its lead over {rivals[0]} {where}"


def _value(row: pd.Series) -> str:
    if math.isnan(row["low"]):
        return number(row["mean"], decimals(row["mean"]))
    return f"{number(row['mean'], decimals(row['mean']))} (95\u00a0% interval {span(row['low'], row['high'])})"


def _versus_baseline(tables: Tables, ranking: pd.DataFrame) -> str:
    neural = [model for model in ranking.index if model in tables.neural]
    baselines = [model for model in ranking.index if model not in tables.neural]
    if not neural or not baselines:
        return "" if neural else "Only baselines were run: nothing here was learned by a neural network."
    value, low, high = ahead(tables, neural[0], baselines[0], tables.headline)
    interval = "" if math.isnan(low) else f" (interval {span(low, high)})"
    best = ranking["mean"][baselines[0]]
    score = number(best, decimals(best))
    if value <= 0:
        interval = "" if math.isnan(low) else f" (interval {span(-high, -low)})"
        worse = f"is {number(-value, decimals(value))} worse" if value else "reaches the same"
        behind = f"{neural[0]} {worse}{interval}"
        return f"No neural model is ahead of the best baseline, {baselines[0]} ({score}): {behind}."
    doubt = "" if math.isnan(low) or low > 0 else ", which is not clear of 0"
    gap = number(value, decimals(value))
    return f"The best baseline, {baselines[0]}, reaches {score}; {neural[0]} is {gap} better{interval}{doubt}."


def _elsewhere(tables: Tables) -> str:
    """Whether the other splits would have named another winner."""
    best = tables.ranking(tables.headline).index[0]
    others = {split: tables.ranking(split).index for split in tables.splits if split != tables.headline}
    changed = [f"{split} ({names[0]})" for split, names in others.items() if len(names) and names[0] != best]
    return f"Another model leads under {listed(changed)}." if changed else ""


def _flattery(tables: Tables) -> str:
    """The random split against the headline split, over the neural models if there are any."""
    if tables.random in (None, tables.headline):
        return ""
    shifts = [tables.shift(model, str(tables.random), tables.headline) for model in tables.studied]
    gains = [tables.gain(shift) for shift in shifts if not math.isnan(shift[0])]
    if not gains:
        return ""
    mean, clear = sum(gain[0] for gain in gains) / len(gains), sum(gain[1] > 0 for gain in gains)
    kind = "neural model" if tables.neural else "model"
    whom = f"{clear} of {len(gains)} {kind}s" if len(gains) > 1 else f"the {kind}"
    amount = f"{number(abs(mean), decimals(mean))} {'better' if mean > 0 else 'worse'}" if mean else "as good"
    than = "than" if mean else "as"
    by = f"{amount}{' on average' if len(gains) > 1 else ''} {than} under {tables.headline}"
    scores = f"under the {tables.random} split scores are {by}"
    if all(math.isnan(gain[1]) for gain in gains):
        return f"{scores[0].upper()}{scores[1:]}; without intervals that may be chance."
    if not clear:
        return (
            f"That the {tables.random} split flatters is not clear: scores are {by}, and no interval stays above 0."
        )
    return f"The {tables.random} split clearly flatters {whom}: scores are {by}."


def _trained_once(tables: Tables) -> str:
    """What no interval of this experiment can hold."""
    runs = tables.of("runs", split=tables.headline)
    seeds = runs[runs["model"].isin(tables.neural)].groupby("model")["seed"].nunique()
    if not len(seeds) or seeds.max() > 1:
        return ""
    return (
        "Networks were trained with one seed: chance in training, which may move a score as much, is in no interval."
    )
