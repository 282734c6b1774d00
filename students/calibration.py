"""A student's answers put on its teacher's scale: a line an axis, folded into the head."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from distill.annotation import AXES
from distill.learning.batch import Batch
from distill.learning.loop import answers
from distill.metrics import answered
from students.network import StudentNetwork


def calibrate(network: StudentNetwork, batches: Iterable[Batch]) -> dict[str, dict[str, float]]:
    """Fit teacher = slope * student + offset on every axis by least squares, and change the head so that the network
    answers that. batches: training clips as they are, never held-out ones.

    Returns {axis: {slope, offset}}, of the axes that the teacher answers.
    """
    predicted, target = answers(network, batches, torch.device("cpu"))
    lines = {axis: _line(x, y) for axis, (x, y) in answered(predicted, target).items()}
    slopes, offsets = (torch.tensor([lines.get(axis, (1.0, 0.0))[part] for axis in AXES]) for part in (0, 1))
    with torch.no_grad():
        network.head.weight.mul_(slopes[:, None])
        network.head.bias.mul_(slopes).add_(offsets)
    return {axis: {"slope": slope, "offset": offset} for axis, (slope, offset) in lines.items()}


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and offset of y = slope * x + offset; where x never varies, of y = x + offset."""
    off = x - x.mean()
    variance = float(np.mean(off**2))
    slope = float(np.mean(off * y)) / variance if variance > 1e-12 else 1.0
    return slope, float(y.mean() - slope * x.mean())
