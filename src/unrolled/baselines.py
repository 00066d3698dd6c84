"""Baselines under the same contract as the networks: what a comparison must beat."""

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unrolled import gate, handover, homology, provenance, runs, sequence_baselines
from unrolled.alphabet import ALPHABETS
from unrolled.boosting import Boosting
from unrolled.choosing import loss
from unrolled.definitions import strands
from unrolled.evaluate import evaluate
from unrolled.files import sha256
from unrolled.tracking import Tracker

Floats = NDArray[np.float64]
Labels = NDArray[Any]


class Baseline(Protocol):
    """Learns from sequences (N) and targets, as `Task.encode` gives them; answers as `Task.cells` takes them."""

    parameters: int

    def fit(self, train: list[Any], y: Any, validation: list[Any], y_validation: Any) -> None: ...

    def answer(self, sequences: list[Any], y: Any) -> Any:
        """Answers to M sequences; the targets y are there to say how likely each of them is, and for nothing else."""


class Blind(Baseline, Protocol):
    """Predicts probabilities or numbers (M, K), with a label for every position M arrays (T, K)."""

    def predict(self, sequences: list[Any]) -> Any: ...

    def answer(self, sequences: list[str], y: Any) -> Any:
        return self.predict(sequences)


class Majority(Blind):
    """Predicts the classes' shares in the training set, or the mean number, whatever the sequence."""

    def __init__(self, task: str):
        self.parameters = 0

    def fit(self, train: list[Any], y: Labels, validation: list[Any], y_validation: Labels) -> None:
        self.shares = y.mean(axis=0)  # (K,)
        self.parameters = len(self.shares)

    def predict(self, sequences: list[Any]) -> Floats:
        return np.tile(self.shares, (len(sequences), 1))


class PositionMajority(Blind):
    """Predicts the shares of the K classes in the training set at every position."""

    def __init__(self, K: int):
        self.parameters = K

    def fit(self, train: list[Any], y: list[Labels], validation: list[Any], y_validation: list[Labels]) -> None:
        labels = np.concatenate(y)
        counts = np.bincount(labels[labels >= 0], minlength=self.parameters)
        self.shares = counts / counts.sum()  # (K,)

    def predict(self, sequences: list[Any]) -> list[Floats]:
        return [np.tile(self.shares, (len(sequence), 1)) for sequence in sequences]


class Markov(Blind):
    """Each symbol, and the end, from the k - 1 before it: counts, smoothed by the symbols' shares in training.

    The weight of the shares is chosen from `GRID` by the likelihood of the validation fold.
    """

    GRID = (0.1, 1.0, 10.0, 100.0)

    def __init__(self, alphabet: str, k: int = 3):
        self.encode, self.size, self.k = ALPHABETS[alphabet].encode, ALPHABETS[alphabet].size, k
        self.parameters = self.size**k

    def fit(self, train: list[str], y: Any, validation: list[str], y_validation: Any) -> None:
        self.counts = np.zeros((self.size ** (self.k - 1), self.size))
        for sequence in train:
            np.add.at(self.counts, self._steps(sequence), 1)
        self.shares = (self.counts.sum(axis=0) + 1) / (self.counts.sum() + self.size)
        self.weight = max(self.GRID, key=lambda weight: sum(self._likelihood(s, weight) for s in validation))

    def predict(self, sequences: list[str]) -> Floats:
        return np.array([(self._likelihood(s, self.weight), len(s) + 1) for s in sequences])

    def _steps(self, sequence: str) -> tuple[Labels, Labels]:
        """What stands before each symbol and the end, as one number, and the symbol: twice (T + 1,)."""
        symbols = np.concatenate([np.zeros(self.k - 1, dtype=np.int64), self.encode(sequence), [0]])
        before = np.zeros(len(sequence) + 1, dtype=np.int64)
        for i in range(self.k - 1):
            before = before * self.size + symbols[i : i + len(before)]
        return before, symbols[self.k - 1 :]

    def _likelihood(self, sequence: str, weight: float) -> float:
        """Its logarithm, in nats."""
        before, symbols = self._steps(sequence)
        rows = self.counts[before]
        here = rows[np.arange(len(symbols)), symbols] + weight * self.shares[symbols]
        return float(np.log(here / (rows.sum(axis=1) + weight)).sum())


