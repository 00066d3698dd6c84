"""MMseqs2's candidates: relatives first, each pair once, whatever the order, and none where there is none."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from test_audit import mutant, unrelated
from unrolled import candidates, neighbours
from unrolled.bounds import cells
from unrolled.candidates import affordable, likely, proposed, scored, seconds
from unrolled.definitions import DEFINITIONS
from unrolled.identity import identities, reverse_complement
from unrolled.nearest import sensitivity

pytestmark = pytest.mark.slow


ALPHABET = {True: "ACGTNRYSWK", False: "ACDEFGHIKLMNPQRSTVWYXU"}


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from([0.3, 0.5, 0.8, 0.95]))
@pytest.mark.parametrize(
    "name", ["needle", "needle-shorter", "local80", "either", "needle-nt", "local80-nt", "either-nt"]
)
def test_exhaustive_neighbours_are_those_that_all_alignments_give(name, seed, threshold):
    rng, definition = np.random.default_rng(seed), DEFINITIONS[name]
    both = bool("dna" in definition.kinds and rng.random() < 0.7)
    letters = np.array(list(ALPHABET[name.endswith("-nt")]))
    sequences = []
    for _ in range(4):  # a root, what it changed into, copies, other strands
        root = rng.choice(letters, rng.integers(1, 50))
        changed = [
            np.where(rng.random(len(root)) < share, rng.choice(letters, len(root)), root) for share in (0.1, 0.5)
        ]
        sequences += ["".join(one) for one in (root, root, *changed)]
        sequences += [reverse_complement(sequences[-1])] if both else []
    pairs = np.array(list(itertools.combinations(range(len(sequences)), 2)))
    values = identities(sequences, sequences, pairs, definition, both_strands=both)
    found = neighbours.neighbours(sequences, definition, threshold, both_strands=both, budget=1e9)
    assert found.exhaustive
    assert found.pairs.tolist() == pairs[values >= np.float32(threshold)].tolist()


def test_relatives_come_first_and_every_pair_once():
    plain = unrelated(20, length=150)
    sequences = [*plain, *(mutant(s, 0.45, seed=n) for n, s in enumerate(plain[:10]))]
    pairs = proposed(sequences, threads=2)
    assert {(n, 20 + n) for n in range(10)} <= {tuple(p) for p in pairs[:10].tolist()}
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert len({tuple(p) for p in pairs.tolist()}) == len(pairs)


def test_a_score_for_each_letter_spares_pairs_by_chance_and_keeps_relatives():
    plain = unrelated(40, length=400)
    sequences = [*plain, *(mutant(s, 0.45, seed=n) for n, s in enumerate(plain))]
    every, worth = (proposed(sequences, least=least) for least in (0.0, scored(0.3)))
    assert {(n, 40 + n) for n in range(40)} <= set(map(tuple, worth.tolist())) < set(map(tuple, every.tolist()))
    assert len(worth) < len(every) / 2
    assert [round(scored(t), 2) for t in (0.1, 0.2, 0.25, 0.3, 0.9)] == [0, 0, 0.04, 0.11, 0.11]


def test_long_relatives_with_gaps_are_kept_however_little_they_score_a_letter():
    """Gaps divide them into stretches of 100 letters: no longer sequence has a longer one."""
    long = unrelated(1, length=4000)[0]
    other = "".join(mutant(long[at : at + 100], 0.6, seed=at) + "GS" for at in range(0, 4000, 100))
    found = candidates.search([long, other], np.arange(2), np.arange(2))
    assert found["score"].max() < scored(0.3) * 4000
    assert len(candidates.worth(found, [long, other], scored(0.3))) == len(found) == 2


def test_only_pairs_of_different_folds_are_likely():
    sequences = unrelated(3, length=150) * 2
    folds = np.array([0, 1, 0, 1, 1, 0])
    assert {tuple(p) for p in likely(sequences, folds).tolist()} == {(0, 3)}


def crowd(size, seed=0):
    """Two halves of a family: each is nearer to itself than a short list of candidates is long."""
    root = unrelated(1, length=200, seed=seed)[0]
    other = mutant(root, 0.55, seed=seed)
    return [mutant(half, 0.95, seed=n) for half in (root, other) for n in range(size)]


def test_a_fold_full_of_relatives_does_not_hide_those_in_another():
    found = likely(crowd(30), np.repeat([0, 1], 30), most=10, sensitivity=5.7)
    assert np.unique(found).tolist() == list(range(60))
    assert (found.min(axis=1) < 30).all()
    assert (found.max(axis=1) >= 30).all()


def test_a_list_that_ends_in_neighbours_is_made_again_longer(monkeypatch):
    monkeypatch.setattr(candidates, "MOST", 20)
    monkeypatch.setattr(neighbours, "SEARCH", 0)
    sequences, definition = [*crowd(20), *unrelated(10, length=200, seed=1)], DEFINITIONS["local80"]
    every = neighbours.neighbours(sequences, definition, 0.3, budget=1e9)
    assert len(every.pairs) == 40 * 39 / 2
    found = neighbours.neighbours(sequences, definition, 0.3, budget=0)
    assert np.array_equal(found.pairs, every.pairs)
    assert found.cut == 0
    monkeypatch.setattr(neighbours, "LONGEST", 20)
    short = neighbours.neighbours(sequences, definition, 0.3, budget=0)
    assert short.cut == 40
    assert len(short.pairs) < len(every.pairs)
    assert "of 40 sequences the best 20 candidates alone" in short.method


def test_both_strands_of_dna_or_one():
    rng = np.random.default_rng(0)
    dna = ["".join(rng.choice(list("ACGT"), 200)) for _ in range(4)]
    sequences = [*dna, reverse_complement(dna[0]), dna[1][20:180]]
    assert proposed(sequences, nucleotide=True, both_strands=True).tolist() == [[0, 4], [1, 5]]
    assert proposed(sequences, nucleotide=True).tolist() == [[1, 5]]


def test_sequences_shorter_than_a_kmer_have_no_candidates():
    assert proposed(["MKV", "MKA"]).shape == (0, 2)
    assert proposed(["ACG", "ACC"], nucleotide=True).shape == (0, 2)


def test_one_sided_only_those_of_the_last_fold_are_searched_for(monkeypatch):
    met = []
    search = candidates.search
    monkeypatch.setattr(candidates, "search", lambda s, q, t, **o: met.append((q, t)) or search(s, q, t, **o))
    sequences, folds = [*unrelated(4, length=100), unrelated(4, length=100)[1]], np.array([0, 0, 0, 1, 1])
    assert likely(sequences, folds, one_sided=True).tolist() == [[1, 4]]
    assert [(q.tolist(), t.tolist()) for q, t in met] == [([3, 4], [0, 1, 2])]


def test_a_search_is_as_sensitive_as_a_budget_allows_and_never_none():
    sequences = ["M" * 1000] * 1000
    assert [affordable(sequences, budget, 1) for budget in (1000, 50, 0)] == [7.5, 6.5, 5.7]
    assert affordable(sequences, 50, 4) == 7.5
    assert seconds(sequences, 7.5, 2) == 2 * seconds(sequences, 7.5, 4) > seconds(sequences, 6.5, 2)


def as_set(pairs: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(pair) for pair in pairs.tolist()}


def test_neighbours_are_sought_where_the_audit_will_search_as_well(monkeypatch):
    plain = unrelated(60, length=150)
    sequences = [*plain, *(mutant(s, 0.7, seed=n) for n, s in enumerate(plain))]
    looked_at = set()

    def noted(a, b, pairs, *rest, **options):
        looked_at.update(map(tuple, pairs.tolist()))
        return identities(a, b, pairs, *rest, **options)

    monkeypatch.setattr(neighbours, "identities", noted)
    found = neighbours.neighbours(sequences, DEFINITIONS["local80"], 0.3, budget=0, audit=30)
    level = sensitivity(sequences, 30)
    worth = as_set(proposed(sequences, least=scored(0.3), sensitivity=level))
    audits = as_set(likely(sequences, np.arange(120) % 5, sensitivity=level)) & worth
    assert not found.exhaustive
    assert audits <= looked_at
    assert not audits <= as_set(proposed(sequences, settings=neighbours.OTHER_SEEDS["protein"]))


def test_short_sequences_are_compared_with_all_where_not_every_pair_can_be():
    short = ["".join(np.random.default_rng(n).choice(list("ACDEFGHIKLMNPQRSTVWY"), 12)) for n in range(150)]
    sequences = [*short, *unrelated(60, length=300)]
    definition = DEFINITIONS["local80"]
    every = neighbours.neighbours(sequences, definition, 0.3, budget=1e9)
    paid = cells(sequences, definition, 0.3, shorter=12) / neighbours.CELLS_PER_SECOND
    found = neighbours.neighbours(sequences, definition, 0.3, budget=1.01 * paid)
    assert every.exhaustive
    assert found.shorter == 12
    assert "at most 12 letters" in found.method
    assert len(every.pairs) > 100  # of unrelated sequences: by chance
    assert np.array_equal(found.pairs, every.pairs)
