"""Plausible tables of an experiment, deterministic, in the layout that the report reads.

>>> tables, data_root, matrix = write(Path("results"), models=("rnn", "lstm"))
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from unrolled.files import write_json

MODELS = ("rnn", "lstm", "gru", "kmer", "majority")
BASELINES = {"kmer", "majority", "best_hit"}
SKILL = {"rnn": 0.52, "lstm": 0.71, "gru": 0.68, "kmer": 0.55, "majority": 0.08, "best_hit": 0.6}
CLASSES = ("Cytoplasm", "Nucleus", "Secreted", "Membrane", "Mitochondrion", "Plastid", "Peroxisome")
METRICS = {
    "multiclass": ("accuracy", "balanced_accuracy", "macro_f1", "mcc", "auroc", "log_loss", "ece"),
    "multilabel": ("accuracy", "jaccard", "micro_f1", "macro_f1", "mcc", "auroc", "log_loss", "ece"),
    "regression": ("spearman", "pearson", "r2", "rmse", "mae"),
    "transduction": ("token_accuracy", "exact_match", "edit_distance", "bits_per_token"),
}
RANKED = {"regression": "spearman", "transduction": "exact_match"}  # what a report ranks by; else macro-F1
BARE = ("regression", "transduction")  # tasks without classes, confusion and calibration
AXES = ("data", "split", "model")


def write(
    root: Path,
    *,
    data: Sequence[str] = ("demo",),
    splits: Sequence[str] = ("random", "cluster30"),
    models: Sequence[str] = MODELS,
    seeds: int = 3,
    classes: Sequence[str] = CLASSES,
    task: str = "multiclass",
) -> tuple[Path, Path, dict[str, list[Any]]]:
    """Write tables and facts below `root`; return the folder of tables, the data root and the matrix."""
    rng = np.random.default_rng(7)
    matrix = {
        "data": list(data),
        "split": list(splits),
        "model": list(models),
        "fold": [0],
        "seed": list(range(seeds)),
    }
    runs = pd.DataFrame([_run(rng, task, *cell) for cell in itertools.product(*matrix.values())])
    tables = {
        "runs": runs,
        "summary": _summary(runs, task),
        "models": _differences(runs, task, "model", "split"),
        "splits": _differences(runs, task, "split", "model"),
        "bands": _bands(runs, task),
        "lengths": _lengths(runs if task == "transduction" else runs[:0], task),
        "history": _history(rng, runs),
        "classes": _classes(rng, runs, classes if task not in BARE else ()),
        "confusion": _confusion(rng, runs, classes if task == "multiclass" else ()),
        "calibration": _calibration(rng, runs if task not in BARE else runs[:0]),
        "points": _points(rng, runs if task == "regression" else runs[:0]),
    }
    folder = root / "experiment" / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
    for name in data:
        _facts(root / "data" / name, name, splits, classes, task)
    return folder, root / "data", matrix


def _skill(split: str, model: str) -> float:
    return SKILL.get(model, 0.5) + (0.12 if split == "random" and model != "majority" else 0)


def _run(
    rng: np.random.Generator, task: str, data: str, split: str, model: str, fold: int, seed: int
) -> dict[str, Any]:
    neural = model not in BASELINES
    score = float(np.clip(_skill(split, model) + rng.normal(0, 0.02 * neural), 0.01, 0.99))
    metrics = {name: score + 0.02 * i for i, name in enumerate(METRICS[task][:-2])}
    metrics |= {"macro_f1": score, "log_loss": 1.6 * (1 - score), "ece": 0.2 * (1 - score)}
    metrics |= {"rmse": 0.9 * (1 - score), "mae": 0.7 * (1 - score)}
    metrics |= {"edit_distance": 0.8 * (1 - score), "bits_per_token": 4 * (1 - score)}
    seconds = float(40 * SKILL.get(model, 0.5) * rng.uniform(0.9, 1.1)) if neural else 0.8
    return {
        **{"data": data, "split": split, "model": model, "fold": fold, "seed": seed},
        **{name: min(metrics[name], 0.99) for name in METRICS[task]},
        **{"params": 18_000 + 9_000 * len(model) if neural else 0, "seconds": seconds},
        **{"epochs": 24 if neural else None, "best_epoch": 14 + seed if neural else None},
        **{"peak_memory_mb": 412.5, "tokens_per_second": 61_000 / len(model) if neural else None},
        **{"n_train": 720, "n_validation": 240, "n_test": 240, "n_shortened": 13},
        "kind": "neural" if neural else "baseline",
    }


def _groups(runs: pd.DataFrame) -> dict[tuple[str, ...], pd.DataFrame]:
    return {tuple(map(str, key)): rows for key, rows in runs.groupby(list(AXES), sort=False)}  # type: ignore[arg-type]


def _half_width(n: int) -> float:
    """Of an interval; a single seed has none here, to see that the report bears it."""
    return 0.045 if n > 1 else np.nan


def _summary(runs: pd.DataFrame, task: str) -> pd.DataFrame:
    rows = []
    for key, group in _groups(runs).items():
        for metric in METRICS[task]:
            mean, half = group[metric].mean(), _half_width(len(group))
            rows.append((*key, metric, mean, mean - half, mean + half, len(group)))
    return pd.DataFrame(rows, columns=[*AXES, "metric", "mean", "low", "high", "n"])


def _differences(runs: pd.DataFrame, task: str, axis: str, within: str) -> pd.DataFrame:
    """Every pair of values on an axis, first minus second, as `compare` writes them."""
    rows = []
    for (data, place), part in runs.groupby(["data", within], sort=False):
        for (a, first), (b, second) in itertools.combinations(part.groupby(axis, sort=False), 2):
            for metric in METRICS[task]:
                value, half = first[metric].mean() - second[metric].mean(), _half_width(len(first))
                rows.append((data, place, metric, a, b, value, value - half, value + half))
    return pd.DataFrame(rows, columns=["data", within, "metric", axis, "other", "difference", "low", "high"])


BANDS = {"<20": -0.1, "20-30": 0.0, "40-50": 0.1, ">=90": 0.25}


def _bands(runs: pd.DataFrame, task: str) -> pd.DataFrame:
    """Nearer is easier; under a split without homologs no test sequence is near."""
    rows = []
    for key, group in _groups(runs).items():
        for i, (band, more) in enumerate(BANDS.items()):
            if key[1] == "random" or more <= 0:
                for metric in METRICS[task]:
                    mean, half = min(group[metric].mean() + more, 0.99), _half_width(len(group))
                    rows.append(
                        (*key, "local80", band, metric, mean, mean - half, mean + half, len(group), 120 - 25 * i)
                    )
    return pd.DataFrame(
        rows, columns=[*AXES, "definition", "band", "metric", "mean", "low", "high", "n", "sequences"]
    )


def _lengths(runs: pd.DataFrame, task: str) -> pd.DataFrame:
    """The longer, the harder."""
    rows = []
    for key, group in _groups(runs).items():
        for i, shortest in enumerate(range(6, 96, 15)):
            for metric in METRICS[task]:
                mean, half = group[metric].mean() * (1 - 0.15 * i), _half_width(len(group))
                rows.append((*key, shortest, shortest + 14, metric, mean, mean - half, mean + half, len(group), 40))
    return pd.DataFrame(
        rows, columns=[*AXES, "shortest", "longest", "metric", "mean", "low", "high", "n", "sequences"]
    )


def _history(rng: np.random.Generator, runs: pd.DataFrame) -> pd.DataFrame:
    """Losses fall, validation rises again after the best epoch; the plain RNN's gradients explode at times."""
    rows = []
    for run in runs[runs["kind"] == "neural"].itertuples():
        final = 1.6 * (1 - _skill(run.split, run.model))
        for epoch in range(24):
            train = final * 0.6 + 1.4 * np.exp(-epoch / 6) + rng.normal(0, 0.02)
            validation = final + 1.1 * np.exp(-epoch / 5) + 0.012 * max(0, epoch - run.best_epoch) ** 1.3
            norm = float(np.exp(rng.normal(1.2 if run.model == "rnn" else 0.0, 0.3)))
            place = [run.data, run.split, run.model, run.fold, run.seed]
            noise = rng.normal(0, 0.02)
            rows.append(
                [*place, epoch, 1.5, 1e-3, train, validation + noise, 0.7, norm, norm * 3, min(norm / 8, 1), 5e4]
            )
    losses = ["epoch", "seconds", "lr", "train_loss", "val_loss", "val_accuracy"]
    gradients = ["grad_norm_mean", "grad_norm_max", "clipped_share", "tokens_per_second"]
    return pd.DataFrame(rows, columns=[*AXES, "fold", "seed", *losses, *gradients])


