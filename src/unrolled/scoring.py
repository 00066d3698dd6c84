"""How the predictions of each task are read, scored and taken apart: one `Scoring` a task.

`METRICS[task]` are its metrics by name, each `f(scores, W) -> (R,)` for R rows of weights (R, N) of the N sequences.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled import likelihood_metrics, metrics, number_metrics, position_metrics, sequence_metrics
from unrolled.likelihood_metrics import LikelihoodScores
from unrolled.metrics import decide
from unrolled.number_metrics import NumberScores
from unrolled.position_metrics import PositionScores, judge
from unrolled.sequence_metrics import SequenceScores
from unrolled.tasks import TASKS, UNSCORED, Regression
from unrolled.thresholds import choose_thresholds
from unrolled.weighted import Array

SUM_TOLERANCE = 1e-3  # how far probabilities may sum from 1: float32 softmax over many classes, not more
POINTS = 1000  # sequences of a run that a figure shows, evenly spread over the true numbers

Info = Mapping[str, Any]  # run.json
Thresholds = dict[str, float] | None
Metric = Callable[[Any, Array], Array]


class Scored(Protocol):
    """What a model said and what is true, of N sequences."""

    @property
    def task(self) -> str: ...

    @property
    def n(self) -> int: ...


METRICS: dict[str, dict[str, Metric]] = {
    "multiclass": {
        "accuracy": metrics.accuracy,
        "balanced_accuracy": metrics.balanced_accuracy,
        "macro_f1": metrics.macro_f1,
        "mcc": metrics.multiclass_mcc,
        "auroc": metrics.auroc,
        "auprc": metrics.auprc,
        "log_loss": metrics.multiclass_log_loss,
        "ece": metrics.ece,
    },
    "multilabel": {
        "accuracy": metrics.accuracy,
        "jaccard": metrics.jaccard,
        "micro_f1": metrics.micro_f1,
        "macro_f1": metrics.macro_f1,
        "mcc": metrics.multilabel_mcc,
        "auroc": metrics.auroc,
        "auprc": metrics.auprc,
        "log_loss": metrics.multilabel_log_loss,
        "ece": metrics.ece,
    },
    "regression": {
        "spearman": number_metrics.spearman,
        "pearson": number_metrics.pearson,
        "r2": number_metrics.r2,
        "rmse": number_metrics.rmse,
        "mae": number_metrics.mae,
    },
    "generation": {
        "bits_per_residue": likelihood_metrics.bits_per_residue,
        "perplexity": likelihood_metrics.perplexity,
    },
    "transduction": {
        "token_accuracy": sequence_metrics.token_accuracy,
        "exact_match": sequence_metrics.exact_match,
        "edit_distance": sequence_metrics.edit_distance_by_length,
        "bits_per_token": sequence_metrics.bits_per_token,
    },
    "labelling": {
        "accuracy": position_metrics.accuracy,
        "chain_accuracy": position_metrics.chain_accuracy,
        "sov": position_metrics.sov,
        "macro_f1": metrics.macro_f1,
        "mcc": metrics.multiclass_mcc,
        "log_loss": position_metrics.log_loss,
        "ece": position_metrics.ece,
    },
}
LOWER_IS_BETTER = (
    *("log_loss", "ece", "rmse", "mae", "bits_per_residue", "perplexity"),
    *("edit_distance", "bits_per_token"),
)
CORRELATIONS = ("mcc", "spearman", "pearson")
HIGHER_IS_BETTER = {name: name not in LOWER_IS_BETTER for table in METRICS.values() for name in table}


def bounds(metric: str) -> tuple[float, float]:
    """Between what a metric lies."""
    if metric in LOWER_IS_BETTER:
        return 0.0, np.inf
    return {**dict.fromkeys(CORRELATIONS, (-1.0, 1.0)), "r2": (-np.inf, 1.0)}.get(metric, (0.0, 1.0))


def measure(scores: Scored, W: Array) -> dict[str, Array]:
    """Every metric of the task under R rows of weights (R, N): name -> (R,)."""
    return {name: metric(scores, W) for name, metric in METRICS[scores.task].items()}


def number(value: float) -> float | None:
    """JSON has no NaN: an undefined number is null."""
    return None if np.isnan(value) else float(value)


def only(scores: Any, rows: NDArray[np.intp]) -> Any:
    """The scores of some of the N sequences: rows (n,)."""
    whole = {field.name: getattr(scores, field.name) for field in fields(scores)}
    return replace(scores, **{name: value[rows] for name, value in whole.items() if isinstance(value, np.ndarray)})


@dataclass(frozen=True)
class Scoring:
    """How one task's predictions become scores; this one is for classes of whole sequences."""

    task: str

    def columns(self, info: Info) -> list[str]:
        """The columns that hold what the model said."""
        return TASKS[self.task].columns(info["classes"])

    def fault(self, frame: pd.DataFrame, info: Info) -> str | None:
        """What is wrong with targets or answers, or None."""
        p = frame[self.columns(info)].to_numpy(np.float64)
        return _unknown(frame, info) or _improbable(frame["id"], p, sums=self.task == "multiclass")

    def scores(self, frame: pd.DataFrame, info: Info, thresholds: Thresholds) -> Any:
        """Scores of some rows of predictions; `thresholds` as in metrics.json."""
        cuts = None if thresholds is None else np.array([thresholds[name] for name in info["classes"]])
        p = frame[self.columns(info)].to_numpy(np.float64)  # (N, K)
        return decide(self.task, p, self._truth(frame, info), cuts)

    def _truth(self, frame: pd.DataFrame, info: Info) -> Any:
        return TASKS[self.task].counts(frame["target"], info["classes"]).astype(np.bool_)

    def thresholds(self, validation: pd.DataFrame, info: Info) -> Thresholds:
        """What a label's probability must reach, where several may hold: chosen on the validation part."""
        if self.task != "multilabel":
            return None
        p = validation[self.columns(info)].to_numpy(np.float64)
        best = choose_thresholds(p, self._truth(validation, info))
        return dict(zip(info["classes"], best.tolist(), strict=True))

    def per_class(self, scores: Any) -> dict[str, Array]:
        """n, precision, recall, f1, mcc, auroc, auprc of each class: each (K,); {} where there are no classes."""
        return metrics.class_table(scores)

    def confusion(self, scores: Any) -> Any:
        """Counts (K, K), None where they do not apply."""
        return None if self.task == "multilabel" else metrics.confusion(scores)

    def calibration(self, scores: Any) -> list[tuple[float, float, int]]:
        """Mean confidence, accuracy and number of decisions, by bins of confidence."""
        return metrics.calibration(scores)

    def points(self, scores: Any) -> list[tuple[float, float]]:
        """True and predicted number of some sequences, where numbers are predicted."""
        return []


