"""FASTA files as they occur in the wild -> one table of ids, sequences and labels; no card is needed.

Headers: `>sp|P12345|NAME text`, `>id|label=x`, `>id text`, NCBI's `>gi|1|ref|NP_1.1| text`; plain or gzip.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from unrolled.alphabet import ALPHABETS, PROTEIN
from unrolled.errors import UnrolledError, refuse
from unrolled.headers import is_torn, label
from unrolled.reading import csv_columns, csv_rows, fasta_blocks
from unrolled.tasks import SEPARATOR, Task, named

DATABASES = {"sp", "tr", "ref", "gb", "emb", "dbj", "tpg", "tpe", "lcl", "prf", "ena"}  # database|accession|...
# UniProt's own pattern of its accessions, with an isoform's number; RefSeq, Ensembl and INSDC with a version's.
UNIPROT = re.compile(r"([OPQ]\d[A-Z\d]{3}\d|[A-NR-Z]\d(?:[A-Z][A-Z\d]{2}\d){1,2})(?:-\d+)?(?:\.\d+)?")
VERSIONED = re.compile(r"([NX][MPR]_\d{6,}|ENS[A-Z]*[EGPTR]\d{11}|[A-Z]{1,6}\d{5,})\.\d+")
FEW = 0.9  # share of A, C, G, T, U and N from which letters are nucleotides: proteins have about a quarter


def read_fasta(
    path: Path, labels: Path | None = None, alphabet: str | None = None, *, multilabel: bool = False
) -> pd.DataFrame:
    """All records of a FASTA file, in its order: id, sequence, label ("" where there is none), where ("file:line").

    Ids may repeat. Sequences are in upper case, RNA in U and DNA in T, a stop sign at a protein's end dropped.

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
    rows = [
        (identifier(header), "".join(text for _, text in body), label(header), f"{path}:{line}")
        for line, header, body in blocks
    ]
    frame = pd.DataFrame(rows, columns=["id", "sequence", "label", "where"], dtype="str")
    frame["sequence"] = _spelled(frame, alphabet or guess_alphabet(frame["sequence"].tolist()))
    task = named("multilabel" if multilabel else "multiclass")
    table = {} if labels is None else _table(labels, frame["id"].tolist(), task)
    if multilabel:
        headers = (header for _, header, _ in blocks)
        asked = zip(frame["id"], frame["where"], headers, strict=True)
        torn = (where for name, where, header in asked if name not in table and is_torn(header))
        refuse('headers in which "|" may part labels or fields', torn, "Give the lists in a table (`--labels`).")
    # A sequence that the table lacks keeps its header's.
    said = (task.canonical(text, SEPARATOR) for text in frame["label"])
    found = [table.get(name, text) for name, text in zip(frame["id"], said, strict=True)]
    empty = [bool(text) and "" in task.labels(text) for text in found]
    refuse("empty labels", frame["where"][empty], "Remove the doubled or trailing separator.")
    return frame.assign(label=found)


def guess_alphabet(sequences: Sequence[str]) -> str:
    """`protein`, `dna` or `rna`, from the letters of all sequences together."""
    letters = Counter("".join(sequences).upper())
    total = sum(letters.values()) or 1
    if sum(letters[x] for x in "ACGTUN") < FEW * total:
        return "protein"
    return "rna" if letters["U"] > letters["T"] else "dna"


def identifier(header: str) -> str:
    """The id in a header: the accession where a database's name comes first, else up to a blank or "|"."""
    first = (header.split() or [""])[0]
    database, *rest = first.split("|")
    if database.lower() == "gi" and len(rest) >= 3:
        return identifier("|".join(rest[1:]))
    if database.lower() == "pdb" and len(rest) >= 2:
        return "_".join(rest[:2])
    if database.lower() in {*DATABASES, "gi"} and rest and rest[0]:
        return rest[0]
    return database


def accession(name: str) -> str | None:
    """The accession of an id that has the form of one, without isoform and version; None if it has not.

    >>> accession("P12345-2"), accession("NP_000123.1"), accession("seq1")
    ('P12345', 'NP_000123', None)
    """
    found = UNIPROT.fullmatch(name) or VERSIONED.fullmatch(name)
    return found[1] if found else None


def _spelled(frame: pd.DataFrame, alphabet: str) -> list[str]:
    known = ALPHABETS[alphabet]
    refuse("records without an id", frame["where"][frame["id"] == ""], "Name every sequence after its '>'.")
    empty = frame["where"][frame["sequence"].isin(["", "*"])]
    refuse("records without a sequence", empty, "Remove them or add their letters.")
    spelled = [known.spell(sequence) for sequence in frame["sequence"]]
    if known is PROTEIN:
        spelled = [sequence.removesuffix("*") for sequence in spelled]
    found = ((at, known.illegal(s)) for at, s in zip(frame["where"], spelled, strict=True))
    refuse(
        f"letters outside the {alphabet} alphabet",
        (f"{at}: letter {hit[1]!r} at position {hit[0]}" for at, hit in found if hit),
        f"Legal are {known.legal}. Remove gaps and other signs, or name the alphabet ({', '.join(ALPHABETS)}).",
    )
    return spelled


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
