"""Builds the kernel, once for each instruction set; without a compiler the package installs all the same."""

import platform

from setuptools import Extension, setup

FLAGS = ["-O3", "-std=c++17", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math"]
LEVELS = {"any": []}
if platform.machine().lower() in ("x86_64", "amd64"):
    LEVELS["avx2"] = ["-mavx2", "-mfma"]
    LEVELS["avx512"] = ["-mavx512f", "-mavx512dq", "-mavx512vl", "-mfma", "-mprefer-vector-width=512"]

setup(
    ext_modules=[
        Extension(
            f"unrolled._kernel_{level}",
            ["src/unrolled/kernel.cpp", "src/unrolled/kernel_scores.cpp"],
            depends=["src/unrolled/kernel_walk.h", "src/unrolled/kernel_products.h"],
            extra_compile_args=FLAGS + flags,
            language="c++",
            optional=True,
        )
        for level, flags in LEVELS.items()
    ]
)
