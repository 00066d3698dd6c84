"""wandb's dashboards as code: a workspace and a report of one experiment, built from the runs that it has.

They show the runs that the experiment's run.json name, not those that were trained anew since, failed or were
interrupted; where one of these files names none, all finished runs of the experiment. Both are specifications that
can be looked at without a server; saving them again changes what was saved before.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unrolled import server, uploading
from unrolled.errors import UnrolledError
from unrolled.files import read_json, write_json

SAVED = "wandb/dashboards.json"  # below results/<experiment>: what was saved where
TOLD = "experiment.json"  # there, too: what the workflow was asked for
PATIENCE = 60  # seconds
Quantities = list[tuple[str, str]]  # a panel's title and what it shows
CURVES: Quantities = [("Loss in training", "train_loss"), ("Loss in validation", "val_loss"), ("Learning rate", "lr")]
NORMS: Quantities = [
    ("Gradient norm, mean", "grad_norm_mean"),
    ("Gradient norm, largest", "grad_norm_max"),
    ("Share of steps clipped to tau", "clipped_share"),
]
COSTS: Quantities = [
    ("Seconds", "cost/seconds"),
    ("Parameters", "cost/params"),
    ("Memory, MiB", "cost/peak_memory_mb"),
]
LEAKS: Quantities = [
    ("Share found with a relative in another fold (leakage/definition)", "leakage/share_above"),
    ("Highest identity found across folds (leakage/definition)", "leakage/max_identity"),
]


@dataclass(frozen=True)
class Experiment:
    """What the dashboards show: an experiment by name, its runs, what ranks its models, where runs are."""

    name: str
    runs: dict[tuple[str, str], list[str]]  # by (data, split): ids in wandb as `uploading.named` has them
    metric: str
    project: str
    entity: str | None  # None: as wandb decides

    @property
    def score(self) -> str:
        """The metric as the runs have it."""
        return f"test/{self.metric}"

    def filter(self, data: str | None = None, split: str | None = None) -> str:
        """Which runs a panel shows, as wandb-workspaces writes it: all, or those of a data set or a split of it."""
        wanted = {"experiment": self.name, "cell.data": data, "cell.split": split}
        said = [f"Config('{key}') = '{value}'" for key, value in wanted.items() if value]
        shown = [runs for place, runs in self.runs.items() if data in (None, place[0]) and split in (None, place[1])]
        ids = [run for runs in shown for run in runs if run]
        return " and ".join([*said, f"Metric('ID') in {ids}" if ids else "Metric('State') = 'finished'"])


def experiment(
    results: Path, metric: str | None = None, project: str | None = None, entity: str | None = None
) -> Experiment:
    """The experiment of a folder results/<experiment>; what is not given is as its config has it.

    Raises UnrolledError if it has no runs.
    """
    found = uploading.named(results / "runs")
    if not found:
        raise UnrolledError(
            f"{results}: there are no runs: `snakemake --cores all` makes them (with the --configfile of the "
            "experiment, if it has one)"
        )
    told = read_json(results / TOLD) if (results / TOLD).is_file() else {}
    wandb = told.get("wandb", {})
    runs: dict[tuple[str, str], list[str]] = {}
    for path, run in found.items():
        runs.setdefault((path.parts[-5], path.parts[-4]), []).append(run)
    return Experiment(
        results.name,
        runs,
        metric or told.get("metric", "macro_f1"),
        project or wandb.get("project", "unrolled"),
        entity or wandb.get("entity"),
    )


def specify(shown: Experiment) -> dict[str, Any]:
    """Workspace and report as JSON, without asking a server; the report's runs are those of its own project."""
    entity = shown.entity or ""
    workspace, report = _workspace(shown, entity), _report(shown, entity, "")
    models = {"workspace": workspace._to_model(), "report": report._to_model()}
    return {name: json.loads(m.model_dump_json(by_alias=True, exclude_none=True)) for name, m in models.items()}


