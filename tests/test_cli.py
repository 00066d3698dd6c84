"""Exit statuses: 1 means leaks alone; stops, readers that go and faults of the program have others."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from test_audit import unrelated
from test_leakage import with_mmseqs


@pytest.fixture
def commands(tmp_path) -> dict[str, list[str]]:
    """Arguments of an audit and of a split."""
    path = tmp_path / "a.fasta"
    path.write_text("".join(f">s{n}\n{sequence}\n" for n, sequence in enumerate(unrelated(40))))
    return {
        "audit": ["audit", "--train", str(path), "--test", str(path)],
        "split": ["split", str(path), "--folds", "2", "--out", str(tmp_path / "out")],
    }


def unrolled(arguments: list[str], before: str = "", **options) -> subprocess.Popen:
    """The command, started; `before` is done in its process first."""
    code = f"import signal\nfrom unrolled import cli, nearest, neighbours\n{before}\ncli.main()"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen([sys.executable, "-c", code, *arguments], **pipes)


def await_file(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("name", ["audit", "split"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_gives_its_own_status(tmp_path, commands, name, number):
    script = f'[ "$1" = version ] || {{ touch {tmp_path}/started; exec sleep 60; }}'
    env = os.environ | with_mmseqs(tmp_path, script)
    heard = "signal.signal(signal.SIGINT, signal.default_int_handler)"  # also where these tests run in the background
    with unrolled([*commands[name], "--minutes", "0.0002"], heard, env=env) as running:
        await_file(tmp_path / "started")
        running.send_signal(number)
        _, said = running.communicate(timeout=30)
    assert running.returncode == 128 + number, said
    assert "Traceback" not in said
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("name", ["audit", "split"])
@pytest.mark.parametrize("error", ["ZeroDivisionError", "EOFError", "ConnectionError"])
def test_what_nobody_expected_is_a_traceback_and_status_2(commands, name, error):
    break_it = f"def broken(*_, **__): raise {error}('odd')\nnearest._Job.align = neighbours.identities = broken"
    with unrolled(commands[name], break_it) as running:
        _, said = running.communicate(timeout=120)
    assert running.returncode == 2
    assert "in broken" in said
    assert "please report it" in said.splitlines()[-1]


SHORTAGES = {
    "Python's": ("bytearray(1 << 62)", "MemoryError"),
    "NumPy's": ("__import__('numpy').empty(1 << 50)", "Unable to allocate"),
    "PyTorch's": ("__import__('torch').empty(1 << 50)", "can't allocate memory"),
    "a GPU's": ("raise_(RuntimeError('CUDA out of memory. Tried to allocate 2 GiB\\nmore'))", "CUDA out of memory"),
    "the system's": ("raise_(OSError(12, 'Cannot allocate memory'))", "Cannot allocate memory"),
}


@pytest.mark.parametrize("whose", SHORTAGES)
def test_where_memory_runs_out_one_line_says_what_to_change(commands, whose):
    does, said_so = SHORTAGES[whose]
    break_it = f"def raise_(error): raise error\nnearest._Job.align = lambda *_, **__: {does}"
    with unrolled(commands["audit"], break_it) as running:
        _, said = running.communicate(timeout=120)
    assert running.returncode == 2
    assert "Traceback" not in said
    told = r"memory ran out \(.*%s.*\): raise `resources\.mem_mb` .* lower `train\.batch_tokens`"
    assert re.search(told % re.escape(said_so), said.splitlines()[-1]), said


@pytest.mark.parametrize("name", ["audit", "split"])
def test_a_reader_that_goes_is_no_leak(commands, name):
    reader, writer = os.pipe()
    os.close(reader)
    with unrolled(commands[name], stdout=writer) as running:
        os.close(writer)
        _, said = running.communicate(timeout=120)
    assert running.returncode == 128 + signal.SIGPIPE
    assert "Traceback" not in said
    assert "Exception ignored" not in said


@pytest.mark.parametrize("arguments", [["audit"], ["split", "--folds", "1"], ["nothing"], ["--odd"]])
def test_arguments_that_mean_nothing_are_status_2(arguments):
    with unrolled(arguments) as running:
        _, said = running.communicate(timeout=60)
    assert running.returncode == 2
    assert "Usage" in said


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["audit", "--help"]])
def test_answers_that_are_asked_for_are_status_0(arguments):
    with unrolled(arguments) as running:
        assert "unrolled" in running.communicate(timeout=60)[0]
    assert running.returncode == 0


@pytest.mark.parametrize(
    ("name", "option"), [("audit", "--json"), ("audit", "--html"), ("split", "--out")], ids=["json", "html", "folder"]
)
def test_what_cannot_be_written_is_learned_before_the_work(tmp_path, commands, name, option):
    never = "from unrolled import leakage, own\nleakage.read = own.read = lambda *_, **__: 1 / 0"
    with unrolled([*commands[name], option, str(tmp_path / "a.fasta" / "out.x")], never) as running:
        _, said = running.communicate(timeout=60)
    assert running.returncode == 2
    [line] = said.splitlines()
    assert f"{tmp_path}/a.fasta/out.x" in line
    assert "a part of this path is a file" in line


@pytest.mark.parametrize("name", ["audit", "split"])
def test_the_verdict_is_told_even_where_files_fail(tmp_path, commands, name):
    full = "from unrolled import files\nfiles.write_json.__code__ = (lambda path, value: 1 / 0).__code__"
    arguments = [*commands[name], "--json", str(tmp_path / "x.json")] if name == "audit" else commands[name]
    with unrolled(arguments, full) as running:
        told, _ = running.communicate(timeout=120)
    assert running.returncode == 2
    assert told.startswith("Leaks: 40 of 40 test sequences" if name == "audit" else "Zero of 40 sequences")


def test_files_are_written_even_where_nobody_reads_the_verdict(tmp_path, commands):
    reader, writer = os.pipe()
    os.close(reader)
    with unrolled([*commands["audit"], "--json", str(tmp_path / "x.json")], stdout=writer) as running:
        os.close(writer)
        running.communicate(timeout=120)
    assert json.loads((tmp_path / "x.json").read_text())["verdict"] == "leaks"


@pytest.mark.parametrize("name", ["audit", "split"])
def test_what_is_too_long_to_be_aligned_is_refused_before_the_work(commands, name):
    small = "from unrolled import pairwise\npairwise.memory = lambda: 6000\n"
    small += "nearest._Job.align = neighbours.bounds.doubts = lambda *_: 1 / 0"
    with unrolled(commands[name], small) as running:
        _, said = running.communicate(timeout=60)
    assert running.returncode == 2
    [line] = [line for line in said.splitlines() if "error" in line]
    assert "s0 (80 letters) and s" in line
    assert "Leave out or cut the longest sequences" in line
