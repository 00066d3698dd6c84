"""The audit of a split: how near do tested sequences come to those trained on, whoever built the split and how.

Every identity here is an exact pairwise alignment by parasail, without the score bounds that a split is built with;
"zero" is said only where every pair across folds was aligned.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import numpy as np
import pandas as pd

from unrolled import homology
from unrolled.allpairs import AllPairs
from unrolled.candidates import MOST
from unrolled.definitions import DEFAULT, Definition, check_threshold, definition, strands
from unrolled.errors import UnrolledError
from unrolled.files import atomic, write_json
from unrolled.gate import LISTED, folds_hash, kept, sequences_hash, versions
from unrolled.nearest import CONFIDENCE, Crossing, Effort, Sample, Search, cross
from unrolled.pairwise import check_room

THRESHOLD = {"protein": 0.3, "dna": 0.8, "rna": 0.8}  # where nobody names one


class Terms(NamedTuple):
    """What counts as a leak."""

    definition: Definition
    threshold: float
    both_strands: bool

    @classmethod
    def of_cards(cls, data: dict[str, Any], split: dict[str, Any], default: Mapping[str, str] = DEFAULT) -> "Terms":
        """The split card's `definition` and `identity` and the data card's `strands`, each with its default."""
        alphabet = data["alphabet"]
        threshold = split.get("identity", THRESHOLD[alphabet])
        named = definition(split.get("definition"), alphabet, default)
        return cls(named, check_threshold(threshold), strands(data) == 2)


def folded(table: pd.DataFrame, folds: pd.DataFrame) -> pd.DataFrame:
    """id, sequence, fold and group of the table's sequences that are in a fold; those a split removed are in none.

    Raises UnrolledError if the folds are another table's.
    """
    unknown = sorted(set(folds["id"]) - set(table["id"]))
    if unknown:
        raise UnrolledError(f"the folds belong to another table: it has no {', '.join(unknown[:3])}")
    placed = kept(folds)[[name for name in ("id", "fold", "group") if name in folds]]
    return table[["id", "sequence"]].merge(placed, on="id", validate="one_to_one")


def certify(
    sequences: pd.DataFrame,
    terms: Terms,
    *,
    known: AllPairs | None = None,
    **effort: Unpack[Effort],
) -> tuple[dict[str, Any], pd.DataFrame]:
    """The certificate of folds, and each sequence's nearest neighbours.

    A run with fold f tests on f, validates on (f + 1) mod k and trains on the rest, so every pair of folds is once
    trained on and tested: all pairs across folds count.

    Args:
        sequences: columns id (unique), sequence and fold (0..k-1), N rows in any order.
        known: identities of these and perhaps further sequences under these terms, where they were aligned before.
        effort: as for `nearest.cross`; beyond its budget the check is a search and a sample, and says so.

    Returns:
        The content of certificate.json, and (N rows, by id) id, fold; nearest and max_identity among the sequences
        trained on when this one is tested; nearest_other and max_other among all other folds; the definition.
    """
    rows = sequences.sort_values("id", ignore_index=True)
    folds = rows["fold"].to_numpy(dtype=np.int64)
    if len(np.unique(folds)) < 2:
        raise UnrolledError("all sequences are in one fold: there is nothing to check between folds")
    if not known:
        check_room(rows["id"].tolist(), rows["sequence"].tolist(), folds.tolist(), threads=effort.get("threads", 1))
    found = cross(
        rows["sequence"].tolist(),
        folds,
        terms.definition,
        check_threshold(terms.threshold),
        both_strands=terms.both_strands,
        known=known.among(rows["id"].tolist()) if known else None,
        **effort,
    )
    nearest = _nearest(rows, found).assign(definition=terms.definition.name)
    made_by = known.tools if known else tools(found)
    certificate = _certificate(nearest, found, terms) | {"sequences_sha256": sequences_hash(rows), "tools": made_by}
    return certificate, nearest


def write(folder: Path, certificate: dict[str, Any], nearest: pd.DataFrame) -> None:
    """Write identity.parquet and certificate.json, the certificate last: an old one never stands beside new folds."""
    (folder / "certificate.json").unlink(missing_ok=True)
    with atomic(folder / "identity.parquet") as tmp:
        nearest.to_parquet(tmp, index=False)
    write_json(folder / "certificate.json", certificate)


def tools(found: Crossing) -> dict[str, str]:
    """Versions of what made the result."""
    mmseqs = {} if found.exhaustive else {"mmseqs": homology.version()}
    return versions("parasail", "numpy") | mmseqs


def method(found: Crossing) -> str:
    """`exhaustive`, or `search and sample`."""
    return "exhaustive" if found.exhaustive else "search and sample"


def search_facts(search: Search | None) -> dict[str, Any] | None:
    """What MMseqs2 was asked, as JSON."""
    return None if search is None else {"program": "mmseqs", **search._asdict()}


def sample_facts(sample: Sample | None) -> dict[str, Any] | None:
    """What the sample of the pairs that were no candidates bounds, as JSON."""
    if sample is None:
        return None
    return {
        "pairs": sample.n,
        "hits": sample.hits,
        "population": sample.population,
        "confidence": CONFIDENCE,
        "upper_share": sample.bound,
        "upper_pairs": int(np.ceil(sample.bound * sample.population)),
    }


def statement(n: int, above: int, found: Crossing, terms: Terms, where: str, what: str = "sequences") -> str:
    """One sentence or two that say no more than was checked; `where` is such as "in another fold"."""
    least = f"a neighbour at least {100 * terms.threshold:g} % identical ({terms.definition.name}) {where}"
    share = f"{above:,} ({100 * above / n:.2f} %)"
    if found.exhaustive:
        have = "has" if above in (0, 1) else "have"
        return f"{share if above else 'Zero'} of {n:,} {what} {have} {least}: all {found.total:,} pairs were aligned."
    search = found.search
    assert search is not None
    done = f"all, at least the best {MOST // 2} of each sequence on the other side, were"
    if search.aligned < search.proposed:
        done = f"the {search.aligned:,} likeliest of them, every sequence's best first, were"
    start = f"{share} of {n:,} {what} found with" if above else f"None of {n:,} {what} found with"
    by = f"MMseqs2's search (sensitivity {search.sensitivity:g}) proposed {search.proposed:,} pairs"
    return f"{start} {least}. {by}, and {done} aligned. {_bounded(found.sample)}"


def shared_route(certificate: dict[str, Any]) -> str:
    """What is to be said of a split without relatives where its audit searched: by that search it was made, too."""
    if certificate["method"] == "exhaustive":
        return ""
    return (
        " Where the split did not compare every pair either, it was made with this search, too: then the sample "
        "alone is independent of it."
    )


def _bounded(sample: Sample | None) -> str:
    if sample is None or sample.n == 0:
        return "The other pairs were not looked at."
    facts = sample_facts(sample) or {}
    return (
        f"{sample.hits or 'None'} of {sample.n:,} random pairs among the {sample.population:,} others reached it: "
        f"with 95 % confidence at most {facts['upper_pairs']:,} of these do "
        f"({100 * facts['upper_share']:.2g} %)."
    )


def _nearest(rows: pd.DataFrame, found: Crossing) -> pd.DataFrame:
    folds, k = rows["fold"].to_numpy(dtype=np.int64), found.identity.shape[1]
    columns = np.arange(k)
    other = columns != folds[:, None]  # (N, k)
    trained = other & (columns != (folds[:, None] + 1) % k) if k > 2 else other
    ids = rows["id"].to_numpy(dtype=object)
    frame = pd.DataFrame({"id": rows["id"], "fold": folds})
    for names, mask in ((("nearest", "max_identity"), trained), (("nearest_other", "max_other"), other)):
        best = np.where(mask, found.identity, -1.0).argmax(axis=1)
        row = found.nearest[np.arange(len(rows)), best]
        value = np.where(row >= 0, found.identity[np.arange(len(rows)), best], 0.0)
        frame[names[0]] = pd.Series(np.where(row >= 0, ids[row], ""), dtype="str")
        frame[names[1]] = value.astype(np.float32)
    return frame


def _certificate(nearest: pd.DataFrame, found: Crossing, terms: Terms) -> dict[str, Any]:
    worst = nearest[nearest["max_other"] >= np.float32(terms.threshold)]
    worst = worst.sort_values(["max_other", "id"], ascending=[False, True])
    fold = dict(zip(nearest["id"], nearest["fold"], strict=True))
    columns = (worst[name].head(LISTED).tolist() for name in ("id", "fold", "nearest_other", "max_other"))
    listed = [
        {"id": one, "fold": f, "nearest": other, "nearest_fold": fold[other], "identity": round(identity, 6)}
        for one, f, other, identity in zip(*columns, strict=True)
    ]
    return {
        "definition": terms.definition.name,
        "definition_facts": terms.definition.facts | {"both_strands": terms.both_strands},
        "threshold": terms.threshold,
        "method": method(found),
        "statement": statement(len(nearest), len(worst), found, terms, "in another fold"),
        "sequences": len(nearest),
        "folds": found.identity.shape[1],
        "folds_sha256": folds_hash(nearest),
        "pairs": found.total,
        "pairs_checked": found.checked,
        "pairs_above": found.above,
        "max_identity": round(float(nearest["max_other"].max()), 6),
        "above_threshold": len(worst),
        "share_above": len(worst) / len(nearest),
        "offenders": listed,
        "search": search_facts(found.search),
        "residual": sample_facts(found.sample),
    }
