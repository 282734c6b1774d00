"""Rated recordings, decoded once: what is learned from, and what is scored on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distill.errors import DistillError
from distill.learning.batch import Batch
from distill.learning.clips import Clips, cache, cached
from teacher.tuning.batches import whole_batches
from teacher.tuning.lessons import Lessons, check_sides
from teacher.tuning.network import TunedNetwork
from teacher.tuning.saving import SHORTEST_SECONDS

#: Where the decoded clips lie while it trains.
CACHE = "cache"


@dataclass(frozen=True)
class Decoded:
    """Decoded clips, and which of them are learned from and scored on: indices. beside: what is told of each."""

    clips: Clips
    train: np.ndarray
    held_out: np.ndarray
    beside: np.ndarray | None

    def whole(self, network: TunedNetwork, together: int) -> Iterator[Batch]:
        """What is scored on, as long as the backbone hears it."""
        longest = network.backbone.longest_seconds
        return whole_batches(self.clips, self.held_out, batch_size=together, longest=longest, beside=self.beside)


def decode(lessons: Lessons, output: Path, told: np.ndarray | None, *, labels: Path, by_another: bool) -> Decoded:
    """Decode once; what cannot be read is named, and is missed on its side alone. labels: where the lessons come from,
    for messages; told: float32 [n, ...], what is told of each beside its sound; by_another: another process has
    decoded.

    Raises:
        DistillError: nothing can be read of what is learned from, or scored on, or of a class none is left.
    """
    examples = lessons.examples()
    places = {id(example): place for place, example in enumerate(examples)}
    folder = output / CACHE
    clips, kept = cached(examples, folder) if by_another else cache(examples, folder, shortest=SHORTEST_SECONDS)
    read = np.array([places[id(example)] for example in kept])
    sides = lessons.held[read]
    if sides.all() or not sides.any():
        side = "training" if sides.all() else "held-out"
        raise DistillError(f"no {side} clip can be read; {output / 'left_out.csv'} names what is missing")
    if len(read) < len(examples):
        check_sides(labels, lessons.of(read.tolist()))
    return Decoded(clips, np.flatnonzero(~sides), np.flatnonzero(sides), None if told is None else told[read])
