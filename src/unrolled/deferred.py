"""Lightning and wandb without what a training run never touches: it starts in a third of the time.

Importing Lightning imports all of torchmetrics, with SciPy's signal processing and Matplotlib, for one base class,
and torch's compiler for one `isinstance`; a wandb run imports the client of a job queue to find no job in it. What is
put off here stays true to itself: submodules are the real ones, and a package asked for anything else loads the rest.
"""

import gc
import importlib
import importlib.util
import inspect
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo"


class Deferred(ModuleType):
    """A package whose `__init__` runs when it is first asked for an attribute that it does not have yet."""

    def __getattr__(self, name: str) -> Any:
        self.__class__ = ModuleType  # type: ignore[assignment]  # from here on a package like any other
        assert self.__spec__ is not None
        assert self.__spec__.loader is not None
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


def put_off(package: str, **attributes: Any) -> None:
    """Keep a package's `__init__` from running before it is needed; do nothing if it has run or is not installed.

    Importing a submodule does not run it, as it otherwise would.

    Args:
        package: its dotted name.
        attributes: what it has without its `__init__`.
    """
    spec = None if package in sys.modules else importlib.util.find_spec(package)
    if spec is None:
        return
    module = importlib.util.module_from_spec(spec)
    module.__dict__.update(attributes)
    module.__class__ = Deferred
    sys.modules[package] = module
    parent, _, name = package.rpartition(".")
    if parent:
        setattr(sys.modules[parent], name, module)


def import_lean(name: str) -> ModuleType:
    """Import a module that imports Lightning, without the rest of torchmetrics and without torch's compiler.

    With releases that are put together differently it is imported in the ordinary, slow way.
    """
    try:
        with _without_collecting(), _without_compiler():
            _bare_metrics()
            return importlib.import_module(name)
    except ImportError:
        return importlib.import_module(name)


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Search for no garbage while importing, nor ever after among what was imported: it lives as long as we do."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()


def _bare_metrics() -> None:
    """Load of torchmetrics what Lightning builds on, or nothing if that fails."""
    if "torchmetrics" in sys.modules:
        return
    try:
        put_off("torchmetrics", _logger=logging.getLogger("torchmetrics"))
        put_off("torchmetrics.utilities")
        metrics, utilities = sys.modules["torchmetrics"], sys.modules["torchmetrics.utilities"]
        # torchmetrics' own switch: its metrics are not to be plotted
        _place(importlib.import_module("torchmetrics.utilities.imports"), _MATPLOTLIB_AVAILABLE=False)
        _place(utilities, rank_zero_warn=importlib.import_module("torchmetrics.utilities.prints").rank_zero_warn)
        _place(metrics, __version__=importlib.import_module("torchmetrics.__about__").__version__)
        _place(metrics, Metric=importlib.import_module("torchmetrics.metric").Metric)
        _place(metrics, MetricCollection=importlib.import_module("torchmetrics.collections").MetricCollection)
    except (ImportError, AttributeError, KeyError):
        for name in [name for name in sys.modules if name.split(".")[0] == "torchmetrics"]:
            del sys.modules[name]


def _place(module: ModuleType, **attributes: Any) -> None:
    module.__dict__.update(attributes)


class _Compiled(type):
    """Answers `isinstance(x, OptimizedModule)` as the real class would, which exists once the compiler is loaded."""

    def __instancecheck__(cls, instance: object) -> bool:
        compiler = sys.modules.get(COMPILER)
        return compiler is not None and isinstance(instance, compiler.OptimizedModule)


class OptimizedModule(metaclass=_Compiled):
    """The type of compiled modules: Lightning asks what is one."""


class _Compiler(ModuleType):
    """Stands in for torch's compiler while Lightning is imported; what it cannot answer, the real one does."""

    OptimizedModule = OptimizedModule

    @staticmethod
    def disable(function: Any = None, *_: Any, **__: Any) -> Any:
        """Lightning's decorator of what is not to be compiled: nothing is."""
        return function or (lambda function: function)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        sys.modules.pop(COMPILER, None)
        return getattr(importlib.import_module(COMPILER), name)


@contextmanager
def _without_compiler() -> Iterator[None]:
    if COMPILER in sys.modules:
        yield
        return
    stand_in = sys.modules[COMPILER] = _Compiler(COMPILER)
    try:
        yield
    finally:
        if sys.modules.get(COMPILER) is stand_in:
            del sys.modules[COMPILER]


def uncompiled(optimiser: type[Any]) -> type[Any]:
    """A class of torch.optim without the wrappers that load torch's compiler when they are first called.

    The algorithm is the very same, except that `differentiable=True` is not for it.
    """
    import torch

    names = ("add_param_group", "zero_grad", "state_dict", "load_state_dict", "step")
    plain = {name: inspect.unwrap(getattr(optimiser, name)) for name in names}
    plain["step"] = torch.no_grad()(plain["step"])  # which its wrapper would see to
    return type(optimiser.__name__, (optimiser,), plain)
