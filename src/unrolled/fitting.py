"""What goes together: models and splits with the data and task of a card, settings with the class that takes them."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from unrolled.errors import suggest

Card = dict[str, Any]

CLASSES = "accuracy balanced_accuracy macro_f1 mcc auroc auprc log_loss ece"
METRICS = {  # of each task: those of scoring.py, which would cost every start the import of pandas
    "multiclass": CLASSES,
    "multilabel": f"{CLASSES} jaccard micro_f1".replace(" balanced_accuracy", ""),
    "regression": "spearman pearson r2 rmse mae",
    "generation": "bits_per_residue perplexity",
    "transduction": "token_accuracy exact_match edit_distance bits_per_token",
    "labelling": "accuracy chain_accuracy sov macro_f1 mcc log_loss ece",
}
UNFIT = {  # what a model is (`nature`), and the tasks that it has no answer to
    "boosting": ("labelling", "transduction"),
    "kmer": ("labelling", "transduction"),
    "besthit": ("labelling", "generation"),
    "length": ("labelling", "generation", "transduction"),
    "network": ("transduction",),
    "decoder": tuple(task for task in METRICS if task != "transduction"),
}
GIVES = {"decoder": "answers with a sequence", "network": "has no decoder"}
ASKS = {**dict.fromkeys(("labelling", "generation"), "at every position"), "transduction": "for a sequence"}

RECURRENT = "d_h layers bidirectional dropout init window"
TAKES = {  # what encoders and decoders can be told
    "unrolled.recurrent.RNN": f"{RECURRENT} phi",
    "unrolled.recurrent.LSTM": f"{RECURRENT} forget_bias",
    "unrolled.recurrent.GRU": f"{RECURRENT} reset",
    "unrolled.recurrent.GRUD": RECURRENT,
    "unrolled.recurrent.MinGRU": RECURRENT,
    "unrolled.recurrent.MinLSTM": f"{RECURRENT} forget_bias",
    "unrolled.feedforward.WindowMLP": "d_h k layers dropout",
    "unrolled.feedforward.FixedMLP": "d_h length layers dropout",
    "unrolled.feedforward.Transformer": "d_h layers heads dropout",
}

LETTERS = {  # what compares or embeds letters, by the key of the card that names it
    "group": ("cluster", "homology"),
    "estimator": ("kmer", "besthit"),
    "embedding": ("learned", "one_hot"),
    "network": ("unrolled.decoder.EncoderDecoder",),
    "task": ("generation", "transduction"),
}
NUMBERS = {  # what measures numbers
    "estimator": ("boosting",),
    "embedding": ("identity", "linear"),
    "_target_": ("unrolled.recurrent.GRUD",),
}


def untaken(network: Card) -> Iterator[str]:
    """What encoder and decoder are told that their classes do not take."""
    for part in ("encoder", "decoder"):
        told = network.get(part, {})
        takes = TAKES.get(told.get("_target_"), "").split()
        for key in told:
            if takes and key not in ("_target_", "_partial_", *takes):
                yield f"{part}: {told['_target_']} takes no '{key}'{suggest(key, takes)}; it takes {', '.join(takes)}"


def impossible(matrix: Mapping[str, Sequence[Any]], cards: Mapping[str, Mapping[str, Card]]) -> Iterator[str]:
    """What of a matrix, with its cards by axis and name, cannot be together."""
    for (split, card), fold in itertools.product(cards["split"].items(), matrix["fold"]):
        if fold >= card["folds"]:
            yield f"fold {fold} does not exist: split '{split}' has folds 0 to {card['folds'] - 1}"
    for axis, (data, source) in itertools.product(("split", "model"), cards["data"].items()):
        for name, card in cards[axis].items():
            if key := misfit(card, source):
                yield f"{axis} '{name}' ({key}) is not for {_made_of(source)}, which data '{data}' holds"
    for data, source in cards["data"].items():
        if source["alphabet"] == "numeric" and source["task"] in LETTERS["task"]:
            yield f"data '{data}' holds {_made_of(source)}, for which there is no task '{source['task']}'"
    for (split, card), (data, source) in itertools.product(cards["split"].items(), cards["data"].items()):
        columns = card.get("column", [])
        for column in [columns] if isinstance(columns, str) else columns:
            if column not in source.get("keep", []):
                yield f"split '{split}' reads column '{column}', but data '{data}' does not list it under `keep:`"
        nucleotide = str(card.get("definition", "")).endswith("-nt")
        if source["alphabet"] == "numeric":
            continue
        if "definition" in card and nucleotide != (source["alphabet"] != "protein"):
            named = f"'{card['definition']}', which is not for {source['alphabet']}"
            yield f"split '{split}' computes identity by {named}"

    for (model, card), (data, source) in itertools.product(cards["model"].items(), cards["data"].items()):
        kind, task = nature(card), source["task"]
        if task in UNFIT.get(kind, ()):
            gives, asks = GIVES.get(kind, "answers once a sequence"), ASKS.get(task, "for a label or number")
            yield f"model '{model}' {gives}, but data '{data}' ({task}) asks {asks}"


def nature(model: Card) -> str:
    """What decides on which tasks a model can have."""
    if "estimator" in model:
        return str(model["estimator"])
    network = model["network"]
    return "decoder" if "decoder" in network else "length" if "length" in network["encoder"] else "network"


def misfit(card: Card, data: Card) -> str:
    """What of a split or model card is not for the data of a data card, such as "estimator: kmer"; "" if all is."""
    network = card.get("network", {})
    said = {"embedding": network.get("embedding"), "_target_": network.get("encoder", {}).get("_target_")}
    said |= {"network": network.get("_target_")} | {key: card.get(key) for key in ("group", "estimator")}
    wrong = LETTERS if data["alphabet"] == "numeric" else NUMBERS
    found = [f"{key.strip('_')}: {value}" for key, value in said.items() if value in wrong.get(key, ())]
    numeric = data["alphabet"] == "numeric"
    found += [key for key in ("identity", "definition") if numeric and key in card]
    found += ["steps"] if not numeric and "steps" in network else []
    return ", ".join(found)


def _made_of(data: Card) -> str:
    return "numbers" if data["alphabet"] == "numeric" else "letters"
