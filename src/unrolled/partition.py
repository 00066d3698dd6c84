"""Neighbours -> folds that no two neighbours straddle, for as few removed sequences as can be found."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from unrolled import balancing, exact, separator
from unrolled.balancing import TOLERANCE, Evenness, Tolerance, evenness, pack

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

REMOVED = separator.REMOVED
SLACK = (0.9, 0.6, 0.3)  # of the tolerance: how much of it breaking may use up, what is left is for the packing
SIZE, SHARE = 2.0, 1.2  # removals that one sequence beyond a fold's size, or beyond a class' share, is worth


@dataclass(frozen=True)
class Partition:
    """Folds and what they cost."""

    fold: Ints  # (N,) 0..k-1 or REMOVED
    group: Ints  # (N,) component of the kept sequences, numbered by first member; a removed one is by itself
    evenness: Evenness
    fewest: bool  # no assignment within the tolerances removes fewer: proved
    largest: int  # size of the largest component before any removal

    @property
    def removed(self) -> Ints:
        """Rows of the removed sequences."""
        return np.flatnonzero(self.fold == REMOVED)


def components(edges: Ints, n: int) -> Ints:
    """Component of every vertex, (n,), numbered by first member."""
    links = coo_array((np.ones(len(edges), dtype=np.int8), (edges[:, 0], edges[:, 1])), shape=(n, n))
    labels = connected_components(links, directed=False)[1]
    _, first, number = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    return rank[number.ravel()]


def partition(
    edges: Ints,
    labels: NDArray[Any],
    k: int,
    *,
    budget: int,
    tolerance: Tolerance = TOLERANCE,
    seed: int = 0,
    threads: int = 1,
) -> Partition:
    """Folds 0..k-1 without an edge between two, even in size and classes.

    Whole components are packed first. Only where that breaches the tolerance are the large ones broken, by
    removing at most `budget` vertices. Folds that cannot be even are returned as they are: see `evenness`.

    Args:
        edges: (E, 2) pairs of rows 0..N-1, each once.
        labels: (N, K) one- or multi-hot classes.
    """
    counts = np.c_[np.ones(len(labels)), labels].astype(np.float64)
    component = components(edges, len(labels))
    largest = int(np.bincount(component).max())
    best = _packed(edges, np.zeros(len(labels), dtype=np.int64), counts, k, tolerance, largest, whole=True)
    heavy = np.bincount(component)[component] > max(2, tolerance.size * len(labels) / k)
    if best.evenness.within(tolerance) or not heavy.any() or budget < 1:
        return best
    for slack in SLACK:
        tight = Tolerance(slack * tolerance.size, slack * tolerance.share)
        fold = _broken(edges, component, heavy, counts, k, budget, tight, seed, threads)
        found = _packed(edges, fold, counts, k, tolerance, largest)
        best = min(best, found, key=lambda each: _rank(each, tolerance))
        if best.evenness.within(tolerance):
            break
    return replace(best, fewest=not len(best.removed) or _fewest(best, edges, heavy, counts, k, tolerance))


def _rank(found: Partition, tolerance: Tolerance) -> tuple[float, int]:
    over = max(0.0, found.evenness.size - tolerance.size) + max(0.0, found.evenness.share - tolerance.share)
    return round(over, 6), len(found.removed)


def _broken(
    edges: Ints,
    component: Ints,
    heavy: NDArray[np.bool_],
    counts: Floats,
    k: int,
    budget: int,
    tolerance: Tolerance,
    seed: int,
    threads: int,
) -> Ints:
    """Folds of the sequences in heavy components, 0..k-1 or REMOVED; -2 for all others."""
    rows, inner = np.flatnonzero(heavy), _within(edges, heavy)
    limits = _limits(counts, heavy, k, budget, tolerance)
    start = pack(_summed(counts[rows], component[rows]), k, tolerance)[
        np.unique(component[rows], return_inverse=True)[1]
    ]
    found = separator.separate(inner, counts[rows], start, limits, k=k, seed=seed, threads=threads)
    fold = np.full(len(counts), -2)
    fold[rows] = exact.refine(inner, counts[rows], found, limits.most, k=k)
    return fold


def _fewest(
    found: Partition, edges: Ints, heavy: NDArray[np.bool_], counts: Floats, k: int, tolerance: Tolerance
) -> bool:
    """Whether breaking the heavy components so that each fold can hold its part is proved to take as many."""
    most = _limits(counts, heavy, k, 0, tolerance).most
    return exact.fewest(_within(edges, heavy), counts[heavy], most, k=k) == len(found.removed)


def _within(edges: Ints, chosen: NDArray[np.bool_]) -> Ints:
    """The edges between chosen vertices of whole components, by their places among the chosen."""
    return np.asarray((np.cumsum(chosen) - 1)[edges[chosen[edges[:, 0]]]])


def _limits(counts: Floats, heavy: NDArray[np.bool_], k: int, budget: int, tolerance: Tolerance) -> separator.Limits:
    """What a fold may hold of all: its share of the sizes and classes, give or take the tolerance."""
    total = counts.sum(axis=0)
    mean = total[0] / k
    most, least = (1 + tolerance.size) * mean, (1 - tolerance.size) * mean
    shares = total[1:] / total[0]
    return separator.Limits(
        most=np.array([most, *((shares + tolerance.share) * most)]),
        least=np.array([least, *(np.maximum(shares - tolerance.share, 0) * least)]),
        filler=counts[~heavy].sum(axis=0),
        weight=np.array([SIZE, *[SHARE] * len(shares)]),
        budget=float(budget),
    )


def _packed(
    edges: Ints,
    fold: Ints,
    counts: Floats,
    k: int,
    tolerance: Tolerance,
    largest: int,
    *,
    whole: bool = False,
) -> Partition:
    """Pack the pieces that the removals leave, and put back whoever then has neighbours in one fold only."""
    kept = np.flatnonzero(fold != REMOVED)
    piece = _pieces(edges, fold != REMOVED)
    summed = _summed(counts[kept], piece[kept])
    number = np.unique(piece[kept], return_inverse=True)[1].ravel()
    start = None
    if not whole:
        start = np.full(len(summed), -1)
        start[number] = np.maximum(fold[kept], -1)
    chosen = np.full(len(fold), REMOVED)
    chosen[kept] = pack(summed, k, tolerance, start)[number]
    _put_back(edges, chosen)
    even = evenness(balancing.loads(chosen, counts, k))
    group = _pieces(edges, chosen != REMOVED)
    return Partition(chosen, group, even, whole, largest)


def _pieces(edges: Ints, kept: NDArray[np.bool_]) -> Ints:
    return components(edges[kept[edges[:, 0]] & kept[edges[:, 1]]], len(kept))


def _summed(counts: Floats, group: Ints) -> Floats:
    """Counts of each group, in the order of their numbers, (G, 1 + K)."""
    number = np.unique(group, return_inverse=True)[1].ravel()
    summed = np.zeros((int(number.max(initial=-1)) + 1, counts.shape[1]))
    np.add.at(summed, number, counts)
    return summed


def _put_back(edges: Ints, fold: Ints) -> None:
    for row in np.flatnonzero(fold == REMOVED):
        near = np.concatenate([edges[edges[:, 0] == row, 1], edges[edges[:, 1] == row, 0]])
        homes = np.unique(fold[near])
        homes = homes[homes >= 0]
        if len(homes) == 1:
            fold[row] = homes[0]
