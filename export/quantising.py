"""A trained Wav2Small in integers: calibrated, fitted and rounded layer by layer, and heard by a head that knows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from export.calibration import observe
from export.refining import refine
from export.rounding import bias_of, compensate, moments, settle
from export.rows import with_rows
from students.quantised import Bits, QuantisedVgg
from students.wav2small import Vgg7, Wav2Small

#: How ranges are read off calibration clips: a key of `export.calibration.METHODS`. docs/exporting.md compares them.
CALIBRATION = "mse"

#: Clips by which the head is put right, at most.
CORRECTED = 1000

#: What holds the head to its weights, in shares of its inputs' own variances: few clips say little about many weights.
HOLD = 0.3

#: Rounds a network in place, to answer as the student does on clips.
Rounding = Callable[[QuantisedVgg, Vgg7, Sequence[np.ndarray]], None]


def quantised(
    student: Vgg7, clips: Sequence[np.ndarray], bits: Mapping[str, Bits], *, method: str = CALIBRATION,
    rows: Sequence[int] | None = None, more: Sequence[np.ndarray] = (), rounding: Rounding = compensate,
    corrected: bool = True,
) -> QuantisedVgg:  # fmt: skip
    """The student on the levels of `bits`. clips: what ranges are read off; with `more`, what it is rounded for and
    its head fitted on. float32 [samples] each. rows: of lin and sof, those that are kept, in their order; None: all.
    corrected: whether the head is put right."""
    kept = with_rows(student, rows) if rows is not None and isinstance(student, Wav2Small) else student
    network, heard = QuantisedVgg(kept, bits, observe(kept, clips, method)).eval(), [*more, *clips]
    rounding(network, kept, heard)
    if corrected:
        put_right(network, student, heard[:CORRECTED])
    if rows is not None and isinstance(kept, Wav2Small) and isinstance(student, Wav2Small):
        refine(network, kept, student, heard)
        put_right(network, student, heard[:CORRECTED])
    return network


@torch.no_grad()
def put_right(network: QuantisedVgg, student: Vgg7, clips: Sequence[np.ndarray]) -> None:
    """Fit the head, on what it sees after all the rounding, to the float network's answers, and round it.

    Bias correction (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction") of the
    whole network at its last layer, and of the weights as well: rounding makes what they see vary less.
    """
    pcm = [torch.from_numpy(clip)[None] for clip in clips]
    seen, wanted = torch.cat([network.pooled(clip) for clip in pcm]), torch.cat([student(clip) for clip in pcm])
    found, head = moments([(seen, wanted)]), network.head
    settle(head.weight, found, hold=HOLD)
    head.bias.copy_(bias_of(head.weight, found))
