"""Training batches of decoded clips: as loud as they were recorded, cut at random, those of like length together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from distill.audio import SAMPLING_RATE, padded
from distill.errors import DistillError
from distill.learning.batch import Batch
from distill.learning.clips import Clips
from distill.learning.processes import ALONE, Processes


class TuningBatches:
    """Batches of an epoch, by draws that seed and epoch alone decide. longest: seconds; longer clips are cut anew.
    beside: float32 [clips, n], what is told of each beside its sound, or None. processes: those that tune together;
    each prepares every so-many-th batch, all of one size, as many as the others."""

    def __init__(
        self, clips: Clips, chosen: np.ndarray, *, batch_size: int, longest: float, seed: int,
        beside: np.ndarray | None = None, processes: Processes = ALONE,
    ) -> None:  # fmt: skip
        self.clips, self.chosen, self.batch_size, self.seed, self.beside = clips, chosen, batch_size, seed, beside
        self.longest = int(longest * SAMPLING_RATE)
        self._processes = processes
        self._count = max(1, round(len(chosen) / batch_size))
        if not processes.alone:
            self._count = len(chosen) // batch_size // processes.count * processes.count
        if not self._count:
            raise DistillError(
                f"{len(chosen)} training clips give fewer batches of {batch_size} than there are processes "
                f"({processes.count}); start fewer, or take a smaller --batch-size"
            )

    def __len__(self) -> int:
        return self._count // self._processes.count

    def __call__(self, epoch: int) -> Iterator[Batch]:
        rng = np.random.default_rng([self.seed, epoch])
        for number, members in enumerate(self._order(rng)):
            cuts = [self._cut(member, rng) for member in members]  # drawn by all alike
            if number % self._processes.count != self._processes.rank:
                continue
            yield batch_of(self.clips, members, cuts, self.beside)

    def _order(self, rng: np.random.Generator) -> list[np.ndarray]:
        shuffled = rng.permutation(self.chosen)
        if not self._processes.alone:
            shuffled = shuffled[: self._count * self.batch_size]
        lengths = np.minimum(self.clips.lengths, self.longest)
        blocks = np.array_split(shuffled, max(1, len(shuffled) // (16 * self.batch_size)))
        like = np.concatenate([block[np.argsort(lengths[block], kind="stable")] for block in blocks])
        batches = np.array_split(like, self._count)
        return [batches[index] for index in rng.permutation(self._count)]

    def _cut(self, member: int, rng: np.random.Generator) -> slice:
        spare = int(self.clips.lengths[member]) - self.longest
        start = int(rng.integers(spare + 1)) if spare > 0 else 0
        return slice(start, start + self.longest)


def whole_batches(
    clips: Clips, chosen: np.ndarray, *, batch_size: int, longest: float, beside: np.ndarray | None = None
) -> Iterator[Batch]:
    """The chosen clips from their beginning, the shortest first; longest: seconds that are heard of each."""
    order = chosen[np.argsort(clips.lengths[chosen], kind="stable")]
    for start in range(0, len(order), batch_size):
        members = order[start : start + batch_size]
        yield batch_of(clips, members, [slice(0, int(longest * SAMPLING_RATE))] * len(members), beside)


def batch_of(clips: Clips, members: np.ndarray, cuts: list[slice], beside: np.ndarray | None = None) -> Batch:
    """Clips as loud as they were recorded: not every backbone divides the level out."""
    signals = [clips.signal(member)[cut] * clips.peaks[member] for member, cut in zip(members, cuts, strict=True)]
    lengths = torch.tensor([len(signal) for signal in signals])
    told = None if beside is None else torch.from_numpy(beside[members])
    return Batch(torch.from_numpy(padded(signals)), lengths, torch.from_numpy(clips.targets[members]), beside=told)
