"""Files are written whole or not at all; links stay links, and what is no file stays what it is."""

import os
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from unrolled.files import atomic, check_writable, write_json

WRITE = "import sys\nfrom unrolled.files import write_json\nprint('before', flush=True)\nwrite_json(sys.argv[1], [1])"
JSON = "[\n  1\n]\n"


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a" / "b.json"
    write_json(path, [1])
    with suppress(ZeroDivisionError), atomic(path) as tmp:
        tmp.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == JSON
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("there", [True, False], ids=["of a file", "of nothing yet"])
def test_a_symbolic_link_is_followed(tmp_path, there):
    target, link = tmp_path / "far" / "b.json", tmp_path / "near" / "a.json"
    for path in (target, link):
        path.parent.mkdir()
    if there:
        target.write_text("old")
    link.symlink_to("../far/b.json")
    write_json(link, [1])
    assert link.is_symlink()
    assert target.read_text() == JSON
    assert list(target.parent.iterdir()) == [target]


def test_a_named_pipe_stays_one(tmp_path):
    path, read = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: read.append(path.read_text()))
    reader.start()
    check_writable(path)
    write_json(path, [1])
    reader.join(10)
    assert read == [JSON]
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert list(tmp_path.iterdir()) == [path]


def test_a_device_stays_one():
    screen, terminal = os.openpty()
    write_json(os.ttyname(terminal), [1])
    assert os.read(screen, 100).decode().split() == JSON.split()
    assert stat.S_ISCHR(Path(os.ttyname(terminal)).stat().st_mode)
    os.close(screen)
    os.close(terminal)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1"])
def test_what_a_process_prints_may_be_a_pipe_or_a_file(tmp_path, name):
    command = [sys.executable, "-c", WRITE, name]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "before\n" + JSON
    with (tmp_path / "out").open("w") as out:
        subprocess.run(command, stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "before\n" + JSON


def test_whether_a_file_can_be_written_is_found_out_without_a_trace(tmp_path):
    check_writable(tmp_path / "new" / "deep" / "a.json")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"file/a\.json"):
        check_writable(tmp_path / "file" / "a.json")
