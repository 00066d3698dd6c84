"""Text that a spreadsheet would compute when somebody opens one of our CSV files in it.

Ids and labels of that kind are refused where they are read, so that no table needs a change that a program would read
back as other data. What lists rejected rows as they came, or what a network says, gets an apostrophe, as spreadsheets
mark text.
"""

import re
from typing import Any

import pandas as pd

BEGINS = tuple("=@\t\r＝＋－＠")
NUMBER = re.compile(r"[+-]+|[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")  # or signs alone: nothing to compute
REMEDY = "Rename them: none may begin with = or @, nor with + or - unless it is a number, nor go on so after a ;."


def is_formula(text: str) -> bool:
    """Whether a cell of this text would be computed, or one of those that a semicolon divides it into.

    Where a comma stands before decimals, a spreadsheet takes semicolons for what divides the cells of a CSV file.

    >>> [is_formula(text) for text in ("=1+1", "-2+cmd|x", "a;=1+1", "-1.5", "+", "P12345")]
    [True, True, True, False, False, False]
    """
    return any(map(_computed, text.split(";")))


def text(cell: Any) -> Any:
    """A cell for people: an apostrophe stands before what would be computed."""
    if not isinstance(cell, str):
        return cell
    return ";".join(f"'{part}" if _computed(part) else part for part in cell.split(";"))


def _computed(part: str) -> bool:
    return part.startswith(BEGINS) or (part[:1] in ("+", "-") and not NUMBER.fullmatch(part))


def harmless(frame: pd.DataFrame) -> pd.DataFrame:
    """A table for people, each cell as `text`."""
    return frame.map(text)
