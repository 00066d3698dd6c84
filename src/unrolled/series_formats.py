"""Raw files of numbers -> records: a row a series (`wide`), or a row a value or a step (`long`).

An empty field, NA and NaN, and whatever the card lists as `missing`, mean that nothing was measured; any other field
that is no finite number is an error with its file and line.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled import tasks
from unrolled.errors import UnrolledError, refuse
from unrolled.reading import csv_columns, csv_rows, plain_rows
from unrolled.records import Record
from unrolled.series import Series

Card = dict[str, Any]
Row = tuple[str, dict[str, str], list[str]]  # "file:line", named fields, values

NOTHING = {"", "na", "nan"}
ROUNDING = 1e-9  # of a bin: times so little before its start are in it
SECONDS = {"h": 3600, "min": 60, "s": 1}  # in units in which a time may be a clock's


def _record(card: Card, name: str, where: str, fields: dict[str, str], found: Series) -> Record:
    kept = tuple(fields.get(column) for column in card.get("keep", []))
    return Record(name, found, fields.get("target", ""), kept, where)


class Numbers:
    """What fields of a card's files mean."""

    def __init__(self, card: Card):
        self.unit = card.get("time", {}).get("unit", "steps")
        self.missing = NOTHING | {str(value).lower() for value in card.get("missing", [])}
        self.absent = {float(value) for value in card.get("missing", []) if _is_number(value)}

    def value(self, text: str) -> float:
        """A measurement, NaN if there is none. Raises ValueError for what is no finite number."""
        if text.lower() in self.missing:
            return math.nan
        found = float(text)
        if not math.isfinite(found):
            raise ValueError
        return math.nan if found in self.absent else found

    @property
    def clock(self) -> str:
        """What else a time may be, for messages."""
        return " nor HH:MM" if self.unit in SECONDS else ""

    def time(self, text: str) -> float:
        """A number, or HH:MM or HH:MM:SS where the unit is h, min or s. Raises ValueError for anything else."""
        clock = text.split(":")
        if len(clock) in (2, 3) and self.unit in SECONDS:
            hours, minutes, seconds = [*map(int, clock), 0][:3]
            if not (0 <= minutes < 60 and 0 <= seconds < 60):
                raise ValueError
            sign = -1 if clock[0].strip().startswith("-") else 1  # -00:30 is half an hour before
            return sign * (3600 * abs(hours) + 60 * minutes + seconds) / SECONDS[self.unit]
        found = float(text)
        if not math.isfinite(found):
            raise ValueError
        return found


