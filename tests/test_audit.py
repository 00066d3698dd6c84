"""Audits of folds: exhaustive and sampled, what is found, what is said of it, and what is not said."""

import json
import os
import stat

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled import audit, candidates, gate, inputs, nearest
from unrolled.audit import Terms
from unrolled.definitions import DEFINITIONS
from unrolled.errors import UnrolledError
from unrolled.identity import identities
from unrolled.nearest import Sample, cross, crossing_cost

LETTERS = list("ACDEFGHIKLMNPQRSTVWY")
NEEDLE = DEFINITIONS["needle"]
TERMS = Terms(NEEDLE, 0.3, both_strands=False)


def unrelated(n: int, length: int = 80, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(LETTERS, length)) for _ in range(n)]


def mutant(sequence: str, share: float, seed: int = 1) -> str:
    """The sequence with this share of its letters kept and every other one changed."""
    rng = np.random.default_rng(seed)
    kept = set(rng.permutation(len(sequence))[: round(share * len(sequence))].tolist())
    change = dict(zip(LETTERS, LETTERS[7:] + LETTERS[:7], strict=True))
    return "".join(c if i in kept else change[c] for i, c in enumerate(sequence))


def folded(sequences: list[str], folds: list[int]) -> pd.DataFrame:
    return pd.DataFrame({"id": [f"s{i:03}" for i in range(len(sequences))], "sequence": sequences, "fold": folds})


@pytest.fixture(scope="module")
def clean() -> pd.DataFrame:
    """40 unrelated proteins in four folds."""
    return folded(unrelated(40), [i % 4 for i in range(40)])


def test_of_unrelated_sequences_zero_is_said_because_all_pairs_were_aligned(clean):
    certificate, near = audit.certify(clean, TERMS)
    assert certificate["statement"].startswith("Zero of 40 sequences")
    assert certificate["method"] == "exhaustive"
    assert certificate["pairs_checked"] == certificate["pairs"] == 600 == crossing_cost(*_columns(clean))[0]
    assert certificate["above_threshold"] == 0
    assert certificate["offenders"] == []
    assert certificate["residual"] is None
    assert 0 < certificate["max_identity"] < 0.3
    assert near["max_other"].max() == pytest.approx(certificate["max_identity"], abs=1e-6)


def test_a_homolog_in_another_fold_is_named_from_both_sides(clean):
    rows = clean.copy()
    rows.loc[7, "sequence"] = mutant(rows.loc[4, "sequence"], 0.4)  # folds 3 and 0
    certificate, _ = audit.certify(rows, TERMS)
    assert [(o["id"], o["nearest"], o["fold"], o["nearest_fold"]) for o in certificate["offenders"]] == [
        ("s004", "s007", 0, 3),
        ("s007", "s004", 3, 0),
    ]
    assert certificate["above_threshold"] == 2
    assert certificate["pairs_above"] == 1
    assert certificate["max_identity"] == pytest.approx(0.4, abs=0.05)


def test_a_homolog_in_the_same_fold_is_no_leak(clean):
    rows = clean.copy()
    rows.loc[8, "sequence"] = rows.loc[4, "sequence"]
    assert audit.certify(rows, TERMS)[0]["above_threshold"] == 0


def test_what_is_validated_on_is_not_what_is_trained_on(clean):
    rows = clean.copy()
    rows.loc[5, "sequence"] = rows.loc[4, "sequence"]  # fold 1 validates where fold 0 is tested
    near = audit.certify(rows, TERMS)[1].set_index("id")
    assert near.loc["s004", "max_other"] == 1
    assert near.loc["s004", "nearest_other"] == "s005"
    assert near.loc["s004", "max_identity"] < 0.3
    assert near.loc["s005", "max_identity"] == 1  # fold 0 is trained on where fold 1 is tested


