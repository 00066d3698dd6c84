"""Faults that were tried on the code as it is, and what happened: `make reliability` writes this page.

Each row is a test that ran and passed where this page was written; one that failed or was skipped has none. Nothing
is simulated that the system can do itself: processes are killed, disks of some kilobytes are mounted, files are cut.
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


class Recorder:
    """A plugin of pytest: what became of each test that is marked as a fault."""

    def __init__(self) -> None:
        self.faults: dict[str, tuple[str, ...]] = {}  # test: kind, fault, outcome
        self.outcomes: dict[str, list[str]] = {}  # of all its cases

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if marker := item.get_closest_marker("faults"):
                self.faults[_name(item.nodeid)] = marker.args

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.outcomes.setdefault(_name(report.nodeid), []).append(report.outcome)

    def rows(self, kind: str) -> list[dict]:
        """Of one kind, those of which every case passed."""
        return [
            {"fault": fault, "what happens": outcome, "test": f"`{test}`", "cases passed": len(self.outcomes[test])}
            for test, (own, fault, outcome) in self.faults.items()
            if own == kind and set(self.outcomes.get(test, ["none"])) == {"passed"}
        ]


def _name(node: str) -> str:
    return node.split("[")[0]


@cache
def recorded() -> Recorder:
    """The whole fault suite, run once."""
    recorder = Recorder()
    if pytest.main(["-m", "faults", "-q", str(Path(__file__).parents[1] / "tests")], plugins=[recorder]):
        print("some faults were not survived: see above; they get no row", file=sys.stderr)
    return recorder


def measured(kind: str) -> list[dict]:
    """The rows of a section."""
    return recorded().rows(kind)


SECTIONS: dict[str, tuple[str, Callable[[], list[dict]]]] = {
    kind.split()[0]: (kind.capitalize(), partial(measured, kind)) for kind in KINDS
}

if __name__ == "__main__":
    main(__doc__, SECTIONS, "reliability", "Reliability", lambda _: "`make test-faults` runs these tests again.")
