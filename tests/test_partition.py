"""Partitions: no edge between folds, even folds, few removals, whatever the graph."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled import balancing, exact
from unrolled.balancing import Tolerance, evenness, pack
from unrolled.partition import REMOVED, components, partition


def crossing(edges: np.ndarray, fold: np.ndarray) -> int:
    a, b = fold[edges[:, 0]], fold[edges[:, 1]]
    return int(((a != b) & (a >= 0) & (b >= 0)).sum())


def classes(n: int, k: int = 2, seed: int = 0) -> np.ndarray:
    return np.eye(k, dtype=np.uint8)[np.random.default_rng(seed).integers(0, k, n)]


def blobs(sizes: list[int], bridges: int, seed: int = 0) -> np.ndarray:
    """Cliques of the given sizes, joined in a ring by `bridges` vertices each with an edge into two cliques."""
    rng = np.random.default_rng(seed)
    ends = np.cumsum([0, *sizes])
    edges = [pair for a, b in itertools.pairwise(ends) for pair in itertools.combinations(range(a, b), 2)]
    vertex = ends[-1]
    for i in range(len(sizes)):
        for _ in range(bridges):
            both = (i, (i + 1) % len(sizes))
            edges += [(int(rng.integers(ends[blob], ends[blob + 1])), vertex) for blob in both]
            vertex += 1
    return np.array(edges)


@st.composite
def graphs(draw):
    n = draw(st.integers(10, 60))
    pairs = draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=3 * n))
    edges = {(min(p), max(p)) for p in pairs if p[0] != p[1]}
    return n, np.array(sorted(edges), dtype=np.int64).reshape(-1, 2)


@given(graphs(), st.integers(2, 5), st.integers(0, 10))
@settings(max_examples=60)
def test_no_edge_joins_two_folds_and_the_budget_holds(case, k, budget):
    n, edges = case
    found = partition(edges, classes(n), k, budget=budget)
    assert crossing(edges, found.fold) == 0
    assert len(found.removed) <= budget
    assert set(found.fold) <= set(range(k)) | {REMOVED}


@given(graphs(), st.integers(0, 5))
@settings(max_examples=15)
def test_threads_change_nothing_and_equal_seeds_agree(case, seed):
    n, edges = case
    one, two = (partition(edges, classes(n), 3, budget=5, seed=seed, threads=t) for t in (1, 3))
    assert np.array_equal(one.fold, two.fold)


def test_a_chain_of_cliques_breaks_at_its_bridges():
    edges = blobs([40] * 10, bridges=1)
    found = partition(edges, np.ones((410, 1)), 5, budget=41)
    assert crossing(edges, found.fold) == 0
    assert 5 <= len(found.removed) <= 6  # five equal arcs of a ring of ten blobs take five cuts
    assert found.evenness.within(Tolerance())


def test_a_component_that_fits_is_left_whole():
    edges = blobs([20] * 3, bridges=2)
    found = partition(edges, classes(400), 5, budget=20)
    assert len(found.removed) == 0
    assert found.fewest
    assert len(set(found.fold[:66])) == 1


def test_one_clique_is_not_broken_beyond_the_budget():
    n = 100
    edges = np.array(list(itertools.combinations(range(n), 2)))
    found = partition(edges, classes(n), 5, budget=10)
    assert len(found.removed) <= 10
    assert crossing(edges, found.fold) == 0


@pytest.mark.parametrize(("budget", "enough"), [(7, False), (9, True), (12, True)])
def test_no_evenness_is_worth_a_removal_beyond_the_budget(budget, enough):
    """Five cliques of 30 that nine hubs join: even folds take all nine, and no more."""
    cliques, hubs = np.repeat(np.arange(5), 30), range(150, 159)
    edges = [(a, b) for a, b in itertools.combinations(range(150), 2) if cliques[a] == cliques[b]]
    edges += [(30 * clique + hub - 150, hub) for hub in hubs for clique in range(5)]
    found = partition(np.array(edges), np.ones((159, 1)), 5, budget=budget)
    assert crossing(np.array(edges), found.fold) == 0
    assert len(found.removed) == (9 if enough else 0)
    assert found.evenness.within(Tolerance()) == enough


def test_classes_are_even_although_families_are_of_one_class():
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 12, 300)
    family = np.repeat(np.arange(300), sizes)
    edges = np.array([(a, b) for a, b in itertools.pairwise(range(len(family))) if family[a] == family[b]])
    labels = np.eye(3, dtype=np.uint8)[rng.integers(0, 3, 300)[family]]
    found = partition(edges, labels, 5, budget=0)
    assert found.evenness.within(Tolerance())


def test_components_are_numbered_by_their_first_member():
    assert components(np.array([[1, 4], [2, 3]]), 6).tolist() == [0, 1, 2, 2, 1, 3]


def fewest_by_trying(edges: np.ndarray, n: int, k: int, most: float) -> int:
    """The fewest removals of any assignment with folds of at most `most`, by trying every one."""
    best = n
    for fold in itertools.product(range(-1, k), repeat=n):
        fits = fold.count(-1) < best and max(fold.count(f) for f in range(k)) <= most
        if fits and crossing(edges, np.array(fold)) == 0:
            best = fold.count(-1)
    return best


@given(st.integers(0, 1000))
@settings(max_examples=12)
def test_small_graphs_are_solved_to_the_optimum(seed):
    rng = np.random.default_rng(seed)
    n, k, most = 8, 2, 4.0
    pairs = np.array(list(itertools.combinations(range(n), 2)))
    edges = pairs[rng.random(len(pairs)) < 0.3]
    nothing = np.full(n, REMOVED)
    fold = exact.refine(edges, np.ones((n, 1)), nothing, np.array([most]), k=k)
    fewest = fewest_by_trying(edges, n, k, most)
    assert crossing(edges, fold) == 0
    assert (fold == REMOVED).sum() == fewest
    assert exact.fewest(edges, np.ones((n, 1)), np.array([most]), k=k) == fewest


@given(st.lists(st.integers(1, 12), min_size=5, max_size=40))
def test_packing_uses_every_fold_and_measures_what_it_made(sizes):
    counts = np.c_[np.array(sizes, dtype=float), np.zeros(len(sizes))]
    fold = pack(counts, 5, Tolerance())
    loads = balancing.loads(fold, counts, 5)
    assert loads[:, 0].min() > 0
    assert evenness(loads).size == pytest.approx(np.abs(loads[:, 0] / (sum(sizes) / 5) - 1).max())


def test_swaps_reach_what_greedy_packing_misses():
    counts = np.array([[3.0], [3.0], [2.0], [2.0], [2.0]])  # greedy: 3 + 2 + 2 and 3 + 2
    assert evenness(balancing.loads(pack(counts, 2, Tolerance()), counts, 2)).size == 0