def test_each_nearest_neighbour_is_the_one_that_all_alignments_give(clean):
    sequences, folds = _columns(clean)
    found = cross(sequences, folds, NEEDLE, 0.3, threads=2)
    pairs = np.array([(i, j) for i in range(40) for j in range(40)])
    table = identities(sequences, sequences, pairs, NEEDLE).reshape(40, 40)
    for i in range(40):
        for fold in range(4):
            rows = np.flatnonzero(folds == fold)
            if fold != folds[i]:
                assert found.identity[i, fold] == table[i, rows].max()
                assert found.nearest[i, fold] == rows[table[i, rows].argmax()]


@settings(max_examples=20)
@given(order=st.permutations(range(40)), block=st.integers(1, 700))
def test_neither_the_order_of_rows_nor_the_size_of_blocks_matters(clean, order, block):
    rows = clean.copy()
    rows.loc[9, "sequence"] = rows.loc[6, "sequence"] = rows.loc[4, "sequence"]
    before = audit.certify(rows, TERMS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest, "BLOCK", block)
        after = audit.certify(rows.iloc[list(order)], TERMS)
    assert before[0] == after[0]
    pd.testing.assert_frame_equal(before[1], after[1])


@pytest.mark.slow
def test_beyond_the_budget_it_searches_and_samples_and_never_says_zero(clean):
    certificate, _ = audit.certify(clean, TERMS, budget=0.004)
    assert certificate["method"] == "search and sample"
    assert certificate["statement"].startswith("None of 40 sequences found")
    search = certificate["search"]
    assert search["aligned"] == search["proposed"] <= certificate["pairs_checked"] - certificate["residual"]["pairs"]
    assert (
        f"(sensitivity 5.7) proposed {search['proposed']} pairs, and all, at least the best"
        in (certificate["statement"])
    )
    assert "zero" not in certificate["statement"].lower()
    residual = certificate["residual"]
    assert certificate["pairs_checked"] < certificate["pairs"]
    assert residual["hits"] == 0
    assert residual["upper_pairs"] >= 1
    assert certificate["tools"]["mmseqs"]


@pytest.mark.slow
def test_candidates_that_the_budget_does_not_pay_for_count_as_not_looked_at(clean):
    rows = clean.assign(
        sequence=[mutant(clean["sequence"][0], 0.25, seed=i) for i in range(40)]
    )  # all are candidates
    certificate, _ = audit.certify(rows, Terms(NEEDLE, 0.9, both_strands=False), budget=0.004)
    search, residual = certificate["search"], certificate["residual"]
    assert 40 <= search["aligned"] < search["proposed"]
    assert residual["population"] == certificate["pairs"] - search["aligned"]
    assert f"the {search['aligned']} likeliest of them, every sequence's best first" in certificate["statement"]
    assert "at least the best" not in certificate["statement"]


def test_a_budget_too_small_for_every_sequence_is_refused_before_the_search(clean, monkeypatch):
    monkeypatch.setattr(candidates, "likely", lambda *_, **__: pytest.fail("searched"))
    for budget in (0, 0.0005):
        with pytest.raises(UnrolledError, match=r"fewer alignments than there are sequences \(40\)"):
            audit.certify(clean, TERMS, budget=budget)


@pytest.mark.slow
def test_the_search_proposes_the_homologs_first(clean):
    rows = clean.copy()
    rows.loc[7, "sequence"] = mutant(rows.loc[4, "sequence"], 0.5)
    certificate, _ = audit.certify(rows, TERMS, budget=0.004)
    assert {o["id"] for o in certificate["offenders"]} == {"s004", "s007"}
    assert certificate["statement"].startswith("2 (5.00 %) of 40")


@pytest.mark.parametrize(
    ("n", "hits", "bound"),
    # Rule of three (3 / n), and upper limits of Clopper & Pearson from the binomial distribution itself.
    [(1000, 0, 0.002991), (100, 0, 0.029513), (10, 1, 0.394163), (50, 3, 0.147837), (5, 5, 1.0), (0, 0, 1.0)],
)
def test_what_a_sample_bounds(n, hits, bound):
    sample = Sample(n, hits, population=10**6)
    assert sample.bound == pytest.approx(bound, abs=1e-6)
    if 0 < n != hits:
        from scipy.stats import binom

        assert binom.cdf(hits, n, sample.bound) == pytest.approx(0.05)


