"""Queries to a stand-in for UniProt that rates, breaks, forgets and changes its release while it is being asked."""

import gzip
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from uniprot_service import HEADINGS, MIRROR, Site, complain, hang_up, serve, service, status, written, yeast
from unrolled import query as module
from unrolled import transfer
from unrolled.cli import cli
from unrolled.errors import UnrolledError
from unrolled.files import read_json, sha256
from unrolled.query import Query, query

FIELDS = ("accession", "sequence", "ft_helix", "cc_subcellular_location")
ASKED = "(reviewed:true) AND (taxonomy_id:2759)"


@pytest.fixture
def site(monkeypatch):
    """Eight entries in three pages."""
    monkeypatch.setenv("NO_PROXY", "*")  # a proxy of this computer must not come between
    monkeypatch.setattr(module, "SIZE", 3)
    with service(written()) as site:
        yield site


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """The waits between tries, noted instead of waited."""
    noted: list[float] = []
    monkeypatch.setattr(transfer, "sleep", noted.append)
    return noted


def table(site: Site, fields=FIELDS) -> list[str]:
    """The lines that a whole download must have."""
    rows = ["\t".join(entry.get(name, "") for name in fields) for entry in site.entries]
    return ["\t".join(HEADINGS[name] for name in fields), *rows]


def get(site: Site, folder: Path, name: str = "x.tsv.gz", **options) -> list[str]:
    """Lines of what a query brings; nothing else but its record is left in the folder."""
    target = folder / name
    assert query(Query(ASKED, FIELDS, site.address), target, **{"backoff": 0.001, "timeout": 5} | options) == target
    assert sorted(path.name for path in folder.iterdir()) == [name, f"{name}.json"]
    return read(target)


def read(path: Path) -> list[str]:
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).decode().splitlines()


def fails(site: Site, folder: Path, asked: Query | None = None, **options) -> str:
    """The one-line message of a query that must fail without a file at the destination."""
    with pytest.raises(UnrolledError) as caught:
        query(asked or Query(ASKED, FIELDS, site.address), folder / "x.tsv.gz", **{"backoff": 0.001} | options)
    assert not (folder / "x.tsv.gz").exists()
    assert not (folder / "x.tsv.gz.json").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestDownload:
    def test_all_pages_in_order_under_one_heading(self, site, tmp_path, capsys):
        assert get(site, tmp_path) == table(site)
        assert site.starts() == [0, 3, 6]
        first = site.asked[0]
        assert (first["query"], first["fields"], first["format"]) == (ASKED, ",".join(FIELDS), "tsv")
        out, err = capsys.readouterr()
        assert out == ""
        assert "UniProt release 2026_03 (17-June-2026): 8 rows in 3 pages" in err

    def test_the_record_says_of_what_release_and_query(self, site, tmp_path):
        get(site, tmp_path)
        record = read_json(tmp_path / "x.tsv.gz.json")
        assert record.pop("date").startswith("20")
        assert record.pop("sha256") == sha256(tmp_path / "x.tsv.gz")
        assert record == {
            **{"file": "x.tsv.gz", "query": ASKED, "fields": list(FIELDS), "service": site.address},
            **{"release": "2026_03", "release_date": "17-June-2026", "rows": 8},
        }

    def test_without_gzip_where_the_name_says_so(self, site, tmp_path):
        assert get(site, tmp_path, "x.tsv") == table(site)

    def test_equal_rows_are_equal_bytes(self, site, tmp_path):
        get(site, tmp_path / "a")
        get(site, tmp_path / "b")
        assert (tmp_path / "a/x.tsv.gz").read_bytes() == (tmp_path / "b/x.tsv.gz").read_bytes()

    def test_a_good_file_is_left_alone(self, site, tmp_path):
        get(site, tmp_path)
        site.asked.clear()
        assert get(site, tmp_path) == table(site)
        assert site.asked == []

    def test_a_file_of_another_query_or_without_a_record_is_fetched_again(self, site, tmp_path):
        get(site, tmp_path)
        query(Query("other", FIELDS, site.address), tmp_path / "x.tsv.gz")
        assert site.asked[-1]["query"] == "other"
        get(site, tmp_path)
        record = tmp_path / "x.tsv.gz.json"
        record.write_text(json.dumps(read_json(record) | {"service": "http://other"}))
        site.asked.clear()
        assert get(site, tmp_path) == table(site)
        assert site.starts() == [0, 3, 6]
        record.unlink()
        site.asked.clear()
        assert get(site, tmp_path) == table(site)
        (tmp_path / "x.tsv.gz").write_bytes(b"edited")
        assert get(site, tmp_path) == table(site)
        assert site.starts() == [0, 3, 6] * 2

    def test_one_page(self, site, tmp_path):
        site.entries = site.entries[:3]
        assert get(site, tmp_path) == table(site)
        assert site.starts() == [0]

    def test_the_command(self, site, tmp_path):
        out = tmp_path / "x.tsv"
        call = ["query", "--query", ASKED, "--fields", ", ".join(FIELDS), "--mirror="]
        assert CliRunner().invoke(cli, [*call, "--service", site.address, "--out", str(out)]).exit_code == 0
        assert read(out) == table(site)


