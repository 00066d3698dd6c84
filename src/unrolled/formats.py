"""Raw files -> the canonical table: one function per file format, never one per data set.

A new format is one function `(card, path) -> Iterator[Record]` and its name in FORMATS. What does not depend
on the format (duplicates, labels, lengths, samples, checks) happens once, in `read`. Nothing is dropped in
silence: a row is in the table, or in `excluded`, or in an error that names its file and line.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled import inputs, tasks, uniprot
from unrolled import table as tables
from unrolled.archives import members
from unrolled.errors import UnrolledError, refuse
from unrolled.fasta_format import FILE, in_fasta, joined, read_fasta, separator_of
from unrolled.files import atomic, read_json, source_of, write_json
from unrolled.formulas import harmless
from unrolled.headers import fields, identifier
from unrolled.reading import csv_columns, csv_rows, fasta_blocks
from unrolled.records import Card, Record, spelled
from unrolled.series import PREFIX, TIME
from unrolled.series_formats import read_long, read_wide

Excluded = list[pd.DataFrame]
Mask = pd.Series | NDArray[np.bool_]


def read_csv(card: Card, path: Path) -> Iterator[Record]:
    """Records of a CSV or TSV file with a header line. Card keys: columns, delimiter, keep."""
    columns, keep = card["columns"], card.get("keep", [])
    wanted = [columns["id"], columns["sequence"], columns.get("target", columns["id"]), *keep]
    for where, (name, letters, target, *kept) in csv_rows(path, wanted, card.get("delimiter")):
        yield Record(name, spelled(letters, card), target, tuple(kept), where)


FORMATS = {
    "csv": read_csv,
    "fasta": read_fasta,
    "uniprot": uniprot.read_table,
    "swissprot": uniprot.read_entries,
    "wide": read_wide,
    "long": read_long,
}


def build(
    card: Card, name: str, files: Sequence[Path], out_table: Path, out_excluded: Path, out_summary: Path
) -> None:
    """Read the raw files of data card `name`; write table, excluded.csv and summary.json, each atomically."""
    table, excluded = read(card, name, files)
    with atomic(out_excluded) as tmp:
        harmless(excluded).to_csv(tmp, index=False, lineterminator="\n", encoding="utf-8")
    sources = [read_json(path) for path in map(source_of, files) if path.is_file()]
    write_json(out_summary, tables.summary(table, excluded, card, name) | {"sources": sources})
    tables.write(out_table, table)


def read(card: Card, name: str, files: Sequence[Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (table, excluded): checked, perhaps sampled, and id, reason, where of every row left out.

    `files` are the card's raw files in its order, a labels file among them. Raises UnrolledError that names
    the data card, the file and the line.
    """
    excluded: Excluded = []
    try:
        rows = _simulated(card) if "simulate" in card else _parsed(card, files, excluded)
        rows = _labelled_ones(rows, card, excluded)
        rows["target"] = _canonical(rows, card)
        tables.check(rows.drop(columns="where"), tasks.of(card), inputs.of(card), rows["where"])
        rows = _selected(rows.sort_values("id", kind="stable"), card, excluded)
    except UnrolledError as error:
        raise UnrolledError(f"data {name}: {error}") from None
    return rows.drop(columns="where"), _listed(excluded)


def _kind(settings: Card) -> tuple[str, Card]:
    """What is simulated, and its settings."""
    return settings.get("kind", "families"), {key: value for key, value in settings.items() if key != "kind"}


def _simulated(card: Card) -> pd.DataFrame:
    from unrolled.puzzles import recall, translation
    from unrolled.simulate import simulate

    makers: dict[str, Callable[..., pd.DataFrame]] = {
        "families": simulate,
        "recall": recall,
        "translation": translation,
    }
    kind, settings = _kind(card["simulate"])
    if kind not in makers:
        raise UnrolledError(f"simulate: kind: {kind!r} is unknown; choose one of {', '.join(makers)}")
    table = makers[kind](**settings)
    absent = [column for column in card.get("keep", []) if column not in table.columns]
    refuse("`keep` names unknown columns", absent, f"Simulated are: {', '.join(table.columns)}.")
    return table[_columns(card)].assign(where="")


