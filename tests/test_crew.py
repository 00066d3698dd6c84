"""The same computation by several processes: in order, and over at once when one fails."""

import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from unrolled.crew import each


def slow(n: int) -> int:
    """The first things take longest, so that later ones are done before them."""
    time.sleep(max(0, 5 - n) * 0.05)
    return n * n


def failing(path: Path) -> None:
    if path.name == "0":
        raise ZeroDivisionError
    time.sleep(0.3)
    path.touch()


@pytest.mark.parametrize("processes", [1, 3])
def test_answers_come_in_order(processes):
    assert list(each(slow, range(40), processes)) == [n * n for n in range(40)]
    assert list(each(slow, [], processes)) == []


def blas_threads(_: int) -> set[int]:
    from threadpoolctl import threadpool_info

    np.ones((200, 200)) @ np.ones((200, 200))
    return {pool["num_threads"] for pool in threadpool_info()}


@pytest.mark.parametrize("processes", [1, 2])
def test_each_process_computes_on_one_thread_alone(processes, monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    assert set().union(*each(blas_threads, range(8), processes)) == {1}


def test_things_are_taken_as_they_are_needed():
    taken = []
    answers = each(slow, (taken.append(n) or n for n in range(1000)), 2)
    assert list(islice(answers, 5)) == [0, 1, 4, 9, 16]
    answers.close()
    assert len(taken) < 30


def test_a_fault_ends_the_work_without_what_waits(tmp_path):
    with pytest.raises(ZeroDivisionError):
        list(each(failing, (tmp_path / str(n) for n in range(64)), 2))
    assert len(list(tmp_path.iterdir())) < 10  # 15 were asked for
