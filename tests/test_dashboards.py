"""Dashboards as code: a specification without a server, and with one a workspace and a report that are saved once."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from unrolled import dashboards, server
from unrolled.dashboards import TOLD, experiment
from unrolled.errors import UnrolledError
from unrolled.files import write_json
from wandb_service import serving

pytestmark = pytest.mark.filterwarnings("ignore:Pydantic V1 style")  # wandb-workspaces


@pytest.fixture
def results(tmp_path):
    """The folder of an experiment with runs of two data sets under two splits, which is ranked by the MCC."""
    for data, split in (("a", "random"), ("a", "homology30"), ("b", "random")):
        write_json(tmp_path / "mine" / "runs" / data / split / "lstm" / "fold0-seed0" / "run.json", {})
    write_json(tmp_path / "mine" / TOLD, {"metric": "mcc", "wandb": {"project": "cells", "entity": None}})
    return tmp_path / "mine"


def dashboard(results: Path, *options: str, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "unrolled", "dashboard", "--results", results, *options]
    env = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")} | {"HOME": str(results)} | environment
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=180)


def titles(panels: list[dict]) -> list[str]:
    return [panel["config"]["chartTitle"] for panel in panels]


def test_a_dry_run_writes_the_specification_and_asks_nobody(results, tmp_path):
    done = dashboard(results, "--dry-run", str(tmp_path / "spec.json"), WANDB_BASE_URL="http://127.0.0.1:9")
    assert done.returncode == 0, done.stderr
    spec = json.loads((tmp_path / "spec.json").read_text())
    section = spec["workspace"]["spec"]["section"]
    panels = {one["name"]: one["panels"] for one in section["panelBankConfig"]["sections"]}
    assert titles(panels["Metric by model"]) == ["test/mcc"]
    assert (
        panels["Metric by model"][0]["config"]["groupBy"] == "group"
    )  # data/split/model: seeds and folds are one bar
    assert titles(panels["Gradient norms before clipping"])[0] == "Gradient norm, mean"
    assert {"Learning curves", "Cost", "Leakage"} < set(panels)
    assert panels["Leakage"][0]["config"]["metrics"] == ["leakage/share_above"]
    grids = [block["metadata"] for block in spec["report"]["spec"]["blocks"] if block["type"] == "panel-grid"]
    filters = [[leaf["value"] for leaf in grid["runSets"][0]["filters"]["filters"]] for grid in grids]
    cells = [["mine", "a", "homology30"], ["mine", "a", "random"], ["mine", "b", "random"]]
    wanted = [["mine", "a"], ["mine", "b"], *cells]
    assert filters == [[*one, "finished"] for one in wanted]
    assert grids[2]["panelBankSectionConfig"]["panels"][0]["config"]["groupBy"] == "cell.value.model"
    again = dashboard(results, "--dry-run", str(tmp_path / "again.json"))
    assert again.returncode == 0
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "spec.json").read_bytes()


def test_runs_that_were_trained_anew_since_are_not_shown(results):
    """Where every run.json names its run, these are shown, and no others of the experiment."""
    places = sorted((results / "runs").glob("*/*"))
    for n, place in enumerate(places):
        for seed in (0, 1):
            write_json(place / f"lstm/fold0-seed{seed}/run.json", {"wandb": {"id": f"run{n}{seed}"}})
    spec = dashboards.specify(experiment(results))
    grids = [block["metadata"] for block in spec["report"]["spec"]["blocks"] if block["type"] == "panel-grid"]
    sets = [spec["workspace"]["spec"]["section"]["runSets"][0], *(grid["runSets"][0] for grid in grids)]
    leaves = [one["filters"]["filters"][-1] for one in sets]
    assert {(leaf["key"]["section"], leaf["key"]["name"], leaf["op"]) for leaf in leaves} == {("run", "name", "IN")}
    cells = [["run00", "run01"], ["run10", "run11"], ["run20", "run21"]]
    both = cells[0] + cells[1]
    assert [leaf["value"] for leaf in leaves] == [both + cells[2], both, cells[2], *cells]


@pytest.mark.slow
def test_workspace_and_report_are_saved_and_saved_again_over_themselves(results):
    with serving() as service:
        early = dashboard(results, **service.environment)
        assert early.returncode == 2
        assert "no project lab/cells yet" in early.stderr
        assert f"`unrolled sync {results}/wandb`" in early.stderr
        service.projects.add("cells")
        for _ in range(2):
            done = dashboard(results, **service.environment)
            assert done.returncode == 0, done.stderr
            assert f"workspace: {service.address}/lab/cells?nw=" in done.stderr
            assert f"report: {service.address}/lab/cells/reports/" in done.stderr
            saved = {view["type"]: view for view in service.views.values()}
            assert sorted(saved) == ["project-view", "runs"]
            assert len(service.views) == 2
        assert saved["runs"]["displayName"] == "unrolled: mine"
        assert '"leakage/share_above"' in saved["project-view"]["spec"]
        assert '"test/mcc"' in saved["runs"]["spec"]
        assert {view["entityName"] for view in saved.values()} == {"lab"}


@pytest.mark.slow
def test_a_server_that_takes_the_workspace_but_no_report_gets_no_second_workspace(results):
    with serving() as service:
        service.projects.add("cells")
        service.reportless = True
        failed = dashboard(results, **service.environment)
        assert failed.returncode == 2
        assert failed.stderr.count("wandb does not take the dashboards") == 1
        assert "Traceback" not in failed.stderr
        assert [view["type"] for view in service.views.values()] == ["project-view"]
        service.reportless = False
        done = dashboard(results, **service.environment)
        assert done.returncode == 0, done.stderr
        assert len(service.views) == 2


@pytest.fixture
def answering(monkeypatch):
    """A server that has the project, as far as it is asked."""
    monkeypatch.setattr(server, "greet", lambda: "lab")
    monkeypatch.setattr(server, "has", lambda *_: True)


def test_an_error_without_words_is_told_by_its_kind(results, answering, monkeypatch):
    def fail(*_):
        raise ConnectionResetError

    monkeypatch.setattr(server, "within", fail)
    with pytest.raises(UnrolledError, match=r"does not take the dashboards \(ConnectionResetError\)"):
        dashboards.save(experiment(results), results)


def test_a_full_disk_is_no_fault_of_the_server(results, answering, monkeypatch):
    def full(path, _):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(server, "within", lambda *_: None)
    monkeypatch.setattr(dashboards, "write_json", full)
    with pytest.raises(OSError, match=r"No space left on device: .*dashboards\.json"):
        dashboards.save(experiment(results), results)


@pytest.mark.parametrize("said", ["environment", "settings"])
def test_dashboards_go_to_the_entity_that_runs_go_to(tmp_path, monkeypatch, said):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_CONFIG_DIR", "WANDB_DIR", "WANDB_ENTITY"):
        monkeypatch.delenv(name, raising=False)
    with serving() as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        assert server.greet() == "lab"
        if said == "environment":
            monkeypatch.setenv("WANDB_ENTITY", "team")
        else:
            (tmp_path / ".config/wandb").mkdir(parents=True)
            (tmp_path / ".config/wandb/settings").write_text("[default]\nentity = team\n")
        assert server.greet() == "team"


@pytest.mark.slow
def test_a_server_that_hangs_up_is_not_tried_for_minutes(results):
    script = (
        "import sys; from pathlib import Path; from unrolled import dashboards as d; folder = Path(sys.argv[1]); "
    )
    script += "d.save(d.experiment(folder), folder, patience=2)"
    with serving() as service:
        service.projects.add("cells")
        service.boardless = True
        command = [sys.executable, "-c", script, results]
        known = os.environ | {"HOME": str(results)} | service.environment
        done = subprocess.run(command, capture_output=True, text=True, env=known, timeout=60)
        assert done.returncode == 1
        assert "UnrolledError: wandb does not take the dashboards (no answer in 2 seconds)" in done.stderr
        assert not service.views


@pytest.mark.slow
def test_without_a_server_one_line_says_so(results):
    done = dashboard(results, WANDB_API_KEY="0" * 40, WANDB_BASE_URL="http://127.0.0.1:9")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "no answer from wandb at http://127.0.0.1:9" in done.stderr


def test_what_the_experiment_says_is_the_default_and_options_override_it(results):
    own = experiment(results)
    assert (own.score, own.project, own.entity) == ("test/mcc", "cells", None)
    write_json(results / TOLD, {"metric": "auroc", "wandb": {"project": "cells", "entity": "lab"}})
    assert experiment(results).entity == "lab"
    other = experiment(results, "accuracy", "mine", "ann")
    assert (other.metric, other.project, other.entity) == ("accuracy", "mine", "ann")
    (results / TOLD).unlink()
    assert (experiment(results).metric, experiment(results).project) == ("macro_f1", "unrolled")


def test_an_experiment_without_runs_is_said(tmp_path):
    done = dashboard(tmp_path / "none", "--dry-run", str(tmp_path / "spec.json"))
    assert done.returncode == 2
    assert "there are no runs" in done.stderr
