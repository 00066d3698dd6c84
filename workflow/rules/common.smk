# What the rules share: the checked config, its cards, and the names of files.
import json
import os
import re
import shlex
import sys
from contextlib import contextmanager
from pathlib import Path

try:
    import unrolled
    from unrolled import cards, controller, dashboards, definitions, leftovers, provenance
    from unrolled.errors import UnrolledError
    from unrolled.files import write_json
except ModuleNotFoundError as error:
    sys.exit(f"unrolled: error: {error}; run `make setup`, then `.venv/bin/snakemake` or `. .venv/bin/activate`")


@contextmanager
def mendable():
    """What the user can mend ends the workflow with one line."""
    try:
        yield
    except (UnrolledError, OSError) as error:
        sys.exit(f"unrolled: error: {error}")


DECK = cards.Deck(Path("config"), Path("workflow/schemas"))
with mendable():
    CARDS = DECK.matrix(config, " + ".join(map(os.path.relpath, workflow.configfiles)))
    CELLS = cards.cells(config["matrix"], CARDS["model"])
    ASKED = cards.asked(config.get("resources", {}), CARDS["model"])

RESULTS = f"results/{config['experiment']}"
RUN = f"{RESULTS}/runs/{{data}}/{{split}}/{{model}}/fold{{fold}}-seed{{seed}}"
LOG = f"{RESULTS}/logs/{{data}}.{{split}}.{{model}}.fold{{fold}}-seed{{seed}}"
BENCHMARK = f"{RESULTS}/benchmarks/{{data}}.{{split}}.{{model}}.fold{{fold}}-seed{{seed}}.tsv"
SPLIT = "results/data/{data}/{split}"
CLUSTERED = [name for name, card in CARDS["split"].items() if card["group"] == "cluster"]
SEPARATED = [name for name, card in CARDS["split"].items() if card["group"] == "homology"]
OTHER_TABLES = ["models", "splits", "bands", "lengths", "history", "classes", "confusion", "calibration", "points"]
# Where the runs are tracked they read in a file that is no input of theirs: changing it is no reason to train again.
WANDB = {"mode": "offline", "project": "unrolled", "entity": None, "artifacts": []} | config.get("wandb", {})
TOLD = f"{RESULTS}/{dashboards.TOLD}"
# `.venv/bin/snakemake` works without activating the environment first; a prefix of one's own replaces Snakemake's.
# `begin ATTEMPT LOG`: Snakemake removes the log before each attempt, so it is but a link to what all of them said.
# What is older than the workflow's start (`onstart`) goes; a job that Slurm queues again has its number once more.
BEGIN = (
    f'begin() ( all="$2.attempts"; [ "$1" -gt 1 ] || [ "$all" -nt {shlex.quote(TOLD)} ] || : > "$all"; '
    'ln -sf "$(basename "$all")" "$2"; echo "attempt $1, $(date "+%F %T")" >> "$2" ); '
)
shell.prefix(f"set -euo pipefail; export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; {BEGIN}")
# One run that fails keeps none behind it in its job from running: the Snakemake inside a job reads no profile, and is
# not told of this setting (9.27).
ARGUMENTS = workflow.spawned_job_args_factory.general_args
workflow.spawned_job_args_factory.general_args = lambda **options: (
    ARGUMENTS(**options) + " --keep-going" * workflow.execution_settings.keep_going
)
# Steps of two splits side by side keep the cores busier than those of one.
# A cluster (--jobs) is asked for four cores: how many its nodes have is not known here, and differs there, where the
# rules are read again and must come to the same.
HOME = workflow.is_main_process and workflow.resource_settings.nodes is None
CORES = workflow.resource_settings.cores if HOME else None
HALF = max(1, (CORES or 8) // 2)
EVERY = CORES or HALF
# All runs at home take the first GPU: of those that ask for one of their own one at a time, unless --resources tells.
if HOME:
    workflow.global_resources.setdefault("own_gpus", 1)
MATRIX = json.dumps(config["matrix"])
SOURCE = Path(os.path.relpath(Path(unrolled.__file__).parent))


MINUTES = {"": 1, "m": 1, "h": 60, "d": 24 * 60}


def minutes(text):
    """Minutes of a time such as 90, "90m", "12h" or "2d"."""
    number, unit = re.fullmatch(r"(\d+) ?([mhd]?)", str(text)).groups()
    return int(number) * MINUTES[unit]


def growing(amount):
    """Memory, or minutes, that each retry asks for once more."""
    return lambda wildcards, attempt: amount * attempt


# What a run and its metrics ask for alike: jobs of a group must agree in what is no number.
SHARED = {
    "gres": lambda w: ASKED[w.model]["gres"],
    "turn": 1,
    "attempt": growing(1),
}
OF_RUN = SHARED | {
    "mem_mb": lambda w, attempt: ASKED[w.model]["mem_mb"] * attempt,
    "runtime": lambda w, attempt: minutes(ASKED[w.model]["runtime"]) * attempt,
    "own_gpus": lambda w: cards.own_gpus(ASKED[w.model]["gres"]),
}


def group_of(w):
    """Runs that may share a job of a cluster: those that ask for a GPU are apart, and so are baselines."""
    if CARDS["model"][w.model]["kind"] == "baseline":
        return "baselines"
    return "gpu_runs" if ASKED[w.model]["gres"] else "runs"


def one_of(names):
    """A wildcard constraint: one of these names, and nothing if there are none."""
    return "|".join(map(re.escape, sorted(names))) or "(?!)"


def of_all_pairs(w):
    """The identities that a split's neighbours and certificate have in common with those of the others.

    None of numbers, and none where folds are published: what is tested may be a small part, and few pairs across.
    """
    data, split = CARDS["data"][w.data], CARDS["split"][w.split]
    if data["alphabet"] == "numeric" or split["group"] == "published":
        return []
    named = split.get("definition", definitions.DEFAULT[data["alphabet"]])
    return f"results/data/{w.data}/identities-{named}.parquet"


def models_of(kind):
    """Names of the matrix' models of a kind, neural or baseline."""
    return [name for name, card in CARDS["model"].items() if card["kind"] == kind]


def code(*names):
    """Modules, and other sources by file name, whose edits make a result stale: Snakemake looks in no package."""
    return [os.path.relpath(path) for path in provenance.files(names)]


def from_runs(name):
    """The file `name` of every run of the matrix."""
    return [f"{RESULTS}/runs/{cell.folder}/{name}" for cell in CELLS]


def overrides(settings, prefix):
    """Hydra overrides of a nested mapping: {'plateau': {'factor': 0.3}} -> train.plateau.factor=0.3."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from overrides(value, f"{prefix}.{key}")
        else:
            yield f"{prefix}.{key}={json.dumps(value)}"


def raw_files(data):
    """Paths of a data card's raw files: downloaded ones under results/raw/, local ones where they are."""
    card = CARDS["data"][data]
    folder = f"results/raw/{card.get('dataset', data)}"
    labels = [card[key]["path"] for key in ("labels", "mask") if "path" in card.get(key, {})]
    return [f.get("path") or f"{folder}/{f['name']}" for f in card.get("files", [])] + labels


def fetched(key):
    """Downloads by "<dataset>/<file name>": those that are a `url`, or a `query`."""
    return {
        f"{card.get('dataset', data)}/{file['name']}": file
        for data, card in CARDS["data"].items()
        for file in card.get("files", [])
        if key in file
    }


DOWNLOADS = fetched("url")
QUERIES = fetched("query")


def sources(data):
    """What says where the answers to queries among a data card's files came from."""
    return [f"{path}.json" for path in raw_files(data) if path.removeprefix("results/raw/") in QUERIES]


LEFT = Path(RESULTS) / "logs" / "slurm.json"


onstart:
    with mendable():
        executor = workflow.scheduler._executor
        if name := getattr(executor, "run_uuid", None):  # that of Slurm
            controller.be_patient(executor)
            settings = workflow.executor_settings
            settings.status_command = controller.witness(
                settings.status_command, Path("workflow/profiles/slurm/bin")
            )
            # Jobs of a Snakemake that was killed would be at the files that this one writes.
            leftovers.take_over(LEFT, name, Path("results").glob(f"*/logs/{LEFT.name}"))
        # What the experiment says, for its runs and for commands that are given the folder of the results alone.
        # It is newer than all that jobs of another Snakemake wrote.
        write_json(TOLD, {"metric": config["metric"], "wandb": WANDB | {"experiment": config["experiment"]}})


onsuccess:
    leftovers.let_go(LEFT)


onerror:
    leftovers.let_go(LEFT)


wildcard_constraints:
    data=one_of(CARDS["data"]),
    split=one_of(CARDS["split"]),
    model=one_of(CARDS["model"]),
    fold=r"\d+",
    seed=r"\d+",
