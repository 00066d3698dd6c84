"""Numbers and names as people write them, for the sentences, tables and figures of the report."""

import math
import re
from collections.abc import Sequence

NOTHING = 1e-12  # less is left by rounding


def number(value: float, digits: int = 3) -> str:
    """A number with a true minus sign; "–" if there is none.

    >>> number(-1234.5, 1)
    '−1,234.5'
    """
    if math.isnan(value):
        return "–"
    rounded = round(value, digits) + 0.0  # + 0.0: minus nothing is nothing
    return f"{rounded:,.{digits}f}".replace("-", "−")


def size(n: float) -> str:
    """How many sequences a run, on average: some are never none."""
    return "< 1" if 0 < n < 0.5 else number(n, 0)


def percent(share: float) -> str:
    """A share as a percentage, with a decimal if it is small."""
    return f"{100 * share:.{1 if 0 < share < 0.1 else 0}f}\u00a0%"


def decimals(*values: float) -> int:
    """2, or 3 where 2 would show something as nothing: 0.004 must not read 0.00; of small units as many as it takes.

    >>> decimals(0.5, 0.2), decimals(0.5, 0.004), decimals(3e-7, 1e-7)
    (2, 3, 7)
    """
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    first = -math.floor(math.log10(largest)) if largest > NOTHING else 0  # of its digits that is not 0
    return max(3 if any(0.0005 <= abs(value) < 0.005 for value in values) else 2, first)


def span(low: float, high: float) -> str:
    """An interval.

    >>> span(-0.02, 0.04)
    '−0.02 to 0.04'
    """
    n = decimals(low, high)
    return f"{number(low, n)} to {number(high, n)}"


def signed(value: float) -> str:
    """A difference: "+0.12", "−0.20", "0.00"."""
    n = decimals(value)
    return ("+" if round(value, n) > 0 else "") + number(value, n)


def listed(names: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def label(metric: str) -> str:
    """A metric's name: "macro_f1" -> "macro-F1"."""
    shouted = ("f1", "mcc", "auroc", "auprc", "ece", "rmse", "mae", "r2", "sov")
    known = {word: word.upper() for word in shouted} | {name: name.title() for name in ("spearman", "pearson")}
    text = " ".join(known.get(word, word) for word in metric.split("_"))
    return re.sub(r"^(macro|micro) ", r"\1-", text)


def short(name: str, n: int = 22) -> str:
    """A name of at most n characters, its middle left out if it is longer."""
    return name if len(name) <= n else f"{name[: n - n // 3 - 1]}…{name[-(n // 3) :]}"
