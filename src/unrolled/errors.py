"""The one exception that means: the user can mend this, and here is how."""

import difflib
import errno
from collections.abc import Iterable, Sequence

WITHOUT_MEMORY = ("can't allocate memory", "out of memory")  # PyTorch on a CPU, and on a GPU


class UnrolledError(Exception):
    """Bad input or a missing resource. The message says what, where and how to mend it.

    The command line prints the message alone, without a traceback, and exits with status 2.
    """


def lacks_memory(error: BaseException) -> bool:
    """Whether memory ran out, as Python, NumPy, the system or PyTorch tell it."""
    if isinstance(error, RuntimeError):
        return any(words in str(error) for words in WITHOUT_MEMORY)
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)


def refuse(what: str, offenders: Iterable[str], remedy: str, total: int | None = None) -> None:
    """Raise UnrolledError that counts the offenders and shows the first five; do nothing if there is none.

    `total`: how many there are, where `offenders` are only some of them.
    """
    found = list(offenders)
    if found:
        shown = some(found, total)
        raise UnrolledError("\n  ".join([f"{what} ({total or len(found)} in all):", *shown]) + f"\n{remedy}")


def some(found: Sequence[str], total: int | None = None, where: str = "") -> list[str]:
    """The first five, and how many more of `total` there are, if any, and where."""
    more = (total or len(found)) - len(found[:5])
    return [*found[:5], *([f"... and {more} more{where}"] if more > 0 else [])]


def suggest(name: str, known: Sequence[str]) -> str:
    """The end of a message about a name that there is not: the one of `known` that was probably meant, if any."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean '{near[0]}'?" if near else ""
