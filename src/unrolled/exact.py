"""The fewest removals by integer programming (HiGHS; Huangfu & Hall 2018, doi:10.1007/s12532-017-0130-5).

One variable for each free vertex and fold, 1 where the vertex is kept there; all 0 where it is removed. An edge
forbids two different folds: y[u, f] + sum over g other than f of y[v, g] <= 1.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

VARIABLES, ROWS, NODES = 500, 5000, 200  # beyond these sizes nothing is tried; nodes bound the search


def fewest(edges: Ints, counts: Floats, most: Floats, *, k: int) -> int | None:
    """The fewest removals that any folds of at most `most` take; None if the graph is too large to know."""
    if len(counts) * k > VARIABLES or 2 * len(edges) * k > ROWS:
        return None
    everyone = np.ones(len(counts), dtype=np.bool_)
    found = _solve(edges, edges, counts, np.full(len(counts), -1), everyone, most, k)
    return int((found[0] < 0).sum()) if found and found[1] else None


def refine(edges: Ints, counts: Floats, fold: Ints, most: Floats, *, k: int) -> Ints:
    """Keep as many vertices as possible by choosing anew for the removed ones and their neighbours.

    Args:
        edges: (E, 2) of vertices 0..n-1.
        counts: (n, 1 + K) ones and classes.
        fold: (n,) 0..k-1, or -1: a legal assignment.
        most: (1 + K,) that a fold may hold; a fold that holds more already may keep that.

    Returns:
        (n,) folds with as many removals or fewer; `fold` itself where the problem is too large.
    """
    free = fold < 0
    touching = edges[free[edges[:, 0]] | free[edges[:, 1]]]
    free[touching] = True
    if len(fold) * k <= VARIABLES:
        free[:] = True
    inner = edges[free[edges[:, 0]] & free[edges[:, 1]]]
    n = int(free.sum())
    if n == 0 or n * k > VARIABLES or 2 * len(inner) * k > ROWS:
        return fold
    found = _solve(edges, inner, counts, fold, free, most, k)
    return found[0] if found and (found[0] < 0).sum() < (fold < 0).sum() else fold


def _solve(
    edges: Ints, inner: Ints, counts: Floats, fold: Ints, free: NDArray[np.bool_], most: Floats, k: int
) -> tuple[Ints, bool] | None:
    rows = np.flatnonzero(free)
    place = np.full(len(fold), -1)
    place[rows] = np.arange(len(rows))
    upper = _allowed(edges, fold, free, rows, k)
    held = np.zeros((k, counts.shape[1]))
    np.add.at(held, fold[~free], counts[~free])
    current = held.copy()
    kept = free & (fold >= 0)
    np.add.at(current, fold[kept], counts[kept])
    room = np.maximum(most, current) - held  # (k, 1 + K)
    constraints = [_one_fold(len(rows), k), _capacity(counts[rows], room, k)]
    if len(inner):
        constraints.append(_no_crossing(place[inner], len(rows), k))
    answer = milp(
        -np.ones(len(rows) * k),
        integrality=np.ones(len(rows) * k),
        bounds=Bounds(0, upper.ravel()),
        constraints=constraints,
        options={"node_limit": NODES, "mip_rel_gap": 0},
    )
    if answer.x is None:
        return None
    y = answer.x.reshape(len(rows), k).round().astype(np.int64)
    chosen = fold.copy()
    chosen[rows] = np.where(y.any(axis=1), y.argmax(axis=1), -1)
    return chosen, answer.status == 0


def _allowed(edges: Ints, fold: Ints, free: NDArray[np.bool_], rows: Ints, k: int) -> Floats:
    """1 where a free vertex may be kept in a fold for all its fixed neighbours, (n, k)."""
    near = np.zeros((len(fold), k), dtype=np.bool_)
    for a, b in (edges.T, edges.T[::-1]):
        fixed = ~free[b] & (fold[b] >= 0)
        near[a[fixed], fold[b[fixed]]] = True
    near = near[rows]
    elsewhere = near.sum(axis=1, keepdims=True) - near
    return np.asarray(elsewhere == 0, dtype=np.float64)


def _one_fold(n: int, k: int) -> LinearConstraint:
    return LinearConstraint(coo_array((np.ones(n * k), (np.repeat(np.arange(n), k), np.arange(n * k)))), ub=1)


def _capacity(counts: Floats, room: Floats, k: int) -> LinearConstraint:
    n, width = counts.shape
    v, f, c = (axis.ravel() for axis in np.meshgrid(np.arange(n), np.arange(k), np.arange(width), indexing="ij"))
    matrix = coo_array((counts[v, c], (f * width + c, v * k + f)), shape=(k * width, n * k))
    return LinearConstraint(matrix, ub=room.ravel())


def _no_crossing(inner: Ints, n: int, k: int) -> LinearConstraint:
    """Both directions of every edge and every fold f: y[u, f] + sum over g other than f of y[v, g] <= 1."""
    pairs = np.concatenate([inner, inner[:, ::-1]])
    e, f, g = (axis.ravel() for axis in np.meshgrid(np.arange(len(pairs)), np.arange(k), np.arange(k), indexing="ij"))
    column = np.where(f == g, pairs[e, 0], pairs[e, 1]) * k + g
    return LinearConstraint(coo_array((np.ones(len(e)), (e * k + f, column)), shape=(len(pairs) * k, n * k)), ub=1)