def _parsed(card: Card, files: Sequence[Path], excluded: Excluded) -> pd.DataFrame:
    """Rows of all files, one per id, labelled, with their `where`."""
    labels = _labels_path(card, files)
    apart = {labels, _mask(card, files)}
    records = [record for path in _sources(card, files) if path not in apart for record in _records(card, path)]
    refuse("unreadable records", (r.fault for r in records if r.fault), "Correct the file or the card.")
    excluded.append(_set_aside(records))
    records = _usable(records)
    columns = [name for name in (*_columns(card), "where") if name != "sequence"]
    values = [(r.id, r.target, *r.keep, r.where) for r in records]
    rows = pd.DataFrame(values, columns=columns, dtype="str")
    rows.insert(1, "sequence", pd.Series([r.sequence for r in records], dtype=_kept_as(records)))
    rows = _unique(rows, card, excluded)
    rows = rows if labels is None else _labelled(rows, card, labels, files, excluded)
    lost = [(name, at) for name in card.get("keep", []) for at in rows.loc[rows[name].isna(), "where"]]
    remedy = "Take them out of `keep`, or add them there or to the table of labels."
    refuse("kept columns that are nowhere", (f"{at}: there is no `{name}`" for name, at in lost), remedy)
    return rows


def _set_aside(records: Sequence[Record]) -> pd.DataFrame:
    """id, where and reason of the records left out, and of the annotations that were not used, of any record."""
    rows = [(r.id, r.where, r.left_out) for r in records if r.left_out]
    rows += [(r.id, r.where, f"{tables.UNUSED}{why}") for r in records for why in r.unused]
    return pd.DataFrame(rows, columns=["id", "where", "reason"], dtype="str")


def _usable(records: Sequence[Record]) -> list[Record]:
    usable = [record for record in records if not record.left_out]
    if records and not usable:
        raise UnrolledError(
            f"none of {len(records):,} records is usable, the first because of: {records[0].left_out}"
        )
    return usable


def _kept_as(records: Sequence[Record]) -> str:
    """The type of the table's column `sequence`."""
    return "str" if all(isinstance(record.sequence, str) for record in records) else "object"


def _sources(card: Card, files: Sequence[Path]) -> list[Path]:
    """The files to read: of an archive those that its `members` name."""
    patterns = [file.get("members") for file in card.get("files", [])][: len(files)]
    named = zip(files, [*patterns, *[None] * (len(files) - len(patterns))], strict=True)
    return [path for file, pattern in named for path in (members(file, pattern) if pattern else [file])]


def _columns(card: Card) -> list[str]:
    keep: list[str] = card.get("keep", [])
    reserved = [column for column in keep if column in (*tables.COLUMNS, "where", TIME) or column.startswith(PREFIX)]
    refuse("`keep` names columns that every table has", reserved, "Remove them from `keep`.")
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
        refuse(
            "ids that occur twice",
            (f"{name!r}: {where}, first at {first[name]}" for name, where in twice),
            "Rename or remove one of each, or set `duplicates: first` in the card to keep the first.",
        )
    same = rows.drop(columns="where").duplicated()
    _without(rows, again & ~same, "duplicate id, other content", excluded)
    _without(rows, again & same, "duplicate id, same content", excluded)
    return rows.loc[~again].reset_index(drop=True)


def _labels_path(card: Card, files: Sequence[Path]) -> Path | None:
    """The card's labels file: one of `files` by its name, or a path of its own."""
    return None if card.get("labels", FILE) == FILE else _located(card["labels"], files, "labels")


