"""Metrics by identity to training: numbers by hand, and the split that was never audited."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from test_compare import IN, OUT, write_run
from unrolled import bands
from unrolled.compare import compare
from unrolled.errors import UnrolledError
from unrolled.results import BANDS

TARGET = ["in", "in", "out", "out"]
PLACE = ("d", "s")


def near(folder: Path, values: list[float]) -> dict[tuple[str, str], Path]:
    frame = pd.DataFrame({"id": [f"s{i}" for i in range(len(values))], "max_identity": np.float32(values)})
    frame["definition"] = "local80"
    path = folder / "identity.parquet"
    frame.to_parquet(path)
    return {PLACE: path}


def table(runs: list[Path], identities: dict[tuple[str, str], Path], out: Path) -> pd.DataFrame:
    compare(runs, out, [bands.Near.of(identities)], resamples=200)
    return pd.read_csv(out / "bands.csv", dtype={"band": str})


def test_accuracy_of_each_band_by_hand(tmp_path):
    runs = [
        write_run(tmp_path, [IN, IN, OUT, IN], target=TARGET, model="a", seed=0),
        write_run(tmp_path, [IN, OUT, OUT, IN], target=TARGET, model="a", seed=1),
        write_run(tmp_path, [OUT, OUT, OUT, IN], target=TARGET, model="b", seed=0),
    ]
    found = table(runs, near(tmp_path, [0.1, 0.95, 0.199, 1.0]), tmp_path)
    accuracy = found[found["metric"] == "accuracy"].set_index(["model", "band"])
    assert accuracy.loc[("a", "<20"), "mean"] == 1  # s0 and s2, right in both runs
    assert accuracy.loc[("a", ">=90"), "mean"] == 0.25  # s1 right once, s3 never
    assert accuracy.loc[("b", "<20"), "mean"] == 0.5
    assert accuracy.loc[("b", ">=90"), "mean"] == 0
    assert accuracy["sequences"].eq(2).all()
    assert accuracy["definition"].eq("local80").all()
    assert accuracy["n"].to_dict() == {("a", "<20"): 2, ("b", "<20"): 1, ("a", ">=90"): 2, ("b", ">=90"): 1}
    assert (accuracy["low"] <= accuracy["mean"]).all()
    assert (accuracy["mean"] <= accuracy["high"]).all()


def test_a_band_holds_its_lower_edge(tmp_path):
    identity = [0.2, 0.3, 0.9, 0.8999]
    runs = [write_run(tmp_path, [IN, IN, OUT, OUT], target=TARGET)]
    found = table(runs, near(tmp_path, identity), tmp_path)
    assert list(dict.fromkeys(found["band"])) == ["20-30", "30-40", "80-90", ">=90"]
    assert len(BANDS) == len(bands.EDGES) + 1


def test_splits_that_were_not_audited_are_left_out(tmp_path):
    run = write_run(tmp_path, [IN, IN, OUT, OUT], target=TARGET)
    assert table([run], {}, tmp_path).empty
    assert table([run], {}, tmp_path).columns.tolist() == bands.Near.columns


def test_a_certificate_older_than_the_split_is_told(tmp_path):
    run = write_run(tmp_path, [IN, IN, OUT, OUT], target=TARGET)
    with pytest.raises(UnrolledError, match=r"has no 's3'.*certify the split again"):
        table([run], near(tmp_path, [0.1, 0.2, 0.3]), tmp_path)
