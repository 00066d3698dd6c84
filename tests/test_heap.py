"""What is asked of the C library's heap."""

import ctypes
import platform
import sys

import pytest

from unrolled.heap import MOST, keep_memory


@pytest.mark.parametrize(("takes", "threshold"), [(2**30, 2**30), (MOST, MOST)])
def test_the_highest_threshold_that_is_taken_counts(monkeypatch, takes, threshold):
    asked: dict[int, int] = {}

    class Library:
        @staticmethod
        def mallopt(key: int, value: int) -> int:
            taken = key != -3 or value <= takes
            if taken:
                asked[key] = value
            return int(taken)

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.28"))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library)
    keep_memory()
    assert asked == {-1: 2**30, -3: threshold}
