"""Members of plain tars, read in place: an index of names, offsets and sizes, and a bounded view of one member's bytes.

Nothing is ever unpacked, and nothing that a tar says of itself is believed: names, sizes and kinds are checked.
"""

from __future__ import annotations

import io
import os
import re
import tarfile
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any, BinaryIO

from distill.sources import remote

SUFFIX = ".tar"

#: Entries of one tar beyond which it is not indexed further: the index lies in memory.
MOST_ENTRIES = 500_000

#: Entries of all tars whose index this process keeps; the tars that were read last are kept.
_KEPT_ENTRIES = 300_000

#: Bytes of one header (long names, pax) that are believed; a member's content is never read while indexing.
_LONGEST_HEADER = 1 << 20

_BLOCK = tarfile.BLOCKSIZE

#: What compressed files begin with.
_COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ", b"BZh", b"\x04\x22\x4d\x18")

#: How to mend a compressed tar. A bomb may hide in it, and its members cannot be found by offset.
UNPACK = "is compressed; unpack it to a plain .tar first"


@dataclass(frozen=True)
class Member:
    """A regular file in a tar. name: normalised POSIX path; offset, size: of its content, in bytes."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True)
class Fault:
    """An entry that is refused, or (name "") the tar itself, and why."""

    name: str
    reason: str


@dataclass
class Index:
    """What a tar holds. members: by name, in the tar's order; faults: what is refused; changed: the tar's mtime, ns.

    >>> len(Index(size=10_240, changed=0, faults=[Fault("", UNPACK)]))
    1
    """

    size: int
    changed: int
    members: dict[str, Member] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.members) + len(self.faults)


def split(path: Path) -> tuple[Path, str] | None:
    """The tar and the member that a path such as shards/a.tar/x.flac means; None for a path with no tar above it.

    >>> split(Path("shards/a.tar/deep/x.flac"))
    (PosixPath('shards/a.tar'), 'deep/x.flac')
    >>> split(Path("shards/a.tar")) is None
    True
    """
    if f"{SUFFIX}/" not in path.as_posix().lower():
        return None
    for depth, part in enumerate(path.parts[:-1], start=1):
        above = Path(*path.parts[:depth])
        if part.lower().endswith(SUFFIX) and not above.is_dir():
            return above, PurePosixPath(*path.parts[depth:]).as_posix()
    return None


def open_bytes(path: Path) -> tuple[BinaryIO, int]:
    """A file, or a member of a tar, opened to be read, and its size in bytes.

    Raises:
        OSError: there is none, or it cannot be read. DistillError: its tar could not be fetched.
    """
    inside = split(path)
    if inside is None:
        return path.open("rb"), path.stat().st_size
    tar, name = inside
    member = _member(tar, name)
    return io.BufferedReader(_View(remote.local(tar), member), 1 << 16), member.size


def is_there(path: Path) -> bool:
    """Whether `path` is a file, or a readable member of a tar.

    >>> is_there(Path("nowhere/a.tar/x.flac"))
    False
    """
    inside = split(path)
    if inside is None:
        return path.is_file()
    return remote.is_there(inside[0]) and inside[1] in index_of(inside[0]).members


def state_of(path: Path) -> tuple[int, int]:
    """Size in bytes, and time of change in ns: a file's own; of a member its size and its tar's time.

    Raises:
        OSError: there is no such file or member.
    """
    inside = split(path)
    if inside is None:
        status = path.stat()
        return status.st_size, status.st_mtime_ns
    return _member(*inside).size, index_of(inside[0]).changed


def _member(tar: Path, name: str) -> Member:
    member = index_of(tar).members.get(name)
    if member is None:
        raise FileNotFoundError(2, "no such member", f"{tar}/{name}")
    return member


_indices: OrderedDict[Path, Index] = OrderedDict()
_guard = Lock()


def index_of(tar: Path) -> Index:
    """The index of a tar, kept until the tar's size or time changes. Safe for threads; each process has its own.

    Raises:
        OSError: there is no such tar, or it cannot be read. DistillError: it could not be fetched.
    """
    status = remote.local(tar).stat()
    with _guard:
        known = _indices.get(tar)
        if known is None or (known.size, known.changed) != (status.st_size, status.st_mtime_ns):
            known = _indices[tar] = _indexed(tar, Index(status.st_size, status.st_mtime_ns))
        _indices.move_to_end(tar)
        while len(_indices) > 1 and sum(map(len, _indices.values())) > _KEPT_ENTRIES:
            _indices.popitem(last=False)
    return known


def _indexed(tar: Path, index: Index) -> Index:
    with tar.open("rb") as handle:
        if handle.read(6).startswith(_COMPRESSED):
            index.faults.append(Fault("", UNPACK))
            return index
        handle.seek(0)
        try:
            with tarfile.open(fileobj=_Headers(handle), mode="r:") as opened:  # type: ignore[call-overload]
                for info in _infos(opened):
                    _enter(info, index)
                    if len(index) >= MOST_ENTRIES:
                        index.faults.append(Fault("", f"holds more than {MOST_ENTRIES:,} entries; split it"))
                        return index
                ended = opened.offset
        except tarfile.TarError as error:
            index.faults.append(Fault("", f"broken off or damaged behind its entry {len(index)}: {_plain(error)}"))
        except (OSError, ValueError, ArithmeticError, LookupError, RecursionError) as error:  # headers made to hurt
            index.faults.append(Fault("", f"damaged behind its entry {len(index)}: {_plain(error)}"))
        else:
            index.faults += _faults_of_the_end(handle, ended, index)
    return index


class _Headers:
    """What tarfile may see of a tar: headers, never more than `_LONGEST_HEADER` bytes of one at once."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self.seek, self.tell = handle.seek, handle.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header says that it has {size:,} bytes")
        return self._handle.read(size)


