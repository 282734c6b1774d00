"""The clips of a run in two sides: those that it learns from, and those held out, on which it is scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from distill import runs
from distill.errors import DistillError
from distill.files import write_json
from distill.learning.clips import Clips, Example, cache, cached
from distill.learning.splits import held_out
from students.network import SHORTEST_SECONDS

#: Where in the run's folder the decoded clips lie while it trains.
FOLDER = "cache"

#: Clips that travel with a run for the exporter, at most.
TRAVELLING = 400


@dataclass(frozen=True)
class Split:
    """Decoded clips, the examples that they are of, and which are held out: boolean [clips]."""

    clips: Clips
    examples: Sequence[Example]
    held: np.ndarray

    @cached_property
    def train(self) -> np.ndarray:
        """Indices of the clips that are learned from."""
        return np.flatnonzero(~self.held)

    @cached_property
    def held_out(self) -> np.ndarray:
        """Indices of the clips that are scored on."""
        return np.flatnonzero(self.held)


def decode_split(chosen: Sequence[Example], output: Path, *, seed: int, decoded: bool = False) -> Split:
    """Draw the groups that are held out, and decode all examples into the run's folder.

    decoded: another process has just done so; what it wrote is opened.

    Raises:
        DistillError: there is only one group, nothing can be read, or of one side nothing; or the disk is too small.
    """
    held = held_out([example.group for example in chosen], seed=seed)
    out = {example.group for example, is_out in zip(chosen, held, strict=True) if is_out}
    folder = output / FOLDER
    clips, kept = cached(chosen, folder) if decoded else cache(chosen, folder, shortest=SHORTEST_SECONDS)
    held = np.array([example.group in out for example in kept])
    if held.all() or not held.any():
        side = "training" if held.all() else "held-out"
        raise DistillError(f"no {side} clip can be read; {output / 'left_out.csv'} names what is missing")
    return Split(clips, kept, held)


def write_split(folder: Path, split: Split) -> dict[str, Any]:
    """Name the held-out groups in `split.json`; returns the summary for `result.json`."""
    groups = sorted({split.examples[index].group for index in split.held_out})
    by = "speaker" if all(group.startswith("speaker ") for group in groups) else "speaker where known, else file"
    by = "file" if all(group.startswith("file ") for group in groups) else by
    write_json(folder / "split.json", {"by": by, "held_out": groups})
    return {"by": by, "groups": len(groups), "train": len(split.train), "held_out": len(split.held_out)}


def travelling(split: Split) -> list[runs.Clip]:
    """Clips for the exporter: training clips to calibrate with and held-out ones to check with, in turn."""
    rng = np.random.default_rng(0)
    # A table may be named twice.
    first = np.unique([example.sha256 for example in split.examples], return_index=True)[1]
    calibrate, check = (rng.permutation(side[np.isin(side, first)]) for side in (split.train, split.held_out))
    turns = list(zip_longest(check, calibrate))
    drawn = [
        (index, use)
        for pair in turns
        for index, use in zip(pair, ("check", "calibrate"), strict=True)
        if index is not None
    ]
    return [runs.Clip(split.examples[index].file, use, split.clips.signal(index)) for index, use in drawn[:TRAVELLING]]
