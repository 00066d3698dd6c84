"""The same small computation for many things, by several processes.

NumPy on small arrays keeps Python's lock too long for threads, and threads of its own cost more than they give.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from typing import TypeVar

import numpy as np  # noqa: F401  its BLAS must be loaded when threads are limited, or each process has as many as cores
from threadpoolctl import threadpool_limits

from unrolled.heap import keep_memory

A = TypeVar("A")
B = TypeVar("B")
AHEAD = 8  # things a process that are taken before they are needed: memory stays small


def each(function: Callable[[A], B], things: Iterable[A], processes: int) -> Iterator[B]:
    """`function` of each thing, in order. With more than one process both must be picklable."""
    if processes == 1:
        with threadpool_limits(1):
            yield from map(function, things)
        return
    queue = iter(things)
    fresh = get_context("spawn")  # a fork of a process that has threads may hang
    pool = ProcessPoolExecutor(processes, fresh, initializer=_prepare)
    try:
        waiting = deque(pool.submit(function, thing) for thing in islice(queue, AHEAD * processes))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(function, thing) for thing in islice(queue, 1))
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare() -> None:
    """What a process does first."""
    threadpool_limits(1)
    keep_memory()
