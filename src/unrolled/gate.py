"""The gate: nothing is trained on folds whose certificate breaks their split's promise, or belongs to other folds."""

import hashlib
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from unrolled import __version__
from unrolled.errors import UnrolledError, refuse
from unrolled.files import read_json, read_parquet

LISTED = 1000  # offenders in a certificate, the worst first; all are in identity.parquet


def folds_hash(folds: pd.DataFrame) -> str:
    """SHA-256 of the lines "id,fold" sorted by id: of who is where, not of how a file holds it."""
    lines = sorted(f"{name},{fold}\n" for name, fold in zip(folds["id"], folds["fold"], strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def sequences_hash(rows: pd.DataFrame) -> str:
    """SHA-256 of the lines "id,sequence" sorted: of who is what, a series by its own hash."""
    texts = (one if isinstance(one, str) else one.fingerprint.hex() for one in rows["sequence"])
    lines = sorted(f"{name},{text}\n" for name, text in zip(rows["id"], texts, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def kept(folds: pd.DataFrame) -> pd.DataFrame:
    """The rows of folds.parquet that are in a fold; those that a split removed have none, or -1."""
    return folds[folds["fold"].fillna(-1) >= 0].astype({"fold": "int64"})


def versions(*packages: str) -> dict[str, str]:
    """Of unrolled and of Python packages that decided something."""
    return {"unrolled": __version__} | {name: metadata.version(name) for name in packages}


def whole(rows: pd.DataFrame) -> dict[str, Any]:
    """What a certificate says of a split that keeps groups whole: how many there are, and those that are not."""
    folds = rows.groupby("group")["fold"].nunique()
    divided = sorted(map(str, folds.index[folds > 1]))
    return {"groups": len(folds), "groups_divided": len(divided), "groups_in_several_folds": divided[:LISTED]}


def wholeness(groups: dict[str, Any], card: dict[str, Any]) -> str:
    """`whole` as a clause; the split card's column says what a group is."""
    column = card.get("column", "series") if card["group"] == "column" else "series"
    kind = column if isinstance(column, str) else " ".join(column)
    n = groups["groups_divided"]
    who = f"{n:,} groups ({kind}) are" if n > 1 else f"{'one' if n else 'no'} group ({kind}) is"
    return f"{who} in more than one fold"


def check(certificate: dict[str, Any]) -> None:
    """Raise UnrolledError, naming the worst, if a split promises what its certificate found to be untrue.

    A homology split promises no relatives across folds, nor sequences that `max_length` makes the same; one by column
    whole groups. Other splits promise nothing: their certificate says how much they leak.
    """
    group = certificate.get("group")
    if group == "column":
        refuse(
            "groups that are in several folds",
            certificate["groups_in_several_folds"],
            "The folds were changed, or are another table's: make them again with `unrolled folds`.",
            certificate["groups_divided"],
        )
    if group != "homology":
        return
    shown = certificate.get("shown", {})
    refuse(
        f"the split promises less than {100 * certificate['threshold']:g} % identity ({certificate['definition']}) "
        f"between folds, but {certificate['above_threshold']:,} sequences reach it with one in another fold; the "
        "pairs, the worst first",
        offenders(certificate),
        "Raise the card's `minutes`, so that every pair is compared when the folds are made.",
        certificate["pairs_above"],
    )
    refuse(
        "sequences that differ, but that models would see as the same as one in another fold",
        shown.get("ids", []),
        "Raise the data card's `max_length`, or put what models are to see, as the first 70 residues, in the table.",
        shown.get("same"),
    )


def offenders(certificate: dict[str, Any]) -> list[str]:
    """The pairs that a certificate names, the worst first, each once although each of it names the other."""
    pairs: dict[frozenset[str], str] = {}
    for o in certificate["offenders"]:
        named = f"{o['id']} (fold {o['fold']}) and {o['nearest']} (fold {o['nearest_fold']})"
        pairs.setdefault(frozenset((o["id"], o["nearest"])), f"{named}: {100 * o['identity']:.1f} %")
    return list(pairs.values())


def admit(certificate: Path | str | None, folds: Path) -> None:
    """Raise UnrolledError unless these folds may be trained on, as far as there is a certificate."""
    if certificate is None:
        return
    found = read_json(Path(certificate))
    if found.get("folds_sha256") != folds_hash(kept(read_parquet(folds))):
        raise UnrolledError(
            f"{certificate} is not that of {folds}: the folds were changed since, or are another table's. "
            "Write theirs with `unrolled certify`"
        )
    check(found)


def admit_sequences(certificate: Path | str | None, rows: pd.DataFrame) -> None:
    """Raise UnrolledError unless these are the sequences of a certificate, as far as there is one.

    Args:
        rows: id and sequence of all that are in a fold.
    """
    if certificate is not None and read_json(Path(certificate)).get("sequences_sha256") != sequences_hash(rows):
        raise UnrolledError(
            f"{certificate} is of other sequences than the table's, although their ids are the same. Write theirs "
            "with `unrolled certify`"
        )