def save(shown: Experiment, results: Path, *, patience: float = PATIENCE) -> dict[str, str]:
    """Save workspace and report on wandb's server, over those saved before; returns their addresses.

    Args:
        patience: seconds for each; wandb itself tries again for many minutes.

    Raises:
        UnrolledError: no server, no key, no such project yet, or the server does not take them, or not in time.
    """
    owner, project = shown.entity or server.greet(), shown.project
    if not server.has(owner, project):
        first = f"upload runs first, with {uploading.how(results / 'wandb')}"
        raise UnrolledError(f"wandb has no project {owner}/{project} yet: {first}")
    memory = results / SAVED
    known = read_json(memory) if memory.is_file() else {}
    before = known.get(f"{owner}/{project}", {})
    workspace, report = _workspace(shown, owner), _report(shown, owner, owner)
    workspace._internal_name, workspace._internal_id = before.get("name", ""), before.get("workspace", "")
    report.id = before.get("report", "")
    for each in (workspace, report):
        try:
            server.within(patience, each.save)
        except Exception as error:  # wandb's own, those of its parser, or of the network
            why = str(error).partition("\n")[0] or type(error).__name__
            raise UnrolledError(
                f"wandb does not take the dashboards ({why}); if they were deleted there, delete {memory}"
            ) from error
        now = {"name": workspace._internal_name, "workspace": workspace._internal_id, "report": report.id}
        write_json(memory, known | {f"{owner}/{project}": now})  # after each: neither is ever made twice
    return {"workspace": workspace.url, "report": report.url}


def _workspace(shown: Experiment, entity: str) -> Any:
    """Every panel groups the runs of a cell: its folds and seeds are one line with its spread."""
    import wandb_workspaces.workspaces as ws

    sections = {
        "Metric by model": _bars([(shown.score, shown.score)], "Group"),
        "Learning curves": _lines(CURVES),
        "Gradient norms before clipping": _lines(NORMS),
        "Cost": _bars(COSTS, "Group"),
        "Leakage": _bars(LEAKS, "config.cell.split"),
    }
    return _named(
        ws.Workspace(
            entity=entity,
            project=shown.project,
            name=f"unrolled: {shown.name}",
            sections=[ws.Section(name=name, panels=panels, is_open=True) for name, panels in sections.items()],
            settings=ws.WorkspaceSettings(max_runs=100),
            runset_settings=ws.RunsetSettings(
                filters=shown.filter(),
                pinned_columns=[f"summary:{name}" for name in (shown.score, "leakage/share_above", "cost/seconds")],
            ),
        ),
        shown.name,
    )


def _report(shown: Experiment, entity: str, owner: str) -> Any:
    """One grid a data set and split: its models side by side; first what each split leaks."""
    import wandb_workspaces.reports.v2 as wr

    def grid(panels: list[Any], **cell: str) -> Any:
        runs = wr.Runset(
            entity=owner,
            project=shown.project if owner else "",
            name="runs",
            filters=shown.filter(**cell),
        )
        return wr.PanelGrid(runsets=[runs], panels=panels)

    blocks = [wr.H1("Leakage"), wr.P("What the certificate of each split found between its folds.")]
    for data in dict.fromkeys(data for data, _ in shown.runs):
        blocks += [wr.H2(data), grid(_bars(LEAKS, "config.cell.split"), data=data)]
    for data, split in shown.runs:
        panels = [
            *_bars([(shown.score, shown.score), *COSTS], "config.cell.model"),
            *_lines([*CURVES[:2], *NORMS[:1]]),
        ]
        blocks += [wr.H1(f"{data}, split {split}"), grid(panels, data=data, split=split)]
    title, what = f"unrolled: {shown.name}", "Models compared by split; bars and bands are over folds and seeds."
    report = wr.Report(entity=entity, project=shown.project, title=title, description=what, blocks=blocks)
    return _named(report, shown.name)


def _bars(quantities: Quantities, by: str) -> list[Any]:
    """Means of the runs that have one value of `by`, with their standard deviation."""
    import wandb_workspaces.reports.v2 as wr

    how: dict[str, Any] = {"groupby": by, "groupby_aggfunc": "mean", "groupby_rangefunc": "stddev"}
    return [wr.BarPlot(title=title, metrics=[key], max_bars_to_show=50, **how) for title, key in quantities]


def _lines(quantities: Quantities) -> list[Any]:
    """Curves over epochs, one a cell."""
    import wandb_workspaces.reports.v2 as wr

    how: dict[str, Any] = {"groupby": "Group", "groupby_aggfunc": "mean", "groupby_rangefunc": "stddev"}
    return [wr.LinePlot(title=title, x="epoch", y=[key], max_runs_to_show=100, **how) for title, key in quantities]


def _named(built: Any, seed: str) -> Any:
    """Panels and run sets under names that do not change from one call to the next; wandb draws them at random."""
    parts = [panel for section in getattr(built, "sections", []) for panel in section.panels]
    for block in getattr(built, "blocks", []):
        parts += [*getattr(block, "runsets", []), *getattr(block, "panels", [])]
    for i, part in enumerate(parts):
        part._id = f"{seed.lower()}{i}"
    if hasattr(built, "_internal_runset_id"):
        built._internal_runset_id = f"{seed.lower()}runs"
    return built
