"""Folds that no two relatives straddle, as files hold them: ids, folds, and every removal with its reason."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled.balancing import TOLERANCE, Tolerance
from unrolled.errors import UnrolledError
from unrolled.partition import Partition, components, partition

REMOVAL = 0.05  # share of the sequences that may be removed, where a card says nothing


@dataclass(frozen=True)
class Split:
    """Folds by id, who was removed and why, and what the split is like."""

    folds: pd.DataFrame  # id, group, fold: Int64, <NA> for the removed; by id
    removed: pd.DataFrame  # id, reason; by id
    facts: dict[str, Any]

    @property
    def kept(self) -> pd.DataFrame:
        """id, group, fold of the kept sequences, fold as plain integers."""
        kept = self.folds[self.folds["fold"].notna()].reset_index(drop=True)
        return kept.assign(fold=kept["fold"].astype("int64"))


def disjoint(
    ids: list[str],
    labels: NDArray[np.integer[Any]],
    pairs: NDArray[np.int64],
    identity: NDArray[np.floating[Any]],
    *,
    k: int,
    removal: float = REMOVAL,
    tolerance: Tolerance = TOLERANCE,
    seed: int = 0,
    threads: int = 1,
    definition: str = "identity",
) -> Split:
    """Split sequences so that no pair has its two ends in two folds.

    Args:
        ids: N, unique and sorted: so the order of a file does not matter.
        labels: (N, K) one- or multi-hot classes.
        pairs: (E, 2) rows of neighbours, each pair once.
        identity: (E,) of each pair, for the reasons.
        removal: at most this share of the sequences may be removed to break up large families.
        definition: of the identity, for the reasons.

    Raises:
        UnrolledError: fewer sequences than folds, or families so large or so few that a fold stays empty.
    """
    if len(ids) < k:
        raise UnrolledError(f"{len(ids)} sequences cannot fill {k} folds: lower the number of folds")
    tolerance = tolerance.one(len(ids) / k)
    found = partition(
        pairs, labels, k, budget=int(removal * len(ids)), tolerance=tolerance, seed=seed, threads=threads
    )
    if len(np.unique(found.fold[found.fold >= 0])) < k:
        families = int(components(pairs, len(ids)).max()) + 1
        what = f"{found.largest:,} of {len(ids):,} sequences are one family of neighbours, which does"
        if 1 < families < k:
            what = f"{len(ids):,} sequences are {families} families of neighbours, which do"
        raise UnrolledError(
            f"{what} not break into {k} folds by removing {removal:.0%} of the sequences: raise the identity or the "
            "share that may be removed, or lower the number of folds"
        )
    names = pd.Series(ids, dtype="str")
    fold = pd.Series(found.fold, dtype="Int64").mask(found.fold < 0)
    folds = pd.DataFrame({"id": names, "group": _groups(names, found.group), "fold": fold})
    reasons = _reasons(ids, found, pairs, identity, definition)
    removed = pd.DataFrame({"id": names[found.removed], "reason": reasons}, dtype="str").reset_index(drop=True)
    return Split(folds, removed, _facts(found, removal, tolerance))


def _groups(names: pd.Series, group: NDArray[np.int64]) -> pd.Series:
    """Each component by the id of its first member."""
    first = np.unique(group, return_index=True)[1]
    return names.iloc[first[group]].reset_index(drop=True)


def _reasons(
    ids: list[str], found: Partition, pairs: NDArray[np.int64], identity: NDArray[np.floating[Any]], definition: str
) -> list[str]:
    """For each removed sequence its nearest neighbour in every fold that it would have joined to another."""
    reasons = []
    for nearest in _nearest(ids, found, pairs, identity).values():
        joined = "; ".join(
            f"fold {f}: {name} ({100 * -value:.1f} % {definition})" for f, (value, name) in sorted(nearest.items())
        )
        start = "neighbours in several folds" if len(nearest) > 1 else "its family does not fit into a fold"
        reasons.append(f"{start}: {joined}" if joined else start)
    return reasons


def _nearest(
    ids: list[str], found: Partition, pairs: NDArray[np.int64], identity: NDArray[np.floating[Any]]
) -> dict[int, dict[int, tuple[float, str]]]:
    """Of each removed row by fold: (- identity, id) of its nearest neighbour there."""
    nearest: dict[int, dict[int, tuple[float, str]]] = {row: {} for row in found.removed.tolist()}
    touching = np.isin(pairs, found.removed).any(axis=1)
    for ends, value in zip(pairs[touching].tolist(), identity[touching].tolist(), strict=True):
        for row, other in (ends, ends[::-1]):
            fold, one = int(found.fold[other]), (-value, ids[other])
            if row in nearest and fold >= 0:
                nearest[row][fold] = min(nearest[row].get(fold, one), one)
    return nearest


def _facts(found: Partition, removal: float, tolerance: Tolerance) -> dict[str, Any]:
    return {
        "kept": int((found.fold >= 0).sum()),
        "removed": len(found.removed),
        "removal_budget": removal,
        "fewest_proved": found.fewest,
        "largest_family": found.largest,
        "size_deviation": round(found.evenness.size, 6),
        "share_deviation": round(found.evenness.share, 6),
        "even": found.evenness.within(tolerance),
    }


def warnings(facts: dict[str, Any]) -> list[str]:
    """Sentences about a split that keeps its promise, but less evenly than it should."""
    if facts["even"]:
        return []
    return [
        f"uneven folds: sizes up to {facts['size_deviation']:.1%} from the mean, class shares up to "
        f"{100 * facts['share_deviation']:.1f} points from all, with {facts['removed']:,} removed of at most "
        f"{facts['removal_budget']:.0%} (the largest family has {facts['largest_family']:,} sequences)"
    ]
