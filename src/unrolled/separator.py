"""Breaking what no fold can hold: the fewest vertices to remove so that no edge joins two folds.

A balanced k-way vertex separator is NP-hard, so this anneals (Kirkpatrick 1983, doi:10.1126/science.220.4598.671)
from coarse clusters to single vertices, as multilevel partitioners do (Karypis & Kumar 1998). Every state is legal:
no edge joins two folds. A move puts a whole cluster into one fold, removes a greedy vertex cover of the edges that
would then cross, and puts back whoever has neighbours in one fold only.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unrolled import coarse
from unrolled.jit import compiled

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

REMOVED = -1
HOT, COLD = 3.0, 0.2  # temperatures in removals: first a detour of a few is taken, at the end hardly of one
PASSES = 30
WORK = 1_000_000  # edges times searches: 32 searches of a graph of 31,250 edges, at least 4 of any


class Graph(NamedTuple):
    """Compressed rows: the neighbours of v are neighbour[start[v]:start[v + 1]]."""

    start: Ints  # (n + 1,)
    neighbour: Ints  # (2E,)
    counts: Floats  # (n, 1 + K): 1, then the one- or multi-hot classes


class Limits(NamedTuple):
    """What a fold may hold: column 0 is its size, the others its classes."""

    most: Floats  # (1 + K,)
    least: Floats  # (1 + K,)
    filler: Floats  # (1 + K,) what small components add later, to any fold
    weight: Floats  # (1 + K,) removals that one sequence too many or too few is worth
    budget: float  # removals beyond it cost 100 each on the way, and no answer has more


class State(NamedTuple):
    """A legal assignment, with what it takes to change it quickly."""

    fold: Ints  # (n,) 0..k-1 or REMOVED
    nearby: Ints  # (n, k) neighbours in each fold
    loads: Floats  # (k, 1 + K)
    removed: Ints  # (1,)


class Log(NamedTuple):
    """The changes of one move, to take it back."""

    vertex: Ints
    before: Ints
    size: Ints  # (1,)


def graph(edges: Ints, counts: Floats) -> Graph:
    """Compressed rows of undirected edges (E, 2), each given once."""
    both = np.concatenate([edges, edges[:, ::-1]])
    both = both[np.lexsort((both[:, 1], both[:, 0]))]
    start = np.concatenate([[0], np.cumsum(np.bincount(both[:, 0], minlength=len(counts)))])
    return Graph(start, np.ascontiguousarray(both[:, 1]), np.ascontiguousarray(counts, dtype=np.float64))


def separate(edges: Ints, counts: Floats, start: Ints, limits: Limits, *, k: int, seed: int, threads: int) -> Ints:
    """Folds 0..k-1 or REMOVED, (n,): as few removals as found, within the limits as far as possible.

    Several searches with different hierarchies and random numbers; the best wins, the first of equals. The result
    depends on the arguments alone, `threads` excepted.

    Args:
        edges: (E, 2) pairs of vertices 0..n-1, each once.
        counts: (n, 1 + K): ones, then one- or multi-hot classes.
        start: (n,) a legal assignment to begin with: whole components.
    """
    net = graph(edges, counts)
    searches = int(np.clip(WORK // max(1, len(edges)), 4, 32))

    def one(s: int) -> tuple[float, Ints]:
        fold, energy = start.copy(), np.inf
        for clusters in coarse.levels(edges, len(counts), int(limits.most[0]), s):
            members = np.argsort(clusters, kind="stable")
            ends = np.concatenate([[0], np.cumsum(np.bincount(clusters))])
            # In every other search a fold may at first hold a cluster too many for the worth of one removal: so two
            # clusters can change places. The others never leave the limits far, and take better care of classes.
            gentle = 1.0 / np.diff(ends).max() if s % 2 else 1.0
            fold, energy = _anneal(net, fold, limits, k, ends, members, PASSES, 1000 * seed + s, gentle)
        return energy, fold

    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(one, range(searches)))
    return min(found, key=lambda each: each[0])[1]


@compiled
def _random(state: NDArray[np.uint64]) -> float:
    """Uniform in [0, 1): SplitMix64 (Steele 2014), the same on every machine and numpy version."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return float((z ^ (z >> np.uint64(31))) >> np.uint64(11)) / 9007199254740992.0


