"""What every run shares, network or baseline: the parts it may see, and the files it hands over."""

import hashlib
import platform
import resource
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled import gate, inputs, shortening
from unrolled import table as tables
from unrolled.errors import UnrolledError
from unrolled.files import atomic, read_parquet, write_json
from unrolled.inputs import Reading
from unrolled.shortening import Shorten
from unrolled.task import Task
from unrolled.tasks import named, of

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Part:
    """The sequences of one part, long ones shortened: N rows."""

    ids: list[str]
    groups: list[str]
    sequences: list[Any]  # texts, or `Series`
    targets: list[str]
    y: Any  # what `Task.encode` gives: (N, K), or N arrays (T,), or (T' + 1,)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of ids, sequences and targets, in whatever order they come."""
        texts = (one if isinstance(one, str) else one.fingerprint.hex() for one in self.sequences)
        lines = sorted(map(repr, zip(self.ids, texts, self.targets, strict=True)))
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of the training part's numbers: networks learn what is left without them."""

    mean: float
    deviation: float

    def to_standard(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """From the target's unit to mean 0 and variance 1 in training."""
        return (y - self.mean) / self.deviation

    def to_unit(self, y: NDArray[Any]) -> NDArray[np.float64]:
        """Back to the target's unit."""
        return y.astype(np.float64) * self.deviation + self.mean


@dataclass(frozen=True)
class Material:
    """All that a run may see: `train`, `validation` and `test` under one class order."""

    parts: dict[str, Part]
    classes: list[str]
    task: str
    n_shortened: int
    scale: Scale | None = None  # of numbers that are to be predicted
    reading: Reading | None = None  # of the sequences
    longest: int | None = None  # symbols that an answer may have, where it is a sequence

    @property
    def outputs(self) -> int:
        """K: what a model answers for a sequence or a position."""
        return named(self.task).outputs(self.classes)


def load(
    table: Path, folds: Path, fold: int, card: dict[str, Any], certificate: Path | str | None = None
) -> Material:
    """Read a table and its folds; test on `fold`, validate on the next, train on the rest.

    A sequence without a fold was removed by the split, and takes no part.

    Sequences beyond the card's `max_length` are shortened (`shortening.shorten`) and counted.

    Raises:
        UnrolledError: the sequences are not of the card's `alphabet`, the folds or the certificate, where one is
            given, belong to another table, the training part holds nothing to tell apart, or validation or test no
            label at all.
    """
    sequences, placed = tables.read(table), read_parquet(folds)
    kind = inputs.of(card)
    try:
        kind.check(sequences["sequence"], [repr(name) for name in sequences["id"]])
    except UnrolledError as error:
        raise UnrolledError(f"{table}: {error}") from None
    lost = sequences["id"][~sequences["id"].isin(placed["id"])]
    if len(lost):
        raise UnrolledError(f"{folds}: sequence '{lost.iloc[0]}' of {table} is in no fold; build the split again")
    own = sequences[list(tables.COLUMNS)]  # a kept column may be called as one of the folds' is
    frame = own.merge(gate.kept(placed), on="id", validate="1:1")
    gate.admit_sequences(certificate, frame)
    k = int(frame["fold"].max()) + 1
    if not 0 <= fold < k:
        raise UnrolledError(f"{folds}: there is no fold {fold}; there are 0 to {k - 1}")
    task = of(card)
    classes = task.classes(frame["target"])
    n_shortened, shorten = shortening.longer(frame["sequence"], card), shortening.of(card)
    part_of = np.select([frame["fold"] == fold, frame["fold"] == (fold + 1) % k], ["test", "validation"], "train")
    parts = {name: _part(frame[part_of == name], classes, task, shorten) for name in PARTS}
    if not task.learnable(parts["train"].targets):
        raise UnrolledError(f"{folds}: fold {fold} leaves fewer than two {task.values_are} to train on")
    for name in PARTS[1:]:
        if classes and not task.classes(parts[name].targets):
            raise UnrolledError(f"{folds}: fold {fold} leaves the {name} part without a single label")
    numbers = parts["train"].y if task.name == "regression" else None
    scale = None if numbers is None else Scale(float(numbers.mean()), float(numbers.std()))
    reading, longest_answer = kind.fit(parts["train"].sequences), task.longest(parts["train"].targets)
    return Material(parts, classes, task.name, n_shortened, scale, reading, longest_answer)


def _part(frame: pd.DataFrame, classes: list[str], task: Task, shorten: Shorten) -> Part:
    targets = [task.learned(target) for target in frame["target"]]
    if task.per_position:
        targets = list(map(shorten, targets))
    return Part(
        ids=frame["id"].tolist(),
        groups=frame["group"].tolist(),
        sequences=list(map(shorten, frame["sequence"])),
        targets=targets,
        y=task.encode(targets, classes),
    )


def write_predictions(path: Path, material: Material, answers: Mapping[str, Any]) -> None:
    """Write `predictions.parquet` atomically: one row per validation and test sequence.

    Probabilities are in one column a class, "p:<class>"; of labels for every position each cell is a list (T,).
    A number is in the column "prediction"; of sequences themselves "log_likelihood" (nats) and "symbols", the end
    among them; where a sequence becomes another, "decoded", "log_likelihood" (of the target and its end) and the
    "length" of what was read.

    Args:
        answers: (N, K), or N arrays (T, K), or N `answers.Decoded`, for each of the parts `validation` and `test`.
    """
    blocks = []
    for name, answer in answers.items():
        part = material.parts[name]
        block = pd.DataFrame({"id": part.ids, "group": part.groups, "part": name, "target": part.targets})
        cells = named(material.task).cells(answer, material.classes, part.sequences)
        blocks.append(block.assign(**cells))
    with atomic(path) as tmp:
        pd.concat(blocks, ignore_index=True).to_parquet(tmp, index=False)


def write_record(path: Path, *, material: Material, config: dict[str, Any], **facts: Any) -> None:
    """Write `run.json`: which cell of the matrix this was, what it cost, and what made it."""
    names = ("data", "split", "model", "fold", "seed")
    counts = {f"n_{name}": len(part) for name, part in material.parts.items()}
    record = {name: config["cell"][name] for name in names}
    record |= {"scale": asdict(material.scale)} if material.scale else {}
    record |= {"reading": material.reading.facts} if material.reading and material.reading.facts else {}
    record |= {"longest": material.longest} if material.longest else {}
    record |= {"trained_on": material.parts["train"].fingerprint}
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
    packages = gate.versions("torch", "lightning", "scikit-learn", "numpy", "pandas")
    return {"python": platform.python_version()} | packages


def commit() -> str | None:
    """The git commit of the project in the working directory, `-dirty` with uncommitted changes; None without git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return None
