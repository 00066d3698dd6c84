"""The audit of a split of numeric series: exact copies across folds, and groups that are in several.

Numbers have no alignment, so no identity is measured, and a certificate claims nothing of series that are merely
alike. What it claims is exhaustive: every series is compared with every other, by a hash of its times and values.
"""

from typing import Any

import numpy as np
import pandas as pd

from unrolled.errors import UnrolledError
from unrolled.gate import LISTED, folds_hash, sequences_hash, versions, whole, wholeness
from unrolled.series import COPY


def certify(folded: pd.DataFrame, card: dict[str, Any]) -> tuple[dict[str, Any], pd.DataFrame]:
    """The certificate of folds, and each series' copies, as `audit.certify` gives them of letters.

    Args:
        folded: columns id (unique), sequence (`Series`), fold (0..k-1) and group, N rows in any order.
        card: the split card.

    Returns:
        The content of certificate.json, and (N rows, by id) id, fold; nearest, a copy among the series trained on
        when this one is tested, and max_identity, 1 for a copy and NaN (not measured) else; nearest_other and
        max_other among all other folds; the definition.
    """
    rows = folded.sort_values("id", ignore_index=True)
    k = int(rows["fold"].max()) + 1
    if rows["fold"].nunique() < 2:
        raise UnrolledError("all sequences are in one fold: there is nothing to check between folds")
    nearest = _nearest(rows, k)
    groups = whole(rows)
    copied = nearest[nearest["nearest_other"] != ""]
    fold = dict(zip(rows["id"], rows["fold"].astype(int), strict=True))
    offenders = [
        {"id": one, "fold": fold[one], "nearest": other, "nearest_fold": fold[other], "identity": 1.0}
        for one, other in zip(copied["id"], copied["nearest_other"], strict=True)
    ]
    return {
        "definition": COPY,
        "definition_facts": {"title": "the same variables, times and values"},
        "threshold": 1.0,
        "method": "exhaustive",
        "statement": _statement(len(rows), len(copied), groups, card),
        "sequences": len(rows),
        "folds": k,
        "folds_sha256": folds_hash(nearest),
        "sequences_sha256": sequences_hash(rows),
        "max_identity": 1.0 if offenders else None,
        "above_threshold": len(copied),
        "share_above": len(copied) / len(rows),
        "offenders": offenders[:LISTED],
        **groups,
        "residual": None,
        "tools": versions("numpy"),
    }, nearest


def _nearest(rows: pd.DataFrame, k: int) -> pd.DataFrame:
    """Per series the first copy, by id, in the folds trained on when it is tested, and in all other folds."""
    prints = [one.fingerprint for one in rows["sequence"]]
    alike: dict[bytes, list[tuple[str, int]]] = {}
    for key, name, fold in zip(prints, rows["id"], rows["fold"].astype(int), strict=True):
        alike.setdefault(key, []).append((name, fold))
    frame = pd.DataFrame({"id": rows["id"], "fold": rows["fold"].astype(np.int64)})
    for names, apart in ((("nearest", "max_identity"), (0, 1)), (("nearest_other", "max_other"), (0,))):
        apart = apart if k > 2 else (0,)
        found = [
            next((other for other, at in alike[key] if (at - fold) % k not in apart), "")
            for key, fold in zip(prints, frame["fold"].tolist(), strict=True)
        ]
        frame[names[0]] = pd.Series(found, dtype="str")
        frame[names[1]] = np.where(frame[names[0]] == "", np.nan, 1.0).astype(np.float32)
    return frame.assign(definition=COPY)


def _statement(n: int, copied: int, groups: dict[str, Any], card: dict[str, Any]) -> str:
    share = f"{copied:,} ({100 * copied / n:.2f} %)" if copied else "Zero"
    copies = f"{share} of {n:,} series {'has' if copied in (0, 1) else 'have'} an exact copy in another fold"
    return (
        f"{copies}: all were compared, by a hash of their times and values; {wholeness(groups, card)}. "
        "Series that are alike but not equal were not looked for: numbers have no alignment."
    )
