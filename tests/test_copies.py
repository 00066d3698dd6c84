"""The certificate of series: exact copies across folds are all found, groups in several folds stop the work."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from series_fixture import CARD, SPLIT, stays, write_stays
from unrolled import audit, bands, copies, gate
from unrolled import table as tables
from unrolled.cli import cli
from unrolled.errors import UnrolledError
from unrolled.series import Series

RANDOM = {"title": "R", "group": "sequence", "folds": 5}


def folded(which: list[int], fold: list[int]) -> pd.DataFrame:
    """Series of which those with the same number are copies."""
    found = [Series(("HR",), np.array([0.0, 1.0]), np.array([[np.nan], [float(i)]])) for i in which]
    frame = pd.DataFrame({"id": [f"s{i}" for i in range(len(which))], "fold": fold})
    frame["sequence"] = pd.Series(found, dtype=object)
    return frame.assign(group=frame["id"])


@settings(max_examples=60)
@given(rows=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=12))
def test_every_copy_in_another_fold_is_found_and_nothing_else(rows):
    which, fold = (list(column) for column in zip(*rows, strict=True))
    fold[:4] = range(len(fold[:4]))
    k = max(fold) + 1
    certificate, nearest = copies.certify(folded(which, fold), RANDOM)
    at = {name: i for i, name in enumerate(folded(which, fold)["id"])}
    for row in nearest.itertuples():
        i = at[row.id]
        other = [j for j in at.values() if which[j] == which[i] and fold[j] != fold[i]]
        trained = [j for j in other if k <= 2 or (fold[j] - fold[i]) % k != 1]
        for found, value, truth in (
            (row.nearest_other, row.max_other, other),
            (row.nearest, row.max_identity, trained),
        ):
            assert (at[found] in truth) if truth else (found == "")
            assert (value == 1) if truth else np.isnan(value)
    count = sum(
        any(which[j] == w and fold[j] != f for j in range(len(which))) for w, f in zip(which, fold, strict=True)
    )
    assert certificate["above_threshold"] == len(certificate["offenders"]) == count
    assert certificate["share_above"] == count / len(which)
    json.dumps(certificate, allow_nan=False)


def test_the_statement_says_what_was_checked_and_what_was_not():
    clean, _ = copies.certify(folded([0, 1, 2], [0, 1, 2]), RANDOM)
    assert clean["statement"].startswith("Zero of 3 series has an exact copy in another fold: all were compared")
    assert "no group (series) is in more than one fold" in clean["statement"]
    assert "alike but not equal were not looked for" in clean["statement"]
    assert clean["max_identity"] is None
    dirty, _ = copies.certify(folded([0, 0, 2], [0, 1, 2]).assign(group=["a", "a", "b"]), SPLIT)
    assert dirty["statement"].startswith("2 (66.67 %) of 3 series have an exact copy")
    assert "one group (patient) is in more than one fold" in dirty["statement"]
    assert dirty["groups_in_several_folds"] == ["a"]


def test_one_fold_is_nothing_to_check():
    with pytest.raises(UnrolledError, match="nothing to check"):
        copies.certify(folded([0, 1], [0, 0]), RANDOM)


def certify(folder, split):
    (folder / "data.yaml").write_text(yaml.safe_dump(CARD))
    (folder / "split.yaml").write_text(yaml.safe_dump(split))
    names = ("table", "folds", "data-card", "split-card", "out")
    paths = ("table.parquet", "folds.parquet", "data.yaml", "split.yaml", "out")
    arguments = [x for name, path in zip(names, paths, strict=True) for x in (f"--{name}", str(folder / path))]
    return CliRunner().invoke(cli, ["certify", *arguments])


def test_no_patient_is_in_two_folds(tmp_path):
    folds = write_stays(tmp_path).merge(stays()[["id", "patient"]], on="id")
    assert (folds.groupby("patient")["fold"].nunique() == 1).all()
    assert certify(tmp_path, SPLIT).exit_code == 0
    certificate = json.loads((tmp_path / "out/certificate.json").read_text())
    assert certificate["groups"] == 50
    assert certificate["groups_in_several_folds"] == []


def test_a_patient_that_somebody_moved_stops_the_work_and_is_named(tmp_path):
    folds = write_stays(tmp_path)
    folds.loc[folds["id"] == "s004", "fold"] = (folds.set_index("id")["fold"]["s004"] + 1) % 5
    folds.to_parquet(tmp_path / "folds.parquet", index=False)
    failed = certify(tmp_path, SPLIT)
    assert isinstance(failed.exception, UnrolledError)
    assert "groups that are in several folds (1 in all):\n  p1" in str(failed.exception)


def test_a_copy_across_folds_is_told_and_does_not_stop_a_split_that_promised_nothing(tmp_path):
    table = stays()
    table.loc[7, "sequence"] = table.loc[100, "sequence"]
    folds = write_stays(tmp_path, table)
    place = folds.set_index("id")["fold"]
    assert place["s007"] != place["s100"]
    assert certify(tmp_path, SPLIT).exit_code == 0
    certificate = json.loads((tmp_path / "out/certificate.json").read_text())
    assert {(o["id"], o["nearest"]) for o in certificate["offenders"]} == {("s007", "s100"), ("s100", "s007")}
    gate.check(certificate | {"group": "column"})


def test_bands_of_identity_are_not_drawn_where_none_was_measured(tmp_path):
    folds = write_stays(tmp_path)
    made = audit.folded(tables.read(tmp_path / "table.parquet"), folds)
    certificate, nearest = copies.certify(made, SPLIT)
    audit.write(tmp_path, certificate, nearest)
    near = bands.Near.of({("d", "s"): tmp_path / "identity.parquet"})
    assert near.numbers({"data": "d", "split": "s"}, nearest) is None


@pytest.mark.parametrize("command", ["cluster", "neighbours"])
def test_steps_that_compare_letters_refuse_numbers(tmp_path, command):
    write_stays(tmp_path)
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(CARD))
    own = {"cluster": ["--identity", "0.3"], "neighbours": ["--split-card", str(tmp_path / "data.yaml")]}[command]
    paths = ["--table", str(tmp_path / "table.parquet"), "--data-card", str(tmp_path / "data.yaml")]
    failed = CliRunner().invoke(cli, [command, *paths, *own, "--out", str(tmp_path / "out.parquet")])
    assert isinstance(failed.exception, UnrolledError)
    assert "no letters that could be aligned" in str(failed.exception)
