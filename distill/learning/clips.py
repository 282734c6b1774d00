"""Labelled audio, decoded once into a memory map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from distill.audio import SAMPLING_RATE, Span, digest, read, reject_unusable
from distill.errors import AudioError, DistillError
from distill.files import check_disk, whole
from distill.progress import Progress, say
from distill.sources.manifest import Failure, write_failures
from distill.table import LabelTable

#: Full scale of 16-bit audio.
_FULL_SCALE = 32_000

#: The decoded audio, and which examples it is of.
_PCM, _KEPT = "pcm.s16", "kept.npz"


@dataclass(frozen=True)
class Example:
    """A labelled segment that training may use. adv: float32 [3], behind it whatever else is to be learned.
    sha256: of the decoded audio, None where nobody has said. group: what is never torn apart when clips are held out.
    weight: how much each axis counts, float32 [3]; None: as much as that of any other.
    embedding: the teacher's, float16 [dimensions]; None: training does without."""

    root: Path
    file: str
    span: Span
    sha256: str | None
    adv: np.ndarray
    group: str
    weight: np.ndarray | None = None
    embedding: np.ndarray | None = None


@dataclass(frozen=True)
class Clips:
    """Decoded audio in one file: 16-bit, each clip at its own scale (the student divides level out).

    peaks: of each clip as it was recorded, which a teacher may hear. weights: how much each counts in the loss, float32
    [clips, 3], or None where all count alike. embeddings: float16 [clips, dimensions], or None.

    >>> clips = Clips(np.zeros(5, "<i2"), np.array([0, 3, 5]), np.zeros((2, 3), np.float32), np.ones(2, np.float32))
    >>> clips.lengths.tolist(), clips.signal(1).tolist()
    ([3, 2], [0.0, 0.0])
    """

    pcm: np.ndarray
    offsets: np.ndarray
    targets: np.ndarray
    peaks: np.ndarray
    weights: np.ndarray | None = None
    embeddings: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def lengths(self) -> np.ndarray:
        """Samples of every clip."""
        return np.diff(self.offsets)

    def signal(self, index: int) -> np.ndarray:
        """float32 [samples], peak about 1."""
        return from_16_bits(self.pcm[self.offsets[index] : self.offsets[index + 1]])


def in_16_bits(signal: np.ndarray, peak: float) -> np.ndarray:
    """A signal at full scale: float [samples] -> int16 [samples]. peak: its largest amplitude.

    >>> in_16_bits(np.array([0.0, 0.5], np.float32), peak=0.5)
    array([    0, 32000], dtype=int16)
    """
    return (signal / peak * _FULL_SCALE).astype("<i2")


def from_16_bits(pcm: np.ndarray) -> np.ndarray:
    """int16 -> float32, -1..1.

    >>> from_16_bits(np.array([0, 16_384], np.int16)).tolist()
    [0.0, 0.5120000243186951]
    """
    return pcm.astype(np.float32) / _FULL_SCALE


def examples(
    table: LabelTable,
    audio: Path | None,
    groups: Sequence[str],
    weights: np.ndarray | None = None,
    embeddings: np.ndarray | None = None,
) -> list[Example]:
    """The rows of a label table as examples. groups: one name a row, from `groups_of`; weights: float32 [rows, 3];
    embeddings: float16 [rows, dimensions]."""
    keys = zip(*(table.column(name) for name in ("file", "start", "end", "sha256")), strict=True)
    beside = ([None] * len(table) if rows is None else rows for rows in (weights, embeddings))
    return [
        Example(audio or table.root, file, Span(start, end), sha, adv, group, weight, embedding)
        for (file, start, end, sha), adv, group, weight, embedding in zip(keys, table.adv, groups, *beside, strict=True)
    ]


