"""Builds the kernel, once for each instruction set; without a compiler the package installs all the same."""

import hashlib
import platform
from pathlib import Path

from setuptools import Extension, setup

SOURCES = sorted(map(str, [*Path("src/unrolled").glob("kernel*.cpp"), *Path("src/unrolled").glob("kernel*.h")]))
SHA256 = hashlib.sha256(b"".join(Path(source).read_bytes() for source in SOURCES)).hexdigest()
FLAGS = ["-O3", "-std=c++17", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math"]
LEVELS = {"any": []}
if platform.machine().lower() in ("x86_64", "amd64"):
    LEVELS["avx2"] = ["-mavx2", "-mfma"]
    LEVELS["avx512"] = ["-mavx512f", "-mavx512dq", "-mavx512vl", "-mfma", "-mprefer-vector-width=512"]

setup(
    ext_modules=[
        Extension(
            f"unrolled._kernel_{level}",
            [source for source in SOURCES if source.endswith(".cpp")],
            depends=[source for source in SOURCES if source.endswith(".h")],
            extra_compile_args=[*FLAGS, *flags, f"-DSOURCES=0x{SHA256[:16]}"],  # which kernel.py compares
            language="c++",
            optional=True,
        )
        for level, flags in LEVELS.items()
    ]
)
