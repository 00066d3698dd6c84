"""Simulated puzzles: the answer is where it should be, and nowhere else."""

import pandas as pd
import pytest

from unrolled.alphabet import DNA
from unrolled.errors import UnrolledError
from unrolled.formats import read
from unrolled.puzzles import CODE, recall, translate, translation
from unrolled.table import check
from unrolled.tasks import named, of


def test_the_label_is_the_letter_seen_so_many_steps_before_the_end():
    table = recall(n=500, steps=20, spread=5, seed=1)
    check(table, named("multiclass"), DNA)
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
    with pytest.raises(UnrolledError, match="kind: 'recal' is unknown; choose one of families, recall, translation"):
        read(card | {"simulate": {"kind": "recal"}}, "recall", [])
    with pytest.raises(UnrolledError, match="at least 1, 0 and 0"):
        recall(n=0)


def test_the_code_is_the_standard_one():
    assert len(CODE) == 64
    known = {"ATG": "M", "TGG": "W", "TTT": "F", "AAA": "K", "GGG": "G", "CGA": "R", "AGC": "S", "ATA": "I"}
    assert {codon: CODE[codon] for codon in known} == known
    assert {codon for codon, letter in CODE.items() if letter == "*"} == {"TAA", "TAG", "TGA"}
    assert [list(CODE.values()).count(letter) for letter in "LSRMW"] == [6, 6, 6, 1, 1]


@pytest.mark.parametrize(
    ("dna", "protein"),
    [
        ("CCATGGCTTAAGG", "MA"),
        ("ATGTGA", "M"),
        ("AATGATGTAG", "MM"),  # the first ATG, not the one in another frame behind it
        ("ATGATAGCC", "MIA"),  # TAG out of frame stops nothing
        ("ATGGC", "M"),
        ("CCC", ""),
    ],
)
def test_translation_by_hand(dna, protein):
    assert translate(dna) == protein


def test_every_gene_has_one_start_one_frame_and_one_stop():
    table = translation(n=800, shortest=2, longest=9, ends=5, seed=1)
    check(table, of({"task": "transduction", "target_alphabet": "protein"}), DNA)
    assert set(table["target"].str.len()) == set(range(2, 10))
    starts = table["sequence"].str.find("ATG")
    assert set(starts) == set(range(6))
    for dna, start, protein in zip(table["sequence"], starts, table["target"], strict=True):
        codons = [dna[i : i + 3] for i in range(start, start + 3 * (len(protein) + 1), 3)]
        assert "".join(CODE[codon] for codon in codons) == protein + "*"
        assert 0 <= len(dna) - start - 3 * len(codons) <= 5
    assert table["target"].str[1:].str.cat().count("L") / table["target"].str[1:].str.len().sum() == pytest.approx(
        6 / 61, abs=0.02
    )


def test_genes_follow_from_the_seed_and_wrong_settings_are_refused():
    assert translation(n=30, seed=3).equals(translation(n=30, seed=3))
    assert not translation(n=30, seed=3).equals(translation(n=30, seed=4))
    for wrong in ({"n": 0}, {"shortest": 0}, {"shortest": 9, "longest": 8}, {"ends": -1}):
        with pytest.raises(UnrolledError, match="are needed"):
            translation(**wrong)
