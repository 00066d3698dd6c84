"""UniProt's tables (TSV) and entries (flat text) -> records whose target is made of annotations.

Which annotations is the card's choice: `locations` makes classes of subcellular locations, `features` a letter for
every position of features of the sequence. Where nothing usable is annotated the record is left out, with the reason.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from unrolled import tasks
from unrolled.errors import UnrolledError
from unrolled.features import lettered
from unrolled.locations import EXPERIMENTAL, displayed, judged, locations
from unrolled.reading import csv_rows
from unrolled.records import Card, Record, spelled
from unrolled.swissprot import entries


class Target(NamedTuple):
    """A record's target, why there is none, and what of its annotations was not used."""

    text: str
    left_out: str
    unused: list[str]


def read_table(card: Card, path: Path) -> Iterator[Record]:
    """Records of a table as UniProt's search gives it. Card keys: columns, keep, and locations or features.

    `columns.target` is a column of annotations or several; `columns.isoforms` that of the alternative products.
    """
    columns = card["columns"]
    target = columns["target"]
    targets = [target] if isinstance(target, str) else target
    isoforms = [columns["isoforms"]] if "isoforms" in columns else []
    wanted = [columns["id"], columns["sequence"], *targets, *isoforms, *card.get("keep", [])]
    begin, end = 2 + len(targets), 2 + len(targets) + len(isoforms)
    # UniProt's tables have no quotes around fields, but quotes inside them.
    for where, row in csv_rows(path, wanted, card.get("delimiter"), quoted=False):
        sequence = spelled(row[1], card)
        text, isoform = "; ".join(filter(None, row[2:begin])), displayed("".join(row[begin:end]))
        yield _record(row[0], sequence, _target(card, text, len(sequence), isoform), tuple(row[end:]), where)


def read_entries(card: Card, path: Path) -> Iterator[Record]:
    """Records of flat text, UniProt's .txt or .dat. Card keys: locations or features."""
    if card.get("keep"):
        raise UnrolledError("format swissprot has no columns to keep: drop `keep`, or take UniProt's table (.tsv)")
    for entry in entries(path):
        sequence = spelled(entry.sequence, card)
        text = entry.features if "features" in card else entry.comments.get("SUBCELLULAR LOCATION", "")
        isoform = displayed(entry.comments.get("ALTERNATIVE PRODUCTS", ""))
        yield _record(entry.accession, sequence, _target(card, text, len(sequence), isoform), (), entry.where)


def _record(name: str, sequence: str, target: Target, keep: tuple[str, ...], where: str) -> Record:
    unused = tuple(target.unused)
    return Record(name, sequence, target.text, keep, where, left_out=target.left_out, unused=unused)


def _target(card: Card, text: str, length: int, isoform: str) -> Target:
    if ("locations" in card) == ("features" in card):
        raise UnrolledError(f"format {card['format']}: the card needs either `locations` or `features`")
    return _labels(card, text, length) if "features" in card else _classes(card, text, isoform)


def _labels(card: Card, text: str, length: int) -> Target:
    letters, unused = lettered(text, length, card["features"])
    unknown = set(letters) <= {tasks.UNSCORED}
    return Target(letters, f"no {' or '.join(card['features'])} at a known position" if unknown else "", unused)


def _classes(card: Card, text: str, isoform: str) -> Target:
    found = locations(text)
    classes, unused = judged(found, card["locations"], card.get("evidence", EXPERIMENTAL), isoform)
    several = "several locations" if card["task"] == "multiclass" and len(classes) > 1 else ""
    none = "none of its locations is used" if found else "no location is annotated"
    return Target(card.get("separator", tasks.SEPARATOR).join(classes), several if classes else none, unused)