def _located(source: Card, files: Sequence[Path], what: str) -> Path:
    """The file that a card's `path`, or the `name` of one of its `files`, means; in an archive its only member."""
    if ("path" in source) == ("name" in source):
        raise UnrolledError(
            f"where is the {what} file? `{what}` needs either `path`, or the `name` of one of `files`"
        )
    named = [path for path in files if path.name == source.get("name")]
    if "name" in source and not named:
        raise UnrolledError(f"the {what} file {source['name']} is not among the card's `files`: add it there")
    path = named[0] if named else Path(source["path"])
    if "members" not in source:
        return path
    found = members(path, source["members"])
    if len(found) > 1:
        raise UnrolledError(f"{path}: `members: {source['members']}` matches {len(found)} files; name one")
    return found[0]


def _labelled(rows: pd.DataFrame, card: Card, path: Path, files: Sequence[Path], excluded: Excluded) -> pd.DataFrame:
    """`rows` with the targets of the labels file; labels that no sequence claims are listed."""
    labels = _letters(card, path, files) if in_fasta(card) else _label_rows(card, path)
    labels = _unique(labels, card, excluded)
    _without(labels, ~labels["id"].isin(rows["id"]), "label without a sequence", excluded)
    known = labels.set_index("id")
    rows["target"] = rows["id"].map(known["target"]).fillna("")
    for name in card.get("keep", []):
        if name in known:
            rows[name] = _kept(rows, name, known[name], path)
    return rows


def _kept(rows: pd.DataFrame, name: str, by_id: pd.Series, path: Path) -> pd.Series:
    """A kept column, from where the sequences are or, where that says nothing, from the table of labels.

    Raises UnrolledError where the two differ.
    """
    own, told = rows[name].fillna(""), rows["id"].map(by_id).fillna("")
    odd = rows.assign(own=own, told=told)[(own != "") & (told != "") & (own != told)]
    refuse(
        "kept columns that are told twice",
        (f"{at}: {name} is {a!r}, but {b!r} in {path.name}" for at, a, b in odd[["where", "own", "told"]].values),
        "Correct one of them, or give the column another name there.",
    )
    return own.where(own != "", told)


def _label_rows(card: Card, path: Path) -> pd.DataFrame:
    """id, target, the kept columns that are there, and where, of the rows of a CSV file."""
    header = csv_columns(path, card.get("delimiter"))
    keep = [name for name in card.get("keep", []) if name in header]
    found = csv_rows(path, [card["labels"]["id"], card["labels"]["target"], *keep], card.get("delimiter"))
    return pd.DataFrame([(*row, at) for at, row in found], columns=["id", "target", *keep, "where"], dtype="str")


def _letters(card: Card, path: Path, files: Sequence[Path]) -> pd.DataFrame:
    """id, target, kept fields and where of a FASTA file whose letters are the labels; masked ones become "-"."""
    separator, keep = separator_of(card), card.get("keep", [])
    known = dict[str, str]()
    mask = _mask(card, files)
    if mask:
        known = {identifier(header, separator): joined(body) for _, header, body in fasta_blocks(mask)}
    rows, faults = [], []
    for line, header, body in fasta_blocks(path):
        name, letters, where = identifier(header, separator), joined(body), f"{path}:{line}"
        bits = known.get(name, "") if mask else "1" * len(letters)
        if len(bits) != len(letters) or not set(bits) <= {"0", "1"}:
            faults.append(f"{where}: {name!r} has {len(letters)} labels, and {len(bits)} of 0 and 1 in the mask")
            continue
        found = fields(header, separator)
        target = "".join(x if bit == "1" else tasks.UNSCORED for x, bit in zip(letters, bits, strict=True))
        rows.append([name, target, *(found.get(column, "") for column in keep), where])
    refuse("labels without a mask of their length", faults, "Give a 0 or 1 for every label, or drop `mask`.")
    labels = pd.DataFrame(rows, columns=["id", "target", *keep, "where"], dtype="str")
    return labels.drop(columns=[name for name in keep if (labels[name] == "").all()])


