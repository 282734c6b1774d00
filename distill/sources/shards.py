"""WebDataset's shards: which tars a source means, and the samples in them as rows of a manifest."""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from distill.audio import SUFFIXES
from distill.errors import AudioError, DistillError
from distill.sources import remote
from distill.sources.tars import SUFFIX, UNPACK, Fault, Index, Member, index_of, open_bytes
from distill.table import carried_name

#: What a sibling (.json, .txt) may have: bytes, and columns. Rows are held in memory by the thousand.
LARGEST_SIBLING = 1_000_000
MOST_COLUMNS = 200

#: Names that one pattern may give.
_MOST_NAMES = 100_000

_COMPRESSED = re.compile(r"\.(tgz|tbz2?|txz|tzst|zst|tar\.\w+)$", re.IGNORECASE)


@dataclass(frozen=True)
class Shards:
    """Tars below one folder. names: POSIX paths below `root`, sorted as the pattern gives them."""

    root: Path
    names: Sequence[str]


def braces(pattern: str) -> list[str]:
    """The names that {a,b} and {000..499} in a pattern mean, as a shell gives them.

    >>> braces("s-{008..010}.tar")
    ['s-008.tar', 's-009.tar', 's-010.tar']
    >>> braces("{train,test}/s{1..2}.tar")
    ['train/s1.tar', 'train/s2.tar', 'test/s1.tar', 'test/s2.tar']
    >>> braces("s{1}.tar")
    ['s{1}.tar']

    Raises:
        DistillError: more than 100,000 names.
    """
    names = [""]
    for part in re.split(r"(\{[^{}]*\})", pattern):
        choices = _choices(part, pattern)
        _check_number(len(names) * len(choices), pattern)
        names = [name + choice for name in names for choice in choices]
    return names


def _choices(part: str, pattern: str) -> list[str]:
    counted = re.fullmatch(r"\{(\d{1,18})\.\.(\d{1,18})\}", part)
    if counted:
        first, last = int(counted[1]), int(counted[2])
        width = len(counted[1]) if counted[1].startswith("0") else 0
        _check_number(abs(last - first) + 1, pattern)
        step = 1 if last >= first else -1
        return [f"{number:0{width}d}" for number in range(first, last + step, step)]
    return part[1:-1].split(",") if part.startswith("{") and "," in part else [part]


def _check_number(names: int, pattern: str) -> None:
    if names > _MOST_NAMES:
        raise DistillError(f"{pattern}: means more than {_MOST_NAMES:,} names")


def shards_of(source: Path | str, cache: Path | None, cache_bytes: int) -> Shards | None:
    """The tars that a source means: one, a pattern of them, a folder with tars and no audio beside them, or addresses.

    cache: folder for tars that lie elsewhere, of at most `cache_bytes`. None: the source is no matter of tars.

    Raises:
        DistillError: a pattern or an address means nothing, or something that is no plain tar.
    """
    text = str(source)
    if remote.is_address(text) and not text.startswith("file://"):
        return _elsewhere(text, cache or remote.default_folder(), cache_bytes)
    path = Path(text.removeprefix("file://"))
    if path.is_dir():
        return _in_folder(path)
    if not path.exists() and is_pattern(path.as_posix()):
        return _by_pattern(path)
    _refuse_others([path.name] if _COMPRESSED.search(path.name) else [], text)
    return Shards(path.parent, [path.name]) if path.name.lower().endswith(SUFFIX) and path.is_file() else None


def _in_folder(folder: Path) -> Shards | None:
    below = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    visible = sorted(path.as_posix() for path in below if not any(part.startswith(".") for part in path.parts))
    tars = [name for name in visible if name.lower().endswith(SUFFIX)]
    compressed = [name for name in visible if _COMPRESSED.search(name)]
    if any(name.lower().endswith(SUFFIXES) for name in visible) or not tars + compressed:
        return None  # a folder of audio; an archive beside it is left alone
    _refuse_others(compressed, str(folder))
    return Shards(folder, tars)


def _by_pattern(pattern: Path) -> Shards:
    parts = pattern.parts
    fixed = next(depth for depth, part in enumerate(parts) if is_pattern(part))
    root = Path(*parts[: min(fixed, len(parts) - 1)])
    found = [Path(name) for text in braces(pattern.as_posix()) for name in _globbed(text)]
    if not found:
        raise DistillError(f"{pattern}: no such files")
    names = list(dict.fromkeys(path.relative_to(root).as_posix() for path in found))
    _refuse_others([name for name in names if not name.lower().endswith(SUFFIX)], str(pattern))
    return Shards(root, names)


def _globbed(text: str) -> list[str]:
    if not any(sign in text for sign in "*?["):
        if not Path(text).is_file():
            raise DistillError(f"{text}: no such file")
        return [text]
    return sorted(glob.glob(text, recursive=True))  # noqa: PTH207 (an absolute pattern, too)


