"""What a card may do to Hydra: name networks of this project, and nothing else that would run.

A card is data, from whomever it comes. Hydra would call whatever a `_target_` names, with arguments of the card's
own, and a card could put itself elsewhere in Hydra's configuration or read the environment through `${...}`.
"""

import functools
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unrolled.errors import UnrolledError, suggest

MODULES = ("unrolled.",)  # where a network may be defined; a package of one's own is added here, and in the schema
NAME = re.compile(r"[a-z]+(\.[a-z]+(_[a-z0-9]+)*)+\.[A-Z]\w*")  # module.Class; `__main__` is none
HYDRA = {"_target_", "_partial_"}  # of Hydra's words, those that a card may say
HEADER = re.compile(r"\s*#\s*@")  # of a line in which Hydra looks for its orders


def check_card(path: Path, card: Any) -> None:
    """Raise UnrolledError for a card that reaches out of its place in Hydra's configuration, or interpolates.

    `card` is what the file holds.
    """
    if any(map(HEADER.match, path.read_text(encoding="utf-8").splitlines())):
        raise UnrolledError(f"{path}: a card may not say `# @package`, nor another `# @`: remove that line")
    if isinstance(card, dict) and "defaults" in card:
        raise UnrolledError(f"{path}: a card may not have `defaults`, which would bring in others: remove them")
    _check_plain(card, str(path))


def check(network: Any, where: str) -> None:
    """Raise UnrolledError, naming key and target, unless all that Hydra would call are networks of `MODULES`."""
    _check_plain(network, where)
    for key, name, value in _words(network, where):
        if name == "_target_" and not _is_network(value):
            allowed = ", ".join(f"{module}*" for module in MODULES)
            raise UnrolledError(f"{key}: {value!r} is not allowed: a card may name networks of {allowed} alone")
        if name.startswith("_") and name.endswith("_") and name not in HYDRA:
            raise UnrolledError(f"{key} is not allowed: a card may say {' and '.join(sorted(HYDRA))} alone")


def check_named(network: Any, where: str) -> None:
    """Raise UnrolledError, naming key and remedy, where a `_target_` names a class that its module does not define.

    The module is read, not imported: that a class is one of networks is left to `check`.
    """
    for key, name, value in _words(network, where):
        if name == "_target_" and value not in (known := _defined(value.rpartition(".")[0])):
            raise UnrolledError(f"{key}: there is no class '{value}'{suggest(value, known)}")


@functools.cache
def _defined(module: str) -> list[str]:
    """The classes that a module defines, as a `_target_` names them; [] of a module that there is not."""
    try:
        found = importlib.util.find_spec(module)
    except ImportError:
        return []
    if found is None or not str(found.origin).endswith(".py"):
        return []
    source = Path(str(found.origin)).read_text(encoding="utf-8")
    return [f"{module}.{name}" for name in re.findall(r"^\s*class (\w+)", source, re.MULTILINE)]


def _check_plain(value: Any, where: str) -> None:
    """Raise UnrolledError where a text or a key, however it is written, would be computed by OmegaConf."""
    if isinstance(value, str) and "${" in value:
        raise UnrolledError(f"{where}: a card may not refer to anything by `${{...}}`: write the value itself")
    parts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    for part in parts:
        _check_plain(part, where)


def _words(value: Any, where: str) -> Iterator[tuple[str, str, Any]]:
    """(path, key, value) of everything inside, however deep."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield f"{where}.{name}", str(name), inner
            yield from _words(inner, f"{where}.{name}")
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _words(inner, f"{where}[{place}]")


def _is_network(name: Any) -> bool:
    """Whether a name is that of a class of networks, defined in the very module that it names."""
    from torch import nn

    if not (isinstance(name, str) and NAME.fullmatch(name) and name.startswith(MODULES)):
        return False
    module, _, last = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), last, None)
    except ImportError:
        return False
    return isinstance(found, type) and issubclass(found, nn.Module) and found.__module__ == module
