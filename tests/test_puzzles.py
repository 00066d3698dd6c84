"""Simulated puzzles: the answer is where it should be, and nowhere else."""

import pandas as pd
import pytest

from unrolled.alphabet import DNA
from unrolled.errors import UnrolledError
from unrolled.formats import read
from unrolled.puzzles import recall
from unrolled.table import check


def test_the_label_is_the_letter_seen_so_many_steps_before_the_end():
    table = recall(n=500, steps=20, spread=5, seed=1)
    check(table, "multiclass", DNA)
    assert (table["sequence"].str[-21] == table["target"]).all()
    assert set(table["sequence"].str.len()) == set(range(21, 27))
    assert table["target"].value_counts(normalize=True).between(0.2, 0.3).all()


def test_no_other_place_tells_the_label():
    table = recall(n=4000, steps=5, spread=0)
    for t in range(1, 6):
        together = pd.crosstab(table["sequence"].str[t], table["target"], normalize="columns")
        assert together.to_numpy().max() < 0.32


def test_the_seed_decides_and_the_order_is_that_of_ids():
    assert recall(seed=3).equals(recall(seed=3))
    assert not recall(seed=3).equals(recall(seed=4))
    assert recall(n=11)["id"].is_monotonic_increasing


def test_a_card_can_ask_for_it():
    card = {"task": "multiclass", "alphabet": "dna", "simulate": {"kind": "recall", "n": 20, "steps": 3}}
    table, excluded = read(card, "recall", [])
    assert (len(table), len(excluded)) == (20, 0)
    with pytest.raises(UnrolledError, match="kind: 'recal' is unknown; choose one of families, recall"):
        read(card | {"simulate": {"kind": "recal"}}, "recall", [])
    with pytest.raises(UnrolledError, match="at least 1, 0 and 0"):
        recall(n=0)
