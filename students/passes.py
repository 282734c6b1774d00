"""Voices as a teacher has answered them, kept on disk: later passes take them from there without asking."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distill.audio import SAMPLING_RATE
from distill.files import plain, whole
from distill.learning.batch import Batch
from distill.progress import say
from students.clips import Clips, Example, check_disk, from_16_bits, in_16_bits

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

    def voices(self, which: int, number: int, ask: Callable[[], Batch]) -> Batch:
        """The voices of a batch, from disk, or asked and then kept. Both are the same to the bit: what was just asked
        is rounded to 16 bits as well.

        ask: the batch, all of one length, before anything surrounds the voices.
        """
        path = self.folder / f"{which}-{number:06d}.npz"
        kept = _read(path)
        if kept is None:
            kept = _packed(ask())
            with whole(path) as beside, beside.open("wb") as handle:
                np.savez(handle, **kept)  # type: ignore[arg-type]
        return _unpacked(kept)


def keep_passes(
    output: Path, passes: int, config: Mapping[str, Any], clips: Clips, kept: Sequence[Example], chosen: np.ndarray,
    slowest: float,
) -> KeptPasses:  # fmt: skip
    """A place for the voices of a run. What a run of another configuration or of other clips left there goes.

    config: the run's; kept: the clips' examples; chosen: those trained on; slowest: the least speed, 0..1.

    Raises:
        DistillError: the disk is too small.
    """
    decided_by = [plain(config), [example.sha256 for example in kept]]
    digest = hashlib.sha256(json.dumps(decided_by, sort_keys=True).encode()).hexdigest()
    folder = output / FOLDER / digest[:16]
    for other in (output / FOLDER).glob("*"):
        if other != folder:
            shutil.rmtree(other)
    samples = np.minimum(clips.lengths[chosen] / slowest, config["longest"] * SAMPLING_RATE).sum()
    needed = passes * int(2 * samples + _BESIDE * len(chosen))
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
    """None where there is none, or it is damaged: then the teacher is asked again."""
    try:
        with np.load(path) as opened:
            return dict(opened)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None