class TestFaults:
    @pytest.mark.parametrize(
        "fault",
        [
            status(500),
            status(502),
            status(503),
            hang_up,
            serve(cut=20),
            serve(cut=60, length=False),  # a gzip cut off where no length was announced: only its own end tells
            serve(cut=0),
            serve(damaged=True),
            serve(change=lambda text: text.replace("\t", " ", 5)),
        ],
    )
    @pytest.mark.parametrize("at", [0, 1, 2])
    def test_a_page_that_breaks_is_asked_for_again(self, site, tmp_path, waits, fault, at):
        site.script = [serve()] * at + [fault]
        assert get(site, tmp_path) == table(site)
        assert site.starts() == sorted([0, 3, 6, 3 * at])
        assert len(waits) == 1

    def test_retry_after_is_honoured(self, site, tmp_path, waits):
        site.script = [status(429, Retry_After="7"), serve(), status(503, Retry_After="2")]
        assert get(site, tmp_path) == table(site)
        assert waits == [7, 2]

    def test_a_wait_of_a_day_is_cut_to_a_minute_and_said(self, site, tmp_path, waits, capsys):
        site.script = [serve(), status(429, Retry_After="86400")]
        assert get(site, tmp_path) == table(site)
        assert waits == [60]
        said = capsys.readouterr().err
        assert "HTTP 429 Too Many Requests, Retry-After: 86400; next try in 60.0 s (1 of 5)" in said
        site.script = [serve(), *[status(503, Retry_After="86400")] * 3]
        message = fails(site, tmp_path / "other", retries=2)
        assert waits == [60] * 3
        assert "HTTP 503 Service Unavailable, Retry-After: 86400 (tries: 3)" in message
        assert "3 rows are kept in" in message

    def test_silence(self, site, tmp_path):
        site.script = [serve(), serve(cut=30, stall=True)]
        assert get(site, tmp_path, timeout=0.3) == table(site)

    def test_a_refused_query_shows_what_uniprot_says(self, site, tmp_path):
        site.script = [complain("'nosuchfield' is not a valid search field", "query parameter has an invalid syntax")]
        message = fails(site, tmp_path)
        assert "'nosuchfield' is not a valid search field; query parameter has an invalid syntax" in message
        assert len(site.asked) == 1
        assert list(tmp_path.iterdir()) == []

    def test_an_unknown_field(self, site, tmp_path):
        message = fails(site, tmp_path, Query(ASKED, ("accession", "seq"), site.address))
        assert "the query is refused: Invalid fields parameter value 'seq'" in message

    def test_no_such_address(self, site, tmp_path):
        site.script = [status(404)]
        assert f"HTTP 404 Not Found for {site.address}" in fails(site, tmp_path)

    def test_something_else_than_uniprot(self, site, tmp_path):
        site.script = [status(200, b"<html>log in</html>")]
        assert "no x-total-results, so it is not UniProt's search" in fails(site, tmp_path)

    def test_nothing_found(self, site, tmp_path):
        site.entries = []
        assert f"nothing is found by {ASKED!r}" in fails(site, tmp_path)

    def test_offline(self, tmp_path, waits):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        asked = Query(ASKED, FIELDS, f"http://127.0.0.1:{port}/search")
        message = fails(None, tmp_path, asked, retries=2, dataset="uniprot")
        assert "Connection refused" in message
        assert "tries: 3" in message
        assert "set `mirror:` to a folder or http(s) root with uniprot/x.tsv.gz" in message

    def test_unavailable_for_ever_keeps_what_came(self, site, tmp_path, waits):
        site.script = [serve(), serve()] + [status(503)] * 3
        message = fails(site, tmp_path, retries=2)
        assert f"6 rows are kept in {tmp_path}/x.tsv.gz.pages and the next call goes on there" in message
        site.asked.clear()
        assert get(site, tmp_path) == table(site)
        assert site.starts() == [6]

    @pytest.mark.parametrize("extra", [1, -1])
    def test_another_number_of_rows_than_announced_is_an_error(self, site, tmp_path, extra):
        site.script = [serve(extra=extra)] * 3
        message = fails(site, tmp_path)
        told = {1: "8 rows came instead of 9", -1: "8 rows and no end, though there are 7"}
        assert told[extra] in message
        site.asked.clear()
        assert get(site, tmp_path) == table(site)
        assert site.starts() == [0, 3, 6]

    def test_columns_that_change(self, site, tmp_path):
        site.script = [serve(), serve(change=lambda text: text.replace("Helix", "Coil", 1))]
        assert "the columns changed" in fails(site, tmp_path)
        site.asked.clear()
        assert get(site, tmp_path) == table(site)
        assert site.starts() == [0, 3, 6]

    def test_pages_that_another_version_kept_are_asked_for_again(self, site, tmp_path):
        site.script = [serve(), *[status(500)] * 3]
        fails(site, tmp_path, retries=2)
        state = tmp_path / "x.tsv.gz.pages.json"
        state.write_text(json.dumps(json.loads(state.read_text()) | {"cursor": "?"}))
        site.asked.clear()
        assert get(site, tmp_path) == table(site)
        assert site.starts() == [0, 3, 6]

    def test_not_the_columns_that_were_asked_for(self, site, tmp_path):
        site.script = [serve(change=lambda text: "".join(f"{line}\tmore\n" for line in text.splitlines()))]
        assert "5 columns" in fails(site, tmp_path)

    @pytest.mark.parametrize("address", ["ftp://host/search", "host", "http://"])
    def test_only_http(self, tmp_path, address):
        assert "not an http(s) address" in fails(None, tmp_path, Query(ASKED, FIELDS, address))


