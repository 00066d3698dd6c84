"""`unrolled predict`: a trained run and a new file of sequences -> a table of answers, a chunk at a time."""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from unrolled import checkpoints, inputs, questions, runs, shortening, train
from unrolled.answers import Decoded
from unrolled.batching import Encoded, following, loader
from unrolled.decoder import EncoderDecoder
from unrolled.errors import UnrolledError
from unrolled.evaluate import read_run, thresholds_of
from unrolled.files import atomic
from unrolled.formulas import text
from unrolled.inputs import Reading
from unrolled.questions import Sequences
from unrolled.recipe import Training
from unrolled.tasks import named

GONE = "not where they were, or others than they were"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Predictor:
    """A trained network with what is needed to ask it: how it reads, its classes, thresholds and scale."""

    training: Training
    reading: Reading
    record: dict[str, Any]  # run.json
    thresholds: dict[str, float] | None
    known: runs.Part | None  # what it was trained on, if that can still be found

    @classmethod
    def load(cls, run: Path) -> "Predictor":
        """Read a run's folder. Raises UnrolledError for one that is not there, not whole, or a baseline's."""
        record = read_run(run / "run.json")
        best = run / "checkpoints" / "best.ckpt"
        if record.get("kind") != "neural" or not best.is_file():
            raise UnrolledError(f"{run} holds no trained network (checkpoints/best.ckpt): choose a run of a network")
        config = record["config"]
        scale = runs.Scale(**record["scale"]) if "scale" in record else None
        reading = inputs.of(config["data"]).recall(record.get("reading", {}))
        material = runs.Material({}, record["classes"], record["task"], 0, scale, reading, record.get("longest"))
        training = Training(train.build(config, material), record["task"], config["train"], record["seed"])
        training.load_state_dict(checkpoints.read(best)["state_dict"])
        return cls(training, reading, record, thresholds_of(run, record), _trained_on(record))

    @property
    def card(self) -> dict[str, Any]:
        """The data card of the run."""
        found: dict[str, Any] = self.record["config"]["data"]
        return found

    def follow(self, beam: int) -> None:
        """Search with so many hypotheses from now on. Raises UnrolledError for a network that does not search."""
        network = self.training.network
        if not isinstance(network, EncoderDecoder):
            raise UnrolledError(f"a beam is of encoder-decoders, and this run was trained for {self.record['task']}")
        network.beam = beam

    def rows(self, sequences: Sequences) -> Iterator[dict[str, Any]]:
        """One row a sequence: id, length, the answer, and the probabilities or the number it comes from."""
        task, classes = named(self.record["task"]), self.record["classes"]
        # A label for every position needs all of them; else the network is shown what it would have been trained on.
        shorten = shortening.of(self.card | {"max_length": None} if task.per_position else self.card)
        shown = [self.reading.encode(shorten(one)) for _, one in sequences]
        recipe = self.record["config"]["train"]
        data = Encoded(*following(shown)) if task.causal else Encoded(shown, task.unknown(len(shown)))
        batches = loader(data, recipe["batch_size"], recipe["batch_tokens"], shuffle=False)
        scale = runs.Scale(**self.record["scale"]) if "scale" in self.record else None
        answers = train.predict(self.training, batches, scale)
        for (name, one), answer in zip(sequences, answers, strict=True):
            yield {"id": name, "length": len(one)} | self._answer(answer, classes)

    def _answer(self, answer: Any, classes: list[str]) -> dict[str, Any]:
        if isinstance(answer, Decoded):
            return {"prediction": answer.text(classes), "log_likelihood": f"{answer.own:.4f}"}
        if not classes:
            columns = named(self.record["task"]).columns(classes)
            return {name: f"{value:.10g}" for name, value in zip(columns, answer, strict=True)}
        if answer.ndim == 2:
            sure = answer.max(axis=1).mean()
            return {"prediction": "".join(classes[k] for k in answer.argmax(axis=1)), "confidence": f"{sure:.3f}"}
        chosen = [classes[int(answer.argmax())]]
        if self.thresholds is not None:
            chosen = [c for c, p in zip(classes, answer, strict=True) if p >= self.thresholds[c]]
        said = {f"p:{c}": f"{p:.4f}" for c, p in zip(classes, answer, strict=True)}
        return {"prediction": "|".join(chosen)} | said


def predict(run: Path, file: Path, out: Path, *, beam: int | None = None, threads: int = 1, say: Say) -> None:
    """Write a CSV file with a row for each sequence of a file, in its order, a piece of the file at a time.

    The file is FASTA or, for a run on numeric series, laid out as its data card says (a `long` one is read whole).
    The column `nearest` holds the id of the training sequence that MMseqs2 finds most like it, empty if it finds
    none: an answer for such a sequence is a guess about unknown land, and a warning counts them. Of series `far` is
    the share of their readings that lie far from what was measured in training, and a warning names variables whose
    mean is another one. Before an answer that a spreadsheet would compute stands an apostrophe. A warning counts the
    answers of an encoder-decoder that came to twice the longest training target, after which nothing but the end may
    follow; `beam` is how many hypotheses its search follows, by default as many as in its model card.

    Raises:
        UnrolledError: no trained network in `run`, sequences of another kind, letters or variables that it does not
            have, no records, a beam for another network; nothing is written then. A FASTA file is checked whole
            before the first answer.
    """
    torch.set_num_threads(threads)
    predictor = Predictor.load(run)
    if beam:
        predictor.follow(beam)
    asked = questions.of(file, predictor.card, predictor.reading, predictor.record["classes"])
    if predictor.known is None and isinstance(asked, questions.Records):
        say(f"warning: {run}: its training sequences are {GONE}, so likeness to them is not checked")
    longest, done, cut = predictor.record.get("longest"), 0, 0
    with atomic(out) as tmp, tmp.open("w", newline="", encoding="utf-8") as stream:
        writer: csv.DictWriter[str] | None = None
        for chunk in asked.chunks():
            beside = asked.likeness(chunk, predictor.known, threads)
            rows = [row | more for row, more in zip(predictor.rows(chunk), beside, strict=True)]
            if writer is None:
                writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
                writer.writeheader()
            writer.writerows({name: text(cell) for name, cell in row.items()} for row in rows)
            done += len(chunk)
            cut += sum(len(row.get("prediction", "")) == longest for row in rows)
            say(f"{done:,} sequences")
    if cut:
        limit = f"{longest:,} symbols, twice the longest training target"
        say(f"warning: {cut:,} of {done:,} answers came to {limit}, and were ended there")
    for warning in asked.warnings():
        say(f"warning: {warning}")


def _trained_on(record: dict[str, Any]) -> runs.Part | None:
    """Its training part, or None if table and folds are gone or give another one than it had."""
    paths = record["config"].get("paths", {})
    try:
        material = runs.load(
            Path(paths["table"]), Path(paths["folds"]), record["config"]["cell"]["fold"], record["config"]["data"]
        )
    except (KeyError, OSError, UnrolledError):
        return None
    part = material.parts["train"]
    return part if part.fingerprint == record.get("trained_on") else None
