"""The package is installed where no compiler is, and says what that means."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NEEDED = [name for name in ("pip", "setuptools") if importlib.util.find_spec(name) is None]


@pytest.mark.slow
@pytest.mark.skipif(bool(NEEDED), reason=f"not installed here: {NEEDED}")
def test_without_a_compiler_it_installs_and_says_so(tmp_path):
    sources, site, false = tmp_path / "sources", tmp_path / "site", shutil.which("false")
    ignored = shutil.ignore_patterns("*.so", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT / "src", sources / "src", ignore=ignored)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    alone = ["--no-deps", "--no-build-isolation", "--no-index", "--no-cache-dir", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *alone, "--target", str(site), str(sources)]
    done = subprocess.run(command, env=os.environ | {"CC": false, "CXX": false}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (site / "unrolled/kernel.py").is_file()
    assert not list(site.rglob("*.so"))
    asked = "from unrolled import kernel; print(kernel.__file__, kernel.library(), kernel.status(), sep='\\n')"
    environment = os.environ | {"PYTHONPATH": str(site)}
    said = subprocess.run([sys.executable, "-c", asked], env=environment, capture_output=True, text=True, check=True)
    where, library, status = said.stdout.splitlines()
    assert where == str(site / "unrolled/kernel.py")
    assert library == "None"
    assert status.startswith("PyTorch; no kernel was compiled at installation (a C++ compiler")
