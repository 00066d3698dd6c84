"""What two sets of sequences share by their letters alone: copies, parts, other strands, accessions, labels at odds.

No alignment is needed for these, so each is looked for in all sequences, however many there are.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pandas as pd

from unrolled.headers import accession
from unrolled.identity import reverse_complement

PART = {"protein": 10, "dna": 20, "rna": 20}  # letters: shorter ones occur in unrelated sequences by chance
WINDOWS = 5  # of a needle: of these the rarest is looked for, as ends are often those of a primer or a family


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
    rows = train.reset_index(drop=True).sort_values("id", kind="stable").drop_duplicates("sequence")
    known, asked = rows["sequence"].tolist(), test["sequence"].drop_duplicates().tolist()
    inside, around = _first(asked, known, least), _first(known, asked, least, of_stacks=True)
    partner = {text: min(found[text] for found in (inside, around) if text in found) for text in inside | around}
    places = rows.index.tolist()
    pairs = [(t, places[partner[text]]) for t, text in enumerate(test["sequence"]) if text in partner]
    return _partners(pairs, train, test)


def _first(needles: list[str], stacks: list[str], least: int, *, of_stacks: bool = False) -> dict[str, int]:
    """Of each needle the place of the first longer stack that holds it, or of each stack that of the first needle.

    Time grows with the letters of both, as long as one of the windows that are looked at in a needle is rare.

    Args:
        needles, stacks: without repeats; needles of fewer than `least` letters are in no stack.
    """
    index, found = _index(needles, stacks, least), dict[str, int]()
    for s, stack in enumerate(stacks):
        for n, at in _hits(stack, index, least):
            needle = needles[n]
            text, place = (stack, n) if of_stacks else (needle, s)
            if place < found.get(text, math.inf) and len(needle) < len(stack) and stack.startswith(needle, at):
                found[text] = place
    return found


def _index(needles: list[str], stacks: list[str], least: int) -> dict[str, list[tuple[int, int]]]:
    """Needles by that of some of their windows which is rarest in the stacks: place, and where the window begins.

    A needle with a window that no stack has is in none, and left out.
    """
    counts = {needle[start : start + least]: 0 for needle in needles for start in _starts(needle, least)}
    for stack in stacks:
        for at in range(len(stack) - least + 1):
            window = stack[at : at + least]
            if window in counts:
                counts[window] += 1
    index = defaultdict(list)
    for n, needle in enumerate(needles):
        rarest = min(((counts[needle[i : i + least]], i) for i in _starts(needle, least)), default=(0, 0))
        if rarest[0]:
            index[needle[rarest[1] : rarest[1] + least]].append((n, rarest[1]))
    return index


def _starts(needle: str, least: int) -> list[int]:
    """Where the windows begin that are looked at: evenly from the first to the last."""
    last = len(needle) - least
    return [last * i // (WINDOWS - 1) for i in range(WINDOWS)] if last >= 0 else []


def _hits(stack: str, index: dict[str, list[tuple[int, int]]], least: int) -> Iterator[tuple[int, int]]:
    """Needles whose window is in a stack, and where the needle would begin."""
    for at in range(len(stack) - least + 1):
        for n, start in index.get(stack[at : at + least], ()):
            if start <= at:
                yield n, at - start


def _partners(pairs: list[tuple[int, int]], train: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    """One row a test sequence, with the first of its partners by id."""
    rows, others = ([pair[side] for pair in pairs] for side in (0, 1))
    names = test["id"].iloc[rows].tolist(), train["id"].iloc[others].tolist()
    frame = pd.DataFrame({"row": rows, "test": names[0], "train": names[1]}).astype({"row": int})
    return frame.sort_values(["row", "train"]).drop_duplicates("row").reset_index(drop=True)


def _turned(sequence: str, alphabet: str) -> str:
    turned = reverse_complement(sequence)
    return turned.replace("T", "U") if alphabet == "rna" else turned