def test_random_pairs_cross_folds_are_new_and_come_once():
    folds = np.repeat([0, 1, 2], 20)
    known = np.array([[0, 20], [1, 59], [30, 2]])
    drawn = nearest._drawn(folds, 300, known, seed=1)
    keys = {tuple(pair) for pair in drawn.tolist()}
    assert len(keys) == len(drawn) == 300
    assert not keys & {(0, 20), (1, 59), (2, 30)}
    assert (folds[drawn[:, 0]] != folds[drawn[:, 1]]).all()


@pytest.mark.parametrize("tested", [1, 20, 500])
def test_the_sample_is_as_large_however_uneven_the_folds(tested):
    """And even: each pair across is as likely as any other."""
    folds = np.repeat([1, 0, 2], [tested, 1000 - tested, 3])
    drawn = nearest._drawn(folds, 400, np.empty((0, 2), dtype=np.int64), seed=2)
    assert len(drawn) == 400
    assert (folds[drawn[:, 0]] != folds[drawn[:, 1]]).all()
    counts = np.bincount(folds)
    pairs = {(0, 1): counts[0] * counts[1], (0, 2): counts[0] * counts[2], (1, 2): counts[1] * counts[2]}
    for both, n in pairs.items():
        share = n / sum(pairs.values())
        found = (np.sort(folds[drawn], axis=1) == both).all(axis=1).mean()
        assert found == pytest.approx(share, abs=4 * (share * (1 - share) / 400) ** 0.5 + 1e-9)


def test_the_hash_of_folds_depends_on_who_is_where_alone(clean):
    assert gate.folds_hash(clean) == gate.folds_hash(clean.iloc[::-1].assign(extra=1))
    assert gate.folds_hash(clean) != gate.folds_hash(clean.assign(fold=[(i + 1) % 4 for i in range(40)]))


def test_certificate_and_neighbours_are_written_and_read_back(tmp_path, clean):
    certificate, near = audit.certify(clean, TERMS)
    audit.write(tmp_path / "deep", certificate, near)
    assert json.loads((tmp_path / "deep" / "certificate.json").read_text()) == certificate
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "deep" / "identity.parquet"), near)


def test_the_other_strand_is_a_leak_unless_the_molecule_has_one():
    rng = np.random.default_rng(0)
    dna = ["".join(rng.choice(list("ACGT"), 60)) for _ in range(6)]
    turned = dna[0][::-1].translate(str.maketrans("ACGT", "TGCA"))
    rows = folded([*dna, turned], [0, 1, 2, 0, 1, 2, 1])
    for both, above in ((True, 2), (False, 0)):
        terms = Terms(DEFINITIONS["needle-nt"], 0.9, both_strands=both)
        assert audit.certify(rows, terms)[0]["above_threshold"] == above


@pytest.mark.parametrize("threshold", [0, 1.01])
def test_a_threshold_that_means_nothing_is_refused(clean, threshold):
    with pytest.raises(UnrolledError, match="means nothing"):
        audit.certify(clean, Terms(NEEDLE, threshold, both_strands=False))


def test_cards_say_what_counts_and_have_defaults():
    split = {"group": "sequence"}
    assert Terms.of_cards({"alphabet": "protein"}, split) == (DEFINITIONS["local80"], 0.3, False)
    assert Terms.of_cards({"alphabet": "rna", "strands": 1}, split) == (DEFINITIONS["local80-nt"], 0.8, False)
    assert Terms.of_cards({"alphabet": "dna"}, split | {"identity": 0.9}).both_strands
    assert Terms.of_cards({"alphabet": "protein"}, split | {"definition": "needle"}).definition is NEEDLE


