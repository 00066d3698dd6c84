"""Downloads against a real HTTP server on loopback that misbehaves on request."""

import errno
import hashlib
import io
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unrolled import transfer
from unrolled.errors import UnrolledError
from unrolled.fetch import fetch

CONTENT = random.Random(7).randbytes(300_000)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


SHA256 = digest(CONTENT)


class Handler(BaseHTTPRequestHandler):
    """Hands every request to the next step of the site's script, or serves the file properly."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        site = self.server.site
        site.requests.append((self.path, dict(self.headers)))
        step = site.script.pop(0) if site.script else serve()
        step(self)

    def log_message(self, *_):
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str):
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


Step = Callable[[Handler], None]


@dataclass
class Site:
    url: str
    content: bytes = CONTENT
    script: list[Step] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)  # body bytes of every answer that carried a file
    release: threading.Event = field(default_factory=threading.Event)  # ends every stall

    def ranges(self) -> list[str | None]:
        return [headers.get("Range") for _, headers in self.requests]


def serve(
    cut: int | None = None,
    stall: bool = False,
    ranges: bool = True,
    headers: dict[str, str] | None = None,
) -> Step:
    """The file, or what Range asks of it; `cut`: only so many bytes, then hang up, or fall silent."""

    def step(handler: Handler):
        site = handler.server.site
        whole = site.content
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", "")) if ranges else None
        start = int(asked[1]) if asked else 0
        if asked and start >= len(whole):
            handler.answer(416, Content_Range=f"bytes */{len(whole)}")
            return
        body = whole[start:]
        handler.send_response(206 if asked else 200)
        if asked:
            handler.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            handler.send_header(name, value)
        handler.end_headers()
        site.sent.append(len(body[:cut]))
        handler.wfile.write(body[:cut])
        if stall:
            site.release.wait(20)
        handler.close_connection = cut is not None

    return step


def status(code: int, **headers: str) -> Step:
    return lambda handler: handler.answer(code, b"no", **headers)


class Server(ThreadingHTTPServer):
    site: Site

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ConnectionError):  # clients that hang up are meant to
            super().handle_error(request, client_address)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def site(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("NO_PROXY", "*")  # a proxy of this computer must not come between
    server.site = Site(f"http://127.0.0.1:{server.server_address[1]}/data/file.bin")
    yield server.site
    server.site.release.set()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between tries, noted instead of waited."""
    noted: list[float] = []
    monkeypatch.setattr(transfer, "sleep", noted.append)
    return noted


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(site: Site, folder: Path, **options) -> bytes:
    """Fetch with the right checksum and hardly any waiting; what lies in `folder` afterwards is checked."""
    target = folder / "file.bin"
    options = {"sha256": digest(site.content), "backoff": 0.001, "timeout": 5} | options
    assert fetch(site.url, target, **options) == target
    assert [path.name for path in folder.iterdir()] == ["file.bin"]
    return target.read_bytes()


