"""What every run shares, network or baseline: the parts it may see, and the files it hands over."""

import importlib.metadata
import platform
import resource
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled import table as tables
from unrolled.errors import UnrolledError
from unrolled.files import atomic, write_json

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Part:
    """The sequences of one part, long ones shortened: N rows."""

    ids: list[str]
    groups: list[str]
    sequences: list[str]
    targets: list[str]
    y: NDArray[np.uint8]  # (N, K) one- or multi-hot

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Material:
    """All that a run may see: `train`, `validation` and `test` under one class order."""

    parts: dict[str, Part]
    classes: list[str]
    task: str
    n_shortened: int


def load(table: Path, folds: Path, fold: int, card: dict[str, Any]) -> Material:
    """Read a table and its folds; test on `fold`, validate on the next, train on the rest.

    A sequence whose fold is missing was removed by the split, and takes no part.

    Sequences beyond the card's `max_length` keep both termini (`table.shorten`) and are counted.

    Raises:
        UnrolledError: the folds belong to another table, or the training part has fewer than two classes.
    """
    sequences, placed = tables.read(table), pd.read_parquet(folds)
    lost = sequences["id"][~sequences["id"].isin(placed["id"])]
    if len(lost):
        raise UnrolledError(f"{folds}: sequence '{lost.iloc[0]}' of {table} is in no fold; build the split again")
    frame = sequences.merge(placed[placed["fold"].notna()].astype({"fold": "int64"}), on="id", validate="1:1")
    k = int(frame["fold"].max()) + 1
    if not 0 <= fold < k:
        raise UnrolledError(f"{folds}: there is no fold {fold}; there are 0 to {k - 1}")
    classes = tables.classes(frame, card["task"])
    longest = card.get("max_length")
    n_shortened = int((frame["sequence"].str.len() > longest).sum()) if longest else 0
    part_of = np.select([frame["fold"] == fold, frame["fold"] == (fold + 1) % k], ["test", "validation"], "train")
    parts = {name: _part(frame[part_of == name], classes, card["task"], longest or sys.maxsize) for name in PARTS}
    if (parts["train"].y.any(axis=0)).sum() < 2:
        raise UnrolledError(f"{folds}: fold {fold} leaves fewer than two classes to train on")
    return Material(parts, classes, card["task"], n_shortened)


def _part(frame: pd.DataFrame, classes: list[str], task: str, longest: int) -> Part:
    return Part(
        ids=frame["id"].tolist(),
        groups=frame["group"].tolist(),
        sequences=[tables.shorten(s, longest) for s in frame["sequence"]],
        targets=frame["target"].tolist(),
        y=tables.target_matrix(frame["target"], classes, task),
    )


def write_predictions(path: Path, material: Material, probabilities: Mapping[str, NDArray[np.floating[Any]]]) -> None:
    """Write `predictions.parquet` atomically: one row per validation and test sequence, one column per class.

    Args:
        probabilities: (N, K) for each of the parts `validation` and `test`.
    """
    blocks = []
    for name, p in probabilities.items():
        part = material.parts[name]
        block = pd.DataFrame({"id": part.ids, "group": part.groups, "part": name, "target": part.targets})
        columns = [f"p:{c}" for c in material.classes]
        blocks.append(block.join(pd.DataFrame(p.astype(np.float32), columns=columns)))
    with atomic(path) as tmp:
        pd.concat(blocks, ignore_index=True).to_parquet(tmp, index=False)


def write_record(path: Path, *, material: Material, config: dict[str, Any], **facts: Any) -> None:
    """Write `run.json`: which cell of the matrix this was, what it cost, and what made it."""
    names = ("data", "split", "model", "fold", "seed")
    counts = {f"n_{name}": len(part) for name, part in material.parts.items()}
    record = {name: config["cell"][name] for name in names}
    record |= {"task": material.task, "classes": material.classes, "peak_memory_mb": peak_memory()}
    record |= counts | {"n_shortened": material.n_shortened} | facts
    write_json(path, record | {"versions": versions(), "commit": commit(), "config": config})


def peak_memory() -> float:
    """The largest resident set of this process so far, in MiB."""
    if sys.platform == "linux":  # there ru_maxrss begins with that of the process that started this one
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return round(int(status.split("VmHWM:")[1].split()[0]) / 2**10, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 1)


def versions() -> dict[str, str]:
    """Versions of what the numbers may depend on."""
    names = ("unrolled", "torch", "lightning", "scikit-learn", "numpy", "pandas")
    return {"python": platform.python_version()} | {n: importlib.metadata.version(n) for n in names}


def commit() -> str | None:
    """The git commit of the project in the working directory, `-dirty` with uncommitted changes; None without git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return None
