"""The same small computation for many things, by several processes.

NumPy on small arrays keeps Python's lock too long for threads, and threads of its own cost more than they give.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from typing import TypeVar

from threadpoolctl import threadpool_limits

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
    with ProcessPoolExecutor(processes, fresh, initializer=threadpool_limits, initargs=(1,)) as pool:
        while batch := list(islice(queue, AHEAD * processes)):
            yield from pool.map(function, batch)
