"""Writing files so that nobody ever sees half of one."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unrolled.errors import UnrolledError

if TYPE_CHECKING:
    import pandas as pd

AGAIN = "remove it, and run the step that writes it again"


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on any failure.

    Parent folders are made, and a symbolic link stays one. A reader sees the old file or the whole new one, never a
    part. A stream, such as /dev/stdout or a named pipe, is written to in the end.

    >>> with atomic("results/answer.txt") as tmp:
    ...     _ = tmp.write_text("42")
    """
    path = Path(path)
    stream = _is_stream(path)
    path = path.resolve() if path.is_symlink() and not stream else path
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = None if stream else path.parent
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=folder)
    os.close(handle)
    tmp = Path(name)
    try:
        yield tmp
        if stream:
            with tmp.open("rb") as whole, path.open("ab") as out:
                shutil.copyfileobj(whole, out)
        else:
            tmp.chmod(0o666 & ~_umask())
            tmp.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk does not say whose
        raise
    finally:
        tmp.unlink(missing_ok=True)


def _is_stream(path: Path) -> bool:
    """Whether a path is no file that another could take the place of: a device, a pipe, what a process has open."""
    special = path.exists() and not path.is_file() and not path.is_dir()
    return special or str(path).startswith(("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/self/fd/"))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON, atomically; NaN is refused (ValueError) because JSON has none."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic(path) as tmp:
        tmp.write_text(text, encoding="utf-8")


def read_json(path: Path | str) -> Any:
    """Read a JSON file written by `write_json`. Raises UnrolledError for one that is damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:  # UnicodeDecodeError is one, too
        raise UnrolledError(f"{path} is cut off or damaged ({error}): {AGAIN}") from None


def read_parquet(path: Path | str) -> "pd.DataFrame":
    """Read a Parquet file. Raises UnrolledError for one that is damaged, and OSError where there is none.

    Three times as fast as pandas.read_parquet where files are small: it looks at no folder and starts no thread.
    """
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            frame: pd.DataFrame = file.read(use_threads=False).to_pandas(use_threads=False)
            return frame
    except (OSError, ValueError) as error:  # pyarrow's errors are of these kinds
        raise fault(error, path, f"{path} is cut off or damaged ({error}): {AGAIN}") from None


def fault(error: Exception, path: Path | str, damage: str) -> Exception:
    """What to raise where pyarrow cannot read a file: the system's own error, which has a number, or `damage`."""
    if not isinstance(error, OSError) or error.errno is None:
        return UnrolledError(damage)
    error.filename = str(path)  # which pyarrow leaves out
    return error


def check_writable(path: Path) -> None:
    """Raise OSError if no file could be written to `path`: before the work, not after it. Nothing is left there."""
    if _is_stream(path):
        return
    path = path.resolve()
    home = next(folder for folder in path.parents if folder.exists())
    try:
        tempfile.TemporaryFile(dir=home).close()
    except OSError as error:
        error.filename = str(path)
        raise


def source_of(path: Path) -> Path:
    """The JSON file beside a downloaded one that says where it came from, if something is known of that."""
    return path.with_name(f"{path.name}.json")


def sha256(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file's bytes, read in blocks."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