def _is_number(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False


# --- A row a series ---


def read_wide(card: Card, path: Path) -> Iterator[Record]:
    """Series of the card's one variable, a row each; times are 0, 1, 2 ...

    `columns` names id and target, by the names of the header line or, in a file without one, by position from 1. All
    columns that it does not name, and `keep` does not either, are the values in their order. Missing values at the
    end of a row are not part of the series. Without an id it is the file's name and the line.
    """
    numbers, variables = Numbers(card), tuple(card["variables"])
    faults: list[str] = []
    for where, fields, texts in _wide_rows(card, path):
        values = []
        for text in texts:
            try:
                values.append(numbers.value(text))
            except ValueError:
                faults.append(f"{where}: {text!r}")
                values.append(math.nan)
        T = max((i + 1 for i, value in enumerate(values) if not math.isnan(value)), default=0)
        name = fields.pop("id", f"{path.name.split('.')[0]}-{where.rsplit(':', 1)[1]}")
        found = Series(variables, np.arange(T, dtype=np.float64), np.array(values[:T]).reshape(T, 1))
        yield _record(card, name, where, fields, found)
    refuse("fields that are no finite numbers", faults, "Mend them, or list what means `missing` in the card.")


def _wide_rows(card: Card, path: Path) -> Iterator[Row]:
    columns = dict(card.get("columns", {}))
    if any(isinstance(place, int) for place in columns.values()) or not columns:
        yield from _bare_rows(columns, path, card)
        return
    header = csv_columns(path, card.get("delimiter"))
    columns |= {name: name for name in card.get("keep", [])}
    named = {mine: theirs for mine, theirs in columns.items() if theirs in header or mine == "id"}
    rest = [name for name in header if name not in columns.values()]
    for where, texts in csv_rows(path, [*named.values(), *rest], card.get("delimiter")):
        yield where, dict(zip(named, texts, strict=False)), texts[len(named) :]


def _bare_rows(columns: dict[str, int], path: Path, card: Card) -> Iterator[Row]:
    """Rows of a file without a header line, all as long as the first."""
    width, whole = 0, not tasks.of(card).per_position  # a label a position: 0110 is no number
    for where, texts in plain_rows(path, card.get("delimiter")):
        width = width or len(texts)
        if len(texts) != width or max(columns.values(), default=0) > width:
            raise UnrolledError(
                f"{where}: {len(texts)} fields, the first row has {width}, and the card's `columns` name "
                f"{columns or 'none'}: fill the end of short rows with NaN, or correct the card or its `delimiter`"
            )
        fields = {name: texts[place - 1] for name, place in columns.items()}
        if "target" in fields and whole:
            fields["target"] = _plain(fields["target"])
        yield where, fields, [text for i, text in enumerate(texts, start=1) if i not in columns.values()]


def _plain(text: str) -> str:
    """A label; a whole number that was written as 1.0000e+00 is 1."""
    return str(int(float(text))) if _is_number(text) and float(text).is_integer() else text


# --- A row a value, or a step ---


@dataclass
class _Readings:
    """What was read of one series, in the order of the file."""

    where: str
    fields: dict[str, str]
    times: list[float] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


def read_long(card: Card, path: Path) -> Iterator[Record]:
    """Series of a file with a row a value (`columns`: time, variable, value) or a row a step (time alone).

    Without an `id` column the file is one series, named after it. Rows may come in any order; a time without any
    value is no step. What becomes of several values of a variable at one step: `gathered`.
    """
    long = _Long(card, path)
    for where, row in csv_rows(path, long.wanted, card.get("delimiter")):
        long.take(where, row)
    known = f"The variables are: {', '.join(card['variables'])}. Mend the rows, or the card's `ignore` or `missing`."
    refuse("rows that cannot be", long.faults, known)
    for name, one in long.found.items():
        found = gathered(card, one.times, one.columns, one.values)
        yield _record(card, name, one.where, one.fields, found)


class _Long:
    """The series of a file in long form, as its rows are taken in."""

    def __init__(self, card: Card, path: Path):
        columns, header = card["columns"], csv_columns(path, card.get("delimiter"))
        optional = {"target": columns.get("target", "")} | {name: name for name in card.get("keep", [])}
        self.told = {mine: theirs for mine, theirs in optional.items() if theirs in header}
        self.told |= {"id": columns["id"]} if "id" in columns else {}
        self.place = {name: k for k, name in enumerate(card["variables"])}
        self.by_value = "variable" in columns
        values = [columns["variable"], columns["value"]] if self.by_value else list(self.place)
        self.wanted = [columns["time"], *self.told.values(), *values]
        self.numbers, self.ignored = Numbers(card), set(card.get("ignore", []))
        self.name = path.name.split(".")[0]
        self.found: dict[str, _Readings] = {}
        self.faults: list[str] = []

    def take(self, where: str, row: list[str]) -> None:
        """Take in one row: its time, the fields that are told of its series, its values."""
        moment, fields, texts = row[0], dict(zip(self.told, row[1:], strict=False)), row[1 + len(self.told) :]
        name = fields.pop("id", self.name)
        one = self.found.setdefault(name, _Readings(where, fields))
        if one.fields != fields:
            self.faults.append(f"{where}: {fields} of {name!r}, but {one.fields} at {one.where}")
        pairs = [(texts[0], texts[1])] if self.by_value else zip(self.place, texts, strict=True)
        try:
            time = self.numbers.time(moment)
        except ValueError:
            self.faults.append(f"{where}: the time {moment!r} is no number{self.numbers.clock}")
            return
        for variable, text in pairs:
            self._add(one, time, variable, text, where)

    def _add(self, one: _Readings, time: float, variable: str, text: str, where: str) -> None:
        if variable in self.ignored:
            return
        if variable not in self.place:
            self.faults.append(f"{where}: there is no variable {variable!r}")
            return
        try:
            value = self.numbers.value(text)
        except ValueError:
            self.faults.append(f"{where}: {variable} is {text!r}")
            return
        if not math.isnan(value):
            one.times.append(time)
            one.columns.append(self.place[variable])
            one.values.append(value)


def gathered(card: Card, times: Sequence[float], columns: Sequence[int], values: Sequence[float]) -> Series:
    """A series from readings in the order of their file.

    The card's `time: {bin}` puts the readings of each interval into one step, at its start: their order within it is
    lost. Several readings of a variable at one step become one by the card's `repeated`: the `mean` (default), or the
    `first` or `last` in time and, of equal times, in the file.
    """
    at = np.array(times)
    order = np.argsort(at, kind="stable")
    width = card.get("time", {}).get("bin")
    # 0.3 / 0.1 is a little less than 3.
    steps, row = np.unique(at if width is None else np.floor(at / width + ROUNDING) * width, return_inverse=True)
    cells = np.full((len(steps), len(card["variables"])), np.nan)
    where = row[order], np.array(columns, dtype=np.int64)[order]
    merged = len(at) - len(set(zip(*(index.tolist() for index in where), strict=True)))
    REPEATED[card.get("repeated", "mean")](cells, where, np.array(values)[order])
    return Series(tuple(card["variables"]), steps, cells, merged)


Where = tuple[NDArray[np.int64], NDArray[np.int64]]


def _mean(cells: NDArray[np.float64], where: Where, values: NDArray[np.float64]) -> None:
    total, count = np.zeros_like(cells), np.zeros_like(cells)
    np.add.at(total, where, values)
    np.add.at(count, where, 1)
    np.divide(total, count, out=cells, where=count > 0)


def _first(cells: NDArray[np.float64], where: Where, values: NDArray[np.float64]) -> None:
    places, at = np.unique(np.ravel_multi_index(where, cells.shape), return_index=True)
    cells.flat[places] = values[at]


def _last(cells: NDArray[np.float64], where: Where, values: NDArray[np.float64]) -> None:
    _first(cells, (where[0][::-1], where[1][::-1]), values[::-1])


REPEATED: Mapping[str, Callable[[NDArray[np.float64], Where, NDArray[np.float64]], None]] = {
    "mean": _mean,
    "first": _first,
    "last": _last,
}
