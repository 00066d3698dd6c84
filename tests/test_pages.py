"""Pages of docs/ that commands write: tables, figures beside them, and what other commands wrote left as it was."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import sections

    (tmp_path / "docs").mkdir()
    (tmp_path / "drawn.svg").write_text("<svg/>")
    figure = sections.Figure("Bars are means.", tmp_path / "drawn.svg", "one-drawn.svg")
    made = {"one": ("The first", lambda: [{"n": 1, "share": 0.5}]), "two": ("The second", lambda: [{"met": True}])}

    def command(section: str, out: str = "kept.json") -> str:
        page = tmp_path / "docs" / "page.md"
        monkeypatch.setattr(sys, "argv", ["x", section, "--docs", str(page), "--out", str(tmp_path / out)])
        shown = {"one": [figure], "two": []}
        sections.main("What it is.", made, "page", "A page", lambda _: "How it was made.", shown.__getitem__)
        return page.read_text()

    return command


def test_a_page_shows_its_tables_and_copies_of_the_figures(write, tmp_path):
    page = write("one")
    assert page.startswith("# A page\n\nWhat it is.\n\n## The first\n\nCommit ")
    assert (
        "How it was made.\n\n| n | share |\n|---|---|\n| 1 | 0.5 |\n\n![Bars are means.](figures/one-drawn.svg)"
        in page
    )
    assert (tmp_path / "docs/figures/one-drawn.svg").read_text() == "<svg/>"


@pytest.mark.parametrize("out", ["kept.json", "another.json"])
def test_what_was_measured_before_or_elsewhere_stays(write, out):
    before = write("one")
    after = write("two", out)
    assert after.startswith(before.rstrip())
    assert "## The second\n\nCommit " in after
    assert "| met |\n|---|\n| yes |" in after


FAULTS = """
import pytest

@pytest.mark.faults("storage", "a full disk", "one line says so")
@pytest.mark.parametrize("case", [1, 2])
def test_full(case):
    assert case != {failing}

@pytest.mark.faults("storage", "a lost disk", "it is found")
def test_lost():
    if {failing}:
        pytest.skip("needs a disk")
"""


def test_a_fault_that_is_not_survived_keeps_no_row_and_fails_the_command(tmp_path):
    code = "import sys; from pathlib import Path; import reliability; reliability.TESTS = Path('tests'); "
    code += "sys.argv[1:] = ['storage', '--docs', 'page.md', '--out', 'kept.json']; reliability.command()"
    (tmp_path / "tests").mkdir()

    def command(failing: int) -> tuple[int, str]:
        (tmp_path / "tests/test_disks.py").write_text(FAULTS.format(failing=failing))
        known = {"PYTHONPATH": f"{BENCHMARKS}:{os.environ.get('PYTHONPATH', '')}", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=tmp_path, env=os.environ | known, capture_output=True, text=True)
        return done.returncode, (tmp_path / "page.md").read_text()

    status, page = command(failing=0)
    assert status == 0, page
    assert "| a full disk | one line says so | `tests/test_disks.py::test_full` | 2 |" in page
    assert "| a lost disk | it is found | `tests/test_disks.py::test_lost` | 1 |" in page
    status, page = command(failing=2)
    assert status == 1
    assert "| a full disk | **the test failed** | `tests/test_disks.py::test_full` | 1 |" in page
    assert "| a lost disk | not tried here: needs a disk | `tests/test_disks.py::test_lost` | 0 |" in page
    (tmp_path / "tests/test_more.py").write_text("import nothing_of_that_name")
    assert command(failing=0) == (1, page)  # not run to its end