def _infos(opened: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    before = -1
    while (info := opened.next()) is not None:
        opened.members.clear()  # type: ignore[attr-defined] # tarfile remembers all of them
        yield info
        if opened.offset <= before:
            raise tarfile.ReadError("a size is negative")
        before = opened.offset


def _enter(info: tarfile.TarInfo, index: Index) -> None:
    """Into the index as a member or as a fault; folders are nothing."""
    reason = _refused(info, index)
    if reason:
        index.faults.append(Fault(info.name.replace("\0", "\\0"), reason))
    elif info.isreg():
        name = _normal(info.name)
        index.members[name] = Member(name, info.offset_data, info.size)


def _refused(info: tarfile.TarInfo, index: Index) -> str | None:
    name = _normal(info.name)
    end = info.offset_data + info.size
    kind = _KINDS.get(info.type, "of an unknown kind")
    reasons = {
        "its name leads out of the tar; it is not opened": _leads_out(info.name),
        f"{kind}, not a file; it is not opened": not (info.isreg() or info.isdir()),
        "a sparse file; pack it without --sparse": info.issparse(),
        "its size is negative": info.size < 0,
        f"broken off: {info.size:,} bytes are promised, {index.size - info.offset_data:,} are there": end > index.size,
        "its name comes twice in the tar; the first is taken": name in index.members,
    }
    return next((reason for reason, applies in reasons.items() if applies), None)


_KINDS = {
    tarfile.LNKTYPE: "a link", tarfile.SYMTYPE: "a link", tarfile.FIFOTYPE: "a pipe",
    tarfile.CHRTYPE: "a device", tarfile.BLKTYPE: "a device",
}  # fmt: skip


def _leads_out(name: str) -> bool:
    """Whether a name would point elsewhere, were it a path on any system."""
    parts = re.split(r"[/\\]", name)
    return not name or name[0] in "/\\" or ".." in parts or "\0" in name or re.match(r"[A-Za-z]:", name) is not None


def _normal(name: str) -> str:
    return PurePosixPath(name).as_posix()


def _faults_of_the_end(handle: BinaryIO, ended: int, index: Index) -> Iterator[Fault]:
    """tarfile takes a damaged header, or the end of the file, for the end of the tar; blocks of zeros end a tar."""
    handle.seek(min(ended, index.size))
    mark = handle.read(_BLOCK)
    if not mark:
        yield Fault("", f"broken off behind its entry {len(index)}: its end mark is missing")
    elif mark.strip(b"\0"):
        yield Fault("", f"damaged behind its entry {len(index)}: no header at byte {ended:,}")
    elif handle.read(2 * tarfile.RECORDSIZE).strip(b"\0"):
        yield Fault("", f"more follows behind its end mark at byte {ended:,}, and is not read; was it put together?")


class _View(io.RawIOBase):
    """The bytes of one member, as a file of its own: a file descriptor and a place for each reader."""

    def __init__(self, tar: Path, member: Member) -> None:
        super().__init__()
        self._file, self._member, self._at = tar.open("rb", buffering=0), member, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._member.size}[whence]
        self._at = max(0, origin + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        room = memoryview(buffer).cast("B")
        wanted = max(0, min(len(room), self._member.size - self._at))
        try:
            held = os.pread(self._file.fileno(), wanted, self._member.offset + self._at)
        except OSError:  # a decoder cannot be told; it finds the end too early, and the clip is broken off
            held = b""
        room[: len(held)] = held
        self._at += len(held)
        return len(held)

    def close(self) -> None:
        self._file.close()
        super().close()


def _plain(error: Exception) -> str:
    return str(error).strip().rstrip(".").lower() or type(error).__name__
