"""What the C library does with memory that is freed."""

import ctypes
import platform
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # as mallopt(3) numbers them
MOST = 2**25  # bytes: the highest threshold that mallopt(3) promises to take on 64 bits


def keep_memory() -> None:
    """Let glibc keep freed blocks: handing back large arrays each time makes page faults cost half the speed."""
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(TRIM_THRESHOLD, 2**30)
        if not mallopt(MMAP_THRESHOLD, 2**30):  # refused, it would stay at 128 KiB and no longer adapt
            mallopt(MMAP_THRESHOLD, MOST)
