"""What this machine offers to a run, and which engine computes the recurrences on it."""

import os
import platform
from collections.abc import Callable, Iterator
from importlib.metadata import version

import torch

from unrolled import homology, kernel, recurrent
from unrolled.engines import Like
from unrolled.layers import Recurrent
from unrolled.recurrence import CUDNN

NETWORKS: dict[str, Callable[[], Recurrent]] = {
    "RNN": lambda: recurrent.RNN(1, 1),
    "LSTM": lambda: recurrent.LSTM(1, 1),
    "GRU, reset before": lambda: recurrent.GRU(1, 1),
    "GRU, reset after": lambda: recurrent.GRU(1, 1, reset="after"),
    "GRU-D": lambda: recurrent.GRUD(3, 1),
    "minGRU, minLSTM": lambda: recurrent.MinGRU(1, 1),
}


def system() -> Iterator[tuple[str, str]]:
    """What matters for speed and results, as (name, finding)."""
    yield "Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    for package in ("torch", "lightning", "snakemake", "wandb"):
        yield package, version(package)
    yield "MMseqs2", homology.version()
    yield "processor", f"{os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"
    yield "GPU", torch.cuda.get_device_name() if torch.cuda.is_available() else "none that PyTorch can use"
    yield "recurrences", kernel.status()
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        for name, make in NETWORKS.items():
            yield f"{name} on {device}", computing(make(), device)


def computing(network: Recurrent, device: str) -> str:
    """What computes a network's recurrences on `cpu` or `cuda` in training, and why nothing faster does."""
    engine = network.engine(Like(torch.device(device)), free=True)
    if engine == "kernel":
        return kernel.status()
    if engine == "torch.nn":
        return "torch.nn (cuDNN)" if device == "cuda" else f"torch.nn; {kernel.lacking()}"
    return f"PyTorch; {_why_not_compiled(network, device)}"


def _why_not_compiled(network: Recurrent, device: str) -> str:
    if network.cell.decay:
        return "neither the kernel nor cuDNN has decays"
    if device == "cpu":
        return kernel.lacking()
    return "cuDNN does not truncate BPTT" if network.cell in CUDNN else "cuDNN has no counterpart"
