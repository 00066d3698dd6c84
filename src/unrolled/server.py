"""wandb's server: where it is, and whether it answers. Asked shortly, where wandb itself waits for minutes."""

import os
from collections.abc import Callable
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

from unrolled.errors import UnrolledError

ANSWER = 10  # seconds for an answer
FINISHED = "query State($e: String!, $p: String!, $run: String!) { project(name: $p, entityName: $e) "
FINISHED += "{ run(name: $run) { state } } }"


def greet() -> str:
    """Ask the server whether it is there and knows the key; returns the entity that runs belong to by default.

    That is the one of `WANDB_ENTITY` or wandb's settings file, else the key's own.

    Raises:
        UnrolledError: no key, no server, or a key that it refuses.
    """
    viewer = ask("query Viewer { viewer { id entity } }").get("viewer")
    if not viewer:
        raise UnrolledError(_refusal(_account()[0]))
    return str(_settings().entity or viewer["entity"])


def finished(entity: str, project: str, run: str) -> bool:
    """Whether the server has a run to its end."""
    there = ask(FINISHED, {"e": entity, "p": project, "project": project, "run": run}).get("project") or {}
    return (there.get("run") or {}).get("state") == "finished"


def has(entity: str, project: str) -> bool:
    """Whether there is a project of that name."""
    question = "query Project($name: String!, $e: String!) { project(name: $name, entityName: $e) { id } }"
    return bool(ask(question, {"name": project, "e": entity}).get("project"))


def ask(question: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
    """The server's answer to a question in GraphQL. Raises UnrolledError as `greet` does."""
    import requests

    address, key = _account()
    if not key:
        raise UnrolledError(f"no API key for {address}: `wandb login` once, or set WANDB_API_KEY")
    asked = {"query": question, "variables": variables or {}}
    try:
        reply = requests.post(f"{address}/graphql", json=asked, auth=("api", key), timeout=ANSWER)
    except requests.RequestException as error:
        raise UnrolledError(
            f"no answer from wandb at {address} ({type(error).__name__}): "
            "is there a network, is WANDB_BASE_URL right?"
        ) from None
    if reply.status_code in (401, 403):
        raise UnrolledError(_refusal(address))
    try:
        answer: dict[str, Any] = reply.json()["data"]
    except (ValueError, KeyError, TypeError):
        answer = {}
    if not reply.ok or not answer:
        raise UnrolledError(f"wandb at {address} answers with HTTP status {reply.status_code}: try again later")
    return answer


def within(seconds: float, call: Callable[[], object]) -> None:
    """Call what may try again and again. Raises what it raises, and TimeoutError if it is not done by then."""
    done: Queue[Exception | None] = Queue()

    def run() -> None:
        try:
            call()
        except Exception as error:
            done.put(error)
        else:
            done.put(None)

    Thread(target=run, daemon=True).start()  # if it is left behind, it ends with the process
    try:
        error = done.get(timeout=seconds)
    except Empty:
        raise TimeoutError(f"no answer in {seconds:g} seconds") from None
    if error:
        raise error


def _refusal(address: str) -> str:
    return f"wandb at {address} refuses the API key: `wandb login --relogin`, or mend WANDB_API_KEY"


def _account() -> tuple[str, str]:
    """The server's address, and the key for it from where wandb looks for one, "" without."""
    import requests

    settings = _settings()
    address = settings.base_url.rstrip("/")
    kept = (requests.utils.get_netrc_auth(address) or ("", ""))[1]
    return address, os.environ.get("WANDB_API_KEY") or kept or settings.api_key or ""


def _settings() -> Any:
    """Read as wandb.setup does, which would also start wandb's service and name it in all children's environment."""
    import wandb

    folder = Path(os.environ.get("WANDB_CONFIG_DIR", "~/.config/wandb")).expanduser()
    settings = wandb.Settings(silent=True, settings_system=str(folder / "settings"))
    settings.update_from_system_settings()
    settings.update_from_env_vars(dict(os.environ))
    return settings
