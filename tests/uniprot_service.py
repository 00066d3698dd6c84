"""A stand-in for UniProt's search on loopback: real entries where the mirror is, pages, and every fault on request.

It answers as https://www.uniprot.org/help/pagination says: TSV with headings that are not the names of the fields, a
Link to the next page, x-total-results and x-uniprot-release. What a query means is not its business: it finds all
the entries that it was given.
"""

import csv
import gzip
import json
import re
import sys
import threading
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

MIRROR = Path(__file__).parents[2] / "shared" / "data"
HEADINGS = {
    "accession": "Entry",
    "sequence": "Sequence",
    "cc_subcellular_location": "Subcellular location [CC]",
    "cc_alternative_products": "Alternative products (isoforms)",
    "organism_name": "Organism",
    "ft_helix": "Helix",
    "ft_strand": "Beta strand",
    "ft_turn": "Turn",
}
Entry = dict[str, str]  # field -> text


def page_of(at: int, release: str) -> str:
    return urlsafe_b64encode(f"{release}:{at}".encode()).decode()


class Handler(BaseHTTPRequestHandler):
    """Hands every request to the next step of the script, or answers it properly."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        site = self.server.site
        site.asked.append({name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()})
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
    """What there is to be found, of which release, what comes next, and what was asked so far."""

    address: str
    entries: Sequence[Entry]
    release: str = "2026_03"
    released: str = "17-June-2026"
    script: list[Step] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)  # ends every stall

    def starts(self) -> list[int]:
        """Number of the first row of each page that was asked for."""
        cursors = [urlsafe_b64decode(one.get("cursor", page_of(0, "x"))).decode() for one in self.asked]
        return [int(cursor.split(":")[1]) for cursor in cursors]


def serve(
    *,
    cut: int | None = None,
    damaged: bool = False,
    length: bool = True,
    stall: bool = False,
    extra: int = 0,
    release: str | None = None,
    change: Callable[[str], str] = str,
) -> Step:
    """The page asked for; `cut`: only so many bytes, then hang up, or with `stall` fall silent; `damaged`: some bytes
    in its middle are others; `length`: announced;
    `extra`: rows that are counted but not there; `release`: from now on; `change`: to the page's text."""

    def step(handler: Handler):
        site, asked = handler.server.site, handler.server.site.asked[-1]
        site.release = release or site.release
        fields, size = asked["fields"].split(","), min(int(asked["size"]), 500)
        if unknown := [name for name in fields if name not in HEADINGS]:
            return complain(*(f"Invalid fields parameter value '{name}'" for name in unknown))(handler)
        at = site.starts()[-1]
        rows = ["\t".join(entry.get(name, "") for name in fields) for entry in site.entries[at : at + size]]
        text = change("".join(f"{line}\n" for line in ["\t".join(HEADINGS[name] for name in fields), *rows]))
        zipped = "gzip" in handler.headers.get("Accept-Encoding", "")
        body = gzip.compress(text.encode()) if zipped else text.encode()
        if damaged:
            body = body[:40] + bytes(255 - byte for byte in body[40:50]) + body[50:]
        handler.send_response(200)
        handler.send_header("Content-Type", "text/plain;format=tsv")
        handler.send_header("X-Total-Results", str(len(site.entries) + extra))
        handler.send_header("X-UniProt-Release", site.release)
        handler.send_header("X-UniProt-Release-Date", site.released)
        if zipped:
            handler.send_header("Content-Encoding", "gzip")
        if at + size < len(site.entries):
            cursor = {**asked, "cursor": page_of(at + size, site.release)}
            handler.send_header("Link", f'<{site.address}?{urlencode(cursor)}>; rel="next"')
        handler.send_header(*(("Content-Length", str(len(body))) if length else ("Connection", "close")))
        handler.end_headers()
        handler.wfile.write(body[:cut])
        handler.wfile.flush()
        if stall:
            site.over.wait(20)
        handler.close_connection = cut is not None or not length
        return None

    return step


def status(code: int, body: bytes = b"no", **headers: str) -> Step:
    return lambda handler: handler.answer(code, body, **headers)


def complain(*messages: str) -> Step:
    body = json.dumps({"url": "http://rest.uniprot.org/uniprotkb/search", "messages": messages}).encode()
    return status(400, body, Content_Type="application/json")


def hang_up(handler: Handler) -> None:
    handler.close_connection = True


class Server(ThreadingHTTPServer):
    site: Site

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ConnectionError):  # clients that hang up are meant to
            super().handle_error(request, client_address)


