"""What the C library does with memory that is freed."""

import ctypes
import platform
import sys


def keep_memory() -> None:
    """Let glibc keep freed blocks: handing back large arrays each time makes page faults cost half the speed."""
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        for threshold in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
            ctypes.CDLL(None).mallopt(threshold, 2**30)
