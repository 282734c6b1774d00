"""Tars elsewhere (s3://, gs://, http://, ...): fetched one by one into a bounded cache folder, which stands for them.

The folder of a cache remembers its address, so whoever reads a path below it later (a worker, a training run) finds
the tar there, or fetches it anew. Access is fsspec's own: its settings, environment variables and configuration files.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from distill.errors import AudioError, DistillError
from distill.files import read_json, whole, write_json

#: Where the cache is unless one is named, and how large it grows, in bytes.
DEFAULT_BYTES = 20_000_000_000

_JSON = ".remote.json"

#: What may tell in a file's description that it is another version.
_VERSION = ("size", "mtime", "LastModified", "updated", "created", "ETag", "etag", "md5Hash", "Content-MD5",
            "Last-Modified")  # fmt: skip


def is_address(text: str) -> bool:
    """Whether `text` is an address and not a path.

    >>> is_address("s3://bucket/a.tar"), is_address("C:/a.tar"), is_address("a.tar")
    (True, False, False)
    """
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text) is not None


def default_folder() -> Path:
    """The user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "distill"


def reserve(base: str, cache: Path, most_bytes: int) -> Path:
    """The folder below `cache` that stands for everything below the address `base`; it holds at most `most_bytes`, or
    one tar if that is larger."""
    if re.match(r"[^/]+://[^/]*@", base):
        raise DistillError("an address with a password in it would be written into labels.json; give it to fsspec")
    readable = re.sub(r"[^A-Za-z0-9.-]+", "-", base).strip("-")[:60]
    folder = cache / f"{readable}-{hashlib.sha256(base.encode()).hexdigest()[:8]}"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / _JSON, {"address": base, "bytes": most_bytes})
    _is_home.cache_clear()
    return folder


def find(pattern: str) -> list[str]:
    """The addresses that one address means: itself, or those that its * and ? fit, sorted.

    >>> find("s3://bucket/a.tar")
    ['s3://bucket/a.tar']

    Raises:
        DistillError: fsspec cannot reach it.
    """
    if not any(sign in pattern for sign in "*?["):
        return [pattern]
    system, path = _system(pattern)
    try:
        return sorted(str(system.unstrip_protocol(found)) for found in system.glob(path))
    except Exception as error:
        raise DistillError(f"{pattern}: cannot be listed ({_plain(error)})") from None


def is_there(tar: Path) -> bool:
    """Whether a tar is on this disk, or may be fetched to it.

    >>> is_there(Path("nowhere/a.tar"))
    False
    """
    return tar.is_file() or _home(tar) is not None


def is_cache(folder: Path) -> bool:
    """Whether a folder stands for an address.

    >>> is_cache(Path("nowhere"))
    False
    """
    return (folder / _JSON).is_file()


def local(tar: Path) -> Path:
    """The tar itself; where it belongs into a cache and is not there, it is fetched first.

    Raises:
        AudioError: it cannot be fetched.
    """
    if tar.is_file():
        home = _home(tar)
        if home:
            with suppress(OSError):  # taken away just now
                os.utime(tar, ns=(_now(), tar.stat().st_mtime_ns))  # what was used last goes last
        return tar
    home = _home(tar)
    if home is not None:
        _fetch(tar, home)
    return tar


def _now() -> int:
    import time

    return time.time_ns()


def _home(tar: Path) -> Path | None:
    return next((above for above in tar.parents if _is_home(above)), None)


@lru_cache(maxsize=1024)
def _is_home(folder: Path) -> bool:
    return is_cache(folder)


def _fetch(tar: Path, home: Path) -> None:
    """Fetch a tar, once however many processes ask for it."""
    import fcntl

    known = read_json(home / _JSON)
    name = tar.relative_to(home).as_posix()
    tar.parent.mkdir(parents=True, exist_ok=True)
    with tar.with_name(f".{tar.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tar.is_file():
            _download(f"{known['address']}/{name}", tar, home, int(known["bytes"]))


def _download(address: str, tar: Path, home: Path, most_bytes: int) -> None:
    system, path = _system(address)
    try:
        about = system.info(path)
        size = int(about["size"])
        _make_room(home, most_bytes - size)
        _check_disk(home, size)
        with whole(tar) as beside:
            system.get_file(path, str(beside))
            if beside.stat().st_size != size:
                raise AudioError(f"{beside.stat().st_size:,} of {size:,} bytes came")
            os.utime(beside, ns=(_now(), _version(about)))
    except AudioError:
        raise
    except FileNotFoundError:
        raise AudioError("no such file there") from None
    except Exception as error:  # every file system has errors of its own
        raise AudioError(f"cannot be fetched: {_plain(error)}") from None


def _version(about: dict[str, Any]) -> int:
    """A time of change in ns that is the same as long as the file is: a number made of what its system tells."""
    told = repr([(key, str(about[key])) for key in _VERSION if about.get(key) is not None])
    return int.from_bytes(hashlib.blake2b(told.encode(), digest_size=8).digest(), "little") >> 3


def _make_room(home: Path, most_bytes: int) -> None:
    """Take away the tars that were used the longest time ago; who reads one of them keeps it open meanwhile."""
    held = []
    for path in home.rglob("*.tar"):
        if path.name.startswith("."):  # what another process is fetching
            continue
        with suppress(OSError):
            held.append((path.stat().st_atime_ns, path.stat().st_size, path))
    total = sum(size for _, size, _ in held)
    for _, size, path in sorted(held):
        if total <= most_bytes:
            return
        path.unlink(missing_ok=True)
        total -= size


def _check_disk(home: Path, size: int) -> None:
    free = shutil.disk_usage(home).free
    if free < size:
        raise AudioError(f"does not fit onto the disk of {home}: {size / 1e6:.0f} MB, {free / 1e6:.0f} MB are free")


def _system(address: str) -> tuple[Any, str]:
    """fsspec's file system for an address, and the path in it.

    Raises:
        DistillError: it knows no such scheme, or a package for it is missing.
    """
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(address)
    except (ValueError, ImportError) as error:
        raise DistillError(f"{address}: {_plain(error)}") from None
    return system, str(path)


def _plain(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")[:300] or type(error).__name__