class Kmer(Blind):
    """Logistic or ridge regression on TF-IDF weighted counts of all 1..k-mers.

    The strength of the L2 penalty is chosen from `GRID` by the loss on the validation fold, as early stopping
    chooses the epoch of a network. Multi-label: one regression a class.
    """

    GRID = (1.0, 10.0, 100.0)

    def __init__(self, task: str, k: int = 3):
        self.task, self.k, self.parameters = task, k, 0

    def fit(self, train: list[str], y: Labels, validation: list[str], y_validation: Labels) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.kmers = TfidfVectorizer(analyzer="char", ngram_range=(1, self.k), lowercase=False, sublinear_tf=True)
        x, x_validation = self.kmers.fit_transform(train), self.kmers.transform(validation)
        self.outputs = y.shape[1]
        tried = [self._regress(x, y, C) for C in self.GRID]
        losses = [loss(self._answers(m, x_validation), y_validation, self.task) for m in tried]
        self.models = tried[int(np.argmin(losses))]
        self.parameters = sum(m.coef_.size + m.intercept_.size for m in self.models.values())

    def predict(self, sequences: list[str]) -> Floats:
        return self._answers(self.models, self.kmers.transform(sequences))

    def _regress(self, x: Any, y: Labels, C: float) -> dict[int, Any]:
        """One multinomial or ridge model (key -1), or one a class that has both outcomes (multi-label)."""
        from sklearn.linear_model import LogisticRegression, Ridge

        def one(target: Labels) -> Any:
            return LogisticRegression(C=C, max_iter=1000).fit(x, target)

        if self.task == "regression":
            return {-1: Ridge(1 / C, solver="sparse_cg").fit(x, y[:, 0])}
        if self.task == "multiclass":
            return {-1: one(y.argmax(axis=1))}
        self.shares = y.mean(axis=0)
        return {j: one(y[:, j]) for j in range(self.outputs) if 0 < self.shares[j] < 1}

    def _answers(self, models: dict[int, Any], x: Any) -> Floats:
        if self.task == "multiclass":
            p = np.zeros((x.shape[0], self.outputs))
            p[:, models[-1].classes_] = models[-1].predict_proba(x)
            return p
        if self.task == "regression":
            predicted: Floats = models[-1].predict(x)[:, None]
            return predicted
        p = np.tile(self.shares, (x.shape[0], 1))  # a class with one outcome in training keeps its share
        for j, model in models.items():
            p[:, j] = model.predict_proba(x)[:, 1]
        return p


class BestHit(Blind):
    """The labels or the number of the nearest training sequence by MMseqs2: what anybody would do without a network.

    A share `doubt` of the belief stays with the mean of the training part, chosen from `GRID` by the loss on the
    validation fold. Where no training sequence is found, the mean is all there is.
    """

    GRID = (0.01, 0.03, 0.1, 0.3, 1.0)

    def __init__(self, task: str, strands: int = 0):
        self.task, self.strands, self.parameters = task, strands, 0

    def fit(self, train: list[str], y: Labels, validation: list[str], y_validation: Labels) -> None:
        self.train, self.y, self.shares = train, y, y.mean(axis=0)
        self.rows: dict[tuple[str, ...], NDArray[np.int64]] = {}
        tried = [self._doubted(validation, doubt) for doubt in self.GRID]
        self.doubt = self.GRID[int(np.argmin([loss(p, y_validation, self.task) for p in tried]))]

    def predict(self, sequences: list[str]) -> Floats:
        return self._doubted(sequences, self.doubt)

    def _doubted(self, sequences: list[str], doubt: float) -> Floats:
        rows = self._nearest(sequences)
        share = np.where(rows >= 0, doubt, 1.0)[:, None]
        mixed: Floats = (1 - share) * self.y[rows] + share * self.shares
        return mixed

    def _nearest(self, sequences: list[str]) -> NDArray[np.int64]:
        """Row of the nearest training sequence of each, -1 where none is found; searched for once."""
        key = tuple(sequences)
        if key not in self.rows:
            self.rows[key] = homology.best_hits(sequences, self.train, strands=self.strands)
        return self.rows[key]


