"""What is put off is missed by nobody: the first step needs none of it, and whoever asks gets the real thing."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from unrolled import deferred, split
from unrolled import table as tables
from unrolled.deferred import import_lean, put_off, uncompiled
from unrolled.simulate import simulate

ROOT = Path(__file__).parents[1]
# None of these may be imported before the first epoch has ended: together they cost more than all the rest.
BARRED = (
    "wandb",
    "torch._dynamo",
    "torch._inductor",
    "torch.distributed.fsdp",
    "sympy",
    "scipy",
    "sklearn",
    "matplotlib",
    "torchmetrics.functional",
    "torchmetrics.classification",
    "snakemake",
)


def in_a_process_of_its_own(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_first_epoch_waits_for_nothing_that_it_does_not_need(tmp_path):
    table = simulate(n=120, families=20, seed=0)
    tables.write(tmp_path / "table.parquet", table)
    folds = split.make_folds(table, {"group": "sequence", "folds": 5, "seed": 0}, "multiclass")
    folds.to_parquet(tmp_path / "folds.parquet", index=False)
    paths = [f"paths.table={tmp_path}/table.parquet", f"paths.folds={tmp_path}/folds.parquet"]
    changes = [f"paths.out={tmp_path}/run", "wandb.mode=offline", "train.max_epochs=1", f"--config-dir={ROOT}/config"]
    command = [sys.executable, "-v", "-m", "unrolled", "train", *paths, *changes]
    said = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path).stderr
    assert "epoch   1/1" in said, said[-2000:]
    before, after = (imported(part) for part in said.split("epoch   1/1"))
    assert {"torch", "lightning.pytorch.trainer.trainer", "torchmetrics.metric", "hydra.main"} <= before
    assert not before & set(BARRED)
    assert "wandb" in after
    assert "wandb.sdk.launch.agent" not in after


def imported(said: str) -> set[str]:
    """Names of modules in what `python -v` says."""
    return set(re.findall(r"^import '([\w.]+)' #", said, re.MULTILINE))


@pytest.mark.slow
def test_what_lightning_lacks_is_there_for_whoever_asks():
    in_a_process_of_its_own(
        "from unrolled.deferred import COMPILER, import_lean; import sys\n"
        "import_lean('unrolled.recipe')\n"
        "assert COMPILER not in sys.modules and 'torchmetrics.functional' not in sys.modules\n"
        "import lightning.fabric.wrappers as wrappers, lightning.pytorch.core.module as module, torch\n"
        "linear = torch.nn.Linear(1, 1)\n"
        "assert not isinstance(linear, wrappers.OptimizedModule)\n"
        "import torchmetrics\n"
        "assert torchmetrics.Metric is module.Metric and torchmetrics.MetricCollection is module.MetricCollection\n"
        "assert 'torchmetrics.functional' not in sys.modules\n"
        "accuracy = torchmetrics.Accuracy(task='binary')\n"
        "assert isinstance(accuracy, module.Metric)\n"
        "assert accuracy(torch.tensor([1, 0]), torch.tensor([1, 1])) == 0.5\n"
        "assert torchmetrics.utilities.check_forward_full_state_property\n"
        "compiled = torch.compile(linear)\n"
        "assert isinstance(compiled, wrappers.OptimizedModule) and not isinstance(linear, wrappers.OptimizedModule)\n"
        "assert isinstance(compiled, sys.modules[COMPILER].OptimizedModule)\n"
        "import gc; assert gc.isenabled()"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "otherwise",
    [
        "sys.modules['torchmetrics.utilities.prints'] = None",  # torchmetrics without a part we know of
        "sys.modules['torchmetrics.__about__'] = types.ModuleType('torchmetrics.__about__')",
    ],
)
def test_a_release_of_torchmetrics_put_together_differently_is_loaded_whole(otherwise):
    said = in_a_process_of_its_own(
        "import sys, types; from unrolled import deferred\n"
        f"{otherwise}\n"
        "deferred._bare_metrics()\n"
        "assert not [name for name in sys.modules if name.startswith('torchmetrics')]\n"
        "deferred.import_lean('lightning.pytorch')\n"
        "import torchmetrics; print(torchmetrics.Accuracy.__name__)"
    )
    assert said == "Accuracy\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "needs", ["import torch._dynamo.config", "from torch._dynamo import graph_break, is_compiling"]
)
def test_a_module_that_needs_the_compiler_gets_it(tmp_path, needs):
    (tmp_path / "needy.py").write_text(f"{needs}\nimport torch._dynamo\nreal = torch._dynamo.__file__\n")
    said = in_a_process_of_its_own(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from unrolled.deferred import import_lean; import torch\n"
        "assert import_lean('needy').real == torch._dynamo.__file__\n"
        "assert len([m for m in sys.modules if m == 'torch._dynamo.config']) == 1; print('done')"
    )
    assert said == "done\n"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package whose `__init__` says `whole`, with a submodule `part` and a subpackage `inner`."""
    (tmp_path / "putoff_example" / "inner").mkdir(parents=True)
    (tmp_path / "putoff_example" / "__init__.py").write_text("whole = True\nfrom putoff_example import part\n")
    (tmp_path / "putoff_example" / "part.py").write_text("x = 1\n")
    (tmp_path / "putoff_example" / "inner" / "__init__.py").write_text("deep = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "putoff_example"
    for name in [name for name in sys.modules if name.startswith("putoff_example")]:
        del sys.modules[name]


def test_a_package_put_off_runs_when_it_is_asked_for_more_than_it_has(package):
    put_off(package, given=3)
    import putoff_example.part

    assert (putoff_example.part.x, putoff_example.given) == (1, 3)
    assert "whole" not in vars(putoff_example)
    assert putoff_example.whole
    assert type(putoff_example) is type(sys)
    assert putoff_example.part is sys.modules["putoff_example.part"]
    with pytest.raises(AttributeError, match="nothing"):
        _ = putoff_example.nothing


def test_a_subpackage_put_off_is_an_attribute_of_its_parent(package):
    put_off(f"{package}.inner")
    import putoff_example

    assert "deep" not in vars(putoff_example.inner)
    assert putoff_example.inner.deep


def test_what_is_loaded_or_absent_cannot_be_put_off(package):
    import putoff_example

    put_off(package)
    assert sys.modules[package] is putoff_example
    put_off("no_such_package_anywhere")
    assert "no_such_package_anywhere" not in sys.modules


def test_importing_lean_what_does_not_exist_says_so():
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        import_lean("unrolled.no_such_module")
    assert deferred.COMPILER not in sys.modules or hasattr(sys.modules[deferred.COMPILER], "__file__")


@pytest.mark.parametrize("optimiser", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD])
def test_an_optimiser_without_the_compilers_wrappers_takes_the_same_steps(optimiser):
    def walk(kind):
        weights = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3))
        steps = kind([weights], lr=0.1, weight_decay=0.01)
        for _ in range(5):
            steps.zero_grad()
            (weights**3).sum().backward()
            steps.step()
        again = kind([weights], lr=0.1)
        again.load_state_dict(steps.state_dict())
        return weights.detach(), steps.state_dict(), again.state_dict()

    plain, wrapped = walk(uncompiled(optimiser)), walk(optimiser)
    assert torch.equal(plain[0], wrapped[0])
    torch.testing.assert_close(plain[1:], wrapped[1:], rtol=0, atol=0)
    assert uncompiled(optimiser).__name__ == optimiser.__name__
    assert issubclass(uncompiled(optimiser), optimiser)


def test_the_first_optimiser_loads_no_compiler():
    in_a_process_of_its_own(
        "import sys, torch; from unrolled.deferred import uncompiled\n"
        "w = torch.nn.Parameter(torch.ones(2)); adam = uncompiled(torch.optim.Adam)([w])\n"
        "plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(adam)\n"
        "w.sum().backward(); adam.step(); adam.zero_grad(); adam.load_state_dict(adam.state_dict())\n"
        "plateau.step(1.0)\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
