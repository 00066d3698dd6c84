"""Raw files -> the canonical table: one function per file format, never one per data set.

A new format is one function `(card, path) -> Iterator[Record]` and its name in FORMATS. What does not depend
on the format (duplicates, labels, lengths, samples, checks) happens once, in `read`. Nothing is dropped in
silence: a row is in the table, or in `excluded`, or in an error that names its file and line.
"""

import csv
import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, TextIO, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled import table as tables
from unrolled.alphabet import ALPHABETS
from unrolled.errors import UnrolledError
from unrolled.files import atomic, write_json

Card = dict[str, Any]
Excluded = list[pd.DataFrame]
Mask = pd.Series | NDArray[np.bool_]


class Record(NamedTuple):
    """One sequence as a format's function yields it; `fault` says why it is unusable, "" if it is not."""

    id: str
    sequence: str
    target: str
    keep: tuple[str, ...]
    where: str
    fault: str = ""


def read_csv(card: Card, path: Path) -> Iterator[Record]:
    """Records of a CSV or TSV file with a header line. Card keys: columns, delimiter, keep."""
    columns, keep = card["columns"], card.get("keep", [])
    wanted = [columns["id"], columns["sequence"], columns["target"], *keep]
    for where, (name, letters, target, *kept) in _rows(card, path, wanted):
        yield Record(name, _spelled(letters, card), target, tuple(kept), where)


def read_fasta(card: Card, path: Path) -> Iterator[Record]:
    """Records of a FASTA file. Card keys: header (separator, target) or labels, keep.

    The id is the header up to the separator or a blank; `sp|P12345|NAME` and `tr|...` give the accession.
    Target and kept columns are `name=value` fields of the header.
    """
    _check_header(card)
    for line, header, body in _blocks(path):
        yield _fasta_record(card, path, line, header, body)


FORMATS = {"csv": read_csv, "fasta": read_fasta}


def build(
    card: Card, name: str, files: Sequence[Path], out_table: Path, out_excluded: Path, out_summary: Path
) -> None:
    """Read the raw files of data card `name`; write table, excluded.csv and summary.json, each atomically."""
    table, excluded = read(card, name, files)
    with atomic(out_excluded) as tmp:
        excluded.to_csv(tmp, index=False, lineterminator="\n", encoding="utf-8")
    write_json(out_summary, tables.summary(table, excluded, card, name))
    tables.write(out_table, table)


