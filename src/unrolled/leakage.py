"""Two sets of anybody's sequences: does the test set leak from the training set?

Everything a reader is told comes from `Leakage.facts`, the JSON: counts are of test sequences unless they say pairs.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled.audit import Terms, method, sample_facts, search_facts, statement, tools
from unrolled.errors import UnrolledError
from unrolled.fasta import guess_alphabet, read_fasta
from unrolled.gate import LISTED
from unrolled.leaks import Shared, shared
from unrolled.nearest import Crossing, Effort, cross
from unrolled.pairwise import check_room

BANDS = 10  # of the histogram
CHECKS = {  # in a reader's words; all but the last are leaks
    "exact_duplicates": "the same letters as a training sequence",
    "subsequences": "part of a training sequence, or holding one (of 10 residues or 20 nucleotides)",
    "reverse_complements": "the other strand of a training sequence, or a part of it",
    "shared_accessions": "an isoform or version of a training entry",
    "above_threshold": "at or above the identity threshold",
    "conflicting_labels": "sequences that occur with different labels, in either file",
}
LEAKS = tuple(CHECKS)[:-1]
DEFAULT = {"protein": "either", "dna": "either-nt", "rna": "either-nt"}  # what is related in any way is a leak


@dataclass(frozen=True)
class Leakage:
    """What an audit of two sets found."""

    alphabet: str
    terms: Terms
    n_train: int
    near: pd.DataFrame  # a row a test sequence, in the file's order: id, nearest, identity
    found: Crossing
    shared: Shared

    @property
    def leaks(self) -> bool:
        """Whether any test sequence is known, wholly or nearly, from training."""
        return any(self.counts[name] for name in LEAKS)

    @property
    def counts(self) -> dict[str, int]:
        """Number of findings by check."""
        letters = {name: len(frame) for name, frame in self.shared._asdict().items()}
        return {name: letters.get(name, int(self.above.sum())) for name in CHECKS}

    @property
    def above(self) -> NDArray[np.bool_]:
        """Which test sequences reach the threshold, (N,)."""
        return np.asarray(self.near["identity"].to_numpy() >= np.float32(self.terms.threshold))

    @property
    def statement(self) -> str:
        """What was checked and what came out, in a sentence or two."""
        above = self.counts["above_threshold"]
        return statement(
            len(self.near), above, self.found, self.terms, "among the training sequences", "test sequences"
        )

    @property
    def histogram(self) -> list[dict[str, Any]]:
        """Test sequences by their highest identity to training, in bands of a tenth; 1 belongs to the last."""
        values = self.near["identity"].to_numpy()
        band = np.minimum((values * BANDS + 1e-6).astype(int), BANDS - 1)
        counts = np.bincount(band, minlength=BANDS).tolist()
        return [{"from": i / BANDS, "to": (i + 1) / BANDS, "n": n} for i, n in enumerate(counts)]

    @property
    def offenders(self) -> list[dict[str, Any]]:
        """Every test sequence with a leak, the worst first.

        `nearest` and `identity` come from the alignments, `partner` from the letters ("" if they tell nothing), and
        `is` names the checks.
        """
        checks: dict[int, list[str]] = {row: ["above_threshold"] for row in np.flatnonzero(self.above).tolist()}
        partners: dict[int, str] = {}
        for name in LEAKS[:-1]:
            frame = getattr(self.shared, name)
            for row, train in zip(frame["row"], frame["train"], strict=True):
                checks.setdefault(row, []).append(name)
                partners.setdefault(row, train)
        near = list(zip(*(self.near[c].tolist() for c in ("id", "nearest", "identity")), strict=True))
        listed = [
            dict(zip(("id", "nearest", "identity"), near[row], strict=True))
            | {"identity": round(near[row][2], 6), "partner": partners.get(row, ""), "is": names}
            for row, names in checks.items()
        ]
        return sorted(listed, key=lambda one: (-one["identity"], one["id"], one["nearest"]))

    def facts(self) -> dict[str, Any]:
        """All of it as JSON values."""
        offenders = self.offenders
        return {
            "verdict": "leaks" if self.leaks else "clean",
            "statement": self.statement,
            **self.counts,
            "max_identity": round(float(self.near["identity"].max()), 6),
            "definition": self.terms.definition.name,
            "definition_facts": self.terms.definition.facts | {"both_strands": self.terms.both_strands},
            "threshold": self.terms.threshold,
            "alphabet": self.alphabet,
            "train_sequences": self.n_train,
            "test_sequences": len(self.near),
            "method": method(self.found),
            "pairs": self.found.total,
            "pairs_checked": self.found.checked,
            "pairs_above": self.found.above,
            "search": search_facts(self.found.search),
            "residual": sample_facts(self.found.sample),
            "unaligned": 0 if self.found.exhaustive else int((self.near["nearest"] == "").sum()),
            "histogram": self.histogram,
            "offenders": offenders[:LISTED],
            "offenders_in_all": len(offenders),
            "conflicts": self.shared.conflicting_labels.head(LISTED).to_dict("records"),
            "tools": tools(self.found),
        }


def read(
    train: Path, test: Path, *, alphabet: str | None = None, labels: Path | None = None, multilabel: bool = False
) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Both FASTA files in one alphabet, which their letters tell if it is not given.

    Raises UnrolledError for what cannot be read, and for files of different alphabets.
    """
    tables = [read_fasta(path, labels, alphabet, multilabel=multilabel) for path in (train, test)]
    if alphabet is None:
        kinds = [guess_alphabet(table["sequence"].tolist()) for table in tables]
        if "protein" in kinds and len(set(kinds)) > 1:
            raise UnrolledError(
                f"{train} looks like {kinds[0]}, {test} like {kinds[1]}: compare like with like, "
                "or name the alphabet if one of the files is too short to tell"
            )
        alphabet = kinds[0]
        if len(set(kinds)) > 1:  # T in one file and U in the other
            tables[1] = read_fasta(test, labels, alphabet, multilabel=multilabel)
    return tables[0], tables[1], alphabet


def between(
    train: pd.DataFrame,
    test: pd.DataFrame,
    alphabet: str,
    terms: Terms,
    **effort: Unpack[Effort],
) -> Leakage:
    """Everything that two tables of `fasta.read_fasta` share, by letters and by alignment.

    `effort` is that of `nearest.cross`. Raises UnrolledError for sequences that are too long to be aligned.
    """
    # By id and letters, so that among equally near sequences the same one is named whatever the files' order.
    ordered = train.sort_values(["id", "sequence"], kind="stable", ignore_index=True)
    sequences = [*ordered["sequence"], *test["sequence"]]
    folds = np.repeat([0, 1], [len(ordered), len(test)])
    names = [*ordered["id"], *test["id"]]
    check_room(names, sequences, folds.tolist(), threads=effort.get("threads", 1))
    found = cross(
        sequences,
        folds,
        terms.definition,
        terms.threshold,
        both_strands=terms.both_strands,
        one_sided=True,
        **effort,
    )
    rows = found.nearest[len(ordered) :, 0]
    trained = ordered["id"].to_numpy(dtype=object)
    near = pd.DataFrame(
        {
            "id": test["id"].reset_index(drop=True),
            "nearest": pd.Series(np.where(rows >= 0, trained[rows], ""), dtype="str"),
            "identity": found.identity[len(ordered) :, 0],
        }
    )
    overlap = shared(ordered, test, alphabet, both_strands=terms.both_strands)
    return Leakage(alphabet, terms, len(train), near, found, overlap)
