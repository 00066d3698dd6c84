"""FASTA files as they occur in the wild -> one table of ids, sequences and labels; no card is needed."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from unrolled.alphabet import ALPHABETS, FEW, NUCLEOTIDES
from unrolled.console import say
from unrolled.errors import UnrolledError, refuse
from unrolled.headers import identifier, identifiers, is_torn, label
from unrolled.reading import csv_columns, csv_rows, fasta_blocks
from unrolled.task import Task
from unrolled.tasks import SEPARATOR, named


def read_fasta(
    path: Path, labels: Path | None = None, alphabet: str | None = None, *, multilabel: bool = False
) -> pd.DataFrame:
    """All records of a FASTA file, in its order: id, sequence, label ("" where there is none), where ("file:line").

    Ids may repeat. Where they do, and the first words of the headers tell more records apart, these are the ids, as
    stderr says. Sequences are in upper case, RNA in U and DNA in T, a stop sign at a protein's end dropped.

    Args:
        labels: a CSV or TSV file with a column `id`, and a column `label` or `target` or just one other.
        alphabet: `protein`, `dna` or `rna`; by default what the letters of the whole file say.
        multilabel: labels are lists, joined by "|", kept sorted; "|" parts the fields of a header, too.

    Raises:
        UnrolledError: a file that is empty or no FASTA, a record without id or letters, a letter that the
            alphabet does not have, a header where "|" may part labels or fields, an id with several labels in
            the table, an empty label in a list; each with file and line.
    """
    blocks = list(fasta_blocks(path))
    if not blocks:
        raise UnrolledError(f"{path}: the file is empty or has no record starting with '>'")
    headers = [header for _, header, _ in blocks]
    letters = ("".join(text for _, text in body) for _, _, body in blocks)
    rows = zip(_ids(path, headers), letters, (f"{path}:{line}" for line, _, _ in blocks), strict=True)
    frame = pd.DataFrame(list(rows), columns=["id", "sequence", "where"], dtype="str")
    frame["sequence"] = _spelled(frame, alphabet or guess_alphabet(frame["sequence"].tolist()))
    frame.insert(2, "label", _labels(frame, headers, labels, multilabel))
    return frame


def guess_alphabet(sequences: Sequence[str]) -> str:
    """`protein`, `dna` or `rna`, from the letters of all sequences together."""
    letters = Counter("".join(sequences).upper())
    total = sum(letters.values()) or 1
    if sum(letters[x] for x in NUCLEOTIDES) < FEW * total:
        return "protein"
    return "rna" if letters["U"] > letters["T"] else "dna"


def _ids(path: Path, headers: Sequence[str]) -> list[str]:
    ids, short = identifiers(headers), [identifier(header) for header in headers]
    if ids != short:
        counts = Counter(short)
        again, name = next((s, n) for s, n in zip(short, ids, strict=True) if counts[s] > 1)
        say(f"{path}: ids such as {again!r} repeat, so the first word of a header is its id, such as {name!r}")
    return ids


def _spelled(frame: pd.DataFrame, alphabet: str) -> list[str]:
    known = ALPHABETS[alphabet]
    refuse("records without an id", frame["where"][frame["id"] == ""], "Name every sequence after its '>'.")
    empty = frame["where"][frame["sequence"].isin(["", "*"])]
    refuse("records without a sequence", empty, "Remove them or add their letters.")
    spelled = [known.spell(sequence) for sequence in frame["sequence"]]
    found = ((at, known.illegal(s)) for at, s in zip(frame["where"], spelled, strict=True))
    refuse(
        f"letters outside the {alphabet} alphabet",
        (f"{at}: letter {hit[1]!r} at position {hit[0]}" for at, hit in found if hit),
        f"Legal are {known.legal}. Remove gaps and other signs, or name the alphabet ({', '.join(ALPHABETS)}).",
    )
    return spelled


def _labels(frame: pd.DataFrame, headers: Sequence[str], path: Path | None, multilabel: bool) -> list[str]:
    """The label of each record: of the table, else of its header."""
    task = named("multilabel" if multilabel else "multiclass")
    table = {} if path is None else _table(path, frame["id"].tolist(), task)
    if multilabel:
        asked = zip(frame["id"], frame["where"], headers, strict=True)
        torn = (where for name, where, header in asked if name not in table and is_torn(header))
        refuse('headers in which "|" may part labels or fields', torn, "Give the lists in a table (`--labels`).")
    own = (task.canonical(label(header), SEPARATOR) for header in headers)
    found = [table.get(name, text) for name, text in zip(frame["id"], own, strict=True)]
    empty = [bool(text) and "" in task.labels(text) for text in found]
    refuse("empty labels", frame["where"][empty], "Remove the doubled or trailing separator.")
    return found


def _table(path: Path, ids: Sequence[str], task: Task) -> dict[str, str]:
    """The labels of a table by id. Raises UnrolledError for one that labels none of `ids`, or one id in two ways."""
    table, places, odd = dict[str, str](), dict[str, str](), list[str]()
    for at, (name, text) in csv_rows(path, _columns(path)):
        said = task.canonical(text, SEPARATOR)
        known, place = table.setdefault(name, said), places.setdefault(name, at)
        if name and said != known:
            odd.append(f"{at}: {name!r} is {said!r}, but {known!r} in {place}")
    refuse("ids with several labels", odd, "Keep one row of each; lists of labels are joined by '|'.")
    if not any(name in table for name in ids):
        raise UnrolledError(
            f"{path}: labels none of the sequences: its column `id` must hold names such as {ids[0]!r}"
        )
    return table


def _columns(path: Path) -> list[str]:
    """Names of the columns of ids and labels."""
    header = csv_columns(path)
    others = [name for name in header if name != "id"]
    chosen = next((name for name in ("label", "target", "labels", "class") if name in others), None)
    if "id" not in header or not (chosen or len(others) == 1):
        raise UnrolledError(f"{path}:1: name its columns `id` and `label`; it has: {', '.join(header) or 'none'}")
    return ["id", chosen or others[0]]
