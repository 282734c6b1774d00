"""Voices as a teacher has answered them, kept on disk: later passes take them from there without asking."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distill.audio import SAMPLING_RATE
from distill.files import check_disk, plain, whole
from distill.learning.batch import Batch
from distill.learning.clips import from_16_bits, in_16_bits
from distill.progress import say
from students.split import Split

#: Where in the run's folder they are kept while it trains.
FOLDER = "annotated"

#: What answers, weights and embedding of a voice take (bytes), at most: an embedding of 4,000 dimensions.
_BESIDE = 16_500

#: Keeps a stretch of digital silence from dividing by zero.
_FAINT = 1e-9


@dataclass(frozen=True)
class KeptPasses:
    """The first `passes` passes, a file a batch: processes that prepare batches write at once, and of a pass that was
    interrupted what is whole is not asked again. 16-bit audio, each voice at its own scale.
    """

    folder: Path
    passes: int

    def of(self, epoch: int) -> int:
        """The pass whose voices an epoch takes."""
        return epoch % self.passes

    def read(self, which: int, number: int) -> Batch | None:
        """The voices of a batch and their answers; None where they are not there, or damaged: then they are to be asked
        again."""
        kept = _read(self._path(which, number))
        return None if kept is None else _unpacked(kept)

    def keep(self, which: int, number: int, voices: Batch) -> None:
        """Write the voices of a batch, all of one length, with their answers, before anything surrounds them."""
        with whole(self._path(which, number)) as beside, beside.open("wb") as handle:
            np.savez(handle, **_packed(voices))  # type: ignore[arg-type]

    def _path(self, which: int, number: int) -> Path:
        return self.folder / f"{which}-{number:06d}.npz"


def as_kept(voices: Batch) -> Batch:
    """Voices as they come back from disk, so that those just asked are the same to the bit."""
    return _unpacked(_packed(voices))


def keep_passes(output: Path, passes: int, config: Mapping[str, Any], split: Split, slowest: float) -> KeptPasses:
    """A place for the voices of a run. What a run of another configuration or of other clips left there goes.

    config: the run's; slowest: the least speed, 0..1.

    Raises:
        DistillError: the disk is too small.
    """
    decided_by = [plain(config), [example.sha256 for example in split.examples]]
    digest = hashlib.sha256(json.dumps(decided_by, sort_keys=True).encode()).hexdigest()
    folder = output / FOLDER / digest[:16]
    for other in (output / FOLDER).glob("*"):
        if other != folder:
            shutil.rmtree(other)
    samples = np.minimum(split.clips.lengths[split.train] / slowest, config["longest"] * SAMPLING_RATE).sum()
    needed = passes * int(2 * samples + _BESIDE * len(split.train))
    check_disk(folder, needed - sum(path.stat().st_size for path in folder.glob("*.npz")))
    say(f"the voices of {passes} passes are kept in {output / FOLDER}, {needed / 1e6:.0f} MB at most, until the end")
    return KeptPasses(folder, passes)


def _packed(batch: Batch) -> dict[str, np.ndarray]:
    rows = {name: part.numpy() for name, part in batch._asdict().items() if part is not None and name != "lengths"}
    voices = [in_16_bits(signal, max(float(np.abs(signal).max()), _FAINT)) for signal in rows["pcm"]]
    return {**rows, "pcm": np.stack(voices)}


def _unpacked(kept: Mapping[str, np.ndarray]) -> Batch:
    pcm = from_16_bits(kept["pcm"])
    beside = {name: torch.from_numpy(rows) for name, rows in kept.items() if name != "pcm"}
    return Batch(pcm=torch.from_numpy(pcm), lengths=torch.full((len(pcm),), pcm.shape[1]), **beside)


def _read(path: Path) -> dict[str, np.ndarray] | None:
    try:
        with np.load(path) as opened:
            return dict(opened)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None
