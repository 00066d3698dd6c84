"""The compiled loops, called through ctypes: kernel.cpp, the recurrences, and kernel_scores.cpp, alignment scores.

Absent where nothing could be compiled.

Building is optional and happens at installation (setup.py): one library for each instruction set, of which the one
that fits this processor is loaded; one that cannot be used counts as none, and `status` says why. ctypes lets go of
the GIL, so jobs run side by side on Python threads.
"""

import contextlib
import ctypes
import functools
import hashlib
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled.errors import UnrolledError

if TYPE_CHECKING:
    from unrolled.bounds import Scheme
    from unrolled.recurrence import Work

NUMBERS = ("steps", "H", "reversed", "window", "linear", "begin", "end", "fresh")
ARRAYS = ("first", "a", "out", "cell", "W", "h0", "C0", "dout", "da", "dh", "dC", "norm_h", "norm_C", "reset")
SCRATCH = ("scratch",)
STRIDES = ("ld", "ldd")
ADDING = [*[ctypes.c_void_p] * 2, *[ctypes.c_long] * 3, ctypes.c_void_p]  # index, x; n, ld, H; y
SUFFIX = {torch.float32: "float", torch.float64: "double"}
SCORES = {"int16": "int16_t", "float32": "float", "float64": "double"}
# torch's own finding of what the processor can do -> the library to load
LEVELS = {"AVX512": ("avx512", "avx2", "any"), "AVX2": ("avx2", "any")}
FOLDER = Path(__file__).parent
REMEDY = "`pip install -e .` in the project's folder"


class Job(ctypes.Structure):
    """`struct Job` of kernel_walk.h, field by field."""

    _fields_ = (
        *((name, ctypes.c_long) for name in NUMBERS),
        *((name, ctypes.c_void_p) for name in ARRAYS + SCRATCH),
        *((name, ctypes.c_long) for name in STRIDES),
    )


@functools.cache
def library() -> tuple[str, ctypes.CDLL] | None:
    """The instruction set in use and its library, or None where there is none that can be used."""
    for level in _levels():
        with contextlib.suppress(UnrolledError):
            if found := load(level):
                return level, found
    return None


def status() -> str:
    """Whether the kernel is in use, and why not, in a few words."""
    found = library()
    return f"compiled kernel ({found[0]})" if found else f"PyTorch; {lacking()}"


def _levels() -> tuple[str, ...]:
    return LEVELS.get(torch.backends.cpu.get_cpu_capability(), ("any",))


def lacking() -> str:
    """Why there is no kernel, in a few words."""
    try:
        for level in _levels():
            load(level)
    except UnrolledError as error:
        return str(error)
    return "no kernel was compiled at installation (a C++ compiler makes training several times faster)"


def load(level: str) -> ctypes.CDLL | None:
    """The library that this Python's installation built for an instruction set, or None.

    Raises:
        UnrolledError: it is not a library for this machine, or of other sources than those beside this file.
    """
    paths = [FOLDER / f"_kernel_{level}{suffix}" for suffix in EXTENSION_SUFFIXES]
    path = next(filter(Path.is_file, paths), None)
    if path is None:
        return None
    try:
        found = ctypes.CDLL(str(path))
    except OSError as error:
        raise UnrolledError(f"the kernel cannot be loaded: {error}; build it anew: {REMEDY}") from error
    sources = getattr(found, "kernel_sources", None)
    if sources is not None:
        sources.restype = ctypes.c_uint64
    if sources is None or sources() != int(_sources()[:16], 16):
        raise UnrolledError(f"the installation is stale, {path.name} was built of other sources: {REMEDY}")
    return found


def _sources() -> str:
    """SHA-256 of the kernel's sources, as setup.py finds it."""
    paths = sorted([*FOLDER.glob("kernel*.cpp"), *FOLDER.glob("kernel*.h")])
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def sums(x: torch.Tensor, index: torch.Tensor, n: int) -> torch.Tensor:
    """(n, H): the sum of the rows of x (N, H) at each index, in their order; index (N,) is within 0 to n - 1.

    The numbers of index_add, which spends more on finding a row than on adding it.
    """
    found, total = library(), x.new_zeros(n, x.shape[1])
    if found is None or x.device.type != "cpu" or x.dtype not in SUFFIX:
        return total.index_add_(0, index, x)
    assert index.dtype == torch.int64, "the kernel would read beyond the index"
    x, index = x if x.stride(1) == 1 else x.contiguous(), index.contiguous()
    add = getattr(found[1], f"add_rows_{SUFFIX[x.dtype]}")
    add.restype, add.argtypes = None, ADDING
    add(index.data_ptr(), x.data_ptr(), len(x), x.stride(0), x.shape[1], total.data_ptr())
    return total


