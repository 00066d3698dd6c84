"""Sequences beyond `max_length`: what is kept of them, and the certificate of what models then cannot tell apart."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from unrolled import gate, shortening
from unrolled import table as tables
from unrolled.cli import cli


@given(sequence=st.text("ACDEF", max_size=40), longest=st.integers(1, 50))
def test_shorten_keeps_both_ends(sequence: str, longest: int):
    short = shortening.shorten(sequence, longest)
    assert len(short) == min(len(sequence), longest)
    if len(sequence) > longest:
        head = (longest + 1) // 2
        assert short[:head] == sequence[:head]
        assert sequence.endswith(short[head:])
    else:
        assert short == sequence


def test_shorten_without_a_limit():
    assert shortening.shorten("MKV" * 100, None) == "MKV" * 100
    assert shortening.shorten("ABCDEFG", 1) == "A"


@pytest.mark.parametrize(("kept", "letters"), [("first", "ABC"), ("last", "EFG"), ("ends", "ABG")])
def test_the_card_names_which_end_is_kept(kept, letters):
    assert shortening.shorten("ABCDEFG", 3, kept) == letters


HALVES = [("MKWLT" * 6, "GHPRD" * 6), ("MKWLT" * 6, "CNEYF" * 6), ("AVSIQ" * 6, "GHPRD" * 6)]  # (start, end)


@pytest.mark.parametrize(
    ("kept", "longest", "same"),
    [
        ("first", 30, ["p0", "p1"]),
        ("last", 30, ["p0", "p2"]),
        ("first", 31, []),
        ("ends", 4, []),
        ("first", 60, None),
    ],
)
def test_sequences_that_max_length_makes_the_same_are_found_across_folds(kept, longest, same):
    rows = pd.DataFrame({"id": ["p0", "p1", "p2"], "sequence": [a + b for a, b in HALVES], "fold": [0, 1, 2]})
    found = shortening.across(rows, {"alphabet": "protein", "max_length": longest, "kept": kept})
    assert found.get("ids") == same
    if same is not None:
        assert (found["longer"], found["same"]) == (3, len(same))
    assert shortening.across(rows.assign(fold=[0, 0, 0]), {"alphabet": "protein", "max_length": 30})["ids"] == []


def test_letters_that_are_one_symbol_for_models_are_the_same():
    rows = pd.DataFrame({"id": ["p0", "p1"], "sequence": ["MKX" + "W" * 9, "MKB" + "C" * 9], "fold": [0, 1]})
    card = {"alphabet": "protein", "max_length": 3, "kept": "first"}
    assert shortening.across(rows, card)["ids"] == ["p0", "p1"]
    assert shortening.across(rows.assign(sequence=["MKA" + "W" * 9, "MKV" + "C" * 9]), card)["ids"] == []


def test_a_homology_split_of_sequences_cut_to_the_same_letters_stops_the_work_and_another_tells(tmp_path):
    rng = np.random.default_rng(0)
    spell = lambda n: "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), n))  # noqa: E731
    start = spell(40)
    sequences = [start + spell(200), start + spell(200), *(spell(240) for _ in range(4))]
    table = pd.DataFrame({"id": [f"p{n}" for n in range(6)], "sequence": sequences, "target": list("ABABAB")})
    tables.write(tmp_path / "table.parquet", table)
    folds = pd.DataFrame({"id": table["id"], "group": table["id"], "fold": [0, 1, 2, 0, 1, 2]})
    folds.to_parquet(tmp_path / "folds.parquet", index=False)
    card = {"title": "t", "task": "multiclass", "alphabet": "protein", "max_length": 40, "kept": "first"}
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(card))
    (tmp_path / "split.yaml").write_text(yaml.safe_dump({"group": "homology", "identity": 0.3, "folds": 3}))
    names = ("table.parquet", "folds.parquet", "data.yaml", "split.yaml", "out")
    options = ("--table", "--folds", "--data-card", "--split-card", "--out")
    arguments = [x for option, name in zip(options, names, strict=True) for x in (option, str(tmp_path / name))]
    failed = CliRunner().invoke(cli, ["certify", *arguments])
    assert "the same as one in another fold (2 in all):\n  p0\n  p1\n" in str(failed.exception)
    certificate = json.loads((tmp_path / "out/certificate.json").read_text())
    assert certificate["above_threshold"] == 0
    assert "(6 are longer): 2 are then the same as one in another fold." in certificate["statement"]
    gate.check(certificate | {"group": "cluster"})
