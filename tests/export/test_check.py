"""An untrained network is exported before training, so that what cannot be exported is known in time."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from distill.errors import DistillError
from export.check import export_untrained
from students.catalogue import STUDENTS, build


class Energies(nn.Module):
    """Three numbers from a clip of any length."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 3)

    def summary(self, pcm):
        return torch.stack([pcm.mean(1), pcm.abs().mean(1)], 1)

    def forward(self, pcm, lengths=None):
        return self.linear(self.summary(pcm))


class BakesInTheLength(Energies):
    """`len` and `float` leave the graph: the traced length becomes a constant."""

    def summary(self, pcm):
        return torch.stack([pcm.sum(1) / float(pcm.shape[1]), pcm.abs().sum(1) / float(pcm.shape[1])], 1)


class TakesOneLength(Energies):
    def summary(self, pcm):
        return pcm.reshape(int(pcm.shape[0]), 2, 8000).mean(2) if pcm.shape[1] == 16000 else super().summary(pcm)


class HasNoOperator(Energies):
    def summary(self, pcm):
        return torch.view_as_real(torch.fft.fft(pcm)).sum(1)


class Raises(Energies):
    def summary(self, pcm):
        raise ValueError("no summary\nfor you")


class AnswersNaN(Energies):
    def summary(self, pcm):
        return super().summary(pcm) + (float("nan") if torch.onnx.is_in_onnx_export() else 0.0)


@pytest.mark.parametrize("name", STUDENTS)
def test_every_student_exports_untrained(name):
    export_untrained(build(name), name)


def test_any_length_passes():
    export_untrained(Energies(), "energies")


@pytest.mark.parametrize("kind", [BakesInTheLength, TakesOneLength, HasNoOperator, Raises, AnswersNaN])
def test_what_cannot_be_exported_is_one_line(kind):
    with pytest.raises(DistillError, match=r"^it cannot be exported: \S") as caught:
        export_untrained(kind(), "it")
    assert "\n" not in str(caught.value)
