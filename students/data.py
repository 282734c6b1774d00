"""Labelled audio as training batches: decoded once into a memory map, perturbed anew in every epoch."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from distill.annotation import AXES, Annotator
from distill.audio import SAMPLING_RATE, Span, digest, padded, read, reject_unusable
from distill.errors import AudioError, DistillError
from distill.files import whole, write_json
from distill.learning.loop import Batch
from distill.manifest import Failure, write_failures
from distill.perturb import Surroundings, add_noise, change_speed, equalise, excerpt, level, reverberate
from distill.progress import Progress, say
from distill.table import LabelTable
from students.network import SHORTEST_SECONDS

#: Full scale of the 16-bit cache.
_FULL_SCALE = 32_000


@dataclass(frozen=True)
class Example:
    """A labelled segment that training may use. group: what is never torn apart when clips are held out.
    weight: how much each axis counts, float32 [3]; None: as much as that of any other."""

    root: Path
    file: str
    span: Span
    sha256: str
    adv: np.ndarray
    group: str
    weight: np.ndarray | None = None


@dataclass(frozen=True)
class Clips:
    """Decoded audio in one file: 16-bit, each clip at its own scale (the student divides level out).

    peaks: of each clip as it was recorded, which a teacher may hear. weights: how much each counts in the loss, float32
    [clips, 3], or None where all count alike.
    """

    pcm: np.ndarray
    offsets: np.ndarray
    targets: np.ndarray
    peaks: np.ndarray
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def lengths(self) -> np.ndarray:
        """Samples of every clip."""
        return np.diff(self.offsets)

    def signal(self, index: int) -> np.ndarray:
        """float32 [samples], peak about 1."""
        return self.pcm[self.offsets[index] : self.offsets[index + 1]].astype(np.float32) / _FULL_SCALE


@dataclass(frozen=True)
class Augmentation:
    """How often each perturbation is drawn for a clip (speed and crop: for a batch), and how strong it may be."""

    mixup: float = 0.2
    noise: float = 0.4
    room: float = 0.2
    speed: float = 0.2
    equaliser: float = 0.0
    crop: float = 0.3
    snr_db: tuple[float, float] = (5.0, 30.0)
    speed_range: tuple[float, float] = (0.95, 1.05)
    equaliser_db: tuple[float, float] = (-6.0, 6.0)
    shortest_crop: float = 0.8
    gain_db: tuple[float, float] = (-20.0, 10.0)


#: With the teacher in the loop the answer is known for whatever is done to a voice, so more may be done to it.
ONLINE = Augmentation(noise=0.3, room=0.1, speed=0.6, speed_range=(0.8, 1.25), equaliser=0.5)


def examples(
    table: LabelTable, audio: Path | None, groups: Sequence[str], weights: np.ndarray | None = None
) -> list[Example]:
    """The rows of a label table as examples. groups: one name a row, from `groups_of`; weights: float32 [rows, 3]."""
    columns = zip(*(table.column(name) for name in ("file", "start", "end", "sha256")), table.adv, groups, strict=True)
    root, each = audio or table.root, [None] * len(table) if weights is None else weights
    return [
        Example(root, file, Span(start, end), sha, adv, group, weight)
        for (file, start, end, sha, adv, group), weight in zip(columns, each, strict=True)
    ]


def cache(chosen: Sequence[Example], folder: Path) -> tuple[Clips, list[Example]]:
    """Decode all examples once into `folder`; returns the clips and the examples that could be read, in one order.

    What cannot be read, or is no longer the audio that was labelled, is named in `folder`/../left_out.csv.

    Raises:
        DistillError: nothing can be read, or the disk is too small.
    """
    check_disk(folder, bytes_needed=2 * int(sum(e.span.end - e.span.start for e in chosen) * SAMPLING_RATE * 1.02))
    folder.mkdir(parents=True, exist_ok=True)
    kept, offsets, peaks, left_out = [], [0], [], []
    path = folder / "pcm.s16"
    with whole(path) as beside, beside.open("wb") as handle, Progress("decoding", len(chosen), "segments") as progress:
        for example, signal in _decoded(chosen):
            if isinstance(signal, str):
                left_out.append(Failure(example.file, signal, example.span.start, example.span.end))
            else:
                peaks.append(np.abs(signal).max())
                handle.write((signal / peaks[-1] * _FULL_SCALE).astype("<i2").tobytes())
                offsets.append(offsets[-1] + len(signal))
                kept.append(example)
            progress.advance(audio_seconds=example.span.end - example.span.start, failed=int(isinstance(signal, str)))
    if not kept:
        raise DistillError(
            f"none of the {len(chosen)} labelled clips can be read ({left_out[0].file}: {left_out[0].reason})"
        )
    write_failures(folder.parent / "left_out.csv", left_out)
    if left_out:
        say(f"{len(left_out)} of {len(chosen)} clips are left out; {folder.parent / 'left_out.csv'} names each")
    pcm = np.memmap(path, dtype="<i2", mode="r")
    targets = np.stack([example.adv for example in kept])
    return Clips(pcm, np.array(offsets), targets, np.array(peaks, np.float32), _weights(kept)), kept


def _weights(kept: Sequence[Example]) -> np.ndarray | None:
    given = [example.weight for example in kept if example.weight is not None]
    return np.stack(given) if len(given) == len(kept) else None


def check_disk(folder: Path, bytes_needed: int) -> None:
    """Refuse before the work, not in the middle of it.

    Raises:
        DistillError: fewer bytes are free than needed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < bytes_needed:
        raise DistillError(
            f"{folder}: {bytes_needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free; choose another disk"
        )


