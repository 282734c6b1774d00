"""Files appear whole: written beside, flushed to disk, renamed. One writer a folder."""

from __future__ import annotations

import csv
import errno
import functools
import hashlib
import json
import math
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from distill.errors import DistillError, Refused

#: A disk with fewer bytes free is full: a write that failed there failed for that reason.
NEARLY_FULL = 1_000_000


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; on success flush and rename it, on failure leave nothing behind.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "answer.txt"
    >>> with whole(target) as beside:
    ...     _ = beside.write_text("42")
    >>> target.read_text()
    '42'
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        with beside.open("rb") as handle:
            os.fsync(handle.fileno())
        beside.chmod(0o666 & ~_umask())  # some writers' own files are for their user alone
        beside.replace(path)
    except Exception as error:
        # The name that the user knows, not the one beside it. Writers of other libraries give no name, or no number,
        # or, where the disk is full, types of their own.
        if isinstance(error, OSError):
            raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(path)) from None
        if path.parent.is_dir() and shutil.disk_usage(path.parent).free < NEARLY_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None
        raise
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


@functools.cache
def _umask() -> int:
    """What the user takes from the mode of new files. It can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def reject_unwritable(path: Path) -> None:
    """Find out before the work whether `path` can be written. Nothing is left of the trial, no empty folder either.

    Raises:
        OSError: it cannot.
    """
    made = [folder for folder in path.absolute().parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path.with_name(f".{path.name}.probe")) as beside:
        beside.touch()
    path.with_name(f".{path.name}.probe").unlink()
    for folder in made:
        with suppress(OSError):  # somebody else has put something there
            folder.rmdir()


def reject_no_json(output: Path) -> None:
    """Find out before the work whether the JSON that is wanted can be written.

    >>> reject_no_json(Path("result.txt"))
    Traceback (most recent call last):
    ...
    distill.errors.DistillError: result.txt: the output must be a file that ends in .json

    Raises:
        DistillError: it is a folder, or does not end in .json.
        OSError: it cannot be written.
    """
    if output.suffix != ".json" or output.is_dir():
        raise DistillError(f"{output}: the output must be a file that ends in .json")
    reject_unwritable(output)


def check_disk(folder: Path, bytes_needed: int) -> None:
    """Refuse before the work, not in the middle of it, what the disk of `folder` cannot hold.

    Raises:
        DistillError: fewer bytes are free than needed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < bytes_needed:
        raise DistillError(
            f"{folder}: {bytes_needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free; choose another disk"
        )


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with whole(path) as beside:
        beside.write_text(text, encoding="utf-8")


def plain(value: Any) -> Any:
    """`value` as strict JSON: numpy numbers become Python's, NaN and infinities become null, tuples lists.

    >>> plain({"ccc": float("nan"), "axes": ("arousal",)})
    {'ccc': None, 'axes': ['arousal']}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def write_json(path: Path, value: Any) -> None:
    """Write strict JSON (NaN as null), indented, whole or not at all."""
    write_text(path, json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DistillError: it is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DistillError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DistillError(f"{path}: not valid JSON ({error})") from None


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV with a header, whole or not at all."""
    with whole(path) as beside, beside.open("w", newline="", encoding="utf-8", errors="surrogateescape") as handle:
        writer = csv.writer(handle)
        writer.writerow(columns)
        writer.writerows(rows)


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as handle:
        return sha256_of_bytes(handle)


def sha256_of_bytes(handle: Any) -> str:
    """Hexadecimal SHA-256 of what a file that is open has left."""
    digest = hashlib.sha256()
    for block in iter(lambda: handle.read(1 << 20), b""):
        digest.update(block)
    return digest.hexdigest()


@contextmanager
def sole_writer(folder: Path, *, patience: float = 0.0) -> Iterator[None]:
    """Hold `folder` for this process alone; the system lets go of it when the process dies, however it dies.

    patience: seconds to wait for another process that holds it.

    Raises:
        Refused: another living process holds it.
    """
    if folder.exists() and not folder.is_dir():
        raise Refused(f"{folder}: is a file; name a folder")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as handle:
        if not _locked(handle, patience):
            raise Refused(f"{folder}: another run is writing into this folder; wait for it or choose another")
        yield


def _locked(handle: IO[str], patience: float) -> bool:
    import fcntl

    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
        time.sleep(0.1)