class BareScoring(Scoring):
    """What has no classes."""

    def per_class(self, scores: Any) -> dict[str, Array]:
        return {}

    def confusion(self, scores: Any) -> Any:
        return None

    def calibration(self, scores: Any) -> list[tuple[float, float, int]]:
        return []


class LikelihoodScoring(BareScoring):
    """How likely a sequence was thought to be."""

    def fault(self, frame: pd.DataFrame, info: Info) -> str | None:
        likely = frame["log_likelihood"].to_numpy(np.float64)
        odd = ~(np.isfinite(likely) & (likely <= 0) & (frame["symbols"].to_numpy(np.float64) >= 1))
        return f"the log likelihood of {frame['id'][odd].iloc[0]!r} is none" if odd.any() else None

    def scores(self, frame: pd.DataFrame, info: Info, thresholds: Thresholds) -> LikelihoodScores:
        columns = (frame[name].to_numpy(np.float64) for name in self.columns(info))
        return LikelihoodScores(self.task, *columns)


class SequenceScoring(BareScoring):
    """A sequence for a sequence."""

    def fault(self, frame: pd.DataFrame, info: Info) -> str | None:
        for what, column in (("targets", "target"), ("answers", "decoded")):
            found = set().union(*frame[column]) - set(info["classes"])
            if found:
                return _not_among(found, what)
        likely = frame["log_likelihood"].to_numpy(np.float64)
        odd = ~(np.isfinite(likely) & (likely <= 0) & (frame["target"] != "").to_numpy())
        return f"the target or log likelihood of {frame['id'][odd].iloc[0]!r} is none" if odd.any() else None

    def scores(self, frame: pd.DataFrame, info: Info, thresholds: Thresholds) -> SequenceScores:
        said, true = (frame[name].tolist() for name in ("decoded", "target"))
        return sequence_metrics.judge(said, true, frame["log_likelihood"].to_numpy(np.float64))


