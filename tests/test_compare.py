"""Tables of an experiment: numbers by hand, and what the intervals promise, by simulation."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

from unrolled.bootstrap import draw, draw_counts, interval
from unrolled.compare import SUMMARY, compare
from unrolled.errors import UnrolledError
from unrolled.evaluate import evaluate
from unrolled.files import read_json, write_json
from unrolled.means import centred
from unrolled.metrics import decide
from unrolled.scoring import METRICS

TABLES = ["runs", "summary", "models", "splits", "history", "classes", "confusion", "calibration", "points"]
IN, OUT = (0.75, 0.25), (0.25, 0.75)


def write_run(
    root: Path,
    p: Any,
    *,
    target: list[str],
    group: list[str] | None = None,
    task: str = "multiclass",
    **key: Any,
) -> Path:
    """A run folder whose test sequences are s0, s1 ...; the validation part is one more of each row."""
    info = {"data": "d", "split": "s", "model": "m", "fold": 0, "seed": 0, **key}
    folder = root / "-".join(map(str, info.values()))
    frame = pd.DataFrame(np.asarray(p, np.float32), columns=["p:in", "p:out"])
    frame.insert(0, "id", [f"s{i}" for i in range(len(frame))])
    frame.insert(1, "group", frame["id"] if group is None else group)
    frame.insert(2, "target", target)
    validation = frame.assign(id="v" + frame["id"])
    parts = pd.concat([frame.assign(part="test"), validation.assign(part="validation")])
    folder.mkdir(parents=True)
    parts.to_parquet(folder / "predictions.parquet")
    costs = {"params": 1234567, "seconds": 2.5, "epochs": 3, "kind": "neural", "n_test": len(frame)}
    write_json(folder / "run.json", {**info, "task": task, "classes": ["in", "out"], **costs})
    write_json(folder / "metrics.json", evaluate(folder / "predictions.parquet", folder / "run.json"))
    return folder


def tables(runs: list[Path], out: Path, **options: Any) -> dict[str, pd.DataFrame]:
    compare(runs, out, **{"resamples": 200, **options})
    return {name: pd.read_csv(out / f"{name}.csv") for name in TABLES}


def noisy(rng: np.random.Generator, right: np.ndarray) -> np.ndarray:
    """Probabilities of "in" (the truth) and "out", above one half where the model is right."""
    p = np.where(right, 0.5, 0.0) + rng.uniform(0.01, 0.49, size=len(right))
    return np.stack([p, 1 - p], axis=1)


@pytest.fixture
def golden(tmp_path: Path) -> list[Path]:
    """Model a: two seeds with accuracy 3/4 and 1/2; model b: one run with 1/4."""
    target = ["in", "in", "out", "out"]
    return [
        write_run(tmp_path, [IN, IN, OUT, IN], target=target, model="a", seed=0),
        write_run(tmp_path, [IN, OUT, OUT, IN], target=target, model="a", seed=1),
        write_run(tmp_path, [OUT, OUT, OUT, IN], target=target, model="b", seed=0),
    ]


# --- Numbers by hand ---


def test_golden_tables(golden: list[Path], tmp_path: Path) -> None:
    (golden[0] / "history.csv").write_text("epoch,seconds,train_loss\n0,1.5,0.7\n1,1.4,0.6\n")
    found = tables(golden, tmp_path / "tables")
    runs = found["runs"]
    names = list(METRICS["multiclass"])
    assert list(runs)[: 5 + len(names)] == ["data", "split", "model", "fold", "seed", *names]
    assert list(runs)[5 + len(names) :] == [
        *("params", "seconds", "epochs", "best_epoch", "peak_memory_mb", "tokens_per_second"),
        *("n_train", "n_validation", "n_test", "n_shortened", "kind"),
    ]
    assert runs["accuracy"].tolist() == [0.75, 0.5, 0.25]
    assert runs["params"].tolist() == [1234567] * 3

    summary = found["summary"]
    assert list(summary) == ["data", "split", "model", "metric", "mean", "low", "high", "n"]
    assert summary["metric"].tolist() == names * 2
    accuracy = summary[summary["metric"] == "accuracy"]
    assert accuracy["mean"].tolist() == [0.625, 0.25]
    assert accuracy["n"].tolist() == [2, 1]
    assert (accuracy["low"] < accuracy["mean"]).all()
    assert (accuracy["high"] > accuracy["mean"]).all()

    models = found["models"]
    assert list(models) == ["data", "split", "metric", "model", "other", "difference", "low", "high"]
    row = models[models["metric"] == "accuracy"].iloc[0]
    assert (row["model"], row["other"], row["difference"]) == ("a", "b", 0.375)
    assert len(found["splits"]) == 0

    history = found["history"]
    assert list(history) == ["data", "split", "model", "fold", "seed", "epoch", "seconds", "train_loss"]
    assert history["train_loss"].tolist() == [0.7, 0.6]

    counts = found["confusion"].set_index(["model", "actual", "predicted"])["count"]
    assert counts["a"].tolist() == [3, 1, 2, 2]  # in-in, in-out, out-in, out-out over two seeds
    assert counts["b"].tolist() == [0, 2, 1, 1]

    classes = found["classes"]
    assert list(classes)[3:] == ["class", "n", "precision", "recall", "f1", "mcc", "auroc", "auprc"]
    row = classes.iloc[0]
    assert (row["class"], row["n"]) == ("in", 2)
    assert row["recall"] == pytest.approx((1 + 1 / 2) / 2)
    assert row["precision"] == pytest.approx((2 / 3 + 1 / 2) / 2, rel=1e-5)

    assert found["calibration"].to_numpy().tolist() == [
        ["d", "s", "a", 0.75, 0.625, 8],
        ["d", "s", "b", 0.75, 0.25, 4],
    ]


def test_interval_by_enumeration(tmp_path: Path) -> None:
    """Two groups, one right, one wrong: the resampled accuracy is 0, 1/2, 1 with odds 1 : 2 : 1."""
    runs = [write_run(tmp_path, [IN, OUT], target=["in", "in"])]
    row = tables(runs, tmp_path / "t", resamples=1000)["summary"].iloc[0]
    assert (row["mean"], row["low"], row["high"]) == (0.5, 0, 1)
    counts = draw_counts(2, 4000, (0, "groups"))
    assert (counts.sum(0) == 2).all()
    shares = np.bincount(counts[0].astype(int)) / 4000
    np.testing.assert_allclose(shares, [0.25, 0.5, 0.25], atol=0.03)


def test_files_end_lines_with_a_newline_alone(golden: list[Path], tmp_path: Path) -> None:
    tables(golden, tmp_path / "t")
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == sorted(f"{n}.csv" for n in TABLES)
    assert b"\r" not in (tmp_path / "t" / "runs.csv").read_bytes()


def test_no_history_still_has_its_columns(golden: list[Path], tmp_path: Path) -> None:
    history = tables(golden, tmp_path / "t")["history"]
    assert len(history) == 0
    assert list(history)[4:7] == ["seed", "epoch", "seconds"]


def test_tasks_may_differ_between_data_sets(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path, [IN, OUT], target=["in", "out"], data="one"),
        write_run(tmp_path, [IN, OUT], target=["in", "in|out"], data="two", task="multilabel"),
    ]
    found = tables(runs, tmp_path / "t")
    assert found["runs"]["balanced_accuracy"].isna().tolist() == [False, True]
    assert found["runs"]["jaccard"].isna().tolist() == [True, False]
    assert found["confusion"]["data"].unique().tolist() == ["one"]
    two = found["summary"][found["summary"]["data"] == "two"]
    assert two["metric"].tolist() == list(METRICS["multilabel"])


def test_splits_are_compared_within_a_model(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path, [IN, IN, IN, OUT], target=["in"] * 4, split="random"),
        write_run(tmp_path, [IN, IN, OUT, OUT], target=["in"] * 4, split="cluster30"),
    ]
    splits = tables(runs, tmp_path / "t")["splits"]
    assert list(splits) == ["data", "model", "metric", "split", "other", "difference", "low", "high"]
    row = splits[splits["metric"] == "accuracy"].iloc[0]
    assert (row["split"], row["other"], row["difference"]) == ("random", "cluster30", 0.25)
    assert row["low"] < row["difference"] < row["high"]


# --- What the intervals promise ---


def accuracy_interval(right: np.ndarray, codes: np.ndarray, key: int) -> tuple[float, float]:
    p = np.where(right[:, None], IN, OUT)
    truth = np.tile([True, False], (len(right), 1))
    counts = draw_counts(int(codes.max()) + 1, 400, (key,))
    W = counts[codes].T
    return interval(METRICS["multiclass"]["accuracy"](decide("multiclass", p, truth), W))


def coverage(groups: int, size: int, by_group: bool) -> float:
    """Share of 200 simulated test sets whose interval holds the true accuracy of 0.7; a group errs together."""
    rng = np.random.default_rng(0)
    held = []
    for trial in range(200):
        right = np.repeat(rng.random(groups) < 0.7, size)
        codes = np.arange(groups * size)
        low, high = accuracy_interval(right, codes // size if by_group else codes, trial)
        held.append(low <= 0.7 <= high)
    return float(np.mean(held))


def test_the_interval_covers_the_truth() -> None:
    assert 0.90 <= coverage(150, 1, by_group=True) <= 0.98


def test_only_resampling_groups_covers_the_truth_of_clustered_data() -> None:
    assert 0.90 <= coverage(100, 5, by_group=True) <= 0.98
    assert coverage(100, 5, by_group=False) < 0.75


def widths(table: pd.DataFrame, metric: str = "accuracy") -> np.ndarray:
    rows = table[table["metric"] == metric]
    return (rows["high"] - rows["low"]).to_numpy()


def test_clusters_widen_the_interval(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    p = noisy(rng, np.repeat(rng.random(40) < 0.6, 5))
    clusters = [f"c{i // 5}" for i in range(200)]
    runs = [
        write_run(tmp_path, p, target=["in"] * 200, model="m", split="random"),
        write_run(tmp_path, p, target=["in"] * 200, model="m", split="cluster30", group=clusters),
    ]
    alone, clustered = widths(tables(runs, tmp_path / "t")["summary"])
    assert clustered > 1.8 * alone  # sqrt(5) in theory


def test_pairing_shrinks_the_difference(tmp_path: Path) -> None:
    """Two models that fail on nearly the same sequences differ by little, though each varies a lot."""
    rng = np.random.default_rng(2)
    right = rng.random(200) < 0.6
    almost = right.copy()
    almost[np.flatnonzero(right)[:4]] = False
    runs = [
        write_run(tmp_path, noisy(rng, right), target=["in"] * 200, model="a"),
        write_run(tmp_path, noisy(rng, almost), target=["in"] * 200, model="b"),
    ]
    found = tables(runs, tmp_path / "t")
    row = found["models"].iloc[0]
    assert row["difference"] == pytest.approx(0.02)
    assert widths(found["models"])[0] < widths(found["summary"]).min() / 2


def test_the_same_model_twice_does_not_differ(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    target = rng.choice(["in", "out"], size=60).tolist()
    runs = []
    for seed in range(3):
        p = noisy(rng, rng.random(60) < 0.6)
        runs += [write_run(tmp_path, p, target=target, model=model, seed=seed) for model in "ab"]
    models = tables(runs, tmp_path / "t")["models"]
    assert len(models) == len(METRICS["multiclass"])
    assert (models[["difference", "low", "high"]] == 0).all(axis=None)


def test_the_order_of_rows_does_not_matter(golden: list[Path], tmp_path: Path) -> None:
    expected = tables(golden, tmp_path / "before")["models"]
    file = golden[2] / "predictions.parquet"
    pd.read_parquet(file).iloc[::-1].to_parquet(file)
    pd.testing.assert_frame_equal(tables(golden, tmp_path / "after")["models"], expected)


def test_seeds_widen_the_interval(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    same = noisy(rng, rng.random(300) < 0.7)
    runs = []
    for seed, share in enumerate([0.5, 0.7, 0.9]):
        runs.append(write_run(tmp_path, same, target=["in"] * 300, model="steady", seed=seed))
        p = noisy(rng, rng.random(300) < share)
        runs.append(write_run(tmp_path, p, target=["in"] * 300, model="moody", seed=seed))
    steady, moody = widths(tables(runs, tmp_path / "t")["summary"])
    assert moody > 2 * steady


def test_the_interval_of_ece_holds_its_mean(tmp_path: Path) -> None:
    """Plain percentiles would not: resampling a perfectly calibrated model (error 0) only adds error."""
    p = np.repeat([0.55, 0.65, 0.75, 0.85, 0.95], 20)
    target = [label for right in (11, 13, 15, 17, 19) for label in ["in"] * right + ["out"] * (20 - right)]
    runs = [write_run(tmp_path, np.stack([p, 1 - p], axis=1), target=target)]
    row = tables(runs, tmp_path / "t")["summary"].query("metric == 'ece'").iloc[0]
    assert row["mean"] == pytest.approx(0, abs=1e-6)
    assert row["low"] <= row["mean"] < row["high"]


def test_draws_that_miss_rare_classes_are_moved_back_onto_the_mean(tmp_path: Path) -> None:
    """A class of one sequence that is never found is in no draw but two of three: macro-F1 would seem better."""
    rng = np.random.default_rng(5)
    target = ["in"] * 60 + ["out"]
    said_in = np.append(rng.random(60) < 0.9, True)
    runs = [write_run(tmp_path, noisy(rng, said_in), target=target)]
    summary = tables(runs, tmp_path / "t")["summary"].set_index("metric")
    row = summary.loc["macro_f1"]
    assert row["low"] < row["mean"] < row["high"]
    assert abs((row["low"] + row["high"]) / 2 - row["mean"]) < (row["high"] - row["low"]) / 4


@pytest.mark.parametrize(
    ("metric", "mean", "range_"), [("accuracy", 0.5, (0, 1)), ("mcc", -0.9, (-1, 1)), ("rmse", 0.1, (0, np.inf))]
)
def test_draws_are_moved_only_where_they_lie_beside_the_mean_and_stay_in_bounds(
    metric: str, mean: float, range_: tuple[float, float]
) -> None:
    rng = np.random.default_rng(0)
    fair = mean + rng.normal(0, 0.2, 1000)
    fair -= fair.mean() - mean - 0.01  # as far as chance goes
    assert centred(fair, mean, metric) is fair
    moved = centred(np.append(fair + 0.1, np.nan), mean, metric)
    known = moved[:-1]
    assert np.isnan(moved[-1])
    inside = (known > range_[0]) & (known < range_[1])
    np.testing.assert_allclose(known[inside], (fair - 0.01)[inside], atol=1e-12)
    assert known.min() >= range_[0]
    assert known.max() <= range_[1]


def test_a_band_without_sequences_in_a_run_counts_none(tmp_path: Path) -> None:
    runs = [write_run(tmp_path, [IN, OUT], target=["in", "in"], fold=fold) for fold in (0, 1)]

    @dataclass(frozen=True)
    class First:
        """All sequences of fold 0."""

        name: ClassVar = "first"
        columns: ClassVar = [*SUMMARY, "band", "sequences"]

        def numbers(self, info: dict[str, Any], test: pd.DataFrame) -> np.ndarray | None:
            return np.zeros(len(test), dtype=np.intp) if info["fold"] == 0 else None

        def described(self, table: pd.DataFrame) -> pd.DataFrame:
            return table

    compare(runs, tmp_path / "t", [First()], resamples=20)
    assert set(pd.read_csv(tmp_path / "t/first.csv")["sequences"]) == {1}


def test_one_group_has_no_interval(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path, [IN, IN, OUT], target=["in"] * 3, fold=0),
        write_run(tmp_path, [IN, OUT, OUT], target=["in"] * 3, fold=1, group=["g"] * 3),
    ]
    row = tables(runs, tmp_path / "t")["summary"].iloc[0]
    assert row["mean"] == 0.5
    assert np.isnan(row["low"])
    assert np.isnan(row["high"])


def test_an_undefined_metric_stays_blank(tmp_path: Path) -> None:
    summary = tables([write_run(tmp_path, [IN, OUT], target=["in", "in"])], tmp_path / "t")["summary"]
    row = summary.query("metric == 'auroc'").iloc[0]
    assert row["n"] == 0
    assert row[["mean", "low", "high"]].isna().all()


def test_blocks_of_weights_do_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    p = noisy(rng, rng.random(30) < 0.6)
    scores = decide("multiclass", p, np.tile([True, False], (30, 1)))
    counts, codes = draw_counts(10, 50, (0,)), np.arange(30) // 3
    whole = draw(scores, codes, counts)
    for block in (1, 100):
        monkeypatch.setattr("unrolled.bootstrap.BLOCK", block)
        found = draw(scores, codes, counts)
        pd.testing.assert_series_equal(pd.Series(found.point, dtype=float), pd.Series(whole.point, dtype=float))
        for name, draws in found.draws.items():
            np.testing.assert_allclose(draws, whole.draws[name], rtol=1e-12, atol=1e-12)


# --- Determinism ---


def test_the_order_of_runs_changes_no_number(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    runs = []
    for fold in range(2):
        target = rng.choice(["in", "out"], size=40).tolist()
        for model in "abc":
            for seed in range(2):
                key = {"model": model, "fold": fold, "seed": seed}
                runs.append(write_run(tmp_path, noisy(rng, rng.random(40) < 0.6), target=target, **key))
    forward, backward = tables(runs, tmp_path / "f"), tables(runs[::-1], tmp_path / "b")
    assert forward["summary"]["model"].unique().tolist() == ["a", "b", "c"]
    assert backward["summary"]["model"].unique().tolist() == ["c", "b", "a"]
    for name in ("summary", "classes", "confusion", "calibration", "runs"):
        keys = [c for c in forward[name] if forward[name][c].dtype.kind not in "f"]
        pd.testing.assert_frame_equal(
            forward[name].sort_values(keys, ignore_index=True),
            backward[name].sort_values(keys, ignore_index=True),
        )
    ab = forward["models"].query("model == 'a' and other == 'b'")[["difference", "low", "high"]].to_numpy()
    ba = backward["models"].query("model == 'b' and other == 'a'")[["difference", "high", "low"]].to_numpy()
    np.testing.assert_allclose(ab, -ba, rtol=1e-5, atol=1e-9)


def test_the_same_seed_gives_the_same_bytes(golden: list[Path], tmp_path: Path) -> None:
    for out, seed in (("one", 0), ("two", 0), ("other", 1)):
        compare(golden, tmp_path / out, resamples=100, seed=seed)
    one, two, other = ((tmp_path / out / "summary.csv").read_bytes() for out in ("one", "two", "other"))
    assert one == two != other


def test_nothing_is_printed_without_a_terminal(
    golden: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tables(golden, tmp_path / "t")
    assert capfd.readouterr() == ("", "")


# --- Refusals ---


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("run.json", "unrolled train"),
        ("predictions.parquet", "unrolled train"),
        ("metrics.json", "unrolled evaluate"),
    ],
)
def test_a_missing_file_is_named_with_its_remedy(golden: list[Path], tmp_path: Path, name: str, remedy: str) -> None:
    (golden[1] / name).unlink()
    with pytest.raises(UnrolledError, match=f"write it with `{remedy}`") as caught:
        compare(golden, tmp_path / "t")
    assert str(golden[1] / name) in str(caught.value)
    assert not (tmp_path / "t").exists()


def test_a_run_given_twice(golden: list[Path], tmp_path: Path) -> None:
    copy = shutil.copytree(golden[0], tmp_path / "copy")
    with pytest.raises(UnrolledError, match="are the same run"):
        compare([*golden, copy], tmp_path / "t")


def configured(path: Path, **config: Any) -> None:
    """Give a run settings."""
    write_json(path / "run.json", read_json(path / "run.json") | {"config": config})


@pytest.mark.parametrize(
    ("first", "second", "named"),
    [
        ({"train": {"max_epochs": 9}}, {"train": {"max_epochs": 5}}, "train.max_epochs is 9 in the first and 5 in"),
        ({"train": {"plateau": {"factor": 0.5}}}, {"train": {}}, "train.plateau.factor is 0.5 in the first and 'ab"),
        ({"data": {"max_length": None}}, {"data": {"max_length": 50}}, "data.max_length is None in the first and 50"),
        ({"model": {"k": 3}}, {"model": {"k": 4}}, "model.k is 3 in the first and 4 in"),
    ],
)
def test_runs_of_one_model_with_different_settings(
    golden: list[Path], tmp_path: Path, first: dict, second: dict, named: str
) -> None:
    configured(golden[0], **first)
    configured(golden[1], **second)
    with pytest.raises(UnrolledError, match=named) as caught:
        compare(golden, tmp_path / "t")
    assert str(caught.value).startswith(f"{golden[0]} and {golden[1]} are runs of one model")
    assert "Remove the folder of the one that is out of date" in str(caught.value)
    assert not (tmp_path / "t").exists()


def test_titles_paths_and_other_models_may_differ(golden: list[Path], tmp_path: Path) -> None:
    for i, path in enumerate(golden):
        train = {"max_epochs": 9 if i < 2 else 5}  # the third is of another model
        data = {"task": "multiclass", "title": f"{i}", "citation": f"{i}"}
        configured(path, data=data, train=train, paths={"out": f"{i}"}, cell={"seed": i}, wandb={"mode": f"{i}"})
    tables(golden, tmp_path / "t")


def test_models_tested_on_different_sequences(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path, [IN, OUT, IN], target=["in"] * 3, model="a"),
        write_run(tmp_path, [IN, OUT], target=["in"] * 2, model="b"),
    ]
    with pytest.raises(UnrolledError, match="on different sequences"):
        compare(runs, tmp_path / "t")


def test_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(UnrolledError, match="at least one run"):
        compare([], tmp_path / "t")


def test_several_processes_give_the_same_tables(golden: list[Path], tmp_path: Path) -> None:
    alone, together = (tables(golden, tmp_path / str(n), processes=n) for n in (1, 2))
    assert all(alone[name].equals(together[name]) for name in TABLES)
