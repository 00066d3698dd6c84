"""Data inside archives: read where it lies, whatever its names say."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from unrolled import formats
from unrolled.archives import members, opened
from unrolled.errors import UnrolledError

CONTENT = {"d/b.fasta": b">1\nMKV\n", "d/a.fasta": b">2\nMKL\n>3\nMKI\n", "d/._a.fasta": b"x", "d/readme.txt": b"y"}
CARD = {"task": "multiclass", "alphabet": "protein", "format": "fasta", "labels": "file"}


def archived(path: Path, content: dict[str, bytes] = CONTENT) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as zipped:
            for name, data in content.items():
                zipped.writestr(name, data)
        return path
    with tarfile.open(path, f"w:{path.suffix[1:]}" if path.suffix != ".tar" else "w") as tar:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


KINDS = ["x.tar", "x.tar.gz", "x.tar.bz2", "x.tar.xz", "x.zip"]


@pytest.mark.parametrize("kind", KINDS)
def test_members_are_named_in_order_without_hidden_files_and_read(tmp_path, kind):
    archive = archived(tmp_path / kind)
    found = members(archive, "d/*.fasta")
    assert found == [archive / "d/a.fasta", archive / "d/b.fasta"]
    with opened(found[1]) as stream:
        assert stream.read() == b">1\nMKV\n"


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_a_class(tmp_path, kind):
    archive = archived(tmp_path / kind)
    table, excluded = formats.read(CARD | {"files": [{"name": kind, "members": "d/*.fasta"}]}, "x", [archive])
    assert dict(zip(table["id"], table["target"], strict=True)) == {"1": "b", "2": "a", "3": "a"}
    assert excluded.empty


def test_a_file_a_class_without_an_archive(tmp_path):
    paths = [tmp_path / "ER.fasta", tmp_path / "Golgi.fasta.gz"]
    paths[0].write_text(">1\nMKV\n")
    paths[1].write_bytes(gzip.compress(b">2\nMKL\n"))
    table, _ = formats.read(CARD | {"files": [{"path": str(path)} for path in paths]}, "x", paths)
    assert table["target"].tolist() == ["ER", "Golgi"]


def test_zipped_members_are_read_too(tmp_path):
    archive = archived(tmp_path / "x.zip", {"a.fasta.gz": gzip.compress(b">1\nMKV\n"), "b.fasta": b">2\nMKL\n"})
    table, _ = formats.read(CARD | {"files": [{"name": "x.zip", "members": "*"}]}, "x", [archive])
    assert table["target"].tolist() == ["a", "b"]


def test_a_fault_inside_names_archive_member_and_line(tmp_path):
    archive = archived(tmp_path / "x.tar.gz", {"d/a.fasta": b">1\nMKV\n>2\nMK1\n"})
    with pytest.raises(UnrolledError, match=r"x\.tar\.gz/d/a\.fasta:4:3: letter '1'"):
        formats.read(CARD | {"files": [{"name": "x.tar.gz", "members": "d/*"}]}, "x", [archive])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b"no archive"), "no tar or zip archive, or a damaged one"),
        (lambda path: path.write_bytes(archived(path).read_bytes()[:60]), "no tar or zip archive, or a damaged one"),
        (archived, r"nothing in it matches `members: z/\*`\. It has: d/"),
    ],
)
def test_what_is_no_archive_or_lacks_the_members_is_told(tmp_path, make, message):
    path = tmp_path / "x.tar.gz"
    make(path)
    with pytest.raises(UnrolledError, match=message):
        members(path, "z/*")


@pytest.mark.faults(
    "hostile input",
    "an archive with the absolute name of a file of one's own",
    "what the archive holds under that name is read, as tar does without the leading slash, never the file",
)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("there", [True, False])
def test_an_absolute_name_is_one_inside_the_archive(tmp_path, kind, there):
    private = tmp_path / "private.fasta"
    if there:
        private.write_text(">secret\nMMM\n")
    archive = archived(tmp_path / kind, {str(private): b">1\nMKV\n", "//b.fasta": b">2\nMKL\n"})
    found = members(archive, "*.fasta")
    assert found == [archive / "b.fasta", archive / str(private)[1:]]
    assert [opened(path).read() for path in found] == [b">2\nMKL\n", b">1\nMKV\n"]


@pytest.mark.faults(
    "hostile input",
    "a tar archive with `../`, symbolic and hard links, devices and pipes",
    "nothing is unpacked, and only plain files are members: nothing is written or read elsewhere",
)
def test_names_that_lead_elsewhere_and_links_write_and_read_nothing(tmp_path):
    secret = tmp_path / "secret.fasta"
    secret.write_text(">s\nMKV\n")
    archive = tmp_path / "in" / "x.tar"
    archive.parent.mkdir()
    with tarfile.open(archive, "w") as tar:
        for name, kind, target in (
            ("a.fasta", tarfile.SYMTYPE, "../secret.fasta"),
            ("b", tarfile.LNKTYPE, "/etc/passwd"),
            ("d.fasta", tarfile.CHRTYPE, ""),
            ("e.fasta", tarfile.BLKTYPE, ""),
            ("f.fasta", tarfile.FIFOTYPE, ""),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info)
        info = tarfile.TarInfo("../out.fasta")
        info.size = 7
        tar.addfile(info, io.BytesIO(b">1\nMKV\n"))
    with pytest.raises(UnrolledError, match="nothing in it matches"):
        members(archive, "*a.fasta")
    before = sorted(tmp_path.rglob("*"))
    (found,) = members(archive, "*.fasta")
    with opened(found) as stream:
        assert stream.read() == b">1\nMKV\n"
    assert sorted(tmp_path.rglob("*")) == before