class TestRelease:
    def test_a_change_starts_again_and_says_so(self, site, tmp_path, capsys):
        site.script = [serve(), serve(), serve(release="2026_04")]
        assert get(site, tmp_path) == table(site)
        assert site.starts() == [0, 3, 6, 0, 3, 6]
        assert read_json(tmp_path / "x.tsv.gz.json")["release"] == "2026_04"
        said = capsys.readouterr().err
        assert "the release changed from 2026_03 to 2026_04: starting again from the first page (1 of 3)" in said

    def test_a_cursor_that_is_no_more_starts_again(self, site, tmp_path, capsys):
        site.script = [serve(), complain("Invalid cursor value")]
        assert get(site, tmp_path) == table(site)
        assert site.starts() == [0, 3, 0, 3, 6]
        assert "the next page is refused (Invalid cursor value): starting again" in capsys.readouterr().err

    def test_no_row_of_the_old_release_stays(self, site, tmp_path):
        old, site.entries = site.entries, [dict(entry, ft_helix="HELIX 1..2") for entry in site.entries]
        new, site.entries = site.entries, old

        def released(handler):
            site.entries = new
            serve(release="2026_04")(handler)

        site.script = [serve(), serve(), released]
        assert get(site, tmp_path) == table(site)
        assert {row.split("\t")[2] for row in table(site)[1:]} == {"HELIX 1..2"}

    def test_releases_without_end_are_an_error(self, site, tmp_path):
        site.script = [step for n in range(9) for step in (serve(release=f"{n}a"), serve(release=f"{n}b"))]
        message = fails(site, tmp_path)
        assert "the release changed from 3a to 3b (started again 3 times)" in message
        assert len(site.asked) == 8

    def test_a_resumed_download_of_an_old_release_starts_again(self, site, tmp_path, waits):
        site.script = [serve(), status(503)]
        fails(site, tmp_path, retries=0)
        site.release = "2026_04"
        site.asked.clear()
        assert get(site, tmp_path) == table(site)
        assert site.starts() == [3, 0, 3, 6]