@functools.cache
def _scoring(kind: np.dtype[Any]) -> tuple[Any, type[ctypes.Structure]]:
    """The function that finds best scores of this type, and the class of its `struct Scoring`."""
    found = library()
    assert found is not None
    number = np.ctypeslib.as_ctypes_type(kind)
    arrays, sizes = [(name, ctypes.c_void_p) for name in ("profile", "lengths")], ("letters", "widest")
    costs = [(name, number) for name in ("opened", "extended", "never")]
    fields = [*arrays, *((name, ctypes.c_long) for name in sizes), *costs]
    struct = type("Scoring", (ctypes.Structure,), {"_fields_": fields})
    function = getattr(found[1], f"best_scores_{SCORES[kind.name]}")
    function.restype = None
    function.argtypes = [*[ctypes.c_void_p] * 3, *[ctypes.c_long] * 2, ctypes.POINTER(struct), ctypes.c_void_p]
    return function, struct


def best_scores(
    codes: NDArray[np.uint8],
    starts: NDArray[np.int64],
    queries: NDArray[np.int64],
    profile: NDArray[Any],
    lengths: NDArray[np.int64],
    scheme: "Scheme",
) -> NDArray[Any]:
    """What `bounds._scores` finds, (Q, lanes), in int16, float32 or float64."""
    function, struct = _scoring(profile.dtype)
    best = np.empty((len(queries), profile.shape[-1]), profile.dtype)
    arrays = (codes, starts, queries, profile, lengths)
    assert all(array.flags.c_contiguous for array in arrays), "the kernel would read beyond an array"
    costs = scheme.opened, scheme.extended, scheme.never
    given = struct(profile.ctypes.data, lengths.ctypes.data, profile.shape[1], int(lengths.max()), *costs)
    pointers = (array.ctypes.data for array in arrays[:3])
    function(*pointers, len(queries), int(scheme.floor == 0), ctypes.byref(given), best.ctypes.data)
    return best


class Walk:
    """A walk over the steps of a direction, in one go or some steps at a time."""

    def __init__(self, name: str, work: "Work"):
        found = library()
        assert found is not None
        self.function = getattr(found[1], f"{name}_{SUFFIX[work.out.dtype]}")
        self.function.restype, self.function.argtypes = None, [ctypes.POINTER(Job)]
        self.work, self.scratch = work, _scratch(work)  # whose arrays the job points at
        self.job = _job(work, self.scratch)

    def __call__(self, begin: int, end: int) -> None:
        """Go over steps begin to end of the order in which they are read."""
        job, da = self.job, self.work.da
        job.begin, job.end = begin, end
        if da is not None:  # whose first row is that of the first of these steps
            job.da = da.data_ptr() - self.work.rows(begin, end).start * da.stride(0) * da.element_size()
        self.function(job)
        job.fresh = 0


WIDEST = 64  # columns of a panel of W, at most


def _scratch(work: "Work") -> torch.Tensor | None:
    """Space for W as the products want it, of which a GRU has two, and for a state of each sequence."""
    if work.W is None:
        return None
    return work.W.new_empty(len(work.W) * (work.W.shape[1] + 2 * WIDEST) + work.h0.numel())


def _job(work: "Work", scratch: torch.Tensor | None) -> Job:
    """The job; whoever calls keeps the arrays alive until it has run."""
    H = work.out.shape[1]
    named = {name: getattr(work, name) for name in ARRAYS if name != "first"} | {"scratch": scratch}
    arrays = {name: array for name, array in named.items() if array is not None}
    assert {array.dtype for array in arrays.values()} == {work.out.dtype}, "the kernel would read beyond an array"
    pointers = {name: array.data_ptr() for name, array in arrays.items()} | {"first": work.plan.first.data_ptr()}
    numbers = {"steps": len(work.plan.first) - 1, "H": H, "fresh": True}
    numbers |= {"reversed": work.reversed, "window": work.window, "linear": work.linear, "ld": work.out.stride(0)}
    return Job(**pointers, **numbers, ldd=H if work.dout is None else work.dout.stride(0))