def _elsewhere(pattern: str, cache: Path, cache_bytes: int) -> Shards:
    if pattern.endswith("/"):
        pattern += f"*{SUFFIX}"
    fixed = re.split(r"[{*?\[]", pattern)[0]
    base = fixed.rpartition("/")[0]
    found = [address for text in braces(pattern) for address in remote.find(text)]
    if not found:
        raise DistillError(f"{pattern}: no such files")
    _refuse_others([name for name in found if not name.lower().endswith(SUFFIX)], pattern)
    names = [_below(base, address) for address in dict.fromkeys(found)]
    return Shards(remote.reserve(base, cache, cache_bytes), names)


def _below(base: str, address: str) -> str:
    """What follows the base. File systems write one address in several ways (memory:///x, memory://x)."""
    plain, above = (re.sub(r"^[^/]+:/*", "", text) for text in (address, base))
    name = plain[len(above) :].lstrip("/") if plain.startswith(above) else ""
    if not name or ".." in name.split("/"):
        raise DistillError(f"{address}: does not lie below {base}")
    return name


def _refuse_others(names: Sequence[str], source: str) -> None:
    if names:
        what = UNPACK if _COMPRESSED.search(names[0]) else f"is no {SUFFIX}"
        raise DistillError(f"{source}: {names[0]} {what}")


def is_pattern(text: str) -> bool:
    """Whether `text` means any number of files.

    >>> is_pattern("s-{000..499}.tar"), is_pattern("s-000.tar")
    (True, False)
    """
    return any(sign in text for sign in "{*?[")


def rows_of(shards: Shards) -> Iterator[dict[str, Any] | Fault]:
    """A row for every audio member, with `file` as <tar>/<member> and its siblings' columns; faults between them."""
    for name in shards.names:
        try:
            index = index_of(shards.root / name)
        except (AudioError, OSError) as error:
            yield Fault(name, getattr(error, "strerror", None) or str(error))
            continue
        for entry in _entries(shards.root / name, index):
            if isinstance(entry, Fault):
                yield Fault(f"{name}/{entry.name}" if entry.name else name, entry.reason)
            else:
                yield {**entry, "file": f"{name}/{entry['file']}"}


def _entries(tar: Path, index: Index) -> Iterator[dict[str, Any] | Fault]:
    visible = (member for member in index.members.values() if not _hidden(member.name))
    for _, sample in groupby(visible, key=lambda member: _key(member.name)[0]):
        yield from _rows(tar, list(sample))
    yield from index.faults
    if not index.members and not index.faults:
        yield Fault("", "an empty tar")


def _key(name: str) -> tuple[str, str]:
    """WebDataset's key and ending: what stands before and behind the first dot of the base name.

    >>> _key("a.b/one.left.flac")
    ('a.b/one', 'left.flac')
    """
    folder, slash, base = name.rpartition("/")
    stem, _, ending = base.partition(".")
    return f"{folder}{slash}{stem}", ending.lower()


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in PurePosixPath(name).parts)


def _rows(tar: Path, sample: list[Member]) -> Iterator[dict[str, Any] | Fault]:
    """The rows of one sample; a sibling that cannot be read makes its audio a failure, not a row without columns."""
    audio = [member for member in sample if member.name.lower().endswith(SUFFIXES)]
    if not audio:
        return
    try:
        columns = _columns(tar, sample)
    except AudioError as error:
        yield from (Fault(member.name, str(error)) for member in audio)
        return
    yield from ({**columns, "file": member.name} for member in audio)


def _columns(tar: Path, sample: Sequence[Member]) -> Mapping[str, Any]:
    columns: dict[str, Any] = {}
    for member in sample:
        ending = _key(member.name)[1]
        if ending == "json":
            columns.update(_of_json(tar, member))
        elif ending == "txt":
            columns["transcript"] = _text(tar, member).strip()
    return {carried_name(name): value for name, value in columns.items()}


def _of_json(tar: Path, member: Member) -> dict[str, Any]:
    """A JSON object, flattened by one level: {"speaker": {"id": 3}} is the column speaker.id."""
    base = PurePosixPath(member.name).name
    try:
        given = json.loads(_text(tar, member))
        json.dumps(given, ensure_ascii=False).encode()  # halves of surrogate pairs fit into no table
    except (ValueError, RecursionError) as error:
        raise AudioError(f"its {base} is no JSON that can be read ({type(error).__name__})") from None
    if not isinstance(given, dict):
        raise AudioError(f"its {base} holds no JSON object")
    flat: dict[str, Any] = {}
    for name, value in given.items():
        inner = value if isinstance(value, dict) and value else None
        flat.update({f"{name}.{key}": item for key, item in inner.items()} if inner else {name: value})
    if len(flat) > MOST_COLUMNS:
        raise AudioError(f"its {base} has {len(flat):,} columns, at most {MOST_COLUMNS} are carried along")
    return flat


def _text(tar: Path, member: Member) -> str:
    base = PurePosixPath(member.name).name
    if member.size > LARGEST_SIBLING:
        raise AudioError(f"its {base} has {member.size:,} bytes, at most {LARGEST_SIBLING:,} are read")
    try:
        handle, _ = open_bytes(tar / member.name)
        with handle:
            return handle.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise AudioError(f"its {base} is not UTF-8") from None
