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
REMEDY = "Rename them: none may begin with = or @, nor with + or - unless it is a number."


def is_formula(text: str) -> bool:
    """Whether a cell of this text would be computed.

    >>> [is_formula(text) for text in ("=1+1", "-2+cmd|x", "-1.5", "+", "P12345")]
    [True, True, False, False, False]
    """
    return text.startswith(BEGINS) or (text[:1] in ("+", "-") and not NUMBER.fullmatch(text))


def text(cell: Any) -> Any:
    """A cell for people: an apostrophe stands before what would be computed."""
    return f"'{cell}" if isinstance(cell, str) and is_formula(cell) else cell


def harmless(frame: pd.DataFrame) -> pd.DataFrame:
    """A table for people, each cell as `text`."""
    return frame.map(text)
