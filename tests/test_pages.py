"""Pages of docs/ that commands write: tables, figures beside them, and what other commands wrote left as it was."""

import sys
from pathlib import Path

import pytest


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
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
