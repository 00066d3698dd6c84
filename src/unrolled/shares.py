"""A layer cut into shares that threads go over side by side, each with one of torch's threads: directions, or parts
of the batch, which have nothing in common but weights.

On one thread a share is a direction. A product on several threads wakes them for every few steps, which takes longer
than it saves; a thread that goes its own way from the first step to the last is woken once.
"""

import functools
import math
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from unrolled.packing import Plan

Item = TypeVar("Item")
Result = TypeVar("Result")


class Share(NamedTuple):
    """One direction of some sequences."""

    d: int
    plan: Plan  # of these sequences
    which: slice  # of them in the falling order of the batch
    rows: Tensor | None  # (n,) theirs of the packed batch, or None for all

    def of(self, packed: Tensor) -> Tensor:
        """(N, ...) -> (n, ...): what belongs to these sequences."""
        return packed if self.rows is None else packed.index_select(0, self.rows)

    def states(self, states: Tensor) -> Tensor:
        """(D, B, H) -> (b, H): this direction's of these sequences."""
        return states[self.d, self.which].contiguous()

    def columns(self, outputs: Tensor, H: int) -> Tensor:
        """(N, D * H) -> (N, H): this direction's."""
        return outputs[:, self.d * H : (self.d + 1) * H]


def cut(plan: Plan, D: int, *, threads: int) -> list[Share]:
    """Shares of D directions for so many threads: as few parts of the batch as give each thread the same to do."""
    n = min(threads // math.gcd(D, threads), max(plan.B, 1))
    if n == 1:
        return [Share(d, plan, slice(None), None) for d in range(D)]
    parts = [(slice(i, None, n), *part) for i, part in enumerate(plan.parts(n))]
    return [Share(d, part, which, rows) for d in range(D) for which, part, rows in parts]


def merge(shares: Sequence[Share], parts: Sequence[Tensor], N: int) -> Tensor:
    """(N, d): the sum over directions of what each share has (n, d) for its sequences."""
    n = len(shares) // (shares[-1].d + 1)  # parts of the batch: those of the next direction follow
    sums = [functools.reduce(torch.add, parts[i::n]) for i in range(n)]
    if n == 1:
        return sums[0]
    total = sums[0].new_empty(N, sums[0].shape[1])
    for share, each in zip(shares, sums, strict=False):
        assert share.rows is not None
        total.index_copy_(0, share.rows, each)
    return total


def side_by_side(task: Callable[[Item], Result], items: Sequence[Item], *, threads: int) -> list[Result]:
    """What the task gives for each item; without gradients."""
    if min(threads, len(items)) == 1:
        return [task(item) for item in items]
    inference = torch.is_inference_mode_enabled()  # which is a thread's own, as is no_grad

    def alone(item: Item) -> Result:
        with torch.inference_mode(inference), torch.no_grad():
            return task(item)

    return list(_pool(threads).map(alone, items))


_starting = threading.Lock()  # of one pool at a time: each changes torch's number of threads while it starts


def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads each of which counts as the only one; the same for whoever asks."""
    with _starting:
        return _started(threads)


@functools.cache
def _started(threads: int) -> ThreadPoolExecutor:
    together = threading.Barrier(threads)

    def start() -> None:
        torch.get_num_threads()  # asked for the first time later, a thread would take over what the others have
        torch.set_num_threads(1)
        together.wait()

    pool = ThreadPoolExecutor(threads, thread_name_prefix="unrolled-share", initializer=start)
    list(pool.map(int, range(threads)))
    torch.set_num_threads(threads)  # what the last of them said would count for threads still to come
    return pool


def _forget() -> None:
    _started.cache_clear()  # threads do not survive a fork
    _starting.release()


os.register_at_fork(before=_starting.acquire, after_in_parent=_starting.release, after_in_child=_forget)