def read(card: Card, name: str, files: Sequence[Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (table, excluded): checked, perhaps sampled, and id, reason, where of every row left out.

    `files` are the card's raw files in its order, a labels file among them. Raises UnrolledError that names
    the data card, the file and the line.
    """
    excluded: Excluded = []
    try:
        rows = _simulated(card) if "simulate" in card else _parsed(card, list(map(Path, files)), excluded)
        rows["target"] = _joined(rows, card)
        tables.check(rows.drop(columns="where"), card["task"], ALPHABETS[card["alphabet"]], rows["where"])
        rows = _selected(rows.sort_values("id", kind="stable"), card, excluded)
    except UnrolledError as error:
        raise UnrolledError(f"data {name}: {error}") from None
    return rows.drop(columns="where"), _listed(excluded)


def _simulated(card: Card) -> pd.DataFrame:
    from unrolled.simulate import simulate

    table = simulate(**card["simulate"])
    absent = [column for column in card.get("keep", []) if column not in table.columns]
    tables.refuse("`keep` names unknown columns", absent, f"Simulated are: {', '.join(table.columns)}.")
    return table[_columns(card)].assign(where="")


def _parsed(card: Card, files: list[Path], excluded: Excluded) -> pd.DataFrame:
    """Rows of all files, one per id, labelled, with their `where`."""
    labels = _labels_path(card, files)
    records = [record for path in files if path != labels for record in _records(card, path)]
    tables.refuse("unreadable records", (r.fault for r in records if r.fault), "Correct the file or the card.")
    values = [(r.id, r.sequence, r.target, *r.keep, r.where) for r in records]
    rows = _unique(pd.DataFrame(values, columns=[*_columns(card), "where"], dtype="str"), card, excluded)
    return rows if labels is None else _labelled(rows, card, labels, excluded)


def _columns(card: Card) -> list[str]:
    keep: list[str] = card.get("keep", [])
    reserved = [column for column in keep if column in (*tables.COLUMNS, "where")]
    tables.refuse("`keep` names columns that every table has", reserved, "Remove them from `keep`.")
    return [*tables.COLUMNS, *keep]


def _records(card: Card, path: Path) -> list[Record]:
    records = list(FORMATS[card["format"]](card, path))
    if not records:
        raise UnrolledError(f"{path}: the file is empty or has no record. Fetch it again.")
    return records


def _unique(rows: pd.DataFrame, card: Card, excluded: Excluded) -> pd.DataFrame:
    """One row per id: the first, the others listed; or an error that names both lines."""
    again = rows["id"].duplicated() & (rows["id"] != "")  # empty ids are another fault, found by check()
    if card.get("duplicates", "error") == "error":
        first = rows.drop_duplicates("id").set_index("id")["where"]
        twice = zip(rows.loc[again, "id"], rows.loc[again, "where"], strict=True)
        tables.refuse(
            "ids that occur twice",
            (f"{name!r}: {where}, first at {first[name]}" for name, where in twice),
            "Rename or remove one of each, or set `duplicates: first` in the card to keep the first.",
        )
    same = rows.drop(columns="where").duplicated()
    _without(rows, again & ~same, "duplicate id, other content", excluded)
    _without(rows, again & same, "duplicate id, same content", excluded)
    return rows.loc[~again].reset_index(drop=True)


def _labels_path(card: Card, files: list[Path]) -> Path | None:
    """The card's labels file: one of `files` by its name, or a path of its own."""
    source = card.get("labels", {})
    if "name" not in source:
        return Path(source["path"]) if source else None
    for path in files:
        if path.name == source["name"]:
            return path
    raise UnrolledError(f"the labels file {source['name']} is not among the card's `files`: add it there")


def _labelled(rows: pd.DataFrame, card: Card, path: Path, excluded: Excluded) -> pd.DataFrame:
    """`rows` with the targets of the labels file; labels that no sequence claims are listed."""
    found = _rows(card, path, [card["labels"]["id"], card["labels"]["target"]])
    labels = pd.DataFrame([(*row, at) for at, row in found], columns=["id", "target", "where"], dtype="str")
    labels = _unique(labels, card, excluded)
    _without(labels, ~labels["id"].isin(rows["id"]), "label without a sequence", excluded)
    known = dict(zip(labels["id"], labels["target"], strict=True))
    return rows.assign(target=[known.get(name, "") for name in rows["id"]])


def _joined(rows: pd.DataFrame, card: Card) -> list[str]:
    """Targets in the canonical form: for multilabel, sorted and joined by "|"."""
    if card["task"] != "multilabel":
        return rows["target"].tolist()
    separator = card.get("separator", tables.SEPARATOR)
    if separator != tables.SEPARATOR:
        clash = rows.loc[rows["target"].str.contains(tables.SEPARATOR, regex=False), "where"]
        tables.refuse('labels that contain "|"', clash, 'The table joins labels by "|": rename these.')
    split = ({label.strip() for label in target.split(separator)} for target in rows["target"])
    return [tables.SEPARATOR.join(sorted(labels)) for labels in split]


def _selected(rows: pd.DataFrame, card: Card, excluded: Excluded) -> pd.DataFrame:
    shortest = card.get("min_length", 0)
    rows = _without(rows, rows["sequence"].str.len() < shortest, f"shorter than {shortest}", excluded)
    if rows.empty:
        raise UnrolledError(f"no sequence has {shortest} letters: lower `min_length`")
    if "sample" in card:
        rows = _without(rows, ~tables.sample(rows, card["task"], **card["sample"]), "not sampled", excluded)
    return rows


def _without(rows: pd.DataFrame, out: Mask, reason: str, excluded: Excluded) -> pd.DataFrame:
    """The rows not marked in `out`; those marked join `excluded` with their reason."""
    excluded.append(rows.loc[out, ["id", "where"]].assign(reason=reason))
    return rows.loc[~out].reset_index(drop=True)


def _listed(excluded: Excluded) -> pd.DataFrame:
    """One sorted frame; `where` keeps the file's name alone, so that its folder does not change the bytes."""
    listed = pd.concat([pd.DataFrame(columns=["id", "reason", "where"], dtype="str"), *excluded])
    listed["where"] = [Path(where).name for where in listed["where"]]
    return listed.sort_values(["reason", "id", "where"], ignore_index=True)


def _spelled(text: str, card: Card) -> str:
    """Canonical letters without surrounding blanks; a stop sign at the end of a protein goes."""
    letters = ALPHABETS[card["alphabet"]].spell(text.strip())
    return letters.removesuffix("*") if card["alphabet"] == "protein" else letters


# CSV


def _rows(card: Card, path: Path, wanted: list[str]) -> Iterator[tuple[str, list[str]]]:
    """("file:line", stripped values of the `wanted` columns) of each row; the line is the row's first."""
    line = 0
    # Room for a chromosome in one field, but not for all of a large file behind a stray quote.
    csv.field_size_limit(2**28)
    with _text(path) as stream:
        reader = csv.reader(stream, delimiter=_delimiter(card, path), strict=True)
        try:
            header = [name.strip() for name in next(reader, [])]
            indices = _indices(header, wanted, path)
            line = reader.line_num
            for row in reader:
                where, line = f"{path}:{line + 1}", reader.line_num
                if len(row) == len(header):
                    yield where, [row[index].strip() for index in indices]
                elif any(value.strip() for value in row):
                    raise UnrolledError(f"{where}: {len(row)} fields, the header has {len(header)}: mend the row")
        except csv.Error as error:
            raise UnrolledError(f"{path}:{line + 1}: {error}. Is a quote in this row never closed?") from None


def _delimiter(card: Card, path: Path) -> str:
    delimiter: str = card.get("delimiter", "\t" if ".tsv" in path.suffixes else ",")
    return delimiter


def _indices(header: list[str], wanted: list[str], path: Path) -> list[int]:
    if not any(header):
        raise UnrolledError(f"{path}:1: the file is empty or has no header line. Fetch it again.")
    absent = (name for name in wanted if name not in header)
    remedy = f"The file has: {', '.join(header)}. Correct the card's column names, or its `delimiter`."
    tables.refuse(f"{path}:1: missing columns", absent, remedy)
    twice = (name for name in wanted if header.count(name) > 1)
    tables.refuse(f"{path}:1: columns that occur twice", twice, "Rename one of each.")
    return [header.index(name) for name in wanted]


# FASTA


def _check_header(card: Card) -> None:
    if "header" not in card and "labels" not in card:
        raise UnrolledError("where are the labels? A FASTA card needs `header: {target: ...}` or `labels: {...}`")
    if "labels" in card or card["task"] != "multilabel":
        return
    separator = card["header"].get("separator", "|")
    if separator == card.get("separator", tables.SEPARATOR):
        raise UnrolledError(
            f"{separator!r} separates both the header's fields and the labels, so all labels but the first "
            "would be lost: use another one in the file, and name it as `separator` or `header: {separator}`"
        )


def _blocks(path: Path) -> Iterator[tuple[int, str, list[tuple[int, str]]]]:
    """(line of the header, header, [(line, letters)]) of each record; blank lines are skipped."""
    block: tuple[int, str, list[tuple[int, str]]] | None = None
    with _text(path) as stream:
        for number, line in enumerate(stream, start=1):
            text = line.strip()
            if text.startswith(">"):
                if block:
                    yield block
                block = number, text[1:].strip(), []
            elif text and block:
                block[2].append((number, text))
            elif text:
                raise UnrolledError(f"{path}:{number}: FASTA starts with '>', this file with {text[:40]!r}")
    if block:
        yield block


def _fasta_record(card: Card, path: Path, line: int, header: str, body: list[tuple[int, str]]) -> Record:
    layout, keep = card.get("header", {}), card.get("keep", [])
    fields = _fields(header, layout.get("separator", "|"))
    wanted = keep if "labels" in card else [layout["target"], *keep]
    absent = [f"{path}:{line}: the header has no field `{name}=`" for name in wanted if name not in fields]
    sequence = _spelled("".join(letters for _, letters in body), card)
    return Record(
        id=_accession(header, layout.get("separator", "|")),
        sequence=sequence,
        target="" if "labels" in card else fields.get(layout["target"], ""),
        keep=tuple(fields.get(name, "") for name in keep),
        where=f"{path}:{line}",
        fault=absent[0] if absent else _bad_letter(card, path, sequence, body),
    )


def _accession(header: str, separator: str) -> str:
    database, *rest = header.split("|")
    if database in ("sp", "tr") and len(rest) >= 2:
        return rest[0].strip()
    return (header.split(separator)[0].split() or [""])[0]


def _fields(header: str, separator: str) -> dict[str, str]:
    pairs = (part.split("=", 1) for part in header.split(separator) if "=" in part)
    return {key.strip(): value.strip() for key, value in pairs}


def _bad_letter(card: Card, path: Path, sequence: str, body: list[tuple[int, str]]) -> str:
    """The first illegal letter as "file:line:column: ..."; "" if there is none."""
    alphabet = ALPHABETS[card["alphabet"]]
    hit = alphabet.illegal(sequence)
    if hit is None:
        return ""
    lines = [line for line, letters in body for _ in letters]
    position, letter = hit
    line = lines[position - 1]
    column = position - lines.index(line)
    return f"{path}:{line}:{column}: letter {letter!r} is not in the {alphabet.name} alphabet"


# Text


@contextmanager
def _text(path: Path) -> Iterator[TextIO]:
    """Open plain or gzipped UTF-8, told apart by content; a failure to read names the file and the line."""
    try:
        _refuse_page(path)
        with _open(path, "rt", encoding="utf-8-sig") as stream:
            yield cast(TextIO, stream)
    except UnicodeDecodeError:
        raise UnrolledError(_undecodable(path)) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UnrolledError(f"{path}: truncated or damaged gzip ({error}). Fetch the file again.") from None
    except OSError as error:
        raise UnrolledError(f"{path}: {error.strerror}. Is the path in the card right?") from None


def _open(path: Path, mode: str, encoding: str | None = None) -> IO[Any]:
    with path.open("rb") as stream:
        zipped = stream.read(2) == b"\x1f\x8b"
    opener: Callable[..., IO[Any]] = gzip.open if zipped else open
    return opener(path, mode, encoding=encoding)


def _refuse_page(path: Path) -> None:
    with _open(path, "rb") as stream:
        start = stream.read(512).removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"<"):
        raise UnrolledError(
            f"{path}:1: a web page, not data: it starts with {start[:40].decode('utf-8', 'replace')!r}. "
            "A login or proxy page was probably saved instead of the file: delete it and fetch again."
        )


def _undecodable(path: Path) -> str:
    """Where a file stops being UTF-8: read again by lines, because decoding reports places within a block."""
    offset, number = 0, 0
    with _open(path, "rb") as stream:
        for line in stream:
            number += 1
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                offset += error.start
                break
            offset += len(line)
    return f"{path}:{number}: not UTF-8 at byte {offset}. Save it as UTF-8 text; unpack archives but gzip."