def test_what_a_split_removed_is_in_no_fold(clean):
    folds = clean[["id", "fold"]].drop(index=[3]).replace({"fold": {3: -1}})
    kept = audit.folded(clean[["id", "sequence"]], folds)
    assert set(kept["fold"]) == {0, 1, 2}
    assert len(kept) == 30
    with pytest.raises(UnrolledError, match="another table: it has no s000"):
        audit.folded(clean.iloc[5:], folds)


def test_the_gate_opens_for_what_promises_nothing_or_keeps_its_promise(clean):
    kept, _ = audit.certify(clean, TERMS)
    gate.check(kept | {"group": "homology"})
    leaking, _ = audit.certify(clean.assign(sequence=clean["sequence"].iloc[0]), TERMS)
    for group in ("sequence", "cluster", "published"):
        gate.check(leaking | {"group": group})


def test_a_divided_group_of_sequences_stops_the_work_and_is_named(clean):
    card, split = {"alphabet": "protein"}, {"group": "column", "column": "patient"}
    rows = clean.assign(group=[f"p{i % 8}" for i in range(40)])  # 8 = 2 x 4 folds: whole
    certificate, _ = inputs.of(card).certify(rows, card, split)
    assert certificate["groups"] == 8
    assert certificate["statement"].endswith("No group (patient) is in more than one fold.")
    gate.check(certificate | {"group": "column"})
    rows.loc[9, "fold"] = 2
    certificate, _ = inputs.of(card).certify(rows, card, split)
    with pytest.raises(UnrolledError, match=r"groups that are in several folds \(1 in all\):\n  p1"):
        gate.check(certificate | {"group": "column"})


def test_only_folds_of_their_own_certificate_are_admitted(tmp_path, clean):
    certificate, near = audit.certify(clean, TERMS)
    audit.write(tmp_path, certificate | {"group": "homology"}, near)
    folds = clean[["id", "fold"]].astype({"fold": "Int64"})
    folds.loc[len(folds)] = {"id": "removed", "fold": pd.NA}
    folds.to_parquet(tmp_path / "folds.parquet")
    gate.admit(tmp_path / "certificate.json", tmp_path / "folds.parquet")
    gate.admit(None, tmp_path / "folds.parquet")
    folds.loc[3, "fold"] = (folds.loc[3, "fold"] + 1) % 4
    folds.to_parquet(tmp_path / "folds.parquet")
    with pytest.raises(UnrolledError, match="the folds were changed since, or are another table's"):
        gate.admit(tmp_path / "certificate.json", tmp_path / "folds.parquet")


def test_a_certificate_is_of_sequences_not_of_ids_alone(tmp_path, clean):
    certificate, near = audit.certify(clean, TERMS)
    audit.write(tmp_path, certificate, near)
    gate.admit_sequences(tmp_path / "certificate.json", clean[::-1])
    gate.admit_sequences(None, clean)
    other = clean.assign(sequence=[*clean["sequence"][1:], "MKV"])
    with pytest.raises(UnrolledError, match="is of other sequences than the table's, although"):
        gate.admit_sequences(tmp_path / "certificate.json", other)


def test_only_a_searching_audit_says_that_the_split_may_have_been_made_with_its_search(clean):
    split = {"group": "homology", "identity": 0.3}
    certificate, _ = inputs.of({"alphabet": "protein"}).certify(clean, {"alphabet": "protein"}, split)
    assert "independent" not in certificate["statement"]
    assert audit.shared_route({"method": "search and sample"}).endswith("the sample alone is independent of it.")


def test_no_old_certificate_stands_beside_new_folds(tmp_path, clean, monkeypatch):
    certificate, near = audit.certify(clean, TERMS)
    audit.write(tmp_path, certificate, near)
    monkeypatch.setattr(audit, "write_json", lambda *_: (_ for _ in ()).throw(OSError("no space")))
    with pytest.raises(OSError, match="no space"):
        audit.write(tmp_path, certificate, near)
    assert not (tmp_path / "certificate.json").exists()


