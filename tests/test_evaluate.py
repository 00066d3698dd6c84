"""Predictions to metrics.json: the numbers of a hand-made run, and every reason to refuse one."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from unrolled.errors import UnrolledError
from unrolled.evaluate import evaluate
from unrolled.files import write_json

MULTICLASS = {"task": "multiclass", "classes": ["in", "out"]}
MULTILABEL = {"task": "multilabel", "classes": ["in", "out"]}


def predictions(rows: list[tuple[str, str, str, float, float]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["id", "part", "target", "p:in", "p:out"])
    frame.insert(1, "group", frame["id"])
    return frame.astype({"p:in": "float32", "p:out": "float32"})


FOUR = predictions(
    [
        ("d", "validation", "out", 0.25, 0.75),
        ("c", "test", "out", 0.5, 0.5),
        ("b", "test", "out", 0.25, 0.75),
        ("a", "test", "in", 0.75, 0.25),
    ]
)
TWO_LABELS = predictions(
    [
        ("v1", "validation", "in|out", 0.4, 0.9),
        ("v2", "validation", "out", 0.2, 0.8),
        ("a", "test", "in", 0.35, 0.1),
        ("b", "test", "in|out", 0.45, 0.7),
        ("c", "test", "out", 0.25, 0.6),
    ]
)


def run(folder: Path, frame: pd.DataFrame, info: dict[str, Any]) -> dict[str, Any]:
    frame.to_parquet(folder / "predictions.parquet")
    write_json(folder / "run.json", info)
    return evaluate(folder / "predictions.parquet", folder / "run.json")


def test_multiclass(tmp_path: Path) -> None:
    report = run(tmp_path, FOUR, MULTICLASS)
    assert list(report) == [
        *("task", "metrics", "validation", "thresholds"),
        *("per_class", "confusion", "calibration", "points"),
    ]
    assert report["metrics"]["accuracy"] == pytest.approx(2 / 3)
    assert report["metrics"]["balanced_accuracy"] == pytest.approx(3 / 4)
    assert report["metrics"]["auroc"] == 1
    assert report["validation"]["accuracy"] == 1
    assert report["validation"]["auroc"] is None  # one class only
    assert report["thresholds"] is None
    assert report["per_class"][0] == pytest.approx(
        {"class": "in", "n": 1, "precision": 0.5, "recall": 1, "f1": 2 / 3, "mcc": 0.5, "auroc": 1, "auprc": 1}
    )
    assert report["confusion"] == [
        {"actual": "in", "predicted": "in", "count": 1},
        {"actual": "in", "predicted": "out", "count": 0},
        {"actual": "out", "predicted": "in", "count": 1},
        {"actual": "out", "predicted": "out", "count": 1},
    ]
    assert report["calibration"] == [
        {"confidence": 0.5, "accuracy": 0, "n": 1},
        {"confidence": 0.75, "accuracy": 1, "n": 2},
    ]


def test_multilabel_thresholds_come_from_validation(tmp_path: Path) -> None:
    report = run(tmp_path, TWO_LABELS, MULTILABEL)
    assert report["thresholds"] == pytest.approx({"in": 0.3, "out": 0.5})  # every validation row is "out"
    assert report["metrics"]["accuracy"] == 1
    assert report["metrics"]["mcc"] == pytest.approx(1)
    assert report["confusion"] == []
    assert sum(row["n"] for row in report["calibration"]) == 6


def test_report_is_json(tmp_path: Path) -> None:
    report = run(tmp_path, FOUR, {**MULTICLASS, "classes": ["in", "out"]})
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_a_class_never_seen_in_test_is_null_not_zero(tmp_path: Path) -> None:
    frame = FOUR.assign(**{"p:none": pd.Series(0.0, index=FOUR.index, dtype="float32")})
    row = run(tmp_path, frame, {**MULTICLASS, "classes": ["in", "out", "none"]})["per_class"][2]
    assert row == {
        "class": "none",
        "n": 0,
        "precision": None,
        "recall": None,
        "f1": None,
        "mcc": None,
        "auroc": None,
        "auprc": None,
    }


@pytest.mark.parametrize(("frame", "info"), [(FOUR, MULTICLASS), (TWO_LABELS, MULTILABEL)])
def test_without_validation_part(tmp_path: Path, frame: pd.DataFrame, info: dict[str, Any]) -> None:
    report = run(tmp_path, frame[frame["part"] == "test"], info)
    assert set(report["validation"].values()) == {None}
    assert report["thresholds"] in (None, {"in": 0.5, "out": 0.5})


def test_row_and_column_order_do_not_matter(tmp_path: Path) -> None:
    shuffled = FOUR.iloc[[2, 0, 3, 1], ::-1]
    assert run(tmp_path, shuffled, MULTICLASS) == run(tmp_path, FOUR, MULTICLASS)


def changed(column: str, value: object) -> pd.DataFrame:
    frame = FOUR.copy()
    frame[column] = [value, *frame[column].tolist()[1:]]
    return frame


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (FOUR.drop(columns=["part", "id"]), "columns 'id', 'part' are missing"),
        (FOUR.drop(columns="p:in"), "classes do not match those of run.json: lacks 'p:in', adds nothing"),
        (FOUR.assign(**{"p:up": 0.0}), "lacks nothing, adds 'p:up'"),
        (changed("group", None), "columns 'group' have empty cells"),
        (changed("id", "a"), "id 'a' occurs more than once"),
        (changed("part", "train"), "parts 'train' are unknown"),
        (changed("target", "in|out"), "targets 'in|out' are not among the classes"),
        (changed("p:in", float("nan")), r"a probability of 'd' is NaN or outside \[0, 1\] \(1 of 4 rows\)"),
        (changed("p:in", -0.25), "NaN or outside"),
        (changed("p:in", 0.26), r"the probabilities of 'd' do not sum to 1 \(1 of 4 rows\)"),
        (FOUR[FOUR["part"] == "validation"], "the test part is empty"),
    ],
)
def test_refuses(tmp_path: Path, frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(UnrolledError, match=message) as caught:
        run(tmp_path, frame, MULTICLASS)
    assert str(tmp_path / "predictions.parquet") in str(caught.value)
    assert "Train the run again" in str(caught.value)


def test_rows_may_sum_nearly_to_one(tmp_path: Path) -> None:
    assert run(tmp_path, changed("p:in", 0.2505), MULTICLASS)["metrics"]["accuracy"] is not None


def test_multilabel_refuses_an_empty_target(tmp_path: Path) -> None:
    with pytest.raises(UnrolledError, match="targets '' are not among"):
        run(tmp_path, TWO_LABELS.assign(target=""), MULTILABEL)


@pytest.mark.parametrize(
    ("info", "message"),
    [({"task": "multiclass"}, "has no 'classes'"), ({**MULTICLASS, "task": "ranking"}, "task 'ranking' is unknown")],
)
def test_refuses_a_run_it_does_not_understand(tmp_path: Path, info: dict[str, Any], message: str) -> None:
    with pytest.raises(UnrolledError, match=message):
        run(tmp_path, FOUR, info)


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(UnrolledError, match=r"run\.json is missing: write it with `unrolled train`"):
        evaluate(tmp_path / "predictions.parquet", tmp_path / "run.json")
    write_json(tmp_path / "run.json", MULTICLASS)
    (tmp_path / "predictions.parquet").write_bytes(b"PAR1 half a file")
    with pytest.raises(UnrolledError, match=r"predictions\.parquet is cut off or damaged"):
        evaluate(tmp_path / "predictions.parquet", tmp_path / "run.json")
