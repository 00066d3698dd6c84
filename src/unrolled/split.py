"""Folds: whole groups, balanced in size and in every class, deterministic per seed."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled.balancing import greedily
from unrolled.disjoint import REMOVAL, Split, disjoint
from unrolled.disjoint import warnings as disjoint_warnings
from unrolled.errors import UnrolledError
from unrolled.files import atomic, write_json
from unrolled.gate import versions
from unrolled.task import Counts
from unrolled.tasks import named

SHOWN = 5  # classes in a warning

Card = dict[str, Any]
Strata = tuple[list[str], Counts]


def balance(groups: NDArray[np.integer], labels: NDArray[np.number], folds: int, seed: int) -> NDArray[np.int64]:
    """Assign whole groups to folds so that sizes and class counts come out even.

    Greedily: groups from the largest to the smallest, equals in a seeded random order.

    Args:
        groups: (N,) group number of every sequence, 0..G-1.
        labels: (N, K) one- or multi-hot classes.
        folds: k, the number of folds.

    Returns:
        (N,) fold of every sequence, 0..k-1.
    """
    counts = np.zeros((int(groups.max()) + 1, labels.shape[1] + 1))  # (G, K+1); the last column is the size
    np.add.at(counts, groups, np.c_[labels, np.ones(len(labels))])
    shuffled = np.random.default_rng(seed).permutation(len(counts))
    order = shuffled[np.argsort(-counts[shuffled, -1], kind="stable")]
    chosen: NDArray[np.int64] = greedily(counts, folds, order, np.full(len(counts), -1))[groups]
    return chosen


def make_folds(table: pd.DataFrame, card: Card, task: str, clusters: pd.DataFrame | None = None) -> pd.DataFrame:
    """The table's `folds.parquet`: columns id, group, fold, in the table's order.

    Args:
        table: the canonical table, N rows.
        card: the split card: `group` is sequence, cluster, column or published.
        clusters: `id` and `group`, needed where the card groups by cluster.

    Raises:
        UnrolledError: fewer groups than folds, a published column that holds no fold numbers, a missing column.
    """
    k = card["folds"]
    if card["group"] == "published":
        return pd.DataFrame({"id": table["id"], "group": table["id"], "fold": _published(table, card)})
    group = _groups(table, card, clusters)
    codes, names = pd.factorize(group, sort=True)
    if len(names) < k:
        raise UnrolledError(
            f"{len(names)} groups cannot fill {k} folds: lower `folds`, or group less strictly "
            f"(the largest group has {np.bincount(codes).max()} of {len(table)} sequences)"
        )
    _, labels = named(task).strata(table["target"].tolist())
    return pd.DataFrame({"id": table["id"], "group": group, "fold": balance(codes, labels, k, card.get("seed", 0))})


def make(
    table: pd.DataFrame,
    card: Card,
    task: str,
    *,
    clusters: pd.DataFrame | None = None,
    neighbours: pd.DataFrame | None = None,
    threads: int = 1,
) -> Split:
    """The folds that a split card asks for, removals, and what `split.json` says of them.

    Args:
        clusters: id and group, where the card groups by cluster; `attrs` name the tool.
        neighbours: first, second and identity, where the card groups by homology; `attrs` say how they were found.

    Raises:
        UnrolledError: as `make_folds` and `disjoint.disjoint`.
    """
    nothing = pd.DataFrame({"id": [], "reason": []}, dtype="str")
    if card["group"] == "homology":
        made = _homology(table, card, task, neighbours, threads)
    else:
        made = Split(make_folds(table, card, task, clusters), nothing, {})
    tools = versions("numpy", "scipy", "numba") if card["group"] == "homology" else versions("numpy")
    if clusters is not None:
        tools["mmseqs"] = clusters.attrs["mmseqs"]
    facts = {"title": card["title"], "group": card["group"], "identity": card.get("identity")}
    strata = named(task).strata(table["target"].tolist())
    said = facts | summary(table, made.kept, strata) | made.facts | {"tools": tools}
    return Split(made.folds, made.removed, said)


def write(folder: Path, made: Split, facts: dict[str, Any]) -> None:
    """Write folds.parquet, removed.csv and split.json."""
    with atomic(folder / "folds.parquet") as tmp:
        made.folds.to_parquet(tmp, index=False)
    with atomic(folder / "removed.csv") as tmp:
        made.removed.to_csv(tmp, index=False, lineterminator="\n", encoding="utf-8")
    write_json(folder / "split.json", facts)


def _homology(table: pd.DataFrame, card: Card, task: str, neighbours: pd.DataFrame | None, threads: int) -> Split:
    if neighbours is None:
        raise UnrolledError("this split separates relatives: pass the neighbours of the table (`--neighbours`)")
    rows = table.sort_values("id", ignore_index=True)
    row = pd.Series(rows.index, index=rows["id"])
    ends = [row.reindex(neighbours[end]) for end in ("first", "second")]
    if any(end.isna().any() for end in ends):
        raise UnrolledError("the neighbours belong to another table: some are not in this one")
    made = disjoint(
        rows["id"].tolist(),
        named(task).strata(rows["target"].tolist())[1],
        np.c_[ends[0], ends[1]].astype(np.int64),
        neighbours["identity"].to_numpy(),
        k=card["folds"],
        removal=card.get("removal", REMOVAL),
        seed=card.get("seed", 0),
        threads=threads,
        definition=neighbours.attrs["definition"],
    )
    return Split(made.folds, made.removed, made.facts | {"neighbours": dict(neighbours.attrs)})


def summary(table: pd.DataFrame, folds: pd.DataFrame, strata: Strata) -> dict[str, Any]:
    """What `split.json` says of the folds: their sizes, groups and class counts; removed sequences count nowhere.

    `strata` are the names of the classes, and how much of each a row of the table holds, (N, K).
    """
    names, labels = strata
    labels = labels[pd.Index(table["id"]).get_indexer(folds["id"])]  # (N, K)
    sizes = folds["group"].value_counts()

    def one(fold: int) -> dict[str, Any]:
        rows = (folds["fold"] == fold).to_numpy()
        counted = dict(zip(names, map(int, labels[rows].sum(axis=0)), strict=True))
        groups = int(folds.loc[rows, "group"].nunique())
        return {"fold": fold, "n": int(rows.sum()), "groups": groups, "classes": counted}

    return {
        "n": len(folds),
        "n_groups": len(sizes),
        "largest_group": int(sizes.iloc[0]),
        "folds": [one(fold) for fold in range(int(folds["fold"].max()) + 1)],
    }


def warnings(summary: dict[str, Any]) -> list[str]:
    """Sentences about uneven folds, and about classes that some fold lacks: neither learned nor scored there."""
    lacking: dict[str, list[int]] = {}
    for fold in summary["folds"]:
        for name, n in fold["classes"].items():
            if n == 0:
                lacking.setdefault(name, []).append(fold["fold"])
    uneven = disjoint_warnings(summary) if "even" in summary else []
    return [*uneven, _lacking(lacking)] if lacking else uneven


def _lacking(classes: dict[str, list[int]]) -> str:
    """One sentence, however many classes some fold lacks."""
    shown = [f"'{name}' in {', '.join(map(str, folds))}" for name, folds in list(classes.items())[:SHOWN]]
    more = f" and {len(classes) - SHOWN:,} more" if len(classes) > SHOWN else ""
    return f"classes that do not occur in some folds ({len(classes):,} in all): {'; '.join(shown)}{more}"


def _groups(table: pd.DataFrame, card: Card, clusters: pd.DataFrame | None) -> pd.Series:
    if card["group"] == "sequence":
        return table["id"]
    if card["group"] == "column":
        return _column(table, card["column"])
    if clusters is None:
        raise UnrolledError("this split groups by cluster: pass the clusters of the table (`--clusters`)")
    group = table["id"].map(clusters.set_index("id")["group"])
    if group.isna().any():
        lost = table["id"][group.isna()].head(3).tolist()
        raise UnrolledError(f"the clusters belong to another table: {', '.join(lost)} are in none")
    return group


def _published(table: pd.DataFrame, card: Card) -> NDArray[np.int64]:
    k, column = card["folds"], card["column"]
    said = _column(table, column)
    values = pd.to_numeric(said.map(card["values"]) if "values" in card else said, errors="coerce")
    if set(values) != set(range(k)):
        found = ", ".join(repr(value) for value in sorted(set(said))[:8])
        means = ", as the card's `values` say" if "values" in card else ""
        raise UnrolledError(f"{column!r} must hold the folds 0 to {k - 1}, every one{means}; it holds {found}")
    return values.to_numpy(dtype=np.int64)


def _column(table: pd.DataFrame, column: str | list[str]) -> pd.Series:
    """The values of a column, or those of several with a blank between them."""
    columns = [column] if isinstance(column, str) else column
    absent = [name for name in columns if name not in table]
    if absent:
        raise UnrolledError(f"the table has no column '{absent[0]}'; it has {', '.join(table.columns)}")
    return table[columns].astype("str").agg(" ".join, axis=1)
