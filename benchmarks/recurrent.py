"""How fast the recurrent core is, as ratios measured in one run: `make bench`.

Everything that is compared is timed in turns, several rounds, and the best round of each counts: what a busy machine
does to one round it does to its neighbours. Speeds are of training (forward and backward) on one thread unless said.
Goals are the project's own, set before anything was written; "no" is one that was missed. Shares of GEMM say how far
a goal can be reached at all: no factor takes a layer beyond 100 %.
"""

import functools
import gc
import itertools
import multiprocessing
import subprocess
import sys
import tempfile
import time
import unittest.mock
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba_walk
import pandas as pd
import sections
import torch
from threadpoolctl import threadpool_limits
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils.data import DataLoader

from unrolled import engines, kernel, runs, scan, stock, train
from unrolled.alphabet import PROTEIN
from unrolled.batching import Batch
from unrolled.heap import keep_memory
from unrolled.packing import Plan
from unrolled.recurrent import GRU, LSTM, RNN, MinGRU, Recurrent

B, D, T = 64, 32, 200
BLOCKS = {"RNN": 1, "LSTM": 4, "GRU": 3, "GRU, reset after": 3}
OURS: dict[str, Callable[..., Recurrent]] = {
    "RNN": functools.partial(RNN, D),
    "LSTM": functools.partial(LSTM, D),
    "GRU": functools.partial(GRU, D),
    "GRU, reset after": functools.partial(GRU, D, reset="after"),
}
STOCK = {"RNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU, "GRU, reset after": nn.GRU}
# The goals: share of GEMM at H = 64, 128, 256 and how many times the best stock set-up.
GEMM_SHARE = {"LSTM": (65, 70, 80), "GRU": (55, 65, 75), "GRU, reset after": (55, 65, 75), "RNN": (50, 70, 75)}
TIMES_STOCK = {"LSTM": 1.35, "GRU": 1.9, "GRU, reset after": 1.9, "RNN": 1.5}
PYTORCH_TIMES_STOCK = {"GRU": 1.3, "GRU, reset after": 1.3, "RNN": 1.15}


def best(tasks: dict[str, Callable[[], object]], rounds: int = 7, seconds: float = 0.25) -> dict[str, float]:
    """Seconds a call of each task takes, in the best of several rounds in turns."""
    for task in tasks.values():
        task()
    found = dict.fromkeys(tasks, float("inf"))
    for _ in range(rounds):
        for name, task in tasks.items():
            start, calls = time.perf_counter(), 0
            while calls == 0 or time.perf_counter() - start < seconds:
                task()
                calls += 1
            found[name] = min(found[name], (time.perf_counter() - start) / calls)
    return found


def lengths_of(longest: int, shortest: float = 0.75, n: int = B) -> torch.Tensor:
    """Lengths of a batch from a sorted epoch, or with `shortest` = 0.25 of one drawn at random."""
    drawn = torch.randint(int(longest * shortest), longest + 1, (n,), generator=torch.Generator().manual_seed(0))
    drawn[0] = longest
    return drawn


def ours(network: Recurrent, n: torch.Tensor, engine: str, symbols: int = 0) -> Callable[[], None]:
    """One training step of a layer on a packed batch, of vectors or of so many different symbols."""
    plan = Plan.of(n, int(n.max()))
    x = torch.randn(symbols or plan.N, network.d_in, requires_grad=True)
    read = {"symbols": torch.randint(symbols, (plan.N,))} if symbols else {}
    h0 = torch.zeros(network.directions, plan.B, network.d_h)
    weights = [network.arrange(direction) for direction in network.each()]
    above = torch.randn(plan.N, network.d_out)

    def step() -> None:
        run = stock.layer if engine == "torch.nn" else scan.layer
        with engines.force(engine):
            run(network.cell, plan, x, h0, h0 if network.cell.cell else None, weights, **read)[0].backward(above)

    return step


def padded(cls: type[nn.RNNBase], d_in: int, H: int, n: torch.Tensor) -> Callable[[], None]:
    """The best that torch.nn does: right-padded, batches of similar length."""
    network = cls(d_in, H, batch_first=False)  # time-major is its faster layout
    x = torch.randn(int(n.max()), len(n), d_in, requires_grad=True)
    above = torch.randn(int(n.max()), len(n), H)
    return lambda: network(x)[0].backward(above)


def packed(cls: type[nn.RNNBase], d_in: int, H: int, n: torch.Tensor) -> Callable[[], None]:
    """As the lecture's pseudo-code has it."""
    network = cls(d_in, H, batch_first=True)
    x = torch.randn(len(n), int(n.max()), d_in, requires_grad=True)
    above = torch.randn(len(n), int(n.max()), H)

    def step() -> None:
        out, _ = network(pack_padded_sequence(x, n, batch_first=True, enforce_sorted=False))
        pad_packed_sequence(out, batch_first=True)[0].backward(above)

    return step


def gemm() -> Callable[[], object]:
    a, b, c = (torch.randn(1024, 1024) for _ in range(3))
    return lambda: torch.mm(a, b, out=c)


def cells(engines: list[str]) -> list[dict]:
    """Every cell at every width: share of GEMM, and against the best stock set-up."""
    rows = []
    n = lengths_of(T)
    for name, make in OURS.items():
        for i, H in enumerate((64, 128, 256)):
            # What serves the LSTM where nothing was compiled is torch.nn, of both the better one.
            rivals = [*engines, *["torch.nn"] * (name == "LSTM")]
            tasks = {engine: ours(make(H), n, engine) for engine in rivals}
            tasks |= {"stock": padded(STOCK[name], D, H, n), "gemm": gemm()}
            took = best(tasks, rounds=15)
            work = 6 * int(n.sum()) * BLOCKS[name] * H * (H + D)  # useful operations, forward and backward
            rate = {task: work / seconds / 1e9 for task, seconds in took.items()}
            rate["gemm"] = 2 * 1024**3 / took["gemm"] / 1e9
            for engine in rivals:
                share, times = 100 * rate[engine] / rate["gemm"], took["stock"] / took[engine]
                goal_share = GEMM_SHARE[name][i] if engine == "kernel" else None
                goal_times = TIMES_STOCK[name] if engine == "kernel" else PYTORCH_TIMES_STOCK.get(name)
                goals = [(found, goal) for found, goal in ((share, goal_share), (times, goal_times)) if goal]
                rows.append(
                    {
                        "cell": name,
                        "H": H,
                        "engine": engine,
                        "k tokens/s": int(n.sum()) / took[engine] / 1e3,
                        "GF/s": rate[engine],
                        "% of GEMM": share,
                        "goal %": goal_share,
                        "x stock": times,
                        "goal x": goal_times,
                        "met": all(found >= goal for found, goal in goals) if goals else None,
                    }
                )
    return rows


def languages() -> list[dict]:
    """The LSTM's walks in C++ and in Numba, all else being the same."""
    rows, n = [], lengths_of(T)
    for H in (64, 128, 256):
        step = ours(LSTM(D, H), n, "kernel")

        def by_numba(step: Callable[[], None] = step) -> None:
            with unittest.mock.patch.object(kernel, "Walk", numba_walk.Walk):
                step()

        started = time.perf_counter()
        by_numba()
        compiling = time.perf_counter() - started
        with threadpool_limits(1):  # Numba's BLAS is not torch's
            took = best({"C++": step, "Numba": by_numba, "gemm": gemm()})
        work = 6 * int(n.sum()) * 4 * H * (H + D)
        shares = {
            f"{name}, % of GEMM": 100 * work / took[name] * took["gemm"] / 2 / 1024**3 for name in ("C++", "Numba")
        }
        rows.append({"H": H, **shares, "C++, x Numba": took["Numba"] / took["C++"]})
        rows[-1] |= {"Numba's first call, s": compiling if H == 64 else None}
    return rows


def growth(engine: str) -> list[dict]:
    """Tokens per second against T (LSTM, H = 128, lengths T/4 .. T), beside packed nn.LSTM, which reads B sequences.

    Of longer ones it reads fewer: a batch of 64 would take minutes.
    """
    rows = []
    for longest in (100, 200, 400, 800, 1600):
        n = lengths_of(longest, 0.25)
        few = n if longest <= 400 else n[:8]
        took = best({"ours": ours(LSTM(D, 128), n, engine), "packed": packed(nn.LSTM, D, 128, few)}, rounds=4)
        rate = {name: int(of.sum()) / took[name] / 1e3 for name, of in {"ours": n, "packed": few}.items()}
        rows.append({"T": longest, "k tokens/s": rate["ours"], "packed nn.LSTM": rate["packed"], "B": len(few)})
        rows[-1]["x packed"] = rate["ours"] / rate["packed"]
        rows[-1]["% of T = 100"] = 100 * rate["ours"] / rows[0]["k tokens/s"]
        rows[-1]["met"] = {400: rows[-1]["x packed"] >= 30, 1600: rows[-1]["% of T = 100"] >= 80}.get(longest)
    return rows


def threads(engine: str) -> list[dict]:
    """Two threads against one, and two jobs of one thread side by side; GEMM shows what the machine has to give.

    Two directions are two threads' work; one is cut into halves of the batch, which reuse W_h half as often.
    """
    rows = []
    for name, directions in [*itertools.product(OURS, (1, 2)), ("GEMM", None)]:
        step = _job(name, directions, engine)

        def on(count: int, step: Callable[[], object] = step) -> Callable[[], None]:
            def task() -> None:
                torch.set_num_threads(count)
                step()

            return task

        took = best({"one": on(1), "two": on(2)}, rounds=11)
        torch.set_num_threads(1)
        times, jobs = took["one"] / took["two"], _jobs((name, directions, engine), 2)
        rows.append({"cell": name, "directions": directions, "two threads, x one": times, "two jobs, x one": jobs})
        rows[-1] |= {"goal x": 1.6, "met": times >= 1.6} if directions else {}
    return rows


def _job(name: str, directions: int | None, engine: str) -> Callable[[], object]:
    return ours(OURS[name](128, bidirectional=directions == 2), lengths_of(T), engine) if directions else gemm()


def _jobs(job: tuple[str, int | None, str], count: int) -> float:
    """How many times as much so many processes do together as one alone."""
    context = multiprocessing.get_context("spawn")
    rates = {}
    for n in (1, count):
        start = context.Barrier(n)
        with context.Pool(n, _meet, (start,)) as pool:
            rates[n] = sum(pool.map(_rate, [job] * n, chunksize=1))
    return rates[count] / rates[1]


def _meet(start: Any) -> None:
    torch.set_num_threads(1)
    keep_memory()
    _rate.start = start  # type: ignore[attr-defined]


def _rate(job: tuple[str, int | None, str]) -> float:
    """Calls a second, while the other processes work too."""
    step = _job(*job)
    step()
    _rate.start.wait()  # type: ignore[attr-defined]
    return 1 / best({"step": step})["step"]


def instruments(engine: str) -> list[dict]:
    """What looking on costs: a batch that is looked at, W_h at an epoch's end, and their share of an epoch.

    The epoch is of 57 batches, as that of the DeepLoc 2.0 quick set, of which two are looked at by default.
    """
    from unrolled import diagnostics

    n, rows = lengths_of(400, n=32), []
    for name, cls in {"RNN": RNN, "LSTM": LSTM, "GRU": GRU}.items():
        for H in (64, 256):
            network, x = cls(16, H, bidirectional=True), torch.randn(len(n), 400, 16)

            def step(watched: bool, network: Recurrent = network, x: torch.Tensor = x) -> None:
                network.probes = [] if watched else None
                with engines.force(engine):
                    network(x, n, need_state=False)[0].sum().backward()
                if watched:
                    diagnostics.look(network, diagnostics.Tally())

            tasks = {"plain": lambda step=step: step(False), "watched": lambda step=step: step(True)}
            took = best(tasks | {"weights": lambda network=network: list(diagnostics.weights(network))}, rounds=15)
            more = took["watched"] / took["plain"] - 1
            share = 100 * (2 * more + took["weights"] / took["plain"]) / 57
            rows.append({"cell": name, "H": H, "a batch that is looked at, +%": 100 * more})
            rows[-1] |= {"W_h, ms": 1e3 * took["weights"], "% of an epoch": share, "goal %": 3, "met": share < 3}
    return rows


def memory() -> list[dict]:
    """Peak memory of a training step beside torch.nn's, each in a process of its own."""
    rows = []
    for name in ("RNN", "LSTM", "GRU, reset after", "GRU"):
        for n, longest in ((32, 400), (32, 800), (32, 1600), (64, 400), (128, 400)):
            found = {kind: _peak(kind, name, n, longest) for kind in ("ours", "stock")}
            ratio = found["ours"] / found["stock"]
            rows.append({"cell": name, "B": n, "T": longest, "MiB": found["ours"], "torch.nn": found["stock"]})
            first = next(row for row in reversed(rows) if row["T"] == 400)
            times = found["ours"] / first["MiB"] if longest > 400 else None
            most = 1.05 * longest / 400 if times else None  # linear in T
            rows[-1] |= {"ratio": ratio, "goal": 1.25, "x the MiB of T = 400": times, "its goal": most}
            rows[-1] |= {"met": ratio <= 1.25 and (most is None or times <= most)}
    return rows


def _peak(kind: str, name: str, n: int, longest: int) -> float:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_here, (kind, name, n, longest))


