"""Putting whole groups into folds: equal sizes, equal classes, first greedily and then by moves and swaps."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unrolled.jit import compiled

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

BREACH = 1e3  # a breached tolerance outweighs any evenness within it
KINDS = 1500  # swaps are tried between at most this many kinds of group and fold


@dataclass(frozen=True)
class Tolerance:
    """How far folds may be from even.

    Args:
        size: a fold's size from the mean, as a part of the mean.
        share: the share of a class in a fold from its share in all, 0.02 for 2 points.
    """

    size: float = 0.05
    share: float = 0.02

    def one(self, mean: float) -> "Tolerance":
        """This, but never finer than one sequence of a fold of `mean`."""
        return Tolerance(max(self.size, 1 / mean), max(self.share, 1 / mean))


TOLERANCE = Tolerance()


@dataclass(frozen=True)
class Evenness:
    """How far folds are from even, at worst."""

    size: float
    share: float

    def within(self, tolerance: Tolerance) -> bool:
        return self.size <= tolerance.size + 1e-9 and self.share <= tolerance.share + 1e-9


def evenness(loads: Floats) -> Evenness:
    """The worst deviations of folds with `loads` (k, 1 + K): sizes, then class counts."""
    sizes, total = loads[:, 0], loads.sum(axis=0)
    if not sizes.all():
        return Evenness(1.0, 1.0)
    shares = loads[:, 1:] / sizes[:, None]
    size = np.abs(sizes / sizes.mean() - 1).max()
    return Evenness(float(size), float(np.abs(shares - total[1:] / total[0]).max(initial=0)))


def loads(fold: Ints, counts: Floats, k: int) -> Floats:
    """Sizes and class counts of the folds, (k, 1 + K); rows without a fold (-1) count nowhere."""
    kept = fold >= 0
    found = np.zeros((k, counts.shape[1]))
    np.add.at(found, fold[kept], counts[kept])
    return found


def greedily(counts: Floats, k: int, order: Ints, fold: Ints) -> Ints:
    """Each group without a fold (-1), in the given order, to the fold where this grows least, in place.

    The sum over sizes and classes of (count in fold / count in all)^2: a rare class weighs as much as a common one.
    """
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    filled = loads(fold, shares, k)
    for group in order:
        if fold[group] < 0:
            growth = (2 * filled + shares[group]) @ shares[group]  # (k,) of sum((f + c)^2 - f^2)
            fold[group] = np.argmin(growth.round(12))
            filled[fold[group]] += shares[group]
    return fold


def pack(counts: Floats, k: int, tolerance: Tolerance, start: Ints | None = None) -> Ints:
    """The fold of every group, (G,) 0..k-1: deterministic, for groups in a given order.

    Greedily from the largest group to the smallest; then single moves and swaps repair what breaches the tolerance,
    and even out the rest.

    Args:
        counts: (G, 1 + K) size and class counts of each group.
        start: (G,) folds that some groups have already, -1 for the others.
    """
    order = np.argsort(-counts[:, 0], kind="stable")
    fold = greedily(counts, k, order, np.full(len(counts), -1) if start is None else start.astype(np.int64))
    limits = np.array([tolerance.size, tolerance.share])
    kinds = np.unique(counts, axis=0, return_inverse=True)[1].ravel()
    _improve(fold, np.ascontiguousarray(counts, dtype=np.float64), kinds, order, k, limits)
    return fold


@compiled
def _worth(load: Floats, total: Floats, k: int, limits: Floats) -> float:
    """What one fold costs: its unevenness, and whatever breaches a tolerance."""
    even, breach = 0.0, max(0.0, abs(load[0] - total[0] / k) - limits[0] * total[0] / k)
    for c in range(len(load)):
        if total[c] > 0:
            even += (load[c] / total[c]) ** 2
        if c:
            breach += max(0.0, abs(load[c] - load[0] * total[c] / total[0]) - limits[1] * load[0])
    return even + float(BREACH * breach / total[0])


@compiled
def _gain(total: Floats, k: int, limits: Floats, loads: Floats, a: int, b: int, out: Floats, back: Floats) -> float:
    """What it gains to take `out` from fold a to b, and `back` from b to a."""
    before = _worth(loads[a], total, k, limits) + _worth(loads[b], total, k, limits)
    change = out - back
    return before - _worth(loads[a] - change, total, k, limits) - _worth(loads[b] + change, total, k, limits)


@compiled
def _improve(fold: Ints, counts: Floats, kinds: Ints, order: Ints, k: int, limits: Floats) -> None:
    """Move groups, or swap two, as long as that gains anything."""
    loads = np.zeros((k, counts.shape[1]))
    for g in range(len(fold)):
        loads[fold[g]] += counts[g]
    total = loads.sum(axis=0)
    nothing = np.zeros(counts.shape[1])
    better, rounds = True, 0
    while better and rounds < 100:
        better = False
        rounds += 1
        for g in order:
            for b in range(k):
                if b != fold[g] and _gain(total, k, limits, loads, fold[g], b, counts[g], nothing) > 1e-9:
                    loads[fold[g]] -= counts[g]
                    loads[b] += counts[g]
                    fold[g] = b
                    better = True
        if not better:
            better = _swap(fold, counts, kinds, order, k, limits, loads, total)


@compiled
def _swap(
    fold: Ints, counts: Floats, kinds: Ints, order: Ints, k: int, limits: Floats, loads: Floats, total: Floats
) -> bool:
    """Swap two groups where that gains; groups of one kind in one fold are one and the same."""
    seen = np.zeros((kinds.max() + 1, k), np.bool_)
    chosen = np.empty(min(len(order), KINDS), np.int64)
    n = 0
    for g in order:
        if n < len(chosen) and not seen[kinds[g], fold[g]]:
            seen[kinds[g], fold[g]] = True
            chosen[n] = g
            n += 1
    better = False
    for i in range(n):
        for j in range(i + 1, n):
            g, h = chosen[i], chosen[j]
            a, b = fold[g], fold[h]
            if a != b and _gain(total, k, limits, loads, a, b, counts[g], counts[h]) > 1e-9:
                change = counts[g] - counts[h]
                loads[a] -= change
                loads[b] += change
                fold[g], fold[h] = b, a
                better = True
    return better
