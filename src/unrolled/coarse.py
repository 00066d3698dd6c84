"""A graph seen from further and further away: nested clusters that a search can move as a whole."""

import numpy as np
from numpy.typing import NDArray

from unrolled.jit import compiled

Ints = NDArray[np.int64]


def levels(edges: Ints, n: int, largest: int, seed: int) -> list[Ints]:
    """Nested clusterings of a graph from single vertices to clusters of at most `largest`, the coarsest first.

    Each level merges neighbours, those with the most edges for their sizes first, up to twice the size of the
    level before. Seeds above 0 perturb that order, so that several searches see several hierarchies.

    Args:
        edges: (E, 2) pairs of vertices 0..n-1, each once.

    Returns:
        (n,) cluster numbers 0..C-1 of every vertex, one array a level.
    """
    cluster, sizes, weight = np.arange(n), np.ones(n, dtype=np.int64), np.ones(len(edges))
    rng = np.random.default_rng(seed)
    found, limit = [cluster], 2
    while limit <= largest and len(edges):
        rating = weight / (sizes[edges[:, 0]] * sizes[edges[:, 1]].astype(np.float64))
        if seed:
            rating *= rng.uniform(0.7, 1.0, len(edges))
        order = np.lexsort((edges[:, 1], edges[:, 0], -rating))
        roots = _join(edges[order], sizes.copy(), limit)
        merged = np.unique(roots, return_inverse=True)[1]
        cluster, sizes = merged[cluster], np.bincount(merged, weights=sizes).astype(np.int64)
        edges, weight = _contract(merged[edges], weight)
        found.append(cluster)
        limit *= 2
    return found[::-1]


def _contract(edges: Ints, weight: NDArray[np.float64]) -> tuple[Ints, NDArray[np.float64]]:
    """Edges between clusters, each once, with the number of edges they stand for."""
    outer = edges[:, 0] != edges[:, 1]
    pairs, which = np.unique(np.sort(edges[outer], axis=1), axis=0, return_inverse=True)
    total = np.bincount(which.ravel(), weights=weight[outer], minlength=len(pairs))
    return np.asarray(pairs, dtype=np.int64), np.asarray(total, dtype=np.float64)


@compiled
def _root(parent: Ints, x: int) -> int:
    while parent[x] != x:
        parent[x] = parent[parent[x]]
        x = parent[x]
    return x


@compiled
def _join(edges: Ints, sizes: Ints, limit: int) -> Ints:
    """Union-find along the edges in their order, no cluster above `limit`; the root of every vertex."""
    parent = np.arange(len(sizes))
    for i in range(len(edges)):
        x = _root(parent, edges[i, 0])
        y = _root(parent, edges[i, 1])
        if x != y and sizes[x] + sizes[y] <= limit:
            parent[max(x, y)] = min(x, y)
            sizes[min(x, y)] = sizes[x] + sizes[y]
    for x in range(len(sizes)):
        parent[x] = _root(parent, x)
    return parent