def _peak_here(kind: str, name: str, n: int, longest: int) -> float:
    """MiB that a training step adds to the peak of the process; all sequences of one length, so no padding."""
    torch.set_num_threads(1)
    keep_memory()
    small, large = (torch.full((n,), length) for length in (2, longest))
    make = (lambda k: ours(OURS[name](128), k, _engine())) if kind == "ours" else None
    for_lengths = make or (lambda k: padded(STOCK[name], D, 128, k))
    for_lengths(small)()
    step = for_lengths(large)
    gc.collect()
    before = runs.peak_memory()
    step()
    step()
    return runs.peak_memory() - before


def minimal(engine: str) -> list[dict]:
    """minGRU beside the GRU: what gates that do not see h_{t-1} save."""
    n = lengths_of(T)
    x = torch.randn(B, T, D)

    def step(network: Recurrent) -> Callable[[], None]:
        def task() -> None:
            with engines.force(engine):
                network(x, n, need_state=False)[0].sum().backward()

        return task

    took = best({"minGRU": step(MinGRU(D, 128)), "GRU": step(GRU(D, 128))})
    return [{"cell": "minGRU", "H": 128, "x GRU": took["GRU"] / took["minGRU"]}]


def training() -> list[dict]:
    """An epoch of training end to end: share of the bare core's speed, beside a plain Lightning script."""
    found, rows = _material("deeploc2_quick"), list[dict]()
    if found is None:
        return []
    table, folds = found
    for model, cls in {"lstm": LSTM, "gru": GRU, "rnn": RNN}.items():
        batches = list(_batches(table, folds))
        bare = _bare(cls(16, 64, bidirectional=True), batches)
        rate = max(_whole(model, table, folds) for _ in range(2))
        bare = max(bare, _bare(cls(16, 64, bidirectional=True), batches))
        rows.append({"model": model, "bare core, k/s": bare / 1e3, "unrolled train, k/s": rate / 1e3})
        rows[-1] |= {"% of the core": 100 * rate / bare, "goal %": 85, "met": rate >= 0.85 * bare}
        if model == "lstm":
            plain = _plain(batches[:: len(batches) // 4])
            rows[-1] |= {"plain Lightning, packed nn.LSTM, k/s": plain / 1e3, "x plain": rate / plain}
    return rows


def _material(data: str) -> tuple[Path, Path] | None:
    """Table and folds of a data set, which the workflow has made, or None."""
    table, folds = (Path("results/data") / data / name for name in ("table.parquet", "random/folds.parquet"))
    if table.exists() and folds.exists():
        return table, folds
    overlay = Path("config/experiments") / f"{data}.yaml"
    more = f" --configfile {overlay}" if overlay.exists() else ""
    print(f"skipped: make it first, `snakemake --cores all {folds}{more}`", file=sys.stderr)
    return None


FIRST_STEP = """
import os, sys, time
from torch.optim.optimizer import register_optimizer_step_post_hook
def told(*_):
    print(time.time(), flush=True)
    os._exit(0)
register_optimizer_step_post_hook(told)
from unrolled.cli import main
main()
"""
IMPORTS = "import lightning, torch, time; print(time.time())"


def start() -> list[dict]:
    """From the start of a process to the first step of a training on the demo's data, in the best of three rounds."""
    found = _material("demo")
    if found is None:
        return []
    least = {"first step of unrolled train": float("inf"), "lightning and torch imported": float("inf")}
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            places = dict(zip(("table", "folds", "out"), (*found, folder), strict=True))
            train_it = ["train", "data=demo", "model=lstm", *(f"paths.{name}={at}" for name, at in places.items())]
            for name, command in zip(least, ([FIRST_STEP, *train_it], [IMPORTS]), strict=True):
                began = time.time()
                done = subprocess.run([sys.executable, "-c", *command], check=True, stdout=subprocess.PIPE, text=True)
                least[name] = min(least[name], float(done.stdout.split()[-1]) - began)
    rows = [{"from the start of a process to": name, "s": seconds} for name, seconds in least.items()]
    rows[0] |= {"goal, s": 5, "met": rows[0]["s"] <= 5}
    return rows


def _batches(table: Path, folds: Path) -> Iterator[Batch]:
    config = _config("lstm", table, folds, Path("unused"))
    material = runs.load(table, folds, 0, config["data"])
    return iter(train.loaders(config, material)["train"])


def _config(model: str, table: Path, folds: Path, out: Path) -> dict:
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    changes = [f"model={model}", "data=deeploc2_quick", "train.max_epochs=3", "wandb.mode=disabled"]
    changes += [f"paths.table={table}", f"paths.folds={folds}", f"paths.out={out}"]
    with initialize_config_dir(str(Path("config").resolve()), version_base="1.3"):
        config = OmegaConf.to_container(compose("train", changes), resolve=True)
    cell = {"data": "deeploc2_quick", "split": "random", "model": model, "fold": 0, "seed": config.pop("seed")}
    return config | {"cell": cell}


def _whole(model: str, table: Path, folds: Path) -> float:
    """Tokens per second of `unrolled train`, validation aside: loader, loss, clipping, optimiser, instruments, logs.

    An epoch's time holds what the one before left to do, the checkpoint too, so the first does not count.
    """
    with tempfile.TemporaryDirectory() as folder:
        train.train(_config(model, table, folds, Path(folder)))
        return float(pd.read_csv(Path(folder) / "history.csv")["tokens_per_second"][1:].max())


def _bare(network: Recurrent, batches: list[Batch]) -> float:
    """Tokens per second of the recurrent layer alone, on letters: the best of three passes over an epoch."""
    tokens = sum(int(batch.lengths.sum()) for batch in batches)
    symbols = PROTEIN.size if _engine() == "kernel" else 0  # PyTorch reads vectors
    steps = [ours(network, batch.lengths, _engine(), symbols) for batch in batches]
    return tokens / best({"bare": lambda: [step() for step in steps]}, rounds=3)["bare"]


def _plain(batches: list[Batch]) -> float:
    """Tokens per second of a script as the lecture's pseudo-code has it."""
    import lightning as L

    class Plain(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(32, 16, padding_idx=0)
            self.lstm = nn.LSTM(16, 64, batch_first=True, bidirectional=True)
            self.linear = nn.Linear(128, 10)

        def training_step(self, batch: Batch) -> torch.Tensor:
            packed = pack_padded_sequence(
                self.embedding(batch.tokens), batch.lengths, batch_first=True, enforce_sorted=False
            )
            h, lengths = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
            pooled = h.sum(1) / lengths[:, None]
            return nn.functional.binary_cross_entropy_with_logits(self.linear(pooled), batch.targets)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters())

    trainer = L.Trainer(
        max_epochs=1, gradient_clip_val=1.0, logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    data = DataLoader(batches, batch_size=None)
    start = time.perf_counter()
    trainer.fit(Plain(), data)
    return sum(int(batch.lengths.sum()) for batch in batches) / (time.perf_counter() - start)


def _engine() -> str:
    return "kernel" if kernel.library() is not None else "pytorch"


SECTIONS = {
    "cells": ("Training speed of one layer, one thread, B = 64, d_in = 32", lambda: cells(_engines())),
    "languages": ("C++ or Numba: the LSTM's walks", lambda: languages() if kernel.library() else []),
    "growth": ("Against T: LSTM, d_h = 128, lengths T/4 .. T", lambda: growth(_engine())),
    "threads": ("Two threads", lambda: threads(_engine())),
    "instruments": ("The instruments", lambda: instruments(_engine())),
    "training": ("An epoch of the DeepLoc 2.0 quick set, end to end", training),
    "start": ("The start of a training", start),
    "memory": ("Peak memory of a training step, d_h = 128", memory),
    "minimal": ("minGRU", lambda: minimal(_engine())),
}


def _engines() -> list[str]:
    return ["kernel", "pytorch"] if kernel.library() is not None else ["pytorch"]


def _about(section: str) -> str:
    return (
        f"torch {torch.__version__}, {kernel.status()}. GEMM is torch.mm of 1024 x 1024 float32 matrices in the same "
        "run; stock is torch.nn, right-padded, batches of similar length (3/4 T to T), malloc tuned. Shares and "
        "factors count useful work only."
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    keep_memory()
    sections.main(__doc__, SECTIONS, "recurrent", "How fast the recurrent core is", _about)
