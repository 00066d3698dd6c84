"""From the predictions of one run to its metrics.json: nothing here knows how the run was trained."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from unrolled.errors import UnrolledError
from unrolled.files import read_json, read_parquet
from unrolled.scoring import METRICS, SCORING, Scored, measure, names, number

KEYS = ["id", "group", "part", "target"]
REMEDY = {"metrics.json": "unrolled evaluate"}


def evaluate(predictions: Path, run: Path) -> dict[str, Any]:
    """The contents of metrics.json, from predictions.parquet and run.json: metrics of the test part.

    Multilabel thresholds are chosen on the validation part, never on the test part. The `validation` metrics
    are measured at the same thresholds and therefore flatter a multilabel model. Undefined numbers are None.

    Raises UnrolledError for a missing file and for predictions not to be trusted (see `read_predictions`).
    """
    info = read_run(run)
    scoring, frame = SCORING[info["task"]], read_predictions(predictions, info)
    validation, test = (frame[frame["part"] == part] for part in ("validation", "test"))
    thresholds = scoring.thresholds(validation, info)
    scores = score(test, info, thresholds)
    return {
        "task": info["task"],
        "metrics": point(scores),
        "validation": point(score(validation, info, thresholds)),
        "thresholds": thresholds,
        "per_class": _per_class(scoring.per_class(scores), info["classes"]),
        "confusion": _confusion(scoring.confusion(scores), info["classes"]),
        "calibration": [
            dict(zip(("confidence", "accuracy", "n"), b, strict=True)) for b in scoring.calibration(scores)
        ],
        "points": [dict(zip(("true_value", "predicted_value"), p, strict=True)) for p in scoring.points(scores)],
    }


def thresholds_of(run: Path, info: dict[str, Any]) -> dict[str, float] | None:
    """The thresholds of metrics.json, from the folder of a run and its run.json; None of a task that has none.

    Raises UnrolledError for predictions that are not there, or not to be trusted, where they are needed.
    """
    if info["task"] != "multilabel":
        return None
    frame = read_predictions(run / "predictions.parquet", info)
    found: dict[str, float] | None = SCORING[info["task"]].thresholds(frame[frame["part"] == "validation"], info)
    return found


def score(part: pd.DataFrame, info: dict[str, Any], thresholds: dict[str, float] | None) -> Scored:
    """What was said and what is true, of some rows of predictions; `thresholds` as in metrics.json."""
    scores: Scored = SCORING[info["task"]].scores(part, info, thresholds)
    return scores


def point(scores: Scored) -> dict[str, float | None]:
    """Every metric of the task, each sequence counted once; None where it is undefined."""
    values = measure(scores, np.ones((1, scores.n)))
    return {name: number(value[0]) for name, value in values.items()}


def _per_class(table: dict[str, Any], classes: list[str]) -> list[dict[str, Any]]:
    numbers = {name: [number(x) for x in column] for name, column in table.items()}
    if numbers:
        numbers["n"] = [int(n) for n in table["n"]]
    rows = zip(*numbers.values(), strict=True)
    named = zip(classes if numbers else [], rows, strict=True)
    return [{"class": name, **dict(zip(numbers, row, strict=True))} for name, row in named]


def _confusion(counts: Any, classes: list[str]) -> list[dict[str, Any]]:
    if counts is None:
        return []
    return [
        {"actual": actual, "predicted": predicted, "count": count}
        for actual, row in zip(classes, counts.tolist(), strict=True)
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
        raise UnrolledError(f"{path} has no {names(absent)}: train the run again")
    if info["task"] not in METRICS:
        raise UnrolledError(f"{path}: task {info['task']!r} is unknown; the tasks are {names(METRICS)}")
    return info


def read_predictions(path: Path, info: dict[str, Any]) -> pd.DataFrame:
    """predictions.parquet, sorted by id.

    Raises UnrolledError naming the file if columns are missing, classes differ from run.json, ids repeat, a
    target or part is unknown, a probability is NaN or outside [0, 1], a multiclass row does not sum to 1
    (tolerance SUM_TOLERANCE), or no row is a test row.
    """
    frame = read_parquet(require(path))
    for check in (_check_columns, _check_rows, SCORING[info["task"]].fault):
        if problem := check(frame, info):
            raise UnrolledError(f"{path}: {problem}. Train the run again, or mend what wrote the file")
    return frame.sort_values("id", ignore_index=True)


def _check_columns(frame: pd.DataFrame, info: dict[str, Any]) -> str | None:
    wanted = set(SCORING[info["task"]].columns(info))
    found = set(frame.columns) - set(KEYS)
    if absent := [name for name in KEYS if name not in frame.columns]:
        return f"columns {names(absent)} are missing"
    if found != wanted:
        lacks, adds = names(wanted - found), names(found - wanted)
        return f"classes do not match those of run.json: lacks {lacks}, adds {adds}"
    return None


def _check_rows(frame: pd.DataFrame, info: dict[str, Any]) -> str | None:
    if bad := [name for name in KEYS if frame[name].isna().any()]:
        return f"columns {names(bad)} have empty cells"
    if frame["id"].duplicated().any():
        return f"id {frame['id'][frame['id'].duplicated()].iloc[0]!r} occurs more than once"
    if unknown := set(frame["part"].unique()) - {"validation", "test"}:
        return f"parts {names(unknown)} are unknown (validation or test)"
    return None if (frame["part"] == "test").any() else "the test part is empty"