def cache(
    chosen: Sequence[Example], folder: Path, *, shortest: float, unlisted: Sequence[Failure] = ()
) -> tuple[Clips, list[Example]]:
    """Decode all examples once into `folder`; returns the clips and the examples that could be read, in one order.

    shortest: seconds; what is shorter, cannot be read or is no longer the audio that was labelled is named in
    `folder`/../left_out.csv, with what could not even be listed.

    Raises:
        DistillError: nothing can be read, or the disk is too small.
    """
    check_disk(folder, bytes_needed=2 * int(sum(example.span.seconds for example in chosen) * SAMPLING_RATE * 1.02))
    kept, lengths, peaks, left_out = _write(chosen, folder / _PCM, shortest)
    if not kept:
        raise DistillError(
            f"none of the {len(chosen)} labelled clips can be read ({left_out[0].file}: {left_out[0].reason})"
        )
    write_failures(folder.parent / "left_out.csv", [*unlisted, *left_out])
    if left_out:
        say(f"{len(left_out)} of {len(chosen)} clips are left out; {folder.parent / 'left_out.csv'} names each")
    with whole(folder / _KEPT) as beside, beside.open("wb") as handle:
        np.savez(handle, kept=kept, lengths=lengths, peaks=np.array(peaks, np.float32))
    return cached(chosen, folder)


def cached(chosen: Sequence[Example], folder: Path) -> tuple[Clips, list[Example]]:
    """What `cache` made of the same examples in `folder`, by this process or another.

    Raises:
        DistillError: it is not there.
    """
    try:
        with np.load(folder / _KEPT) as opened:
            places, lengths, peaks = (opened[name] for name in ("kept", "lengths", "peaks"))
        pcm = np.memmap(folder / _PCM, dtype="<i2", mode="r")
    except FileNotFoundError as error:
        raise DistillError(f"{error.filename}: no such file; processes that train together share the folder") from None
    kept = [chosen[place] for place in places]
    clips = Clips(
        pcm,
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        targets=np.stack([example.adv for example in kept]),
        peaks=peaks,
        weights=_rows([example.weight for example in kept]),
        embeddings=_rows([example.embedding for example in kept]),
    )
    return clips, kept


class _Written(NamedTuple):
    """kept: which examples could be read; lengths (samples) and peaks: of each, as it was recorded."""

    kept: list[int]
    lengths: list[int]
    peaks: list[float]
    left_out: list[Failure]


def _write(chosen: Sequence[Example], path: Path, shortest: float) -> _Written:
    """Decode the examples into one file, one behind the other."""
    written = _Written([], [], [], [])
    with whole(path) as beside, beside.open("wb") as handle, Progress("decoding", len(chosen), "segments") as progress:
        for place, (example, signal) in enumerate(_decoded(chosen, shortest)):
            if isinstance(signal, str):
                written.left_out.append(Failure(example.file, signal, example.span.start, example.span.end))
            else:
                peak = float(np.abs(signal).max())
                handle.write(in_16_bits(signal, peak).tobytes())
                written.kept.append(place)
                written.lengths.append(len(signal))
                written.peaks.append(peak)
            progress.advance(audio_seconds=example.span.seconds, failed=int(isinstance(signal, str)))
    return written


def _rows(given: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """[clips, n], or None where not every clip has one."""
    known = [row for row in given if row is not None]
    return np.stack(known) if len(known) == len(given) else None


def _decoded(chosen: Sequence[Example], shortest: float) -> Iterator[tuple[Example, np.ndarray | str]]:
    """Each example with its signal, or with the reason why there is none; in order, decoded by threads."""
    with ThreadPoolExecutor(4) as pool:
        for start in range(0, len(chosen), 256):  # blocks, so that memory stays bounded
            block = chosen[start : start + 256]
            yield from zip(block, pool.map(partial(_signal_or_reason, shortest=shortest), block), strict=True)


def _signal_or_reason(example: Example, shortest: float) -> np.ndarray | str:
    try:
        signal = read(example.root / example.file, example.span)
        reject_unusable(signal, shortest)
    except AudioError as error:
        return str(error)
    same = example.sha256 is None or digest(signal) == example.sha256
    return signal if same else "is not the audio that was labelled"