def _mask(card: Card, files: Sequence[Path]) -> Path | None:
    return _located(card["mask"], files, "mask") if "mask" in card else None


def _labelled_ones(rows: pd.DataFrame, card: Card, excluded: Excluded) -> pd.DataFrame:
    """`rows` with the labels that the card's `names` give them, but for those of which it says that they are none."""
    if not card.get("names"):
        return rows
    names = {str(label): name for label, name in card["names"].items()}
    separator = card.get("separator", tasks.SEPARATOR) if card["task"] == "multilabel" else None
    named = [_named(target, names, separator) for target in rows["target"]]
    renamed = rows.assign(target=pd.Series(named, index=rows.index, dtype="str"))
    found = _without(renamed, np.array([name is None for name in named]), "no label", excluded)
    if found.empty:
        none = [label for label, name in names.items() if name is None]
        raise UnrolledError(f"no sequence has a label: `names` says of all that occur that they are none ({none})")
    return found


def _named(target: str, names: Mapping[str, str | None], separator: str | None) -> str | None:
    """A target, or each label of a list of them, by its other name; None where nothing is left."""
    if target in names or separator is None:
        return names.get(target, target)
    labels = (names.get(label.strip(), label) for label in target.split(separator))
    kept = [label for label in labels if label is not None]
    return separator.join(kept) if kept else None


def _canonical(rows: pd.DataFrame, card: Card) -> list[str]:
    """Targets as the table keeps them."""
    separator = card.get("separator", tasks.SEPARATOR)
    if card["task"] == "multilabel" and separator != tasks.SEPARATOR:
        clash = rows.loc[rows["target"].str.contains(tasks.SEPARATOR, regex=False), "where"]
        refuse('labels that contain "|"', clash, 'The table joins labels by "|": rename these.')
    return [tasks.of(card).canonical(target, separator) for target in rows["target"]]


def _selected(rows: pd.DataFrame, card: Card, excluded: Excluded) -> pd.DataFrame:
    shortest = card.get("min_length", 0)
    rows = _without(rows, rows["sequence"].map(len) < shortest, f"shorter than {shortest}", excluded)
    if rows.empty:
        raise UnrolledError(f"no sequence has {shortest} positions: lower `min_length`")
    if card.get("copies", "keep") == "first":
        rows = _distinct(rows, excluded)
    if "sample" in card:
        rows = _without(rows, ~tables.sample(rows, card["task"], **card["sample"]), "not sampled", excluded)
    return rows


def _distinct(rows: pd.DataFrame, excluded: Excluded) -> pd.DataFrame:
    """One row a sequence, the first of those that agree in their target; of sequences with several targets none."""
    targets = rows["target"].groupby(pd.factorize(rows["sequence"])[0]).transform("nunique")
    rows = _without(rows, targets > 1, "copy of a sequence with another target", excluded)
    if rows.empty:
        raise UnrolledError("every sequence has copies with other targets, of which `copies: first` keeps none")
    return _without(rows, rows["sequence"].duplicated(), "copy of another sequence", excluded)


def _without(rows: pd.DataFrame, out: Mask, reason: str, excluded: Excluded) -> pd.DataFrame:
    """The rows not marked in `out`; those marked join `excluded` with their reason."""
    excluded.append(rows.loc[out, ["id", "where"]].assign(reason=reason))
    return rows.loc[~out].reset_index(drop=True)


def _listed(excluded: Excluded) -> pd.DataFrame:
    """One sorted frame; `where` keeps the file's name alone, so that its folder does not change the bytes."""
    listed = pd.concat([pd.DataFrame(columns=["id", "reason", "where"], dtype="str"), *excluded])
    listed["where"] = [Path(where).name for where in listed["where"]]
    return listed.sort_values(["reason", "id", "where"], ignore_index=True)
