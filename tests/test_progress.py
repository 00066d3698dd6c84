"""Progress: seldom in a log, never without an end on a screen."""

import sys

import pytest

from unrolled import progress


def test_a_log_hears_of_each_tenth_once_work_is_long(monkeypatch, capsys):
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    tell = progress.meter("aligning: pairs")
    for done in range(1, 101):
        tell(10 * done, 1000)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[0] == "aligning: 10 % of 1,000 pairs, 3 min left"
    assert lines[-1] == "aligning: 100 % of 1,000 pairs, 0 s left"


def test_what_went_before_the_first_call_says_nothing_of_what_is_left(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    tell = progress.meter("aligning: pairs")
    for done in range(1, 21):
        now[0] = 10_000 + 10 * done
        tell(done, 20)
    assert capsys.readouterr().err.splitlines()[0] == "aligning: 10 % of 20 pairs, 3 min left"


def test_a_screen_sees_one_line_that_ends(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    tell = progress.meter("aligning: pairs")
    tell(1, 4)
    tell(4, 4)
    out = capsys.readouterr().err
    assert out.count("\n") == 1
    assert out.endswith("left\n")


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "2 h")]
)
def test_times_are_said_in_the_unit_that_fits(seconds, said):
    assert progress.spoken(seconds) == said


def test_a_log_hears_of_what_tells_nothing_ever_more_seldom(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.clock("mmseqs prefilter", 300) as tell:
        for now[0] in range(200):
            tell()
    assert capsys.readouterr().err.splitlines() == [
        f"mmseqs prefilter: {passed} of about 5 min" for passed in ("5 s", "10 s", "20 s", "40 s", "80 s", "3 min")
    ]


def test_a_screen_sees_work_that_tells_nothing_on_one_line_that_ends(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress.clock("mmseqs prefilter") as tell:
        for now[0] in range(9):
            tell()
    out = capsys.readouterr().err
    assert next(part for part in out.split("\r\x1b[K") if part) == "mmseqs prefilter: 5 s"
    assert out.count("\n") == 1
    assert out.endswith("mmseqs prefilter: 8 s\n")


def test_short_work_is_silent(capsys):
    with progress.clock("mmseqs version") as tell:
        tell()
    assert capsys.readouterr().err == ""