def fails(site: Site, folder: Path, **options) -> str:
    """The one-line message of a fetch that must fail without a file at the destination."""
    options = {"sha256": SHA256, "backoff": 0.001, "timeout": 5} | options
    with pytest.raises(UnrolledError) as caught:
        fetch(site.url, folder / "file.bin", **options)
    assert not (folder / "file.bin").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestDownload:
    def test_plain(self, site, tmp_path):
        assert get(site, tmp_path) == CONTENT
        assert site.requests[0][0] == "/data/file.bin"
        assert site.requests[0][1]["Accept-Encoding"] == "identity"
        assert site.ranges() == [None]

    def test_without_checksum(self, site, tmp_path):
        assert get(site, tmp_path, sha256=None) == CONTENT

    def test_checksum_in_capitals(self, site, tmp_path):
        assert get(site, tmp_path, sha256=SHA256.upper()) == CONTENT

    def test_makes_folders(self, site, tmp_path):
        assert get(site, tmp_path / "raw" / "deep") == CONTENT

    def test_empty_file(self, site, tmp_path):
        site.content = b""
        assert get(site, tmp_path) == b""

    def test_chunked_body_without_a_length(self, site, tmp_path):
        def chunked(handler: Handler):
            handler.send_response(200)
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            handler.wfile.write(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")

        site.script, site.content = [chunked], b"abcde"
        assert get(site, tmp_path) == b"abcde"

    def test_stored_gzip_is_not_unpacked(self, site, tmp_path):
        site.script = [serve(headers={"Content-Encoding": "gzip"})]
        assert get(site, tmp_path) == CONTENT

    def test_redirect(self, site, tmp_path):
        site.script = [status(302, Location="/elsewhere.bin")]
        assert get(site, tmp_path) == CONTENT
        assert [path for path, _ in site.requests] == ["/data/file.bin", "/elsewhere.bin"]

    def test_mode_follows_the_umask(self, site, tmp_path):
        mask = os.umask(0)
        os.umask(mask)
        get(site, tmp_path)
        assert (tmp_path / "file.bin").stat().st_mode & 0o777 == 0o666 & ~mask


class TestExisting:
    def test_good_file_makes_no_request(self, site, tmp_path):
        (tmp_path / "file.bin").write_bytes(CONTENT)
        assert get(site, tmp_path) == CONTENT
        assert site.requests == []

    def test_any_file_will_do_without_checksum(self, site, tmp_path):
        (tmp_path / "file.bin").write_bytes(b"mine")
        assert get(site, tmp_path, sha256=None) == b"mine"
        assert site.requests == []

    def test_wrong_file_is_replaced(self, site, tmp_path):
        (tmp_path / "file.bin").write_bytes(b"old")
        assert get(site, tmp_path) == CONTENT

    def test_wrong_file_stays_until_there_is_a_better_one(self, site, tmp_path):
        site.script = [status(404)]
        (tmp_path / "file.bin").write_bytes(b"old")
        with pytest.raises(UnrolledError):
            fetch(site.url, tmp_path / "file.bin", sha256=SHA256)
        assert (tmp_path / "file.bin").read_bytes() == b"old"


class TestResume:
    def test_cut_off_in_the_middle(self, site, tmp_path):
        site.script = [serve(cut=200_000)]
        assert get(site, tmp_path) == CONTENT
        assert site.ranges() == [None, "bytes=200000-"]
        assert site.sent == [200_000, 100_000]

    def test_part_of_an_earlier_call(self, site, tmp_path):
        site.script = [serve(cut=123_456)]
        message = fails(site, tmp_path, retries=0)
        assert (tmp_path / "file.bin.part").read_bytes() == CONTENT[:123_456]
        assert f"123,456 bytes are kept in {tmp_path}/file.bin.part and the next call resumes" in message
        assert get(site, tmp_path) == CONTENT
        assert site.sent == [123_456, 300_000 - 123_456]

    def test_finished_part_needs_no_request(self, site, tmp_path):
        (tmp_path / "file.bin.part").write_bytes(CONTENT)
        assert get(site, tmp_path) == CONTENT
        assert site.requests == []

    def test_server_that_ignores_range(self, site, tmp_path):
        (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
        site.script = [serve(ranges=False)]
        assert get(site, tmp_path) == CONTENT
        assert site.sent == [300_000]

    def test_part_longer_than_the_file(self, site, tmp_path):
        (tmp_path / "file.bin.part").write_bytes(CONTENT + b"more")
        assert get(site, tmp_path, retries=0) == CONTENT
        assert site.ranges() == ["bytes=300004-", None]

    @pytest.mark.parametrize("claim", [{}, {"Content_Range": "bytes 5-9/10"}, {"Content_Range": "gibberish"}])
    def test_answer_to_another_range(self, site, tmp_path, claim):
        (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
        site.script = [status(206, **claim)]
        assert get(site, tmp_path, retries=0) == CONTENT
        assert site.ranges() == ["bytes=1000-", None]

    def test_answer_with_less_than_asked(self, site, tmp_path):
        (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
        some = {"Content_Range": "bytes 1000-1999/300000", "Content_Length": "1000"}
        site.script = [lambda handler: handler.answer(206, CONTENT[1000:2000], **some)]
        assert get(site, tmp_path) == CONTENT
        assert site.ranges() == ["bytes=1000-", "bytes=2000-"]

    def test_file_changed_in_between(self, site, tmp_path):
        (tmp_path / "file.bin.part").write_bytes(b"x" * 1000)
        assert get(site, tmp_path, retries=0) == CONTENT
        assert site.ranges() == ["bytes=1000-", None]

    def test_file_changed_for_good(self, site, tmp_path):
        (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
        site.content = bytes(300_000)
        assert "wrong checksum" in fails(site, tmp_path)
        assert site.ranges() == ["bytes=1000-", None]

    def test_nothing_is_resumed_without_checksum(self, site, tmp_path):
        (tmp_path / "file.bin.part").write_bytes(b"x" * 1000)
        site.script = [serve(cut=200_000)]
        assert get(site, tmp_path, sha256=None) == CONTENT
        assert site.ranges() == [None, None]
        (tmp_path / "file.bin").unlink()
        site.script = [serve(cut=200_000)]
        assert "kept" not in fails(site, tmp_path, sha256=None, retries=0)
        assert list(tmp_path.iterdir()) == []


class TestRetry:
    def test_stall(self, site, tmp_path):
        site.script = [serve(cut=150_000, stall=True)]
        assert get(site, tmp_path, timeout=0.3) == CONTENT
        assert len(site.requests) == 2

    def test_silence_before_the_headers(self, site, tmp_path):
        site.script = [lambda handler: handler.server.site.release.wait(20)]
        assert get(site, tmp_path, timeout=0.3) == CONTENT

    def test_hanging_up_without_an_answer(self, site, tmp_path):
        def hang_up(handler: Handler):
            handler.close_connection = True

        site.script = [hang_up]
        assert get(site, tmp_path) == CONTENT

    def test_retry_after_is_honoured(self, site, tmp_path, waits):
        site.script = [status(429, Retry_After="7"), status(503, Retry_After="3600")]
        assert get(site, tmp_path) == CONTENT
        assert waits == [7, 60]

    def test_retry_after_as_a_date(self, site, tmp_path, waits):
        site.script = [status(503, Retry_After=formatdate(time.time() + 20, usegmt=True))]
        assert get(site, tmp_path) == CONTENT
        assert 15 < waits[0] <= 20

    def test_unreadable_retry_after(self, site, tmp_path, waits):
        site.script = [status(503, Retry_After="soon")]
        assert get(site, tmp_path) == CONTENT
        assert waits[0] < 1

    def test_waits_double_up_to_a_minute(self, site, tmp_path, waits):
        site.script = [status(500 + tried % 5) for tried in range(8)]
        assert get(site, tmp_path, backoff=1, retries=8) == CONTENT
        assert all(min(60, 2**tried / 2) <= wait <= min(60, 2**tried) for tried, wait in enumerate(waits)), waits

    def test_unavailable_for_ever(self, site, tmp_path):
        site.script = [status(503)] * 9
        message = fails(site, tmp_path, retries=3, dataset="deeploc2")
        assert len(site.requests) == 4
        assert f"{site.url}: HTTP 503 Service Unavailable (tries: 4)" in message
        assert "`mirror:`" in message
        assert "deeploc2/file.bin" in message

    @pytest.mark.parametrize("code", [400, 401, 403, 404, 410])
    def test_refused_at_once(self, site, tmp_path, code):
        site.script = [status(code)]
        message = fails(site, tmp_path)
        assert len(site.requests) == 1
        assert f"HTTP {code}" in message
        assert site.url in message
        assert "check address" in message

    def test_request_timeout_is_tried_again(self, site, tmp_path):
        site.script = [status(408)]
        assert get(site, tmp_path) == CONTENT

    def test_endless_redirect(self, site, tmp_path):
        site.script = [status(302, Location="/data/file.bin")] * 40
        assert "redirects" in fails(site, tmp_path)


class TestFailure:
    def test_wrong_bytes(self, site, tmp_path):
        site.content = b"<html>log in first</html>"
        message = fails(site, tmp_path)
        assert list(tmp_path.iterdir()) == []
        for fact in (f"expected {SHA256}", f"got {digest(site.content)}", site.url, "removed", "`mirror:`"):
            assert fact in message
        assert len(site.requests) == 1

    def test_offline(self, site, tmp_path):
        site.url = f"http://127.0.0.1:{closed_port()}/file.bin"
        message = fails(site, tmp_path, retries=2)
        assert "Connection refused" in message
        assert "tries: 3" in message
        assert "`mirror:`" in message

    def test_unknown_host(self, site, tmp_path, monkeypatch):
        def no_such_name(*_):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
        site.url = "http://no-such-host.invalid/file.bin"
        message = fails(site, tmp_path, retries=0)
        assert "no-such-host.invalid" in message
        assert "`mirror:`" in message

    def test_disk_full(self, site, tmp_path, monkeypatch):
        """The write that overflows raises what the operating system would raise."""
        real_open = Path.open

        def small_disk(path: Path, mode: str = "r", *args, **kwargs):
            stream = real_open(path, mode, *args, **kwargs)
            return FullDisk(stream) if path.suffix == ".part" and mode != "rb" else stream

        monkeypatch.setattr(Path, "open", small_disk)
        message = fails(site, tmp_path)
        assert f"disk full: file.bin needs 300,000 bytes in {tmp_path}" in message
        assert "make room" in message
        assert list(tmp_path.iterdir()) == []
        assert len(site.requests) == 1

    @pytest.mark.faults(
        "storage",
        "the disk is full when a file is downloaded",
        "one line with the bytes needed and free; nothing is left",
    )
    def test_disk_really_full(self, site, tmp_path):
        mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(tmp_path)]
        try:
            subprocess.run(mount, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("needs the right to mount a small tmpfs")
        try:
            assert "disk full: file.bin needs 300,000 bytes" in fails(site, tmp_path)
            assert list(tmp_path.iterdir()) == []
        finally:
            subprocess.run(["umount", str(tmp_path)], check=True)

    def test_destination_that_cannot_be_written(self, site, tmp_path):
        (tmp_path / "raw").write_text("a file where a folder should be")
        with pytest.raises(UnrolledError, match=r"raw/file\.bin was not written: .*File exists"):
            fetch(site.url, tmp_path / "raw" / "file.bin", sha256=SHA256)

    @pytest.mark.faults(
        "interruptions",
        "kill -9 in the middle of a download",
        "the next call asks for the bytes that are missing",
    )
    def test_killed_in_the_middle(self, site, tmp_path):
        site.script = [serve(cut=250_000, stall=True)]
        code = "import sys; from pathlib import Path; from unrolled.fetch import fetch; "
        code += "fetch(sys.argv[1], Path(sys.argv[2]), sha256=sys.argv[3])"
        target, part = tmp_path / "file.bin", tmp_path / "file.bin.part"
        command = [sys.executable, "-c", code, site.url, str(target), SHA256]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            end = time.monotonic() + 10
            while not (part.exists() and part.stat().st_size >= 100_000) and time.monotonic() < end:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
        assert not target.exists()
        assert part.stat().st_size >= 100_000
        assert get(site, tmp_path) == CONTENT
        assert site.sent[1] <= 200_000


class FullDisk:
    """A stream with room for 100,000 bytes."""

    def __init__(self, stream: io.BufferedWriter):
        self.stream = stream

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()

    def write(self, chunk: bytes):
        if self.stream.tell() + len(chunk) > 100_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.stream.write(chunk)


class TestMirror:
    def options(self, mirror: object) -> dict[str, str]:
        return {"mirror": str(mirror), "dataset": "deeploc2"}

    def held(self, tmp_path: Path, content: bytes = CONTENT) -> Path:
        path = tmp_path / "mirror" / "deeploc2" / "file.bin"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        return path

    def test_folder(self, site, tmp_path):
        held = self.held(tmp_path)
        assert get(site, tmp_path / "raw", **self.options(tmp_path / "mirror")) == CONTENT
        assert site.requests == []
        assert held.read_bytes() == CONTENT

    def test_folder_ignores_the_part_of_a_download(self, site, tmp_path):
        self.held(tmp_path)
        (tmp_path / "raw").mkdir()
        (tmp_path / "raw" / "file.bin.part").write_bytes(b"x" * 400_000)
        assert get(site, tmp_path / "raw", **self.options(tmp_path / "mirror")) == CONTENT

    def test_missing_in_folder(self, site, tmp_path):
        message = fails(site, tmp_path, **self.options(tmp_path / "mirror"))
        assert f"the mirror does not hold {tmp_path}/mirror/deeploc2/file.bin" in message
        assert site.url in message
        assert "drop `mirror:`" in message

    def test_wrong_file_in_folder(self, site, tmp_path):
        held = self.held(tmp_path, b"stale")
        message = fails(site, tmp_path / "raw", **self.options(tmp_path / "mirror"))
        assert "wrong checksum" in message
        assert str(held) in message
        assert site.url in message
        assert held.read_bytes() == b"stale"
        assert list((tmp_path / "raw").iterdir()) == []

    @pytest.mark.parametrize("slash", ["", "/"])
    def test_http_root(self, site, tmp_path, slash):
        root = site.url.removesuffix("/data/file.bin") + "/root" + slash
        site.url = "https://no-such-host.invalid/file.bin"
        site.script = [serve(cut=200_000)]
        assert get(site, tmp_path, **self.options(root)) == CONTENT
        assert [path for path, _ in site.requests] == ["/root/deeploc2/file.bin"] * 2

    def test_names_are_quoted_in_the_address(self, site, tmp_path):
        root = site.url.removesuffix("/data/file.bin")
        fetch(site.url, tmp_path / "a b#1?.bin", mirror=root, dataset="50%", sha256=SHA256)
        assert site.requests[0][0] == "/50%25/a%20b%231%3F.bin"

    def test_missing_in_http_root(self, site, tmp_path):
        root = site.url.removesuffix("/data/file.bin") + "/root"
        site.script = [status(404)]
        message = fails(site, tmp_path, **self.options(root))
        assert f"HTTP 404 Not Found for {root}/deeploc2/file.bin" in message
        assert f"its source is {site.url}" in message
        assert "drop `mirror:`" in message

    def test_without_data_set_name(self, site, tmp_path):
        assert "name the data set" in fails(site, tmp_path, mirror=str(tmp_path))

    def test_unsupported_root(self, site, tmp_path):
        assert "s3://bucket" in fails(site, tmp_path, mirror="s3://bucket", dataset="deeploc2")


class TestArguments:
    @pytest.mark.parametrize(
        "url", ["file:///etc/hosts", "ftp://host/file", "/etc/hosts", "http://", "https:///path", ""]
    )
    def test_only_http(self, tmp_path, url):
        with pytest.raises(UnrolledError, match="http"):
            fetch(url, tmp_path / "file.bin")

    @pytest.mark.parametrize("url", ["http://[::1", "http://host:port/file", "http://.invalid/"])
    def test_malformed_address(self, tmp_path, url):
        with pytest.raises(UnrolledError, match="check address"):
            fetch(url, tmp_path / "file.bin", retries=0)

    @pytest.mark.parametrize("dataset", ["", "..", ".", "a/b", "../a", "a\\b", "/a"])
    def test_plain_data_set_name(self, tmp_path, dataset):
        with pytest.raises(UnrolledError, match="plain name"):
            fetch("http://host/file", tmp_path / "file.bin", mirror=str(tmp_path), dataset=dataset)

    @pytest.mark.parametrize("name", ["..", "a\\b", "."])
    def test_plain_file_name(self, name):
        with pytest.raises(UnrolledError, match="plain name"):
            fetch("http://host/file", Path(name))

    @pytest.mark.parametrize("sha256", ["", "abc", "g" * 64])
    def test_checksum_is_one(self, tmp_path, sha256):
        with pytest.raises(UnrolledError, match="64 hexadecimal digits"):
            fetch("http://host/file", tmp_path / "file.bin", sha256=sha256)


class TestProgress:
    def test_lines_on_stderr(self, site, tmp_path, capsys):
        site.script = [status(503)]
        get(site, tmp_path)
        out, err = capsys.readouterr()
        assert out == ""
        first, retry, last = err.splitlines()
        assert first == f"fetching {site.url}"
        assert re.fullmatch(r".*: HTTP 503 Service Unavailable; next try in 0\.0 s \(1 of 5\)", retry)
        assert re.fullmatch(rf"fetched {re.escape(str(tmp_path))}/file\.bin: 300,000 bytes in \d+\.\d s", last)

    def test_bar_on_a_terminal(self, site, tmp_path, capsys, monkeypatch):
        class Terminal(io.StringIO):
            def isatty(self):
                return True

        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        for name, value in {"TERM": "xterm", "COLUMNS": "100"}.items():
            monkeypatch.setenv(name, value)
        get(site, tmp_path)
        assert capsys.readouterr().out == ""
        assert "file.bin" in terminal.getvalue()
        assert "100%" in terminal.getvalue()


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    content=st.binary(max_size=200) | st.integers(0, 200_000).map(random.Random(1).randbytes),
    cuts=st.lists(st.integers(0, 200_000), max_size=4),
    honest=st.booleans(),
)
def test_cut_anywhere_the_file_is_the_same(site, tmp_path_factory, content, cuts, honest):
    site.content, site.script = content, [serve(cut=cut, ranges=honest) for cut in cuts]
    assert get(site, tmp_path_factory.mktemp("cut"), backoff=0) == content
