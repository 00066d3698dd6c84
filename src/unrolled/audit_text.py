"""What an audit of two sets found, as lines on a terminal: made from `leakage.Leakage.facts`, the JSON, alone."""

from typing import Any

from unrolled.leakage import CHECKS

WORST = 10  # pairs on a terminal; a page has all that are listed
BAR = 40  # characters of the longest bar


def text(facts: dict[str, Any]) -> str:
    """The audit in some twenty lines."""
    counts = [f"  {facts[name]:>7,}  {name.replace('_', ' '):<20} {says}" for name, says in CHECKS.items()]
    most = max(band["n"] for band in facts["histogram"]) or 1
    bars = [
        f"  {100 * b['from']:>3.0f}-{100 * b['to']:>3.0f} %  {b['n']:>7,}  {'#' * -(-BAR * b['n'] // most)}".rstrip()
        for b in facts["histogram"]
    ]
    lines = [
        headline(facts),
        facts["statement"],
        "",
        f"Of {facts['test_sequences']:,} test sequences, against {facts['train_sequences']:,} to train on:",
        *counts,
        "",
        f"{highest(facts)} ({facts['definition']}), test sequences:",
        *bars,
        *(
            [f"  ({facts['unaligned']:,} of them in the lowest because no pair was aligned)"]
            if facts["unaligned"]
            else []
        ),
    ]
    return "\n".join([*lines, *_worst(facts)])


def _worst(facts: dict[str, Any]) -> list[str]:
    if not facts["offenders"]:
        return []
    shown = facts["offenders"][:WORST]
    width, near = (max(len(one[name]) for one in shown) for name in ("id", "nearest"))
    rows = [
        f"  {one['id']:<{width}}  {100 * one['identity']:5.1f} %  {one['nearest'] or '-':<{near}}  {_found(one)}"
        for one in shown
    ]
    more = facts["offenders_in_all"] - len(rows)
    start = "The worst: identity to the nearest training sequence; what it is, and of which by letters or accession:"
    return ["", start, *rows, *([f"  ... and {more:,} more"] if more else [])]


def _found(offender: dict[str, Any]) -> str:
    """The checks, and the training sequence that letters or accession tell, which need not be the nearest."""
    return f"{why(offender)}: {offender['partner']}" if offender["partner"] else why(offender)


def headline(facts: dict[str, Any]) -> str:
    """The verdict in a few words."""
    if facts["verdict"] == "clean":
        return "Clean: no test sequence leaks" if facts["method"] == "exhaustive" else "Clean: no leak was found"
    return f"Leaks: {facts['offenders_in_all']:,} of {facts['test_sequences']:,} test sequences"


def highest(facts: dict[str, Any]) -> str:
    """What the histogram is of."""
    if facts["method"] == "exhaustive":
        return "Highest identity to a training sequence"
    return "Highest identity found to a training sequence"


def why(offender: dict[str, Any]) -> str:
    """The checks that found an offender, in words."""
    return ", ".join(name.replace("_", " ").removesuffix("s") for name in offender["is"])
