"""wandb's protocol on loopback: what its core and wandb-workspaces ask for when something is logged, synced or saved.

It answers the viewer, the upsert of a run, the file stream (history, summary, the end of a run), files, artifacts,
projects and views, as wandb 0.31 asks for them, and keeps what it was sent, so that a test can look.
"""

import gzip
import json
import math
import re
import socket
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

KEY = "0" * 40
PART = 1 << 20  # bytes of a file that are read at once
Json = dict[str, Any]


@dataclass
class Run:
    """What was said of one run."""

    upserts: list[Json] = field(default_factory=list)
    rows: dict[int, Json] = field(default_factory=dict)  # history by line
    summary: Json = field(default_factory=dict)
    complete: bool = False

    def first(self, name: str) -> Any:
        """The first value that was given for a field."""
        return next((upsert[name] for upsert in self.upserts if upsert.get(name)), None)

    def stream(self, body: Json) -> None:
        for name, chunk in body.get("files", {}).items():
            rows = [json.loads(line) for line in chunk["content"]]
            if name == "wandb-history.jsonl":
                self.rows |= dict(enumerate(rows, chunk["offset"]))
            elif name == "wandb-summary.json":
                self.summary = rows[-1]
        self.complete = self.complete or bool(body.get("complete"))


def complete(run: Run) -> bool:
    """Whether three steps and the result of a run came, and its end. An upload that goes on begins again."""
    steps = {row["_step"] for row in run.rows.values() if "val_loss" in row}
    return run.complete and steps == {0, 1, 2} and run.summary.get("test/macro_f1") == 0.25


@dataclass
class Service:
    """Everything it was sent, and the faults asked for."""

    address: str
    runs: dict[str, Run] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    projects: set[str] = field(default_factory=set)
    artifacts: dict[str, Json] = field(default_factory=dict)
    views: dict[str, Json] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    refused: bool = False  # the key
    closed: bool = False  # to writers
    streams: float = math.inf  # times that it takes content of runs before it hangs up; their names it takes
    only: str = ""  # the one run of which it takes the content
    room: float = math.inf  # bytes of a file of an artifact that it takes before it hangs up
    barred: str = ""  # content that it refuses: of a "stream", or of an "artifact"
    pace: float = 0.0  # seconds that it takes for each part of a file
    hanging: bool = False  # it takes questions, and says nothing
    mute: str = ""  # the question that it does not answer
    boardless: bool = False  # it hangs up when a dashboard comes
    reportless: bool = False  # it takes a workspace, and refuses a report

    @property
    def environment(self) -> dict[str, str]:
        return {"WANDB_BASE_URL": self.address, "WANDB_API_KEY": KEY}

    def run(self, name: str) -> Run:
        return self.runs.setdefault(name, Run())

    def place(self, path: str) -> str:
        """Where a file is to be put."""
        return f"{self.address}/storage/{path}"


def viewer(service: Service, _: Json) -> Json:
    who = {"id": "VXNlcg==", "username": "ann", "entity": "lab", "flags": "{}", "admin": False}
    return who | {"email": "ann@example.org", "teams": {"edges": []}}


def upsert_run(service: Service, asked: Json) -> Json:
    run = service.run(asked["name"])
    run.upserts.append(asked)
    service.projects.add(asked["project"])
    project = {"id": "UHJvamVjdA==", "name": asked["project"], "entity": {"id": "RW50aXR5", "name": "lab"}}
    bucket = {
        "id": b64encode(asked["name"].encode()).decode(),
        "name": asked["name"],
        "displayName": run.first("displayName"),
        "description": None,
        "config": asked["config"],
        "sweepName": None,
        "project": project,
        "historyLineCount": len(run.rows),
    }
    return {"bucket": bucket, "inserted": len(run.upserts) == 1}


def run_files(service: Service, asked: Json) -> Json:
    names = [{"name": n, "uploadUrl": service.place(f"{asked['run']}/{n}")} for n in asked["files"]]
    return {"runID": asked["run"], "uploadHeaders": [], "files": names}


def project(service: Service, asked: Json) -> Json | None:
    name = next((asked[key] for key in ("projectName", "project", "name") if key in asked), "")
    if name not in service.projects:
        return None
    run = service.runs.get(asked.get("run", ""))
    state = {"id": "UnVu", "state": "finished" if run.complete else "running"} if run else None
    return {
        "id": "UHJvamVjdA==",
        "internalId": "7",
        "name": name,
        "run": state,
        "artifact": None,
        "artifactType": None,
    }


def projects(service: Service, _: Json) -> Json:
    facts = {"id": "UHJvamVjdA==", "entityName": "lab", "createdAt": "2026-01-01", "isBenchmark": False, "user": None}
    edges = [{"cursor": "", "node": facts | {"name": name}} for name in sorted(service.projects)]
    return {"pageInfo": {"endCursor": None, "hasNextPage": False}, "edges": edges}


def artifact(service: Service, asked: Json) -> Json:
    wanted = asked["input"]
    name = wanted.get("artifactCollectionName") or wanted["artifactCollectionNames"][0]
    service.artifacts[name] = wanted | {"committed": False}
    return {"artifact": {"id": name, "state": "PENDING", "artifactSequence": {"latestArtifact": None}}}


