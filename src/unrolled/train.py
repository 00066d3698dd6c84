"""Training one run: composed by Hydra, resumable, deterministic; the best checkpoint kept, early stopping.

All that a run hands over are files: predictions, history, record. Metrics are computed from those.
"""

import hashlib
import json
import logging
import os
import re
import sys
import time
import warnings
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import hydra
import lightning as L
import numpy as np
import pandas as pd
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from torch import nn

from unrolled import doctor, gate, handover, provenance, runs, targets
from unrolled.batching import Encoded, following, loader
from unrolled.cards import AXES, read_yaml
from unrolled.checkpoints import Checkpoints, Files, tidy
from unrolled.errors import UnrolledError
from unrolled.evaluate import evaluate
from unrolled.files import atomic, sha256
from unrolled.heap import keep_memory
from unrolled.instruments import COLUMNS, Instruments
from unrolled.layers import Recurrent
from unrolled.recipe import History, Stopping, Training
from unrolled.tasks import named
from unrolled.tracking import Tracker, asked

DIVERGED = (
    "the gradient or the validation loss is not finite within the first epoch. Remedies, in the lecture's order: "
    "lower train.clip_norm (tau), lower train.learning_rate, use a gated cell (LSTM, GRU)"
)
GPULESS = (
    "sets a GPU aside for this run, but PyTorch sees none, and trains on the CPU: is it a build with CUDA, and is "
    "there a driver? `unrolled doctor --system` tells"
)
HANDED_OVER = ("predictions.parquet", "history.csv", "steps.csv", "instruments.csv", "run.json")