class TestResume:
    @pytest.mark.faults(
        "interruptions",
        "kill -9 in the middle of a query to UniProt",
        "the next call goes on at the page that is missing",
    )
    def test_killed_in_the_middle(self, site, tmp_path):
        site.script = [serve(), serve(), serve(cut=30, stall=True)]
        code = "import sys; from pathlib import Path; from unrolled import query as q; q.SIZE = 3; "
        code += "q.query(q.Query(sys.argv[1], tuple(sys.argv[2].split(',')), sys.argv[3]), Path(sys.argv[4]))"
        target, state = tmp_path / "x.tsv.gz", tmp_path / "x.tsv.gz.pages.json"
        command = [sys.executable, "-c", code, ASKED, ",".join(FIELDS), site.address, str(target)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            end = time.monotonic() + 20
            while len(site.asked) < 3 and time.monotonic() < end:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
        assert not target.exists()
        assert read_json(state)["rows"] == 6
        site.asked.clear()
        assert get(site, tmp_path) == table(site)
        assert site.starts() == [6]

    def test_what_was_written_after_the_last_record_is_overwritten(self, site, tmp_path, waits):
        site.script = [serve(), status(503)]
        fails(site, tmp_path, retries=0)
        with (tmp_path / "x.tsv.gz.pages").open("a") as pages:
            pages.write("half a row")
        assert get(site, tmp_path) == table(site)

    def test_pages_that_are_shorter_than_their_record_start_again(self, site, tmp_path, waits):
        site.script = [serve(), status(503)]
        fails(site, tmp_path, retries=0)
        (tmp_path / "x.tsv.gz.pages").write_text("lost")
        site.asked.clear()
        assert get(site, tmp_path) == table(site)
        assert site.starts() == [0, 3, 6]

    def test_pages_of_another_query_start_again(self, site, tmp_path, waits):
        site.script = [serve(), status(503)]
        fails(site, tmp_path, Query("other", FIELDS, site.address), retries=0)
        assert get(site, tmp_path) == table(site)
        assert site.starts()[-3:] == [0, 3, 6]

    def test_killed_before_the_last_step_needs_no_request(self, site, tmp_path, monkeypatch):
        def killed(*_, **__):
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(module, "_pack", killed)
            with pytest.raises(KeyboardInterrupt):
                get(site, tmp_path)
        site.asked.clear()
        assert get(site, tmp_path) == table(site)
        assert site.asked == []


class TestMirror:
    def mirrored(self, site, tmp_path) -> Path:
        """A mirror made of what a query brought."""
        get(site, tmp_path / "mirror" / "uniprot")
        site.asked.clear()
        return tmp_path / "mirror"

    def test_folder_with_its_record(self, site, tmp_path):
        mirror = self.mirrored(site, tmp_path)
        assert get(site, tmp_path / "raw", mirror=str(mirror), dataset="uniprot") == table(site)
        assert site.asked == []
        assert read_json(tmp_path / "raw/x.tsv.gz.json")["release"] == "2026_03"

    def test_without_a_record_the_release_is_unknown_and_that_is_said(self, site, tmp_path, capsys):
        mirror = self.mirrored(site, tmp_path)
        (mirror / "uniprot/x.tsv.gz.json").unlink()
        assert get(site, tmp_path / "raw", mirror=str(mirror), dataset="uniprot") == table(site)
        record = read_json(tmp_path / "raw/x.tsv.gz.json")
        assert (record["release"], record["rows"], record["query"]) == (None, 8, ASKED)
        assert "so the release of x.tsv.gz is not known" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "change", [{"query": "other"}, {"fields": ["accession"]}, {"service": "http://other"}, {"sha256": "0" * 64}]
    )
    def test_the_answer_to_another_query_is_refused(self, site, tmp_path, change):
        mirror = self.mirrored(site, tmp_path)
        record = mirror / "uniprot/x.tsv.gz.json"
        record.write_text(json.dumps(read_json(record) | change))
        message = fails(site, tmp_path / "raw", mirror=str(mirror), dataset="uniprot")
        assert "the mirror's x.tsv.gz" in message

    def test_missing(self, site, tmp_path):
        message = fails(site, tmp_path, mirror=str(tmp_path / "none"), dataset="uniprot")
        assert f"the mirror does not hold {tmp_path}/none/uniprot/x.tsv.gz" in message


@pytest.mark.skipif(not (MIRROR / "uniprot_yeast").is_dir(), reason="needs the real data in ../shared/data")
def test_a_whole_proteome_through_every_fault(tmp_path, waits, monkeypatch):
    """6,758 real entries in 14 pages; each of the first ten is had only at the second try, then a release changes."""
    monkeypatch.setenv("NO_PROXY", "*")
    with service(yeast()) as site:
        faults = [status(429, Retry_After="1"), status(500), status(503), hang_up, serve(cut=9000)]
        pages = [step for fault in faults * 2 for step in (fault, serve())]
        site.script = [*pages, serve(release="2026_04")]
        fields = ("accession", "sequence", "ft_helix", "ft_strand", "ft_turn", "organism_name")
        query(Query(ASKED, fields, site.address), tmp_path / "yeast.tsv.gz")
        assert read(tmp_path / "yeast.tsv.gz") == table(site, fields)
        assert len(site.asked) == 20 + 1 + 14
    assert read_json(tmp_path / "yeast.tsv.gz.json")["rows"] == 6758
    assert len(waits) == 10
