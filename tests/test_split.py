"""Folds: whole groups, balanced, stratified, deterministic."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.errors import UnrolledError
from unrolled.split import balance, make_folds, summary, warnings
from unrolled.tasks import named

LETTERS = "ACDEFGHIKLMNPQRSTVWY"


def a_table(n: int, seed: int = 0, **columns) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "id": [f"p{i:04d}" for i in range(n)],
            "sequence": ["".join(rng.choice(list(LETTERS), 30)) for _ in range(n)],
            "target": rng.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1]),
            **columns,
        }
    ).astype("str")


@st.composite
def grouped(draw):
    sizes = draw(st.lists(st.integers(1, 12), min_size=5, max_size=40))
    groups = np.repeat(np.arange(len(sizes)), sizes)
    labels = np.array(draw(st.lists(st.integers(0, 2), min_size=len(groups), max_size=len(groups))))
    return groups, np.eye(3)[labels]


@given(grouped(), st.integers(0, 5))
def test_no_group_spans_two_folds(case, seed):
    groups, labels = case
    folds = balance(groups, labels, 5, seed)
    assert all(len(set(folds[groups == g])) == 1 for g in set(groups))


@given(grouped(), st.integers(0, 5))
def test_every_fold_is_used_and_none_exceeds_a_fair_share_by_more_than_two_groups(case, seed):
    groups, labels = case
    sizes = np.bincount(balance(groups, labels, 5, seed), minlength=5)
    assert sizes.min() > 0
    assert sizes.max() <= len(groups) / 5 + 2 * np.bincount(groups).max()


@given(grouped(), st.integers(0, 5))
def test_the_same_seed_gives_the_same_folds(case, seed):
    groups, labels = case
    assert (balance(groups, labels, 5, seed) == balance(groups, labels, 5, seed)).all()


def test_sequences_by_themselves_are_stratified_to_within_one_of_each_class():
    table = a_table(997)
    folds = make_folds(table, {"group": "sequence", "folds": 5, "seed": 0}, "multiclass")
    per_fold = pd.crosstab(folds["fold"], table["target"])
    assert (per_fold.max() - per_fold.min()).max() <= 1
    assert np.ptp(folds["fold"].value_counts()) <= 1


def test_another_seed_gives_other_folds():
    table = a_table(100)
    one, two = (make_folds(table, {"group": "sequence", "folds": 5, "seed": s}, "multiclass") for s in (0, 1))
    assert (one["fold"] != two["fold"]).any()


def test_clusters_stay_whole_and_balanced_and_stratified():
    table = a_table(2000)
    clusters = pd.DataFrame({"id": table["id"], "group": [table["id"][i // 8 * 8] for i in range(2000)]})
    folds = make_folds(table, {"group": "cluster", "folds": 5, "seed": 0}, "multiclass", clusters)
    assert (folds.groupby("group")["fold"].nunique() == 1).all()
    shares = pd.crosstab(folds["fold"], table["target"], normalize="index")
    assert (shares.max() - shares.min()).max() < 0.02
    assert np.ptp(folds["fold"].value_counts()) <= 0.05 * 400


def test_multilabel_targets_are_balanced_label_by_label():
    rng = np.random.default_rng(0)
    table = a_table(1000, target=rng.choice(["a", "a|b", "b", "b|c"], 1000, p=[0.5, 0.3, 0.1, 0.1]))
    folds = make_folds(table, {"group": "sequence", "folds": 5, "seed": 0}, "multilabel")
    for name in "abc":
        counts = folds["fold"][table["target"].str.contains(name)].value_counts()
        assert np.ptp(counts) <= 2


def test_column_groups_stay_together():
    table = a_table(60, patient=[f"x{i % 12}" for i in range(60)])
    folds = make_folds(table, {"group": "column", "column": "patient", "folds": 5, "seed": 0}, "multiclass")
    assert (folds.groupby("group")["fold"].nunique() == 1).all()


def test_published_folds_are_taken_as_they_are():
    table = a_table(10, partition=[str(i % 5) for i in range(10)])
    folds = make_folds(table, {"group": "published", "column": "partition", "folds": 5}, "multiclass")
    assert folds["fold"].tolist() == [i % 5 for i in range(10)]


def test_published_words_mean_folds_also_in_two_columns():
    table = a_table(6, SET=["train", "train", "test"] * 2, VALIDATION=["True", "False", "False"] * 2)
    card = {"group": "published", "folds": 3, "column": ["SET", "VALIDATION"]}
    values = {"test False": 0, "train True": 1, "train False": 2}
    folds = make_folds(table, card | {"values": values}, "multiclass")
    assert folds["fold"].tolist() == [1, 2, 0] * 2
    with pytest.raises(UnrolledError, match=r"as the card's `values` say; it holds 'test False', 'train False'"):
        make_folds(table, card | {"values": {"test False": 0, "train True": 1}}, "multiclass")
    with pytest.raises(UnrolledError, match="no column 'VAL'"):
        make_folds(table, card | {"values": values, "column": ["SET", "VAL"]}, "multiclass")


def test_labelled_positions_and_numbers_are_kept_even():
    letters = a_table(200).assign(target=["HHE" if i % 4 else "EEH" for i in range(200)])
    numbers = a_table(200).assign(target=[str(i) for i in range(200)])
    for table, task in ((letters, "labelling"), (numbers, "regression")):
        folds = make_folds(table, {"group": "sequence", "folds": 5, "seed": 0}, task)
        for fold in summary(table, folds, named(task).strata(table["target"]))["folds"]:
            counts = list(fold["classes"].values())
            assert counts == ([10, 30] if task == "labelling" else [8] * 5)


@pytest.mark.parametrize("values", [["0", "1"], ["1", "2", "3", "4", "5"], ["a", "b", "c", "d", "e"]])
def test_a_published_column_without_the_folds_is_refused(values):
    table = a_table(10, partition=[values[i % len(values)] for i in range(10)])
    with pytest.raises(UnrolledError, match="must hold the folds 0 to 4"):
        make_folds(table, {"group": "published", "column": "partition", "folds": 5}, "multiclass")


def test_too_few_groups_are_refused():
    table = a_table(40)
    clusters = pd.DataFrame({"id": table["id"], "group": "p0000"})
    with pytest.raises(UnrolledError, match="1 groups cannot fill 5 folds"):
        make_folds(table, {"group": "cluster", "folds": 5}, "multiclass", clusters)


def test_clusters_of_another_table_are_refused():
    table = a_table(40)
    with pytest.raises(UnrolledError, match="another table: p0000"):
        make_folds(table, {"group": "cluster", "folds": 5}, "multiclass", a_table(0)[["id"]].assign(group=""))


def test_the_summary_counts_and_a_lacking_class_is_said():
    table = a_table(10, target=["rare"] + ["common"] * 9)
    folds = make_folds(table, {"group": "sequence", "folds": 5, "seed": 0}, "multiclass")
    said = summary(table, folds, named("multiclass").strata(table["target"]))
    assert [f["n"] for f in said["folds"]] == [2] * 5
    assert sum(f["classes"]["rare"] for f in said["folds"]) == 1
    assert said["n_groups"] == 10
    [sentence] = warnings(said)
    assert sentence.startswith("classes that do not occur in some folds (1 in all): 'rare' in ")


def test_many_lacking_classes_are_one_sentence():
    table = a_table(400, target=[f"rare{i}" for i in range(100)] + ["common"] * 300)
    folds = make_folds(table, {"group": "sequence", "folds": 5, "seed": 0}, "multiclass")
    [sentence] = warnings(summary(table, folds, named("multiclass").strata(table["target"])))
    assert "(100 in all)" in sentence
    assert sentence.count("'rare") == 5
    assert sentence.endswith(" and 95 more")