class NumberScoring(BareScoring):
    """One number a sequence."""

    def fault(self, frame: pd.DataFrame, info: Info) -> str | None:
        odd = ~np.isfinite(frame["prediction"].to_numpy(np.float64))
        return f"the prediction of {frame['id'][odd].iloc[0]!r} is not a finite number" if odd.any() else None

    def scores(self, frame: pd.DataFrame, info: Info, thresholds: Thresholds) -> NumberScores:
        return NumberScores(self.task, frame["prediction"].to_numpy(np.float64), Regression.values(frame["target"]))

    def points(self, scores: NumberScores) -> list[tuple[float, float]]:
        order = np.argsort(scores.truth, kind="stable")
        chosen = order[np.linspace(0, scores.n - 1, min(scores.n, POINTS)).round().astype(int)]
        return list(zip(scores.truth[chosen].tolist(), scores.predicted[chosen].tolist(), strict=True))


class PositionScoring(Scoring):
    """A class for every position."""

    def fault(self, frame: pd.DataFrame, info: Info) -> str | None:
        for name in self.columns(info):
            unequal = frame[name].str.len() != frame["target"].str.len()
            if unequal.any():
                return f"{name} of {frame['id'][unequal].iloc[0]!r} is not as long as its target"
        ids = pd.Series(np.repeat(frame["id"].to_numpy(str), frame["target"].str.len()))
        found = set().union(*frame["target"]) - {UNSCORED} - set(info["classes"])
        return _not_among(found) if found else _improbable(ids, np.concatenate(self._probabilities(frame, info)))

    def scores(self, frame: pd.DataFrame, info: Info, thresholds: Thresholds) -> PositionScores:
        truth = TASKS[self.task].encode(frame["target"].tolist(), info["classes"])
        return judge(self._probabilities(frame, info), list(truth), len(info["classes"]))

    def _probabilities(self, frame: pd.DataFrame, info: Info) -> list[Array]:
        """(T, K) of each sequence."""
        rows = zip(*(frame[name] for name in self.columns(info)), strict=True)
        return [np.stack(row, axis=1).astype(np.float64) for row in rows]

    def per_class(self, scores: PositionScores) -> dict[str, Array]:
        n = scores.counts.sum((0, 2))
        unknown = dict.fromkeys(("auroc", "auprc"), np.full(len(n), np.nan))
        return {"n": n, **metrics.rates(scores, scores.n), **unknown}

    def confusion(self, scores: Any) -> Any:
        return position_metrics.confusion(scores)

    def calibration(self, scores: Any) -> list[tuple[float, float, int]]:
        return position_metrics.calibration(scores)


SCORING: dict[str, Scoring] = {
    "multiclass": Scoring("multiclass"),
    "multilabel": Scoring("multilabel"),
    "regression": NumberScoring("regression"),
    "labelling": PositionScoring("labelling"),
    "generation": LikelihoodScoring("generation"),
    "transduction": SequenceScoring("transduction"),
}


def _unknown(frame: pd.DataFrame, info: Info) -> str | None:
    found = set(TASKS[info["task"]].classes(frame["target"].unique())) - set(info["classes"])
    return _not_among(found) if found else None


def _not_among(found: set[str], what: str = "targets") -> str:
    return f"{what} {names(found)} are not among the classes of run.json"


def _improbable(ids: pd.Series, p: Array, *, sums: bool = True) -> str | None:
    outside = np.asarray(~((p >= 0) & (p <= 1)).all(1))  # NaN is outside too
    if outside.any():
        return f"a probability of {ids[outside].iloc[0]!r} is NaN or outside [0, 1] ({_rows(outside)})"
    off = np.asarray(np.abs(p.sum(1) - 1) > SUM_TOLERANCE)
    if sums and off.any():
        return f"the probabilities of {ids[off].iloc[0]!r} do not sum to 1 ({_rows(off)})"
    return None


def _rows(bad: Any) -> str:
    return f"{int(bad.sum())} of {len(bad)} rows"


def names(found: Any) -> str:
    """A few names, sorted, for a message."""
    ordered = sorted(found)
    return (", ".join(map(repr, ordered[:5])) + (" ..." if len(ordered) > 5 else "")) or "nothing"
