"""What this machine offers to a run, and which engine computes the recurrences on it."""

import os
import platform
from collections.abc import Iterator
from importlib.metadata import version

import torch

from unrolled import homology, kernel, recurrent

NETWORKS = {
    "RNN": recurrent.RNN(1, 1),
    "LSTM": recurrent.LSTM(1, 1),
    "GRU": recurrent.GRU(1, 1),
    "GRU, reset after": recurrent.GRU(1, 1, reset="after"),
    "minGRU, minLSTM": recurrent.MinGRU(1, 1),
}
ENGINES = {
    "kernel": "compiled kernel",
    "pytorch": "PyTorch, step by step",
    "torch.nn": "torch.nn",
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
        x = torch.zeros(1, 1, 1, device=device)
        for name, network in NETWORKS.items():
            yield f"{name} on {device}", ENGINES[network.engine(x, free=True)]