def test_what_a_check_will_cost_is_said_before_it_is_spent(clean, monkeypatch):
    events = []
    monkeypatch.setattr(nearest, "identities", lambda *a, **o: events.append("aligned") or identities(*a, **o))
    audit.certify(clean, TERMS, say=events.append)
    assert events[0] == "aligning all 600 pairs, about 0 s on two cores"
    assert set(events[1:]) == {"aligned"}


def test_the_gate_names_the_pairs_of_a_broken_promise(clean):
    rows = clean.copy()
    rows.loc[1, "sequence"] = mutant(rows.loc[0, "sequence"], 0.6)
    certificate, _ = audit.certify(rows, TERMS)
    with pytest.raises(
        UnrolledError,
        match=r"(?s)less than 30 % .* 2 sequences .* \(1 in all\):\n  s000 \(fold 0\) and s001 \(fold 1\): 60\.0 %\n",
    ):
        gate.check(certificate | {"group": "homology"})


def test_the_gate_counts_all_that_it_does_not_name(clean, monkeypatch):
    monkeypatch.setattr(audit, "LISTED", 3)
    monkeypatch.setattr(gate, "LISTED", 3)
    same = clean.assign(sequence=clean["sequence"].iloc[0])
    certificate, _ = audit.certify(same, TERMS)
    assert len(certificate["offenders"]) == 3
    told = r"(?s)but 40 sequences reach it with one in another fold; .*\(600 in all\):.*\n  \.\.\. and 59[78] more\n"
    with pytest.raises(UnrolledError, match=told):
        gate.check(certificate | {"group": "homology"})
    card, split = {"alphabet": "protein"}, {"group": "column", "column": "patient"}
    rows = clean.assign(group=[f"p{i % 10}" for i in range(40)])
    certificate, _ = inputs.of(card).certify(rows, card, split)
    assert (certificate["groups_divided"], len(certificate["groups_in_several_folds"])) == (10, 3)
    assert "10 groups (patient) are in more than one fold" in certificate["statement"]
    with pytest.raises(UnrolledError, match=r"(?s)in several folds \(10 in all\):.*\n  \.\.\. and 7 more\nThe folds"):
        gate.check(certificate | {"group": "column"})


@pytest.mark.slow
@pytest.mark.parametrize("copy", ["MKV", "X" * 60 + "MKVLAW" + "X" * 60])
def test_a_search_is_not_needed_to_find_copies(clean, copy):
    """MMseqs2 has no seed of three letters, and none of unknown ones."""
    rows = clean.copy()
    rows.loc[[4, 7, 8], "sequence"] = copy  # folds 0, 3, 0
    certificate, near = audit.certify(rows, TERMS, budget=0.004)
    assert certificate["method"] == "search and sample"
    assert {o["id"]: o["nearest"] for o in certificate["offenders"]} == {
        "s004": "s007",
        "s007": "s004",
        "s008": "s007",
    }
    assert (near["max_other"] == 1).sum() == 3


def test_one_fold_leaves_nothing_to_check(clean):
    with pytest.raises(UnrolledError, match="all sequences are in one fold"):
        audit.certify(clean.assign(fold=0), TERMS)


def test_a_search_that_fails_is_quoted_and_leaves_nothing_behind(tmp_path, monkeypatch, clean):
    fake = tmp_path / "bin" / "mmseqs"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho 'Could not write: No space left on device' >&2\nexit 1\n")
    fake.chmod(fake.stat().st_mode | stat.S_IEXEC)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("PATH", f"{fake.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    with pytest.raises(UnrolledError, match="No space left on device"):
        audit.certify(clean, TERMS, budget=0.004)
    assert list(scratch.iterdir()) == []


def _columns(rows: pd.DataFrame) -> tuple[list[str], np.ndarray]:
    return rows["sequence"].tolist(), rows["fold"].to_numpy(dtype=np.int64)
