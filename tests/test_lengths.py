"""Metrics by input length: numbers by hand, and bands that all runs of a data set share."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from test_compare import IN, OUT
from test_compare import write_run as write_other
from unrolled import lengths
from unrolled.compare import compare
from unrolled.evaluate import evaluate
from unrolled.files import write_json

TARGET = ["AC", "ACD", "A", "DD", "CA", "DAC"]
LENGTH = [6, 9, 4, 7, 8, 10]


def write_run(root: Path, decoded: list[str], **key: Any) -> Path:
    """A run folder whose test sequences are s0, s1 ...; every symbol was thought to have the probability 1/2."""
    info = {"data": "d", "split": "s", "model": "m", "fold": 0, "seed": 0, **key}
    folder = root / "-".join(map(str, info.values()))
    frame = pd.DataFrame({"target": TARGET, "decoded": decoded, "length": LENGTH})
    frame["log_likelihood"] = -np.log(2) * (frame["target"].str.len() + 1)
    frame["id"] = frame["group"] = [f"s{i}" for i in range(len(frame))]
    validation = frame.assign(id="v" + frame["id"])
    folder.mkdir(parents=True)
    pd.concat([frame.assign(part="test"), validation.assign(part="validation")]).to_parquet(
        folder / "predictions.parquet"
    )
    costs = {"params": 10, "seconds": 2.5, "epochs": 3, "kind": "neural", "n_test": len(frame)}
    write_json(folder / "run.json", {**info, "task": "transduction", "classes": list("ACDX"), **costs})
    write_json(folder / "metrics.json", evaluate(folder / "predictions.parquet", folder / "run.json"))
    return folder


def write(runs: list[Path], out: Path, resamples: int) -> None:
    compare(runs, out, [lengths.Lengths.of(runs)], resamples=resamples)


def test_scores_of_each_band_by_hand(tmp_path):
    right, wrong = TARGET, ["AC", "ACD", "A", "DA", "C", ""]
    runs = [write_run(tmp_path, right, model="a"), write_run(tmp_path, wrong, model="a", seed=1)]
    write(runs, tmp_path, 200)
    found = pd.read_csv(tmp_path / "lengths.csv").set_index(["metric", "shortest"])
    assert found.index.get_level_values("shortest").unique().tolist() == [4, 5, 7, 8, 9, 10]
    assert found["longest"].unique().tolist() == [4, 6, 7, 8, 9, 10]
    exact = found.loc["exact_match"]
    assert exact["mean"].tolist() == [1, 1, 0.5, 0.5, 1, 0.5]
    assert exact["sequences"].eq(1).all()
    assert exact["n"].eq(2).all()
    # DA for DD: 2 of its 3 tokens; C for CA: its first; nothing for DAC: none
    np.testing.assert_allclose(found.loc["token_accuracy", "mean"], [1, 1, 5 / 6, 2 / 3, 1, 1 / 2], rtol=1e-5)
    np.testing.assert_allclose(found.loc["edit_distance", "mean"], [0, 0, 0.25, 0.25, 0, 0.5], rtol=1e-5)
    np.testing.assert_allclose(found.loc["bits_per_token", "mean"], 1, rtol=1e-5)


def test_runs_of_other_tasks_have_no_rows_and_need_none(tmp_path):
    other = write_other(tmp_path, [IN, OUT, IN, OUT], target=["in", "in", "out", "out"], data="other")
    write([other], tmp_path, 100)
    assert pd.read_csv(tmp_path / "lengths.csv").columns.tolist() == lengths.Lengths.columns
    write([other, write_run(tmp_path, TARGET)], tmp_path, 100)
    assert set(pd.read_csv(tmp_path / "lengths.csv")["data"]) == {"d"}


def test_runs_are_compared_as_those_of_any_task(tmp_path):
    runs = [write_run(tmp_path, TARGET, model="a"), write_run(tmp_path, [*TARGET[:4], "", ""], model="b")]
    compare(runs, tmp_path, resamples=200)
    pairs = pd.read_csv(tmp_path / "models.csv").set_index("metric")
    assert pairs.loc["exact_match", "difference"] == np.float64(f"{1 / 3:.6g}")
    assert pairs.loc["bits_per_token", "difference"] == 0
    assert pd.read_csv(tmp_path / "classes.csv").empty


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_every_length_has_a_band_and_no_band_is_empty(values):
    ends = lengths._even(np.array(values))
    bands = np.searchsorted(ends[1:-1], values)
    assert sorted(set(bands.tolist())) == list(range(len(ends) - 1))
    assert all(ends[band] < n <= ends[band + 1] for band, n in zip(bands, values, strict=True))
    assert len(ends) - 1 <= lengths.BANDS
