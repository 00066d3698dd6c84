"""Loops compiled to machine code by numba, once per machine."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


# max() of numbers that are never NaN is one instruction; nothing else about floating point is relaxed.
WITHOUT_NAN = {"nnan", "nsz"}


def compiled(function: F) -> F:
    """Compile `function` at its first call; keep the code on disk where the package's folder can be written.

    The global interpreter lock is released inside, so threads run side by side.
    """
    import numba

    try:
        return cast(F, numba.njit(cache=True, nogil=True, fastmath=WITHOUT_NAN)(function))
    except RuntimeError:  # numba finds no folder for its cache: compile in every process
        return cast(F, numba.njit(nogil=True, fastmath=WITHOUT_NAN)(function))
