"""The one exception that means: the user can mend this, and here is how."""

from collections.abc import Iterable


class UnrolledError(Exception):
    """Bad input or a missing resource. The message says what, where and how to mend it.

    The command line prints the message alone, without a traceback, and exits with status 2.
    """


def refuse(what: str, offenders: Iterable[str], remedy: str) -> None:
    """Raise UnrolledError that counts the offenders and shows the first five; do nothing if there is none."""
    found = list(offenders)
    if found:
        more = [f"... and {len(found) - 5} more"] if len(found) > 5 else []
        raise UnrolledError("\n  ".join([f"{what} ({len(found)} in all):", *found[:5], *more]) + f"\n{remedy}")
