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


PYTHON = """#!/bin/sh
echo "$2" >> "{folder}/asked"
case "$2" in
    "import "*|pip) exit {status} ;;
esac
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(("there", "asked"), [(True, ["import", "pytest"]), (False, ["import", "pip", "pytest"])])
def test_the_tests_of_slurm_need_no_network_and_say_what_they_lack(tmp_path, there, asked):
    """A stand-in for Python notes what it is asked for; without the executors it cannot install them either."""
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin/python"
    python.write_text(PYTHON.format(folder=tmp_path, status=0 if there else 1))
    python.chmod(0o755)
    (tmp_path / ".ready").touch()  # newer than all that `make setup` looks at
    command = ["make", "--no-print-directory", f"VENV={tmp_path}", "test-slurm"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in (tmp_path / "asked").read_text().splitlines()] == asked
    assert ("could not be installed" in done.stderr) != there


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
