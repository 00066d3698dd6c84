"""Identities of all pairs of a table: as everybody finds them alone, and refused where they are of something else."""

import re

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled import allpairs, audit, identity, nearest, neighbours
from unrolled.audit import Terms
from unrolled.cli import cli
from unrolled.definitions import DEFINITIONS
from unrolled.errors import UnrolledError

CARDS = {
    "local80": ({"alphabet": "protein"}, {"group": "homology"}, "ACDEFGHIKLMNPQRSTVWYX"),
    "needle": ({"alphabet": "protein"}, {"group": "homology", "definition": "needle"}, "ACDEFGHIKLMNPQRSTVWYX"),
    "local80-nt": ({"alphabet": "dna"}, {"group": "homology"}, "ACGTN"),
    "needle-nt": ({"alphabet": "rna", "strands": 1}, {"group": "homology", "definition": "needle-nt"}, "ACGU"),
}


def related(letters: str, n: int, seed: int) -> pd.DataFrame:
    """Families of copies and of mutants, in another order than that of their ids."""
    rng = np.random.default_rng(seed)
    parents = ["".join(rng.choice(list(letters), rng.integers(5, 40))) for _ in range(1 + n // 4)]
    sequences = []
    for _ in range(n):
        one = list(parents[rng.integers(len(parents))])
        for place in rng.integers(len(one), size=rng.integers(len(one) // 2 + 1)):
            one[place] = letters[rng.integers(len(letters))]
        sequences.append("".join(one))
    ids = [f"s{i}" for i in rng.permutation(n)]  # s10 is before s2
    return pd.DataFrame({"id": ids, "sequence": sequences})


def known_of(table: pd.DataFrame, terms: Terms, tmp_path, budget: float = 1e9) -> allpairs.AllPairs | None:
    made = allpairs.align(table, terms.definition, both_strands=terms.both_strands, budget=budget, threads=2)
    made.to_parquet(tmp_path / "identities.parquet", index=False)
    return allpairs.read(tmp_path / "identities.parquet", table, terms.definition, terms.both_strands)


@pytest.mark.parametrize("name", CARDS)
@settings(max_examples=15, deadline=None)
@given(n=st.integers(2, 24), seed=st.integers(0, 10**6))
def test_neighbours_and_certificates_are_the_same_whether_pairs_were_aligned_before(tmp_path_factory, name, n, seed):
    data, split, letters = CARDS[name]
    table, terms = related(letters, n, seed), Terms.of_cards(data, split)
    known = known_of(table, terms, tmp_path_factory.mktemp("known"))
    alone = neighbours.of_table(table, data, split | {"minutes": 1e9})
    pd.testing.assert_frame_equal(neighbours.of_table(table, data, split, known=known), alone)
    rng = np.random.default_rng(seed)
    kept = table.assign(fold=rng.permutation(np.arange(n) % 3)).sample(max(2, n - 3), random_state=seed)
    if kept["fold"].nunique() > 1:
        kept["fold"] = kept["fold"].rank(method="dense").astype(int) - 1
        for found, expected in zip(audit.certify(kept, terms, known=known), audit.certify(kept, terms), strict=True):
            assert found == expected if isinstance(found, dict) else found.equals(expected)


def test_no_pair_is_aligned_again(tmp_path, monkeypatch):
    data, split, letters = CARDS["local80"]
    table, terms, said = related(letters, 12, 0), Terms.of_cards(data, split), []
    known = known_of(table, terms, tmp_path)
    for module in (identity, nearest, neighbours):
        monkeypatch.setattr(module, "identities", lambda *_, **__: pytest.fail("aligned"))
    found = neighbours.of_table(table, data, split, known=known)
    assert (found.attrs["method"], found.attrs["exhaustive"]) == ("exhaustive: all 66 pairs aligned", True)
    folds = table.assign(fold=np.arange(12) % 3)
    certificate, _ = audit.certify(folds, terms, known=known, budget=0, say=said.append)
    assert (certificate["method"], certificate["pairs_checked"]) == ("exhaustive", 48)
    assert said == ["all 48 pairs are aligned already"]


def test_what_an_audit_could_not_pay_for_is_not_aligned_and_everybody_goes_on_alone(tmp_path):
    data, split, letters = CARDS["needle"]
    table, terms, said = related(letters, 12, 0), Terms.of_cards(data, split), []
    assert known_of(table, terms, tmp_path, budget=1e-5) is None
    made = allpairs.align(table, terms.definition, both_strands=False, budget=1e-5, say=said.append)
    assert (len(made), made.attrs["aligned"]) == (0, False)
    assert re.fullmatch(r"not aligning all 66 pairs, about .* on two cores: that is more than .*", said[0])


def test_no_room_for_the_longest_two_is_left_for_folds_to_find_out(tmp_path, monkeypatch):
    data, split, letters = CARDS["needle"]
    table, terms, said = related(letters, 12, 0), Terms.of_cards(data, split), []
    monkeypatch.setattr("unrolled.pairwise.memory", lambda: 10)
    assert known_of(table, terms, tmp_path) is None
    allpairs.align(table, terms.definition, both_strands=False, budget=1e9, say=said.append)
    assert "cannot be aligned" in said[0]


@pytest.mark.parametrize("wrong", ["sequence", "id", "fewer", "definition", "strands", "another file"])
def test_identities_of_something_else_are_refused(tmp_path, wrong):
    table, terms = related("ACGT", 8, 1), Terms(DEFINITIONS["local80-nt"], 0.8, both_strands=True)
    assert known_of(table, terms, tmp_path)
    other, asked = table.copy(), terms
    if wrong in ("sequence", "id"):
        other.loc[3, wrong] += "A"
    elif wrong == "fewer":
        other = table.iloc[1:]
    elif wrong == "definition":
        asked = terms._replace(definition=DEFINITIONS["needle-nt"])
    elif wrong == "strands":
        asked = terms._replace(both_strands=False)
    else:
        table.to_parquet(tmp_path / "identities.parquet")
    with pytest.raises(UnrolledError, match=r"identities of other sequences, or under another definition: make it"):
        allpairs.read(tmp_path / "identities.parquet", other, asked.definition, asked.both_strands)


def test_more_neighbours_than_memory_holds_are_told_before_they_are_listed(tmp_path, monkeypatch):
    data, split, _ = CARDS["needle"]
    table = pd.DataFrame({"id": list("abcd"), "sequence": ["MKTAYIAK"] * 4})
    known = known_of(table, Terms.of_cards(data, split), tmp_path)
    monkeypatch.setattr(neighbours, "memory", lambda: 599)
    with pytest.raises(UnrolledError, match=r"more than 6 pairs of 4 sequences .* memory does not hold"):
        neighbours.of_table(table, data, split, known=known)


def test_a_series_of_numbers_has_no_identities(tmp_path):
    card, table = tmp_path / "numbers.yaml", tmp_path / "table.parquet"
    card.write_text("alphabet: numeric\nvariables: [x]\n")
    table.touch()
    done = CliRunner().invoke(
        cli, ["identities", "--table", str(table), "--data-card", str(card), "--out", str(tmp_path / "new.parquet")]
    )
    assert isinstance(done.exception, UnrolledError)
    assert "series of numbers have no letters" in str(done.exception)