class TrainingBatches:
    """Batches of an epoch: clips of like length together, perturbed by draws that seed, epoch and batch alone decide.

    batch_size: clips a batch; longest: seconds, longer clips are cut at random; workers: processes that prepare ahead.
    annotator: a teacher that answers the voice as it was changed and mixed, before noise and room are laid over it;
    without one the targets are the table's.
    """

    def __init__(
        self, clips: Clips, chosen: np.ndarray, around: Surroundings, *, augmentation: Augmentation, batch_size: int,
        longest: float, seed: int, workers: int, annotator: Annotator | None = None,
    ) -> None:  # fmt: skip
        self.clips, self.chosen, self.batch_size, self.seed, self.workers = clips, chosen, batch_size, seed, workers
        self._drawing = _Drawing(clips, around, augmentation, int(longest * SAMPLING_RATE), seed, annotator)

    def __len__(self) -> int:
        return len(self.chosen) // self.batch_size or 1

    def __call__(self, epoch: int) -> Iterator[Batch]:
        drawn = _EpochBatches(self._drawing, epoch, self._order(epoch))
        # In order whatever the number of workers: a resumed run sees what an undisturbed one saw.
        yield from DataLoader(
            drawn, batch_size=None, shuffle=False, num_workers=self.workers, prefetch_factor=8 if self.workers else None
        )

    def _order(self, epoch: int) -> list[np.ndarray]:
        rng = np.random.default_rng([self.seed, epoch])
        shuffled = rng.permutation(self.chosen)[: len(self) * self.batch_size]
        lengths = self.clips.lengths
        like = [
            block[np.argsort(lengths[block], kind="stable")]
            for block in np.array_split(shuffled, max(1, len(shuffled) // (16 * self.batch_size)))
        ]
        batches = np.array_split(np.concatenate(like), len(self))
        return [batches[index] for index in rng.permutation(len(batches))]


class _EpochBatches(Dataset[Batch]):
    def __init__(self, drawing: _Drawing, epoch: int, order: list[np.ndarray]) -> None:
        self._drawing, self._epoch, self._order = drawing, epoch, order

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, number: int) -> Batch:
        return self._drawing.batch(self._order[number], self._epoch, number)


@dataclass(frozen=True)
class _Drawing:
    clips: Clips
    around: Surroundings
    augmentation: Augmentation
    longest: int
    seed: int
    annotator: Annotator | None

    def batch(self, members: np.ndarray, epoch: int, number: int) -> Batch:
        rng = np.random.default_rng([self.seed, epoch, number])
        drawn = [(signal, self._taught(index)) for index, signal in self._dry(members, rng)]
        mixed = [self._mixed(drawn, position, rng) for position in range(len(drawn))]
        targets = [taught[: len(AXES)] for _, taught in mixed]
        weights = None if self.clips.weights is None else [taught[len(AXES) :] for _, taught in mixed]
        if self.annotator is not None:
            # The teacher hears each voice as loud as it was: not every one divides the level out.
            voices = [signal * self.clips.peaks[index] for index, (signal, _) in zip(members, mixed, strict=True)]
            targets = list(annotated(voices, self.annotator))
        return _tensors([self._wet(signal, rng) for signal, _ in mixed], targets, weights)

    def _taught(self, index: int) -> np.ndarray:
        """The targets of a clip, and behind them its weights where there are any: both are mixed by the same share."""
        targets, weights = self.clips.targets, self.clips.weights
        return targets[index] if weights is None else np.concatenate([targets[index], weights[index]])

    def _dry(self, members: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[int, np.ndarray]]:
        """The clips at drawn speeds, all cut to one length: a batch without padding needs no mask, which would cost
        a third of the step."""
        how = self.augmentation
        signals = [self.clips.signal(index) for index in members]
        # One speed a batch: clips of one length stay so, and little is cut off.
        speed = rng.uniform(*how.speed_range) if rng.random() < how.speed else 1.0
        signals = [self._voiced(signal, speed, rng) for signal in signals]
        samples = min(self.longest, *map(len, signals))
        if rng.random() < how.crop:
            samples = int(samples * rng.uniform(how.shortest_crop, 1))
        yield from ((index, excerpt(signal, samples, rng)) for index, signal in zip(members, signals, strict=True))

    def _voiced(self, signal: np.ndarray, speed: float, rng: np.random.Generator) -> np.ndarray:
        how = self.augmentation
        signal = signal if speed == 1.0 else change_speed(signal, speed)
        return equalise(signal, rng.uniform(*how.equaliser_db, 6)) if rng.random() < how.equaliser else signal

    def _mixed(
        self, drawn: list[tuple[np.ndarray, np.ndarray]], position: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Waveform mixup at a random ratio of levels; the targets are mixed by the share of the amplitudes."""
        signal, target = drawn[position]
        if rng.random() >= self.augmentation.mixup:
            return signal, target
        other, other_target = drawn[int(rng.integers(len(drawn)))]
        share = float(rng.beta(0.5, 0.5))
        share = max(share, 1 - share)
        blend = excerpt(other, len(signal), rng) * (level(signal) / level(other))
        mixed = share * signal + (1 - share) * blend
        return mixed.astype(np.float32), share * target + (1 - share) * other_target

    def _wet(self, signal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        how, around = self.augmentation, self.around
        if rng.random() < how.room:
            signal = reverberate(signal, around.rooms[int(rng.integers(len(around.rooms)))])
        if rng.random() < how.noise:
            noise = excerpt(around.noises[int(rng.integers(len(around.noises)))], len(signal), rng)
            signal = add_noise(signal, noise, rng.uniform(*how.snr_db))
        return (signal * 10 ** (rng.uniform(*how.gain_db) / 20)).astype(np.float32)


def annotated(signals: Sequence[np.ndarray], annotator: Annotator) -> np.ndarray:
    """A teacher's answers, float32 [n, 3]; NaN, which the loss leaves out, where a clip says nothing."""
    adv = np.full((len(signals), len(AXES)), np.nan, np.float32)
    usable = [index for index, signal in enumerate(signals) if _says_something(signal, annotator)]
    if usable:
        chosen = [signals[index] for index in usable]
        adv[usable] = annotator.annotate(padded(chosen), [len(signal) for signal in chosen], SAMPLING_RATE).adv
    return adv


def _says_something(signal: np.ndarray, annotator: Annotator) -> bool:
    try:
        reject_unusable(signal, annotator.card.shortest_seconds)
    except AudioError:
        return False
    return True


def clean_batches(clips: Clips, chosen: np.ndarray, batch_size: int) -> Iterator[Batch]:
    """The chosen clips as they are, whole, the shortest first."""
    order = chosen[np.argsort(clips.lengths[chosen], kind="stable")]
    for members in np.array_split(order, max(1, -(-len(order) // batch_size))):
        yield _tensors([clips.signal(index) for index in members], [clips.targets[index] for index in members])


def _tensors(signals: list[np.ndarray], targets: list[np.ndarray], weights: list[np.ndarray] | None = None) -> Batch:
    lengths = torch.tensor([len(signal) for signal in signals])
    beside = (torch.from_numpy(np.stack(rows).astype(np.float32)) for rows in (targets, weights) if rows is not None)
    return torch.from_numpy(padded(signals)), lengths, *beside


def _decoded(chosen: Sequence[Example]) -> Iterator[tuple[Example, np.ndarray | str]]:
    """Each example with its signal, or with the reason why there is none; in order, decoded by threads."""
    with ThreadPoolExecutor(4) as pool:
        for start in range(0, len(chosen), 256):  # blocks, so that memory stays bounded
            block = chosen[start : start + 256]
            yield from zip(block, pool.map(_signal_or_reason, block), strict=True)


def _signal_or_reason(example: Example) -> np.ndarray | str:
    try:
        signal = read(example.root / example.file, example.span)
        reject_unusable(signal, SHORTEST_SECONDS)
    except AudioError as error:
        return str(error)
    return signal if digest(signal) == example.sha256 else "is not the audio that was labelled"


def write_split(folder: Path, kept: Sequence[Example], held: np.ndarray) -> dict[str, Any]:
    """Name the held-out groups in `split.json`; returns the summary for `result.json`."""
    groups = sorted({example.group for example, out in zip(kept, held, strict=True) if out})
    by = "speaker" if all(group.startswith("speaker ") for group in groups) else "speaker where known, else file"
    by = "file" if all(group.startswith("file ") for group in groups) else by
    write_json(folder / "split.json", {"by": by, "held_out": groups})
    return {"by": by, "groups": len(groups), "train": int((~held).sum()), "held_out": int(held.sum())}