def fingerprint(config: dict[str, Any]) -> str:
    """What decides the numbers of a run: settings, its inputs and the project's sources by content, not by place."""
    settings = {key: config[key] for key in ("cell", "data", "model", "train")}
    inputs = [config["paths"][name] for name in ("table", "folds")]
    content = [sha256(path) for path in (*inputs, *provenance.files(provenance.NETWORK))]
    text = json.dumps([settings, content, runs.versions()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def train(config: dict[str, Any]) -> None:
    """Train one cell as `fit` says, alone at its folder; the files of a run that was finished are put back instead.

    Raises UnrolledError if the certificate, where there is one, does not let these folds be trained on.
    """
    gate.admit(config["paths"].get("certificate"), Path(config["paths"]["folds"]))
    out, identity = Path(config["paths"]["out"]), fingerprint(config)
    with handover.alone(out):
        if not handover.restored(out, identity):
            fit(config, identity)
            handover.keep(out, identity, HANDED_OVER)
        tidy(out / "checkpoints")  # not before the results are kept: until then the run can go on from there


def fit(config: dict[str, Any], identity: str) -> None:
    """Train one cell of the matrix and write predictions.parquet, run.json and checkpoints/.

    What was seen on the way is in history.csv (epochs), steps.csv (gradient norms) and instruments.csv.

    A run that was interrupted goes on from its last checkpoint and ends with the numbers it would have had.

    Args:
        config: the composed Hydra config (config/train.yaml), resolved, with `cell` added.
        identity: its fingerprint.

    Raises:
        UnrolledError: bad paths or folds, or a gradient or loss that is not finite before the first epoch ends.
    """
    started = time.perf_counter()
    torch.set_num_threads(config["threads"])
    keep_memory()
    repeatable()
    L.seed_everything(config["cell"]["seed"], verbose=False)
    out, recipe = Path(config["paths"]["out"]), config["train"]
    paths = config["paths"]
    table, folds, certificate = Path(paths["table"]), Path(paths["folds"]), paths.get("certificate")
    material = runs.load(table, folds, config["cell"]["fold"], config["data"], certificate)
    batches = loaders(config, material)
    training = Training(build(config, material), material.task, recipe, config["cell"]["seed"])
    checkpoints = Checkpoints(out / "checkpoints", identity)
    _say_start(config, material, training.network, checkpoints.last)
    with Tracker(config["wandb"], Path(config["paths"]["wandb"]), config) as tracker:
        history = History(int(batches["train"].dataset.lengths.sum()), tracker)
        instruments = Instruments(recipe["instruments"], tracker)
        trainer = _trainer(recipe, [history, instruments, checkpoints])
        trainer.fit(training, batches["train"], batches["validation"], ckpt_path=checkpoints.last, weights_only=True)
        if training.diverged and len(history.rows) < 2:
            checkpoints.clear()  # another attempt is not to go on behind it
            raise UnrolledError(f"{out}: {DIVERGED}")
        state = checkpoints.keep_best()
        training.load_state_dict(state["state_dict"])
        answers = {name: predict(training, batches[name], material.scale) for name in runs.PARTS[1:]}
        runs.write_predictions(out / "predictions.parquet", material, answers)
        norms = [{"epoch": i, "grad_norm": norm} for i, epoch in enumerate(history.norms) for norm in epoch]
        _write_csv(out / "history.csv", history.rows)
        _write_csv(out / "steps.csv", norms)
        _write_csv(out / "instruments.csv", instruments.rows, COLUMNS)
        runs.write_record(
            out / "run.json",
            material=material,
            config=config,
            kind="neural",
            params=trained_parameters(training.network),
            seconds=round(time.perf_counter() - started + history.before, 3),
            epochs=len(history.rows),
            best_epoch=int(state["epoch"]),
            tokens_per_second=float(np.median([row["tokens_per_second"] for row in history.rows])),
            resumed=checkpoints.last is not None,
            damaged=checkpoints.damaged,
            stopped=_why_stopped(training, history),
            device=str(trainer.strategy.root_device),
        )
        report = partial(evaluate, out / "predictions.parquet", out / "run.json")
        tracker.finish(out, report, Path(certificate) if certificate else None)


def loaders(config: dict[str, Any], material: runs.Material) -> dict[str, Any]:
    """A loader of whole batches for each part."""
    assert material.reading is not None
    encode, recipe = material.reading.encode, config["train"]
    found = {}
    for name, part in material.parts.items():
        y = part.y if material.scale is None else material.scale.to_standard(part.y)
        sequences = [encode(s) for s in part.sequences]
        data = Encoded(*following(sequences)) if named(material.task).causal else Encoded(sequences, y)
        shuffle, seed = name == "train", config["cell"]["seed"]
        found[name] = loader(data, recipe["batch_size"], recipe["batch_tokens"], shuffle=shuffle, seed=seed)
    return found


def device() -> str:
    """Where networks are trained: on CUDA or the CPU; not on MPS, which has no double precision."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _trainer(recipe: dict[str, Any], callbacks: list[Callback]) -> L.Trainer:
    return L.Trainer(
        max_epochs=recipe["max_epochs"],
        accelerator=device(),
        devices=1,
        precision=recipe["precision"],
        benchmark=False,  # deterministic, with `repeatable`
        logger=False,
        callbacks=[*callbacks, Stopping("val_loss", patience=recipe["patience"])],
        # One process, whatever it is in: under Slurm, Lightning would look for others and requeue the job itself.
        plugins=[Files(), LightningEnvironment()],
        enable_checkpointing=True,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )


def _write_csv(path: Path, rows: list[dict[str, Any]], columns: list[str] | None = None) -> None:
    with atomic(path) as tmp:
        pd.DataFrame(rows, columns=columns).to_csv(tmp, index=False, lineterminator="\n")


def build(config: dict[str, Any], material: runs.Material) -> nn.Module:
    """The network of a model card; what it reads, its outputs and where they stand come from the data.

    Raises UnrolledError for a card, or a run's record, that names anything but a network of this project, or asks one
    for what it does not have.
    """
    assert material.reading is not None
    sizes = material.reading.sizes
    targets.check(config["model"]["network"], f"model '{config['cell']['model']}': network")
    told = (
        sizes | {"outputs": material.outputs or sizes["vocabulary"]} | named(material.task).setting(material.longest)
    )
    try:
        network: nn.Module = hydra.utils.instantiate(config["model"]["network"], **told)
    except InstantiationException as error:
        cause = error.__cause__ or error
        if not isinstance(cause, (UnrolledError, TypeError)):
            raise cause from None
        raise UnrolledError(f"model '{config['cell']['model']}': {cause}") from error
    return network


def trained_parameters(network: nn.Module) -> int:
    """Number of weights that training changes."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def repeatable() -> None:
    """Deterministic algorithms only: Lightning's `deterministic=True`, which would load torch's compiler for it."""
    torch.set_deterministic_debug_mode("error")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # else written twice
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # what cuBLAS needs to be so
    torch.backends.cudnn.allow_tf32 = False  # cuDNN's recurrences round what they multiply to 10 bits otherwise


def predict(training: Training, batches: Any, scale: runs.Scale | None = None) -> Any:
    """Answers to every sequence of a loader's data set, in its order: (N, K), N arrays (T, K), or N `Decoded`.

    They are computed where networks are trained: Lightning leaves one that it has trained on the CPU.
    """
    there = device()
    training.to(there).eval()
    found: dict[int, Any] = {}
    with torch.inference_mode():
        for rows, batch in zip(batches.sampler, batches, strict=True):
            answers = training.objective.answers(training.network, batch._make(part.to(there) for part in batch))
            found |= dict(zip(rows, answers, strict=True))
    ordered = [found[row] for row in range(len(found))]
    if not isinstance(ordered[0], np.ndarray):
        return ordered
    if ordered[0].ndim == 2:  # (T, K), padded
        return [answer[:n].copy() for answer, n in zip(ordered, batches.dataset.lengths.tolist(), strict=True)]
    stacked = np.stack(ordered)
    return stacked if scale is None else scale.to_unit(stacked)


def _why_stopped(training: Training, history: History) -> str:
    if training.diverged:
        return "the gradient or the validation loss was not finite"
    done = len(history.rows) >= training.recipe["max_epochs"]
    return "max_epochs" if done else "no better validation loss"


def _say_start(config: dict[str, Any], material: runs.Material, network: nn.Module, last: Path | None) -> None:
    n, encoder = {name: len(part) for name, part in material.parts.items()}, getattr(network, "encoder", None)
    by = f"; recurrences by {doctor.computing(encoder, device())}" if isinstance(encoder, Recurrent) else ""
    print(
        f"{config['model']['title']}: {trained_parameters(network):,} parameters; {n['train']} sequences to train, "
        f"{n['validation']} to validate, {n['test']} to test; {material.n_shortened} shortened{by}"
        + (f"; resuming from {last}" if last else ""),
        file=sys.stderr,
    )
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if re.match(r"\d|GPU-|MIG-", given) and device() == "cpu":
        print(f"warning: CUDA_VISIBLE_DEVICES={given} {GPULESS}", file=sys.stderr)


@hydra.main(version_base="1.3", config_path=None, config_name="train")
def main(cfg: DictConfig) -> None:
    """Hydra's entry point: names the cell after the chosen cards, asks how wandb is told of it, and trains it."""
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    choices = HydraConfig.get().runtime.choices
    config["cell"] = {axis: choices[axis] for axis in ("data", "split", "model")}
    config["cell"] |= {"fold": config.pop("fold"), "seed": config.pop("seed")}
    config["model"].pop("resources", None)  # what it asks a cluster for decides no number
    if told := config["paths"].get("told"):
        config["wandb"] |= asked(Path(told))
    train(config)


def _check_cards(overrides: list[str]) -> None:
    """Before Hydra composes them: all cards of the folders it would look into."""
    after = [new for old, new in pairwise(overrides) if old in ("--config-dir", "-cd")]
    named = [o.partition("=")[2] for o in overrides if o.startswith(("--config-dir=", "-cd="))]
    folder = Path((after + named or ["config"])[-1])
    for card in (card for axis in AXES for card in (folder / axis).glob("*.yaml")):
        targets.check_card(card, read_yaml(card))


def run(overrides: list[str]) -> None:
    """Compose the config from Hydra overrides and train; what `unrolled train` calls."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # hardware it looked for, advertisements
    warnings.filterwarnings("ignore", ".*num_workers.*")  # the data lie in memory: workers would only copy them
    warnings.filterwarnings("ignore", ".*exists and is not empty.*")  # checkpoints to resume from
    warnings.filterwarnings("ignore", ".*`srun` command.*")  # one process is meant
    warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*")  # Lightning under a newer torch
    _check_cards(overrides)
    sys.argv = ["unrolled train", *overrides]
    if not any(o.startswith(("--config-dir", "-cd")) for o in overrides):
        sys.argv += ["--config-dir", str(Path("config").resolve())]
    try:
        main()
    except MissingMandatoryValue as error:
        raise UnrolledError(f"{error.full_key} has no value: say {error.full_key}=...") from error
    except (HydraException, OmegaConfBaseException) as error:
        raise UnrolledError(str(error)) from error
