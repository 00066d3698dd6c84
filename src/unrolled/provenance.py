"""Which of the project's own sources decide what a run comes to: an edit of one makes the run stale.

Snakemake looks in no package, so the rules take them as inputs; the identity of a run holds their content.
"""

from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent
EITHER = (
    *("runs", "handover", "gate", "table", "shortening", "task", "tasks", "transduction"),
    *("inputs", "series", "answers", "alphabet"),
)
NETWORK = (  # modules, and other sources by file name
    *EITHER,
    *("train", "checkpoints", "targets", "recipe", "instruments", "diagnostics", "deferred"),
    *("models", "decoder", "decoding", "attention", "objectives", "feedforward", "recurrent", "layers"),
    *("recurrence", "engines", "scan", "shares", "products", "linear", "stepwise", "stock"),
    *("kernel", "kernel.cpp", "kernel_walk.h", "kernel_products.h", "packing", "pooling", "batching"),
)
BASELINE = (*EITHER, "baselines", "sequence_baselines", "boosting", "choosing", "homology", "definitions")


def files(names: Iterable[str]) -> list[Path]:
    """Where sources of these names lie."""
    return [FOLDER / (name if "." in name else f"{name}.py") for name in names]
