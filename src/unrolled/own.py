"""`unrolled split`: anybody's FASTA file -> folds, removals and a certificate, without cards or workflow."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from unrolled import audit, gate
from unrolled import split as splits
from unrolled.audit import Terms
from unrolled.disjoint import Split, disjoint
from unrolled.errors import UnrolledError, refuse
from unrolled.fasta import guess_alphabet, read_fasta
from unrolled.files import atomic, write_json
from unrolled.formulas import REMEDY, is_formula
from unrolled.nearest import sensitivity
from unrolled.neighbours import BUDGET, neighbours
from unrolled.pairwise import check_room
from unrolled.progress import meter
from unrolled.task import Task
from unrolled.tasks import named

MOST_CLASSES = 0.5  # for each labelled sequence: more are numbers or names, unless there are few
FEW = 20

Say = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What the user asks for."""

    folds: int
    threshold: float | None = None
    definition: str | None = None
    alphabet: str | None = None
    single_stranded: bool = False
    multilabel: bool = False
    removal: float = 0.05
    budget: float = BUDGET  # core-seconds of the neighbours; seconds of the audit are a quarter
    seed: int = 0
    threads: int = 1


def read(path: Path, labels: Path | None, request: Request) -> tuple[pd.DataFrame, str]:
    """The sequences by id, checked, and their alphabet. Raises UnrolledError naming file and line."""
    frame = read_fasta(path, labels, request.alphabet, multilabel=request.multilabel)
    computed = frame["id"].map(is_formula).astype(bool)
    refuse(
        "ids that a spreadsheet would compute", frame["id"][computed] + " (" + frame["where"][computed] + ")", REMEDY
    )
    again = frame["id"].duplicated()
    refuse(
        "ids that occur twice",
        frame["id"][again] + " (" + frame["where"][again] + ")",
        "Rename or remove one of each: a fold is known by its id.",
    )
    alphabet = request.alphabet or guess_alphabet(frame["sequence"].tolist())
    return frame.sort_values("id", ignore_index=True), alphabet


def split(
    frame: pd.DataFrame, alphabet: str, request: Request, say: Say = lambda _: None
) -> tuple[Split, dict[str, Any]]:
    """The split of sequences sorted by id, and its certificate."""
    wanted: dict[str, Any] = {"definition": request.definition}
    if request.threshold is not None:
        wanted["identity"] = request.threshold
    terms = Terms.of_cards({"alphabet": alphabet, "strands": 1 if request.single_stranded else 2}, wanted)
    strata = _strata(frame["label"].tolist(), request.multilabel, say)
    sequences = frame["sequence"].tolist()
    check_room(frame["id"].tolist(), sequences, threads=request.threads)
    found = neighbours(
        sequences,
        terms.definition,
        terms.threshold,
        both_strands=terms.both_strands,
        budget=request.budget,
        audit=request.budget / 4,
        threads=request.threads,
        say=say,
    )
    say(f"{len(found.pairs):,} neighbours at {100 * terms.threshold:g} % ({terms.definition.name})")
    made = disjoint(
        frame["id"].tolist(),
        strata[1],
        found.pairs,
        found.identity,
        k=request.folds,
        removal=request.removal,
        seed=request.seed,
        threads=request.threads,
        definition=terms.definition.name,
    )
    for sentence in splits.warnings(splits.summary(frame, made.kept, strata) | made.facts):
        say(f"warning: {sentence}")
    certificate, _ = audit.certify(
        audit.folded(frame, made.kept),
        terms,
        level=sensitivity(sequences, request.budget / 4),
        budget=request.budget / 4,
        threads=request.threads,
        seed=request.seed,
        progress=meter("certify: pairs"),
        say=say,
    )
    tools = gate.versions("numpy", "scipy", "numba") | ({"mmseqs": found.mmseqs} if found.mmseqs else {})
    certificate["statement"] += audit.shared_route(certificate)
    said = {"neighbours": found.method, "seed": request.seed, "tools": tools}
    return made, {"group": "homology"} | certificate | {"split": made.facts | said}


def write(folder: Path, made: Split, certificate: dict[str, Any]) -> None:
    """Write folds.csv, removed.csv and certificate.json: all of them or, where one cannot be written, none."""
    with ExitStack() as files:  # which get their names in reverse order: the certificate is the last
        names = ("certificate.json", "folds.csv", "removed.csv")
        certified, *tables = (files.enter_context(atomic(folder / name)) for name in names)
        write_json(certified, certificate)
        for tmp, frame in zip(tables, (made.kept[["id", "fold"]], made.removed), strict=True):
            frame.to_csv(tmp, index=False, lineterminator="\n", encoding="utf-8")
        (folder / "certificate.json").unlink(missing_ok=True)  # an old one never stands beside new folds


def _strata(labels: list[str], multilabel: bool, say: Say) -> splits.Strata:
    """What folds are kept even in. A sequence without a label counts in no class.

    Raises UnrolledError for labels that are nearly as many as the sequences: names, for example.
    """
    known = [row for row, text in enumerate(labels) if text]
    if not known:
        say("no sequence has a label: folds are kept even in size alone")
        return ["sequences"], np.ones((len(labels), 1), dtype=np.int64)
    if len(known) < len(labels):
        n = len(labels) - len(known)
        say(f"warning: {n:,} of {len(labels):,} sequences have no label, and count in no class")
    names, counts = _task(texts := [labels[row] for row in known], multilabel, say).strata(texts)
    found = np.zeros((len(labels), len(names)), dtype=np.int64)
    found[known] = counts
    return names, found


def _task(labels: list[str], multilabel: bool, say: Say) -> Task:
    """What kind of labels these are: mostly distinct numbers are values, of whose fifths folds hold equal parts."""
    task = named("multilabel" if multilabel else "multiclass")
    classes = task.classes(labels)
    if len(classes) <= MOST_CLASSES * len(labels):
        return task
    if np.isfinite(pd.to_numeric(pd.Series(labels), errors="coerce")).all():
        say("labels are numbers, most of them distinct: folds are kept even in their fifths")
        return named("regression")
    if len(classes) <= FEW:
        return task
    raise UnrolledError(
        f"{len(classes):,} different labels for {len(labels):,} sequences, such as {classes[0]!r}: folds cannot be "
        "even in them. Name a column of classes or of numbers, or leave the labels out"
    )
