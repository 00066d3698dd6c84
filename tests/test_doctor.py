"""`unrolled doctor --system`: what computes each recurrence here, and why."""

import pytest
import torch
from click.testing import CliRunner

from unrolled import kernel
from unrolled.cli import cli

NONE = "no kernel was compiled at installation (a C++ compiler makes training several times faster)"
DECAYS = "PyTorch; neither the kernel nor cuDNN has decays"
CELLS = ["RNN", "LSTM", "GRU, reset before", "GRU, reset after", "GRU-D", "minGRU, minLSTM"]


def told(device: str) -> tuple[dict[str, str], dict[str, str]]:
    """What is said of each cell on a device, and of all else."""
    done = CliRunner().invoke(cli, ["doctor", "--system"])
    assert done.exit_code == 0, done.output
    rows = dict(line.split("  ", 1) for line in done.output.splitlines())
    rows = {name: finding.strip() for name, finding in rows.items()}
    ending = f" on {device}"
    return {name.removesuffix(ending): rows.pop(name) for name in list(rows) if name.endswith(ending)}, rows


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.skipif(kernel.library() is None, reason="no compiler built the kernel")
@pytest.mark.usefixtures("no_gpu")
def test_with_the_kernel_it_computes_all_but_decays():
    cells, rest = told("cpu")
    compiled = f"compiled kernel ({kernel.library()[0]})"
    assert cells == dict.fromkeys(CELLS, compiled) | {"GRU-D": DECAYS}
    assert rest["recurrences"] == compiled
    assert rest["GPU"] == "none that PyTorch can use"
    assert rest["torch"] == torch.__version__
    assert not any(name.endswith(" on cuda") for name in rest)


@pytest.mark.usefixtures("no_gpu")
def test_without_the_kernel_every_cell_says_so(monkeypatch):
    monkeypatch.setattr(kernel, "library", lambda: None)
    cells, rest = told("cpu")
    assert cells == dict.fromkeys(CELLS, f"PyTorch; {NONE}") | {"LSTM": f"torch.nn; {NONE}", "GRU-D": DECAYS}
    assert rest["recurrences"] == f"PyTorch; {NONE}"


def test_on_a_gpu_each_cell_says_whether_cudnn_has_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    cells, rest = told("cuda")
    stock, other = "torch.nn (cuDNN)", "PyTorch; cuDNN has no counterpart"
    assert cells == dict(zip(CELLS, [stock, stock, other, stock, DECAYS, other], strict=True))
    assert rest["GPU"] == "a GPU"
    assert list(rest)[-len(CELLS) :] == [f"{name} on cpu" for name in CELLS]