def manifest(service: Service, asked: Json) -> Json:
    name = asked.get("artifactID") or asked["artifactManifestID"]
    file = {"id": "RmlsZQ==", "uploadUrl": service.place(f"manifest/{name}"), "uploadHeaders": []}
    return {"artifactManifest": {"id": name, "file": file}}


def artifact_files(service: Service, asked: Json) -> Json:
    nodes = [
        {
            "storagePath": f"{file['artifactID']}/{file['name']}",
            "uploadUrl": service.place(f"artifact/{file['artifactID']}/{file['name']}"),
            "uploadHeaders": [],
            "uploadMultipartUrls": None,
            "artifact": {"id": file["artifactID"]},
        }
        for file in asked["input"]["artifactFiles"]
    ]
    return {"files": {"edges": [{"node": node} for node in nodes]}}


def commit(service: Service, asked: Json) -> Json:
    service.artifacts[asked["artifactID"]]["committed"] = True
    return {"artifact": {"id": asked["artifactID"], "digest": "0"}}


def view(service: Service, asked: Json) -> Json:
    known = asked.get("id") in service.views
    name = asked["id"] if known else f"Vmlldz{len(service.views)}"
    service.views[name] = asked
    there = {"id": name, "internalId": "7", "name": asked["projectName"], "entityName": asked["entityName"]}
    said = {key: asked.get(key) for key in ("name", "type", "displayName", "description", "spec")}
    times = {"createdAt": "2026-01-01T00:00:00", "updatedAt": "2026-01-01T00:00:00"}
    return {"view": said | times | {"id": name, "project": there}, "inserted": not known}


ANSWERS = {
    "viewer": viewer,
    "serverInfo": lambda service, _: {"features": [], "latestLocalVersionInfo": None},
    "upsertBucket": upsert_run,
    "createRunFiles": run_files,
    "project": project,
    "models": projects,
    "createArtifact": artifact,
    "createArtifactManifest": manifest,
    "updateArtifactManifest": manifest,
    "createArtifactFiles": artifact_files,
    "commitArtifact": commit,
    "entity": lambda service, _: {"xxhashDigestsEnabled": False, "id": "RW50aXR5", "name": "lab"},
    "upsertView": view,
}
FIELD = re.compile(r"\{\s*(?:(\w+)\s*:\s*)?(\w+)")  # the first field of a GraphQL document, and its alias


class Handler(BaseHTTPRequestHandler):
    """One request: a GraphQL question, a file stream, or a file."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        service, path, body = self.server.service, urlsplit(self.path).path, self.body()
        while service.hanging:
            time.sleep(0.05)
        if path == "/graphql":
            return self.graphql(service, json.loads(body))
        if not path.endswith("/file_stream"):
            return self.answer({})  # wandb's measurements of itself
        service.requests.append("stream")
        name = path.split("/")[4]
        if not service.streams or service.only not in ("", name):
            return self.close()
        if service.barred == "stream":
            return self.answer({"error": "no room"}, 403)
        service.streams -= 1
        service.run(name).stream(json.loads(body))
        return self.answer({})

    def graphql(self, service: Service, asked: Json) -> None:
        alias, field = FIELD.search(asked["query"]).groups()
        service.requests.append(field)
        if service.mute == field:
            while service.mute == field:
                time.sleep(0.05)
            return self.close()
        if service.refused or (service.closed and field != "viewer"):
            return self.answer({"errors": [{"message": "permission denied"}]}, 401 if service.refused else 403)
        if service.boardless and asked.get("variables", {}).get("type"):
            return self.close()
        if service.reportless and asked.get("variables", {}).get("type") == "runs":
            return self.answer({"errors": [{"message": "permission denied"}]}, 403)
        return self.answer({"data": {alias or field: ANSWERS[field](service, asked.get("variables") or {})}})

    def do_PUT(self):
        service, path = self.server.service, urlsplit(self.path).path.removeprefix("/storage/")
        size, content = int(self.headers["Content-Length"]), bytearray()
        while len(content) < size:
            part = self.rfile.read(min(PART, size - len(content)))
            content += part
            time.sleep(service.pace)
            if not part or (path.startswith("artifact/") and len(content) > service.room):
                return self.close()
        if service.barred == "artifact" and path.startswith("artifact/"):
            return self.answer({"error": "no room"}, 403)
        service.files[path] = bytes(content)
        return self.answer({})

    def body(self) -> bytes:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(sent) if self.headers.get("Content-Encoding") == "gzip" else sent

    def answer(self, value: Json, status: int = 200) -> None:
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def close(self) -> None:
        """Hang up without a word, as a server that died does."""
        self.close_connection = True

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    """Says nothing of clients that hang up; what it has not read yet is not with the system, but with the client."""

    daemon_threads = True

    def server_bind(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)  # handed on to connections
        super().server_bind()

    def handle_error(self, *_):
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*_)


@contextmanager
def serving() -> Iterator[Service]:
    """The service, for as long as the block lasts."""
    server = Server(("127.0.0.1", 0), Handler)
    server.service = Service(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.service
    finally:
        server.service.hanging, server.service.mute = False, ""
        server.shutdown()
        server.server_close()


@contextmanager
def silence() -> Iterator[str]:
    """The address of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