@compiled
def _put(net: Graph, state: State, log: Log, v: int, new: int) -> None:
    """Change the fold of v and everything that follows from it, and log it."""
    old = state.fold[v]
    for e in range(net.start[v], net.start[v + 1]):
        if old >= 0:
            state.nearby[net.neighbour[e], old] -= 1
        if new >= 0:
            state.nearby[net.neighbour[e], new] += 1
    for c in range(net.counts.shape[1]):
        if old >= 0:
            state.loads[old, c] -= net.counts[v, c]
        if new >= 0:
            state.loads[new, c] += net.counts[v, c]
    state.removed[0] += int(new < 0) - int(old < 0)
    state.fold[v] = new
    log.vertex[log.size[0]] = v
    log.before[log.size[0]] = old
    log.size[0] += 1


@compiled
def _undo(net: Graph, state: State, log: Log) -> None:
    n = log.size[0]
    for i in range(n - 1, -1, -1):
        log.size[0] = n  # what _put logs now goes behind the entries still to be read
        _put(net, state, log, log.vertex[i], log.before[i])


@compiled
def _energy(state: State, limits: Limits, press: float) -> float:
    """Removals, and the worth in removals, times `press`, of what is too much or cannot be filled up in a fold."""
    worth = 0.0
    for c in range(len(limits.most)):
        over, lack = 0.0, -limits.filler[c]
        for f in range(len(state.loads)):
            over += max(0.0, state.loads[f, c] - limits.most[c])
            lack += max(0.0, limits.least[c] - state.loads[f, c])
        worth += limits.weight[c] * (over + max(0.0, lack))
    removed = state.removed[0]
    return float(removed + press * worth + 100.0 * max(0.0, removed - limits.budget))


@compiled
def _crossing(state: State, v: int) -> int:
    """How many edges lead from v to other folds than its own."""
    n = 0
    if state.fold[v] >= 0:
        for f in range(state.nearby.shape[1]):
            if f != state.fold[v]:
                n += state.nearby[v, f]
    return n


@compiled
def _home(state: State, v: int, otherwise: int) -> int:
    """The one fold where v has neighbours; `otherwise` if it has none, REMOVED if several."""
    home, several = otherwise, 0
    for f in range(state.nearby.shape[1]):
        if state.nearby[v, f] > 0:
            home = f
            several += 1
    return home if several < 2 else -1


@compiled
def _cover(net: Graph, state: State, log: Log, cluster: Ints, todo: Ints, seen: Ints) -> None:
    """Remove the vertex with the most crossing edges until none crosses; all of them touch `cluster`."""
    n = 0
    for v in cluster:
        if _crossing(state, v) > 0:
            todo[n] = v
            n += 1
    for i in range(n):
        for e in range(net.start[todo[i]], net.start[todo[i] + 1]):
            u = net.neighbour[e]
            if seen[u] == 0 and state.fold[u] >= 0 and state.fold[u] != state.fold[todo[i]]:
                seen[u] = 1
                todo[n] = u
                n += 1
    for i in range(n):
        seen[todo[i]] = 0
    worst = _worst(state, todo[:n])
    while worst >= 0:
        _put(net, state, log, worst, -1)
        worst = _worst(state, todo[:n])


@compiled
def _worst(state: State, candidates: Ints) -> int:
    """Who has the most crossing edges, then the fewest others; then the first. -1 if none has any."""
    worst, most, fewest = -1, 1, 0
    for v in candidates:
        crossing = _crossing(state, v)
        if crossing < most:
            continue
        others = state.nearby[v, state.fold[v]]
        if crossing > most or worst < 0 or others < fewest or (others == fewest and v < worst):
            worst, most, fewest = v, crossing, others
    return worst