BASELINES = {"majority": Majority, "kmer": Kmer, "besthit": BestHit, "boosting": Boosting}
# Tasks whose baselines are of their own kind: from model card, outputs and data card.
OTHERS: dict[str, Callable[[dict[str, Any], int, dict[str, Any]], Baseline]] = {
    "labelling": lambda card, outputs, data: PositionMajority(outputs),
    "generation": lambda card, outputs, data: Markov(
        data["alphabet"], card.get("k", 1) if card["estimator"] == "kmer" else 1
    ),
    "transduction": sequence_baselines.build,
}


def build(card: dict[str, Any], task: str, outputs: int, data: dict[str, Any]) -> Baseline:
    """The baseline that a model card names under `estimator`, for K outputs and the sequences of a data card."""
    if task in OTHERS:
        return OTHERS[task](card, outputs, data)
    settings: dict[str, Any] = {key: card[key] for key in ("k",) if key in card}
    if card["estimator"] == "besthit":
        settings["strands"] = strands(data)
    built: Baseline = BASELINES[card["estimator"]](task, **settings)
    return built


def run(
    *,
    table: Path,
    folds: Path,
    data_card: dict[str, Any],
    model_card: dict[str, Any],
    split: str,
    fold: int,
    seed: int,
    wandb: dict[str, Any],
    wandb_dir: Path,
    out: Path,
    certificate: Path | None = None,
) -> None:
    """Fit one baseline and write its predictions.parquet and run.json, as a training run does.

    The files of a baseline that was fitted before are put back instead.
    """
    cell = {"data": data_card["name"], "split": split, "model": model_card["name"], "fold": fold, "seed": seed}
    config = {"cell": cell, "data": data_card, "model": model_card}
    gate.admit(certificate, folds)
    content = [sha256(path) for path in (table, folds, *provenance.files(provenance.BASELINE))]
    identity = json.dumps([config, content, runs.versions()], sort_keys=True)
    with handover.alone(out):
        if not handover.restored(out, identity):
            _fit(config, table, folds, out, Tracker(wandb, wandb_dir, config), certificate)
            handover.keep(out, identity, ("predictions.parquet", "run.json"))


def _fit(
    config: dict[str, Any],
    table: Path,
    folds: Path,
    out: Path,
    tracker: Tracker,
    certificate: Path | None,
) -> None:
    started = time.perf_counter()
    data_card, model_card = config["data"], config["model"]
    material = runs.load(table, folds, config["cell"]["fold"], data_card, certificate)
    model = build(model_card, material.task, material.outputs, data_card)
    train, validation = material.parts["train"], material.parts["validation"]
    model.fit(train.sequences, train.y, validation.sequences, validation.y)
    parts = {name: material.parts[name] for name in runs.PARTS[1:]}
    answers = {name: model.answer(part.sequences, part.y) for name, part in parts.items()}
    runs.write_predictions(out / "predictions.parquet", material, answers)
    runs.write_record(
        out / "run.json",
        material=material,
        config=config,
        kind="baseline",
        params=model.parameters,
        seconds=round(time.perf_counter() - started, 3),
        epochs=None,
        best_epoch=None,
        tokens_per_second=None,
        device="cpu",
    )
    tracker.finish(out, partial(evaluate, out / "predictions.parquet", out / "run.json"), certificate)