def _sizes(classes: Sequence[str]) -> dict[str, int]:
    return {name: max(20, int(420 * 0.62**i)) for i, name in enumerate(classes)}


def _classes(rng: np.random.Generator, runs: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    rows = []
    for key in _groups(runs):
        for name, n in _sizes(classes).items():
            f1 = float(np.clip(_skill(key[1], key[2]) + rng.normal(0, 0.08), 0, 1))
            rows.append((*key, name, n / 5, f1, f1, f1, f1 - 0.05, *[None if f1 < 0.1 else 0.9] * 2))
    return pd.DataFrame(rows, columns=[*AXES, "class", "n", "precision", "recall", "f1", "mcc", "auroc", "auprc"])


def _confusion(rng: np.random.Generator, runs: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    rows = []
    for key, group in _groups(runs).items():
        for i, (actual, n) in enumerate(_sizes(classes).items()):
            p = np.full(len(classes), (1 - _skill(*key[1:])) / max(len(classes) - 1, 1))
            p[i] = _skill(*key[1:])
            counts = rng.multinomial(n // 5 * len(group), p / p.sum())
            rows += [(*key, actual, *pair) for pair in zip(classes, counts, strict=True)]
    return pd.DataFrame(rows, columns=[*AXES, "actual", "predicted", "count"])


def _calibration(rng: np.random.Generator, runs: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for key in _groups(runs):
        for confidence in np.arange(0.25, 1.0, 0.1):
            accuracy = np.clip(confidence * (0.8 + 0.25 * _skill(*key[1:])) + rng.normal(0, 0.02), 0, 1)
            rows.append((*key, confidence, accuracy, int(rng.integers(20, 160))))
    return pd.DataFrame(rows, columns=[*AXES, "confidence", "accuracy", "n"])


def _points(rng: np.random.Generator, runs: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for key in _groups(runs):
        truth = rng.normal(45, 8, 60)
        predicted = truth + rng.normal(0, 12 * (1 - _skill(*key[1:])), 60)
        rows += [(*key, *pair) for pair in zip(truth, predicted, strict=True)]
    return pd.DataFrame(rows, columns=[*AXES, "true_value", "predicted_value"])


def _facts(folder: Path, name: str, splits: Sequence[str], classes: Sequence[str], task: str) -> None:
    counts = _sizes(classes)
    n = sum(counts.values())
    summary = {
        **{"data": name, "title": "Where proteins go", "task": task, "alphabet": "protein", "n": n},
        **{"excluded": {"ambiguous letters": 14, "duplicate sequence": 3}, "classes": counts},
        **{"labels_per_sequence": 1.0 if task == "multiclass" else 1.4, "max_length": 500, "n_longer": 57},
        **{"unit": "residues", "kept": "ends"},
        **{"length": {"min": 31, "median": 284.0, "max": 1960}, "licence": "CC BY 4.0"},
        "citation": "Doe & Roe (2020) Journal of Examples 1, 2-3",
        "unused": {"location that is no class: Melanosome": 5},
        "sources": [
            {
                **{"file": "x.tsv.gz", "query": "(reviewed:true) AND (length:[40 TO *])", "fields": ["accession"]},
                **{"release": "2026_03", "release_date": "17-June-2026", "rows": 1234, "date": "2026-07-01"},
            }
        ],
    }
    summary |= {"target_alphabet": "protein"} if task == "transduction" else {}
    write_json(folder / "summary.json", summary)
    for split in splits:
        write_json(folder / split / "split.json", _split(name, split, counts, n))
        write_json(folder / split / "certificate.json", _certificate(split, n))


def _split(data: str, split: str, counts: dict[str, int], n: int) -> dict[str, Any]:
    random = split == "random"
    folds = [
        {
            "fold": fold,
            "n": sum(c // 5 + (fold < c % 5) for c in counts.values()),
            "groups": n // 5 if random else n // 13,
            "classes": {name: c // 5 + (fold < c % 5) for name, c in counts.items()},
        }
        for fold in range(5)
    ]
    return {
        **{"data": data, "split": split, "title": "Any sequence anywhere" if random else "Clusters at 30 %"},
        **{"group": "sequence" if random else "cluster", "n": n, "n_groups": n if random else n // 2},
        **{"largest_group": 1 if random else 41, "folds": folds, "identity": None if random else 0.3},
        "tools": {} if random else {"mmseqs": "18-8cc5c"},
    }


def _certificate(split: str, n: int) -> dict[str, Any]:
    above = n // 2 if split == "random" else 0
    said = f"{above or 'Zero'} of {n} sequences have a neighbour at least 30 % identical (local80) in another fold"
    return {
        **{"definition": "local80", "threshold": 0.3, "method": "exhaustive", "above_threshold": above},
        **{"share_above": above / n, "max_identity": 1.0 if above else 0.29},
        "statement": f"{said}: all {n * (n - 1) * 2 // 5:,} pairs were aligned.",
    }
