"""Can this network be exported at all? Asked before training, when the answer still costs nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from distill.annotation import AXES
from distill.errors import DistillError, first_line
from export.ladder import climb, first_broken, session_answer, torch_answer
from export.onnx import Answering, write_float
from export.probes import synthetic_probes


def export_untrained(model: nn.Module, name: str) -> None:
    """Export `model` and run it at every length of the ladder, and at the shortest. Its batch norms are changed.

    Raises:
        DistillError: it does not export, or the file answers otherwise than torch.
    """
    network = Answering(model, AXES)
    tried = synthetic_probes()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "untrained.onnx"
        try:
            _settle(model, tried[0].signal)
            write_float(network, path)
            rungs = climb(torch_answer(network), {"onnx float": session_answer(path)}, tried)
        except Exception as error:  # torch, its exporter and onnxruntime each raise types of their own
            raise DistillError(f"{name} cannot be exported: {first_line(error)}") from None
    broken = first_broken(rungs)
    if broken:
        raise DistillError(f"{name} cannot be exported: the file is off by {broken.max_abs:.2g} from torch")


def _settle(model: nn.Module, clip: np.ndarray) -> None:
    """Let batch norms see a batch: fresh ones hand on what they get, and tens of them in a row let the answers grow
    into the thousands, where float32 is no longer exact enough to compare."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    halves = torch.from_numpy(clip[: len(clip) // 2 * 2].reshape(2, -1))
    with torch.no_grad():
        model.train()(halves * torch.linspace(0.5, 1.0, halves.shape[1]))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()
