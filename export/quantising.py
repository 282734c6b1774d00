"""A trained Wav2Small in integers: calibrated, rounded so that errors cancel, and tuned where bits are few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from export.calibration import observe
from export.rounding import compensate
from export.tuning import tune
from students.quantised import QuantisedVgg
from students.wav2small import Vgg7

#: How ranges are read off calibration clips: a key of `export.calibration.METHODS`. docs/exporting.md compares them.
CALIBRATION = "mse"

#: Clips by which the answers are put right, at most.
CORRECTED = 200

#: Of the tuning; a step takes most of a second on one core.
TUNING_STEPS = 1000


def quantised(
    student: Vgg7, clips: Sequence[np.ndarray], bits: Mapping[str, int], *, method: str = CALIBRATION,
    tuned: bool = False, more: Sequence[np.ndarray] = (),
) -> QuantisedVgg:  # fmt: skip
    """The student on the levels of `bits`. clips: what ranges are read off; with `more`, what it is rounded for and
    tuned on. float32 [samples] each."""
    network, heard = QuantisedVgg(student, bits, observe(student, clips, method)).eval(), [*more, *clips]
    compensate(network, student, heard)
    if tuned:
        tune(network, student, heard, steps=TUNING_STEPS)
    put_right(network, student, heard[:CORRECTED])
    return network


@torch.no_grad()
def put_right(network: QuantisedVgg, student: Vgg7, clips: Sequence[np.ndarray]) -> None:
    """Put the answers on the float network's scale: on every axis the line that fits best on the clips, in the head.

    Bias correction (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction") at the
    last layer, and of the slope as well: rounding makes answers vary less.
    """
    pcm = [torch.from_numpy(clip)[None] for clip in clips]
    found, wanted = (torch.cat([model(clip) for clip in pcm]).double() for model in (network, student))
    off, target = found - found.mean(0), wanted - wanted.mean(0)
    slope = ((off * target).mean(0) / off.square().mean(0).clamp(min=1e-12)).clamp(*SLOPES).float()
    head, before = network.head, network.head.weight.step.clone()
    head.weight.step.copy_((before * slope).half())  # as it is kept
    slope = head.weight.step / before
    head.weight.weight.mul_(slope[:, None])
    head.bias.copy_(wanted.mean(0) - slope * (found.mean(0) - head.bias))


#: A slope that says more than rounding can do is not believed: few clips, or answers that hardly vary.
SLOPES = (0.8, 1.25)
