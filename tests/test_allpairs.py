"""Identities of all pairs of a table: as everybody finds them alone, and refused where they are of something else."""

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled import allpairs, audit, gate, identity, nearest, neighbours
from unrolled.audit import Terms
from unrolled.cli import cli
from unrolled.definitions import DEFINITIONS
from unrolled.errors import UnrolledError

CARDS = {
    "either": ({"alphabet": "protein"}, {"group": "homology", "definition": "either"}, "ACDEFGHIKLMNPQRSTVWYX"),
    "either-nt": ({"alphabet": "rna"}, {"group": "homology", "definition": "either-nt"}, "ACGUN"),
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
    found = neighbours.of_table(table, data, split, known=known)
    pd.testing.assert_frame_equal(found, alone)
    method = f"exhaustive: all {n * (n - 1) // 2:,} pairs aligned"
    assert found.attrs == alone.attrs | {"method": method}
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


def test_pairs_that_come_to_something_else_when_aligned_anew_are_refused(tmp_path):
    data, split, letters = CARDS["needle"]
    table, terms = related(letters, 30, 0), Terms.of_cards(data, split)
    known_of(table, terms, tmp_path)
    path = tmp_path / "identities.parquet"
    turned = pd.read_parquet(path)
    turned["identity"] = turned["identity"].to_numpy()[::-1]
    turned.to_parquet(path)
    with pytest.raises(
        UnrolledError, match=r"is damaged: pairs that are aligned anew come to something else\. Remove"
    ):
        allpairs.read(path, table, terms.definition, terms.both_strands)


def test_the_certificate_names_the_tools_that_aligned(tmp_path):
    data, split, letters = CARDS["needle"]
    table, terms = related(letters, 9, 0), Terms.of_cards(data, split)
    known = known_of(table, terms, tmp_path)
    assert known.tools == gate.versions("parasail", "numpy")
    known = dataclasses.replace(known, tools={"parasail": "0.0"})
    certificate, _ = audit.certify(table.assign(fold=np.arange(9) % 3), terms, known=known)
    assert certificate["tools"] == {"parasail": "0.0"}


def test_what_is_no_sequence_of_the_table_is_not_looked_up(tmp_path):
    data, split, letters = CARDS["needle"]
    table, terms = related(letters, 9, 0), Terms.of_cards(data, split)
    known = known_of(table, terms, tmp_path)
    with pytest.raises(KeyError):
        known.among(["s1", "s11"])


def test_fewer_threads_where_memory_does_not_suffice_for_all(tmp_path, monkeypatch):
    data, split, letters = CARDS["needle"]
    table, terms = related(letters, 9, 0), Terms.of_cards(data, split)
    one, two = sorted(map(len, table["sequence"]))[-2:]
    monkeypatch.setattr("unrolled.pairwise.memory", lambda: 2 * one * two)
    assert known_of(table, terms, tmp_path)  # which asks for two threads


@pytest.mark.parametrize("minutes", ["20", "0"], ids=["aligned", "beyond the budget"])
def test_the_commands_find_the_same_with_and_without(tmp_path, minutes):
    table = related("ACGU", 20, 3).assign(target="x")
    table.to_parquet(tmp_path / "table.parquet")
    table.assign(fold=np.arange(20) % 3, group="g").to_parquet(tmp_path / "folds.parquet")
    (tmp_path / "data.yaml").write_text("alphabet: rna\n")
    (tmp_path / "split.yaml").write_text("group: sequence\n")
    given = ["--table", str(tmp_path / "table.parquet"), "--data-card", str(tmp_path / "data.yaml")]
    known = ["--identities", str(tmp_path / "known.parquet")]

    def asked(*arguments: str) -> None:
        done = CliRunner().invoke(cli, list(arguments), catch_exceptions=False)
        assert done.exit_code == 0, done.output

    asked("identities", *given, "--minutes", minutes, "--out", known[1])
    assert (len(pd.read_parquet(known[1])) > 0) == (minutes == "20")
    given += ["--split-card", str(tmp_path / "split.yaml")]
    for out, more in (("with", known), ("without", [])):
        asked("neighbours", *given, *more, "--out", str(tmp_path / out / "neighbours.parquet"))
        asked("certify", *given, "--folds", str(tmp_path / "folds.parquet"), *more, "--out", str(tmp_path / out))
    for name in ("neighbours.parquet", "identity.parquet"):
        pd.testing.assert_frame_equal(*(pd.read_parquet(tmp_path / out / name) for out in ("with", "without")))
    said = [(tmp_path / out / "certificate.json").read_text() for out in ("with", "without")]
    assert said[0] == said[1]


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
    with pytest.raises(
        UnrolledError, match=r"identities of other sequences, or under another definition\. Remove it"
    ):
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