@compiled
def _return(net: Graph, state: State, log: Log, fold: int) -> None:
    """Put back removed vertices at or beside the changes so far, where no edge would cross."""
    for i in range(log.size[0]):
        v = log.vertex[i]
        for e in range(net.start[v] - 1, net.start[v + 1]):
            u = v if e < net.start[v] else net.neighbour[e]
            if state.fold[u] < 0:
                home = _home(state, u, fold)
                if home >= 0:
                    _put(net, state, log, u, home)


@compiled
def _surroundings(net: Graph, state: State, cluster: Ints, near: Ints) -> int:
    """Count edges from the cluster into each fold; return its fold, or -2 if removed vertices or several touch it."""
    near[:] = 0
    here: int = state.fold[cluster[0]]
    for v in cluster:
        if state.fold[v] != here or here < 0:
            here = -2
        for e in range(net.start[v], net.start[v + 1]):
            fold = state.fold[net.neighbour[e]]
            if fold >= 0:
                near[fold] += 1
            else:
                here = -2
    return here


@compiled
def _begin(net: Graph, start: Ints, k: int) -> State:
    state = State(
        start.copy(), np.zeros((len(start), k), np.int64), np.zeros((k, net.counts.shape[1])), np.zeros(1, np.int64)
    )
    for v in range(len(start)):
        if start[v] < 0:
            state.removed[0] += 1
            continue
        for e in range(net.start[v], net.start[v + 1]):
            state.nearby[net.neighbour[e], start[v]] += 1
        for c in range(net.counts.shape[1]):
            state.loads[start[v], c] += net.counts[v, c]
    return state


@compiled
def _shuffle(order: Ints, random: NDArray[np.uint64]) -> None:
    for i in range(len(order) - 1, 0, -1):
        j = int(_random(random) * (i + 1))
        order[i], order[j] = order[j], order[i]


@compiled
def _anneal(
    net: Graph,
    start: Ints,
    limits: Limits,
    k: int,
    ends: Ints,
    members: Ints,
    passes: int,
    seed: int,
    gentle: float,
) -> tuple[Ints, float]:
    """Move clusters, members[ends[c]:ends[c + 1]], while the temperature falls; the best state and its energy.

    The limits press with `gentle` at first, fully at last.
    """
    n = len(start)
    state = _begin(net, start, k)
    log = Log(np.empty(8 * n + 8, np.int64), np.empty(8 * n + 8, np.int64), np.zeros(1, np.int64))
    todo, seen, near = np.empty(2 * n, np.int64), np.zeros(n, np.int64), np.zeros(k, np.int64)
    random = np.array([seed], np.uint64)
    order = np.arange(len(ends) - 1)
    best, least = start.copy(), _energy(state, limits, 1.0)
    for step in range(passes):
        part = step / (passes - 1)
        temperature, press = HOT * (COLD / HOT) ** part, gentle ** (1 - part)
        energy = _energy(state, limits, press)
        _shuffle(order, random)
        for c in order:
            cluster = members[ends[c] : ends[c + 1]]
            here = _surroundings(net, state, cluster, near)
            lightest = np.argmin(state.loads[:, 0])
            for fold in range(k):
                if fold == here or (near[fold] == 0 and fold != lightest and _random(random) > 0.1):
                    continue
                log.size[0] = 0
                for v in cluster:
                    if state.fold[v] != fold:
                        _put(net, state, log, v, fold)
                _cover(net, state, log, cluster, todo, seen)
                _return(net, state, log, fold)
                change = _energy(state, limits, press) - energy
                if change < -1e-9 or _random(random) < np.exp(-change / temperature):
                    energy += change
                    here = fold if here >= 0 else here
                    whole = _energy(state, limits, 1.0)
                    if whole < least - 1e-9 and state.removed[0] <= limits.budget:
                        best[:] = state.fold
                        least = whole
                else:
                    _undo(net, state, log)
    return best, least
