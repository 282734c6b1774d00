"""Which segments are answered together: batches, planned from the list alone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from distill.errors import AudioError
from distill.files import sha256_of_bytes
from distill.sources.manifest import Segment
from distill.sources.tars import open_bytes
from teacher.batches import BATCH

#: Bytes from the middle of a file by which likely copies of it are brought into the same batch.
_PROBE = 4096


def plan(segments: Sequence[Segment], root: Path, together: int = BATCH) -> list[list[Segment]]:
    """Batches of at most `together`, from the segment list alone. Segments that may be the same audio stand in one, to
    be computed once; within that, clips of like length follow one another, so that little is padded."""
    by_size: dict[tuple[int, float, float], list[Segment]] = {}
    for segment in sorted(segments, key=lambda segment: segment.key):
        by_size.setdefault((segment.size, segment.start, segment.end), []).append(segment)
    groups = [group for same_size in by_size.values() for group in _likely_copies(same_size, root, together)]
    groups.sort(key=lambda group: -group[0].seconds)  # the longest first: what will not fit is known early
    batches: list[list[Segment]] = [[]]
    for group in groups:
        if batches[-1] and len(batches[-1]) + len(group) > together:
            batches.append([])
        batches[-1] += group
    return [batch for batch in batches if batch]


def _likely_copies(segments: Sequence[Segment], root: Path, together: int) -> Iterable[list[Segment]]:
    if len(segments) == 1:
        return [list(segments)]
    alike = _grouped(segments, lambda segment: _probe(root / segment.file, segment.size))
    # Different clips may share a silent middle, and a batch has to fit into memory: of many, all bytes decide.
    return [
        copies
        for group in alike
        for copies in (
            _grouped(group, lambda segment: _probe(root / segment.file)) if len(group) > together else [group]
        )
    ]


def _grouped(segments: Sequence[Segment], key: Callable[[Segment], bytes]) -> Iterable[list[Segment]]:
    groups: dict[bytes, list[Segment]] = {}
    for segment in segments:
        groups.setdefault(key(segment), []).append(segment)
    return groups.values()


def _probe(path: Path, size: int | None = None) -> bytes:
    """Digest of the middle of a file of `size` bytes, or of all of it."""
    try:
        with open_bytes(path)[0] as handle:
            if size is None:
                return sha256_of_bytes(handle).encode()
            handle.seek(max(0, (size - _PROBE) // 2))
            return hashlib.sha256(handle.read(_PROBE)).digest()
    except (OSError, AudioError):
        return os.fsencode(path)
