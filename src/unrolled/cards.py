"""Cards and the matrix: reading them, checking them against strict schemas, crossing the axes.

A card is one YAML file, `config/<axis>/<name>.yaml`; its file name is the wildcard in every path, the Hydra
choice and the value in the tables. Everything wrong with them is found here, before any job runs.
"""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError, best_match

from unrolled.errors import UnrolledError, suggest
from unrolled.fitting import METRICS, Card, impossible, untaken
from unrolled.targets import check_card, check_named

AXES = ("data", "split", "model")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

ASKED: Card = {"mem_mb": 4000, "runtime": "1h", "gres": ""}


def _pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
    """As JSON Schema means it: `$` is the end, where Python's also stands before a last line end."""
    if isinstance(value, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


Validator: Any = validators.extend(Draft202012Validator, {"pattern": _pattern})  # type: ignore[no-untyped-call]


@dataclass(frozen=True, order=True)
class Cell:
    """One cell of the matrix: one run."""

    data: str
    split: str
    model: str
    fold: int
    seed: int

    @property
    def folder(self) -> str:
        """The run's folder below `results/<experiment>/runs/`."""
        return f"{self.data}/{self.split}/{self.model}/fold{self.fold}-seed{self.seed}"


@dataclass(frozen=True)
class Deck:
    """The cards of a project: `config` holds one folder an axis, `schemas` one schema an axis."""

    config: Path
    schemas: Path

    def names(self, axis: str) -> list[str]:
        """Names of all cards of an axis, sorted."""
        return sorted(path.stem for path in (self.config / axis).glob("*.yaml"))

    def path(self, axis: str, name: str) -> Path:
        """Path of a card. Raises UnrolledError, with the nearest names, if there is none."""
        path = self.config / axis / f"{name}.yaml"
        if not NAME.fullmatch(str(name)) or not path.is_file():
            raise UnrolledError(
                f"{path}: there is no {axis} card '{name}'{suggest(str(name), self.names(axis))}; "
                f"the cards there: {', '.join(self.names(axis))}"
            )
        return path

    def card(self, axis: str, name: str) -> Card:
        """Read and check a card. Raises UnrolledError naming the file, the key and the remedy."""
        path = self.path(axis, name)
        value = read_yaml(path)
        check_card(path, value)
        card: Card = self.check(value, axis, path)
        check_named(card.get("network"), f"{path}: network")
        for fault in untaken(card.get("network", {})):
            raise UnrolledError(f"{path}: network.{fault}")
        if axis == "data" and (places := _unlabelled(card)):
            raise UnrolledError(f"{path}: where are the labels? In {places}")
        return card

    def check(self, value: Any, schema: str, where: Path | str) -> Any:
        """Check `value` against `<schema>.schema.yaml` and return it; raise UnrolledError at the worst fault."""
        rules = read_yaml(self.schemas / f"{schema}.schema.yaml")
        fault = best_match(Validator(rules).iter_errors(value))
        if fault is not None:
            raise UnrolledError(f"{where}: {_explain(fault)}")
        return value

    def matrix(self, config: Mapping[str, Any], where: str) -> dict[str, dict[str, Card]]:
        """Check the experiment's config and every card its matrix names; return the cards by axis and name.

        Raises UnrolledError for whatever would fail later: missing cards, unknown keys, folds that a split does
        not have, columns that a table does not keep.
        """
        self.check(dict(config), "config", where)
        self.check(config.get("train", {}), "train", where)
        recipe = self.config / "train.yaml"
        self.check(read_yaml(recipe).get("train", {}), "train", recipe)
        cards = {axis: {n: self.card(axis, n) for n in config["matrix"][axis]} for axis in AXES}
        for fault in itertools.chain(_clashing(cards["data"]), impossible(config["matrix"], cards)):
            raise UnrolledError(f"{where}: matrix: {fault}")
        self._check_asked(config.get("resources", {}).get("models", {}), f"{where}: resources.models")
        for data, card in cards["data"].items():
            known = METRICS[card["task"]].split()
            if config["metric"] not in known:
                told = f"is not measured for data '{data}' (task {card['task']}); choose one of {', '.join(known)}"
                raise UnrolledError(f"{where}: metric '{config['metric']}' {told}")
        return cards

    def _check_asked(self, models: Mapping[str, Card], where: str) -> None:
        """What single models ask a cluster for: models there are, though they need not be in the matrix."""
        known = self.names("model")
        for name, asked in models.items():
            if name not in known:
                raise UnrolledError(f"{where}: there is no model card '{name}'{suggest(name, known)}")
            if asked.get("gres") and self.card("model", name)["kind"] == "baseline":
                raise UnrolledError(f"{where}.{name}: a baseline uses no GPU; remove gres")


def _unlabelled(card: Card) -> str:
    """Where a data card could say that its labels are, "" where it does or they are no question."""
    layout = card.get("format")
    if card["task"] == "generation" or layout not in ("fasta", "wide", "long"):
        return ""
    if layout == "fasta":
        return "" if "labels" in card or "target" in card.get("header", {}) else "`labels` or `header.target`"
    told = "target" in card.get("columns", {}) or isinstance(card.get("labels"), dict)
    return "" if told else "`columns.target`, or in a table of `labels`"


def _clashing(data: Mapping[str, Card]) -> Iterator[str]:
    """Cards that want different things under one name: the second would read what the first asked for."""
    first: dict[str, tuple[str, Card]] = {}
    for name, card in data.items():
        for file in card.get("files", []):
            place = f"{card.get('dataset', name)}/{file.get('name')}"
            wanted = {key: file[key] for key in ("url", "query", "fields", "service") if key in file}
            other, known = first.setdefault(place, (name, wanted))
            if wanted and known != wanted:
                yield f"data '{name}' and '{other}' want different files under one name, {place}: rename one"


def read_yaml(path: Path) -> Any:
    """Read one YAML file; UnrolledError names file, line and column of a syntax error, or of a key said twice."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader) or {}
    except FileNotFoundError as error:
        raise UnrolledError(f"{path}: there is no such file") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise UnrolledError(f"{path}{line}: not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UnrolledError(f"{path}: not text in UTF-8: {error}") from error


class _Loader(yaml.SafeLoader):
    """One that takes no key twice: YAML's own keeps the last, Hydra refuses."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set[str]()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"'{key.value}' is said twice", key.start_mark)
            seen |= {key.value} if isinstance(key.value, str) else set()
        return super().construct_mapping(node, deep)


def cells(matrix: Mapping[str, Sequence[Any]], models: Mapping[str, Card]) -> list[Cell]:
    """All runs of a matrix, in the order in which its axes are written.

    A baseline has no random part, so it runs with the first seed only.
    """

    def seeds(model: str) -> Sequence[int]:
        return matrix["seed"] if models[model]["kind"] == "neural" else matrix["seed"][:1]

    return [
        Cell(data, split, model, fold, seed)
        for data, split, model, fold in itertools.product(*(matrix[a] for a in (*AXES, "fold")))
        for seed in seeds(model)
    ]


def folders(results: Path, matrix: Mapping[str, Sequence[Any]], config: Path) -> list[Path]:
    """Folders of all runs of a matrix in `results/<experiment>`; cards below `config` tell which are baselines."""
    models = {name: read_yaml(config / "model" / f"{name}.yaml") for name in matrix["model"]}
    return [results / "runs" / cell.folder for cell in cells(matrix, models)]


def asked(resources: Mapping[str, Any], models: Mapping[str, Card]) -> dict[str, Card]:
    """What a run of each model asks a cluster for, with the keys of `ASKED`; baselines use no GPU.

    What the experiment's `resources` say of the model goes before what its card says, and that before what they say
    of all.
    """
    of_all = ASKED | {key: value for key, value in resources.items() if key != "models"}
    own = resources.get("models", {})
    return {
        name: of_all
        | card.get("resources", {})
        | own.get(name, {})
        | ({"gres": ""} if card["kind"] == "baseline" else {})
        for name, card in models.items()
    }


def own_gpus(gres: str) -> int:
    """How many GPUs of its own a run asks for, as Slurm writes it (gpu, gpu:2, gpu:a100:2); a share is none."""
    name, *more = gres.split(":")
    return (int(more[-1]) if more and more[-1].isdigit() else 1) if name == "gpu" else 0


def _explain(fault: ValidationError) -> str:
    key = ".".join(str(part) for part in fault.absolute_path) or "the file"
    schema, instance, required = cast(tuple[Any, Any, Any], (fault.schema, fault.instance, fault.validator_value))
    if fault.validator == "additionalProperties":
        known = list(schema.get("properties", {}))
        unknown = sorted(set(instance) - set(known))
        inside = "" if key == "the file" else f" in {key}"
        return f"unknown key '{unknown[0]}'{inside}{suggest(unknown[0], known)}; known: {', '.join(known)}"
    if fault.validator == "required":
        missing = [name for name in required if name not in instance]
        return f"{key} lacks the key '{missing[0]}'"
    if fault.validator == "oneOf" and all("required" in choice for choice in required):
        choices = " | ".join(" and ".join(f"'{name}'" for name in choice["required"]) for choice in required)
        return f"{key} needs exactly one of {choices}"
    if fault.validator == "not" and "description" in schema:
        return f"{key}: {schema['description']}"
    if fault.validator == "not":
        return f"{key} has no meaning beside the other keys of this card; remove it"
    if fault.validator == "type" and isinstance(instance, str) and re.fullmatch(r"-?\d+(\.\d*)?(e-?\d+)?", instance):
        return f"{key}: {fault.message}; inside a mapping --config reads numbers as text: write an overlay instead"
    return f"{key}: {fault.message}"
