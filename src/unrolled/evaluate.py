"""From the predictions of one run to its metrics.json: nothing here knows how the run was trained."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from unrolled.errors import UnrolledError
from unrolled.files import read_json
from unrolled.metrics import (
    METRICS,
    Array,
    Bools,
    Scores,
    calibration,
    class_table,
    confusion,
    decide,
    measure,
)
from unrolled.table import labels, target_matrix
from unrolled.thresholds import choose_thresholds

KEYS = ["id", "group", "part", "target"]
SUM_TOLERANCE = 1e-3  # how far a multiclass row may sum from 1: float32 softmax over many classes, not more
REMEDY = {"metrics.json": "unrolled evaluate"}


def evaluate(predictions: Path, run: Path) -> dict[str, Any]:
    """The contents of metrics.json, from predictions.parquet and run.json: metrics of the test part.

    Multilabel thresholds are chosen on the validation part, never on the test part. The `validation` metrics
    are measured at the same thresholds and therefore flatter a multilabel model. Undefined numbers are None.

    Raises UnrolledError for a missing file and for predictions not to be trusted (see `read_predictions`).
    """
    info = read_run(run)
    frame = read_predictions(predictions, info)
    validation, test = (frame[frame["part"] == part] for part in ("validation", "test"))
    thresholds = _thresholds(validation, info)
    scores = score(test, info, thresholds)
    return {
        "task": info["task"],
        "metrics": point(scores),
        "validation": point(score(validation, info, thresholds)),
        "thresholds": thresholds,
        "per_class": _per_class(scores, info["classes"]),
        "confusion": _confusion(scores, info["classes"]),
        "calibration": [dict(zip(("confidence", "accuracy", "n"), b, strict=True)) for b in calibration(scores)],
    }


def score(part: pd.DataFrame, info: dict[str, Any], thresholds: dict[str, float] | None) -> Scores:
    """Probabilities, truth and decisions of some rows of predictions; `thresholds` as in metrics.json."""
    cuts = None if thresholds is None else np.array([thresholds[name] for name in info["classes"]])
    return decide(info["task"], _probabilities(part, info), _truth(part, info), cuts)


def _probabilities(frame: pd.DataFrame, info: dict[str, Any]) -> Array:
    return frame[_columns(info)].to_numpy(np.float64)  # (N, K)


def _columns(info: dict[str, Any]) -> list[str]:
    return [f"p:{name}" for name in info["classes"]]


def _truth(frame: pd.DataFrame, info: dict[str, Any]) -> Bools:
    """Targets as (N, K) indicators; each distinct target is taken apart once."""
    codes, targets = pd.factorize(frame["target"])
    return target_matrix(targets, info["classes"], info["task"]).astype(np.bool_)[codes]


def _thresholds(validation: pd.DataFrame, info: dict[str, Any]) -> dict[str, float] | None:
    if info["task"] == "multiclass":
        return None
    best = choose_thresholds(_probabilities(validation, info), _truth(validation, info))
    return dict(zip(info["classes"], best.tolist(), strict=True))


def point(scores: Scores) -> dict[str, float | None]:
    """Every metric of the task, each sequence counted once; None where it is undefined."""
    values = measure(scores, np.ones((1, len(scores.p))))
    return {name: _number(value[0]) for name, value in values.items()}


def _number(value: float) -> float | None:
    """JSON has no NaN: an undefined number is null."""
    return None if np.isnan(value) else float(value)


def _per_class(scores: Scores, classes: list[str]) -> list[dict[str, Any]]:
    table = {name: [_number(x) for x in column] for name, column in class_table(scores).items()}
    table["n"] = scores.truth.sum(0).tolist()
    rows = zip(*table.values(), strict=True)
    return [{"class": name, **dict(zip(table, row, strict=True))} for name, row in zip(classes, rows, strict=True)]


def _confusion(scores: Scores, classes: list[str]) -> list[dict[str, Any]]:
    if scores.task == "multilabel":
        return []
    rows = zip(classes, confusion(scores).tolist(), strict=True)
    return [
        {"actual": actual, "predicted": predicted, "count": count}
        for actual, row in rows
        for predicted, count in zip(classes, row, strict=True)
    ]


# --- Reading, with the doubts that belong to it ---


def require(path: Path) -> Path:
    """The path, or UnrolledError naming the missing file and the command that writes it."""
    if not path.is_file():
        raise UnrolledError(f"{path} is missing: write it with `{REMEDY.get(path.name, 'unrolled train')}`")
    return path


def read_run(path: Path) -> dict[str, Any]:
    """run.json, checked as far as metrics depend on it."""
    info: dict[str, Any] = read_json(require(path))
    absent = [key for key in ("task", "classes") if key not in info]
    if absent:
        raise UnrolledError(f"{path} has no {_names(absent)}: train the run again")
    if info["task"] not in METRICS:
        raise UnrolledError(f"{path}: task {info['task']!r} is unknown; the tasks are {_names(METRICS)}")
    return info


def read_predictions(path: Path, info: dict[str, Any]) -> pd.DataFrame:
    """predictions.parquet, sorted by id.

    Raises UnrolledError naming the file if columns are missing, classes differ from run.json, ids repeat, a
    target or part is unknown, a probability is NaN or outside [0, 1], a multiclass row does not sum to 1
    (tolerance SUM_TOLERANCE), or no row is a test row.
    """
    try:
        frame = pd.read_parquet(require(path))
    except (OSError, ValueError) as error:  # pyarrow's errors are of these kinds
        raise UnrolledError(f"{path} cannot be read ({error}): train the run again") from error
    for check in (_check_columns, _check_rows, _check_targets, _check_probabilities):
        if problem := check(frame, info):
            raise UnrolledError(f"{path}: {problem}. Train the run again, or mend what wrote the file")
    return frame.sort_values("id", ignore_index=True)


def _check_columns(frame: pd.DataFrame, info: dict[str, Any]) -> str | None:
    wanted = set(_columns(info))
    found = {name for name in frame.columns if name.startswith("p:")}
    if absent := [name for name in KEYS if name not in frame.columns]:
        return f"columns {_names(absent)} are missing"
    if found != wanted:
        lacks, adds = _names(wanted - found), _names(found - wanted)
        return f"classes do not match those of run.json: lacks {lacks}, adds {adds}"
    return None


def _check_rows(frame: pd.DataFrame, info: dict[str, Any]) -> str | None:
    if bad := [name for name in KEYS if frame[name].isna().any()]:
        return f"columns {_names(bad)} have empty cells"
    if frame["id"].duplicated().any():
        return f"id {frame['id'][frame['id'].duplicated()].iloc[0]!r} occurs more than once"
    if unknown := set(frame["part"]) - {"validation", "test"}:
        return f"parts {_names(unknown)} are unknown (validation or test)"
    return None if (frame["part"] == "test").any() else "the test part is empty"


def _check_targets(frame: pd.DataFrame, info: dict[str, Any]) -> str | None:
    seen = {label for target in frame["target"].unique() for label in labels(target, info["task"])}
    unknown = seen - set(info["classes"])
    return f"targets {_names(unknown)} are not among the classes of run.json" if unknown else None


def _check_probabilities(frame: pd.DataFrame, info: dict[str, Any]) -> str | None:
    p = _probabilities(frame, info)
    outside = np.asarray(~((p >= 0) & (p <= 1)).all(1))  # NaN is outside too
    if outside.any():
        return f"a probability of {frame['id'][outside].iloc[0]!r} is NaN or outside [0, 1] ({_rows(outside)})"
    off = np.asarray(np.abs(p.sum(1) - 1) > SUM_TOLERANCE)
    if info["task"] == "multiclass" and off.any():
        return f"the probabilities of {frame['id'][off].iloc[0]!r} do not sum to 1 ({_rows(off)})"
    return None


def _rows(bad: Bools) -> str:
    return f"{int(bad.sum())} of {len(bad)} rows"


def _names(names: Any) -> str:
    """A few names, sorted, for a message."""
    ordered = sorted(names)
    return (", ".join(map(repr, ordered[:5])) + (" ..." if len(ordered) > 5 else "")) or "nothing"