@contextmanager
def service(entries: Sequence[Entry]) -> Iterator[Site]:
    """The stand-in, running: `site.address` is what a card's `service` names."""
    with Server(("127.0.0.1", 0), Handler) as server:
        server.site = Site(f"http://127.0.0.1:{server.server_address[1]}/uniprotkb/search", entries)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.site
        finally:
            server.site.over.set()
            server.shutdown()
            thread.join()


# Entries


def yeast() -> list[Entry]:
    """All 6,758 entries of the mirror's yeast proteome, with their real features; it has no locations."""
    folder = MIRROR / "uniprot_yeast"
    kinds = {"HELIX": "ft_helix", "STRAND": "ft_strand", "TURN": "ft_turn"}
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    with (folder / "preprocessed_uniprot_yeast.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            if row["feature"] in kinds:
                ends = [row[end].removesuffix(".0") or "?" for end in ("start", "end")]
                found[row["protein_id"]][kinds[row["feature"]]].append(f"{row['feature']} {'..'.join(ends)}")
    records = (folder / "yeast_559292.fasta").read_text().split(">")[1:]
    return [_of_fasta(record, found) for record in records]


def _of_fasta(record: str, found: dict[str, dict[str, list[str]]]) -> Entry:
    header, _, letters = record.partition("\n")
    name = header.split("|")[1]
    organism = re.search(r"OS=(.*?) OX=", header)
    known = {kind: "; ".join(features) for kind, features in found[name].items()}
    return {"accession": name, "sequence": letters.replace("\n", ""), "organism_name": organism[1], **known}


def swissprot() -> list[Entry]:
    """The real entries of the mirror's flat files, their comments cut out by other means than the package's."""
    texts = [path.read_text() for path in sorted((MIRROR / "swissprot_entries").glob("*.txt"))]
    return [_of_text(entry) for text in texts for entry in re.split(r"^//\n?", text, flags=re.MULTILINE) if entry]


def _of_text(entry: str) -> Entry:
    fields = {"SUBCELLULAR LOCATION": "cc_subcellular_location", "ALTERNATIVE PRODUCTS": "cc_alternative_products"}
    comments = entry.replace("-\nCC       ", "-").replace("\nCC       ", " ")
    found = {
        fields[topic]: "; ".join(re.findall(rf"^CC   -!- ({topic}:.*)$", comments, re.MULTILINE)) for topic in fields
    }
    body = entry.split("\nSQ ")[1].split("\n", 1)[1]
    organism = " ".join(re.findall(r"^OS   (.*)$", entry, re.MULTILINE))
    name = re.search(r"^AC   (\w+)", entry, re.MULTILINE)[1]
    return {"accession": name, "sequence": re.sub(r"\s", "", body), "organism_name": organism, **found}


def written() -> list[Entry]:
    """Entries that nobody's database has: what the tests need to know of each, in the forms that UniProt uses."""
    at = "SUBCELLULAR LOCATION: "
    told = [
        (f"{at}Nucleus {{ECO:0000269|PubMed:1}}. Cytoplasm {{ECO:0000255}}.", "HELIX 2..5"),
        (f"{at}Mitochondrion inner membrane {{ECO:0000269|Ref.6}}; Multi-pass membrane protein.", "HELIX ?..5"),
        (f"{at}Secreted {{ECO:0000303|PubMed:2}}.", "HELIX <1..4; HELIX 6..9"),
        (f"{at}[Isoform 2]: Cytoplasm {{ECO:0000269|PubMed:3}}.", ""),
        (f"{at}Nucleus {{ECO:0000269|PubMed:4}}. Note=Also in Mitochondrion.", "HELIX 1..99"),
        ("", "HELIX 3"),
        (f'{at}Cell membrane {{ECO:0000269|PubMed:5}}. Note=A "quoted" word.', 'HELIX 1..3; /note="HELIX 7..8"'),
        (f"{at}Melanosome {{ECO:0000269|PubMed:6}}.", "HELIX 4..6"),
    ]
    letters = "MKVLAAGICDEFHNPQRSTWY"
    return [
        {
            "accession": f"P0000{n}",
            "sequence": letters[n:] + letters[:n],
            "organism_name": "Nobody",
            "cc_subcellular_location": location,
            "ft_helix": helix,
            "ft_strand": f"STRAND {n + 10}..{n + 12}",
        }
        for n, (location, helix) in enumerate(told)
    ]
