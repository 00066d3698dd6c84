"""What two sets of sequences share by their letters alone: copies, parts, other strands, accessions, labels at odds.

No alignment is needed for these, so each is looked for in all sequences, however many there are.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pandas as pd

from unrolled.headers import accession
from unrolled.identity import reverse_complement

PART = {"protein": 10, "dna": 20, "rna": 20}  # letters: shorter ones occur in unrelated sequences by chance


class Shared(NamedTuple):
    """What was found: a row for each test sequence (columns row, test, train), with the first of its partners."""

    exact_duplicates: pd.DataFrame
    subsequences: pd.DataFrame
    reverse_complements: pd.DataFrame
    shared_accessions: pd.DataFrame
    conflicting_labels: pd.DataFrame  # a row for each sequence at odds: ids, labels


def shared(train: pd.DataFrame, test: pd.DataFrame, alphabet: str, *, both_strands: bool) -> Shared:
    """Everything that two tables of `fasta.read_fasta` share; `row` counts the test table's rows from 0.

    A sequence that lies in another counts as a sub-sequence from 10 residues or 20 nucleotides, whichever of the two
    is the part. The other strand counts whole and as a part, where the given strand shares nothing.
    """
    least = PART[alphabet]
    same = _copies(train, test)
    parts = _parts(train, test, least).loc[lambda found: ~found["row"].isin(same["row"])]
    strands = _partners([], train, test)
    if both_strands:
        turned = test.assign(sequence=[_turned(s, alphabet) for s in test["sequence"]])
        strands = pd.concat([_copies(train, turned), _parts(train, turned, least)]).drop_duplicates("row")
        strands = strands[~strands["row"].isin({*same["row"], *parts["row"]})].sort_values("row")
    return Shared(same, parts, strands, _accessions(train, test), conflicts(pd.concat([train, test])))


def conflicts(sequences: pd.DataFrame) -> pd.DataFrame:
    """Sequences that occur with more than one label: the ids, joined by blanks, and the labels, by " | "."""
    labelled = sequences[sequences["label"] != ""]
    found: dict[str, tuple[set[str], set[str]]] = {}
    for sequence, name, label in zip(*(labelled[c] for c in ("sequence", "id", "label")), strict=True):
        names, labels = found.setdefault(sequence, (set(), set()))
        names.add(name)
        labels.add(label)
    rows = [(" ".join(sorted(n)), " | ".join(sorted(labels))) for n, labels in found.values() if len(labels) > 1]
    return pd.DataFrame(sorted(rows), columns=["ids", "labels"], dtype="str")


def _copies(train: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    return _same(train, test, lambda frame: frame["sequence"].tolist())


def _accessions(train: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    """Isoforms and versions of one entry on both sides."""
    return _same(train, test, lambda frame: [accession(name) for name in frame["id"]])


def _same(train: pd.DataFrame, test: pd.DataFrame, key: Callable[[pd.DataFrame], list[Any]]) -> pd.DataFrame:
    place = {value: i for i, value in reversed(list(enumerate(key(train)))) if value is not None}
    return _partners([(t, place[value]) for t, value in enumerate(key(test)) if value in place], train, test)


def _parts(train: pd.DataFrame, test: pd.DataFrame, least: int) -> pd.DataFrame:
    """Test sequences that lie in a training sequence, or hold one."""
    inside = _contained(test["sequence"].tolist(), train["sequence"].tolist(), least)
    around = _contained(train["sequence"].tolist(), test["sequence"].tolist(), least)
    return _partners([*inside, *((stack, needle) for needle, stack in around)], train, test)


def _contained(needles: list[str], stacks: list[str], least: int) -> Iterator[tuple[int, int]]:
    """(place of the needle, place of a longer sequence that holds it). Time grows with the letters of both."""
    starting = defaultdict(list)  # the first letters of every needle -> needles that start so
    for n, needle in enumerate(needles):
        if len(needle) >= least:
            starting[needle[:least]].append((n, needle))
    for s, stack in enumerate(stacks):
        for at in range(len(stack) - least + 1):
            for n, needle in starting.get(stack[at : at + least], ()):
                if len(needle) < len(stack) and stack.startswith(needle, at):
                    yield n, s


def _partners(pairs: list[tuple[int, int]], train: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    """One row a test sequence, with the first of its partners by id."""
    rows, others = ([pair[side] for pair in pairs] for side in (0, 1))
    names = test["id"].iloc[rows].tolist(), train["id"].iloc[others].tolist()
    frame = pd.DataFrame({"row": rows, "test": names[0], "train": names[1]}).astype({"row": int})
    return frame.sort_values(["row", "train"]).drop_duplicates("row").reset_index(drop=True)


def _turned(sequence: str, alphabet: str) -> str:
    turned = reverse_complement(sequence)
    return turned.replace("T", "U") if alphabet == "rna" else turned
