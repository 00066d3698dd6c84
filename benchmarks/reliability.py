"""Faults that were tried on the code as it is, and what happened: `make reliability` writes this page.

Each row is a test that ran where this page was written; one that failed, or could not run there, says so. Nothing is
simulated that the system can do itself: processes are killed, disks of some kilobytes are mounted, files are cut.
Experiment files (`config/config.yaml`, `--configfile`) are Snakemake's own and may be templates that it runs: read
one from somebody else as you would read a program. Cards (`config/data`, `split`, `model`) are data, and nothing in
them runs.
"""

import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import pytest
from sections import main

KINDS = ("interruptions", "storage", "hostile input")
TESTS = Path(__file__).parents[1] / "tests"


class Recorder:
    """A plugin of pytest: what became of each test that is marked as a fault."""

    def __init__(self) -> None:
        self.faults: dict[str, tuple[str, ...]] = {}  # test: kind, fault, outcome
        self.outcomes: dict[str, list[str]] = {}  # of all its cases
        self.reasons: dict[str, str] = {}  # why one was skipped
        self.status = pytest.ExitCode.OK

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if marker := item.get_closest_marker("faults"):
                self.faults[_name(item.nodeid)] = marker.args

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.outcomes.setdefault(_name(report.nodeid), []).append(report.outcome)
        if report.skipped:
            self.reasons[_name(report.nodeid)] = report.longrepr[2].removeprefix("Skipped: ")

    def rows(self, kind: str) -> list[dict]:
        """One for each fault of a kind: what happens is told where every case passed."""
        found = []
        for test, (own, fault, outcome) in self.faults.items():
            if own == kind:
                cases = self.outcomes.get(test, [])
                said = outcome if set(cases) == {"passed"} else f"not tried here: {self.reasons.get(test)}"
                said = "**the test failed**" if "failed" in cases else said
                passed = cases.count("passed")
                found.append({"fault": fault, "what happens": said, "test": f"`{test}`", "cases passed": passed})
        return found


def _name(node: str) -> str:
    return node.split("[")[0]


@cache
def recorded() -> Recorder:
    """The whole fault suite, run once; the page stays as it is if it did not run to its end."""
    recorder = Recorder()
    recorder.status = pytest.ExitCode(pytest.main(["-m", "faults", "-q", str(TESTS)], plugins=[recorder]))
    if recorder.status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        sys.exit("the fault suite did not run to its end: see above")
    return recorder


def measured(kind: str) -> list[dict]:
    """The rows of a section."""
    return recorded().rows(kind)


SECTIONS: dict[str, tuple[str, Callable[[], list[dict]]]] = {
    kind.split()[0]: (kind.capitalize(), partial(measured, kind)) for kind in KINDS
}


def command() -> None:
    """Write the page; the exit status is 1 where a fault was not survived."""
    main(__doc__, SECTIONS, "reliability", "Reliability", lambda _: "`make test-faults` runs these tests again.")
    if recorded().status:
        sys.exit("some faults were not survived: see above")


if __name__ == "__main__":
    command()
