"""FASTA files -> records: ids and targets by what a data card says of the headers."""

from collections.abc import Iterator
from pathlib import Path

from unrolled import tasks
from unrolled.alphabet import ALPHABETS
from unrolled.errors import UnrolledError
from unrolled.headers import fields, identifier
from unrolled.reading import Block, fasta_blocks
from unrolled.records import Card, Record, spelled

FILE = "file"  # as a card's `labels`: the class of a sequence is the name of its file, without extensions


def read_fasta(card: Card, path: Path) -> Iterator[Record]:
    """Records of a FASTA file. Card keys: header (separator, target) or labels, keep.

    The id is the header up to the separator or a blank, an accession where a database's name comes first.
    Target and kept columns are `name=value` fields of the header; with `labels: file` the file's name is the target.
    Where labels are in a file of their own, kept columns may be there.
    """
    _check_header(card)
    for block in fasta_blocks(path):
        yield _fasta_record(card, path, block)


def in_fasta(card: Card) -> bool:
    """Whether the labels are the letters of a FASTA file."""
    labels = card.get("labels", FILE)
    return labels != FILE and "target" not in labels


def joined(lines: list[tuple[int, str]]) -> str:
    """The letters of a record's lines."""
    return "".join(letters for _, letters in lines)


def separator_of(card: Card) -> str:
    """What stands between the fields of a header."""
    separator: str = card.get("header", {}).get("separator", "|")
    return separator


def _check_header(card: Card) -> None:
    if card["task"] == "generation":
        return
    if "target" not in card.get("header", {}) and "labels" not in card:
        raise UnrolledError(
            "where are the labels? A FASTA card needs `header: {target: ...}`, `labels: {...}` or `labels: file`"
        )
    if "labels" in card or card["task"] != "multilabel":
        return
    separator = separator_of(card)
    if separator == card.get("separator", tasks.SEPARATOR):
        raise UnrolledError(
            f"{separator!r} separates both the header's fields and the labels, so all labels but the first "
            "would be lost: use another one in the file, and name it as `separator` or `header: {separator}`"
        )


def _fasta_record(card: Card, path: Path, block: Block) -> Record:
    line, header, body = block
    layout, keep, separator = card.get("header", {}), card.get("keep", []), separator_of(card)
    found, name = fields(header, separator), identifier(header, separator)
    labelled = [layout["target"]] if "target" in layout and "labels" not in card else []
    wanted = [] if card.get("labels", FILE) != FILE else [*labelled, *keep]
    absent = [f"{path}:{line}: the header has no field `{field}=`" for field in wanted if field not in found]
    sequence = spelled(joined(body), card)
    target = path.name.split(".")[0] if card.get("labels") == FILE else found.get(layout.get("target"), "")
    return Record(
        id=name,
        sequence=sequence,
        target=target,
        keep=tuple(found.get(column) for column in keep),
        where=f"{path}:{line}",
        fault=absent[0] if absent else _bad_letter(card, path, name, sequence, body),
    )


def _bad_letter(card: Card, path: Path, name: str, sequence: str, body: list[tuple[int, str]]) -> str:
    """The first illegal letter as "file:line:column: ..."; "" if there is none."""
    alphabet = ALPHABETS[card["alphabet"]]
    hit = alphabet.illegal(sequence)
    if hit is None:
        return ""
    lines = [line for line, letters in body for _ in letters]
    position, letter = hit
    line = lines[position - 1]
    column = position - lines.index(line)
    looks = f"; the sequence looks like {alphabet.others}" if alphabet.stranger(sequence) else ""
    return f"{path}:{line}:{column}: letter {letter!r} of {name!r} is not in the {alphabet.name} alphabet{looks}"
