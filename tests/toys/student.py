"""A student in one file: the mean and the deviation of each mel band over time, and a linear head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from distill.annotation import AXES
from students.frontend import LogMel, frames_of, normalise, sample_mask
from students.network import StudentNetwork


class Bands(StudentNetwork):
    """PCM [batch, samples] at 16 kHz -> A/D/V [batch, 3]."""

    def __init__(self, mels: int = 20) -> None:
        super().__init__()
        self.frontend = LogMel(n_fft=256, hop=128, mels=mels)
        self.head = nn.Linear(2 * mels, len(AXES))

    def pooled(self, pcm: Tensor, lengths: Tensor | None = None) -> Tensor:
        """pcm: float32 [batch, samples] -> [batch, 2 mels]; lengths: [batch] in samples."""
        if lengths is None:
            return _moments(self._decibels(pcm, None), None)
        mel = self._decibels(pcm, sample_mask(lengths, pcm.shape[1]))
        frames = frames_of(lengths, self.frontend.n_fft, self.frontend.hop)
        return _moments(mel, sample_mask(frames, mel.shape[1])[..., None])

    def _decibels(self, pcm: Tensor, mask: Tensor | None) -> Tensor:
        mel: Tensor = self.frontend(normalise(pcm, mask)) / 10
        return mel

    def tokens(self, samples: int) -> int:
        return frames_of(samples, self.frontend.n_fft, self.frontend.hop)


def _moments(mel: Tensor, valid: Tensor | None) -> Tensor:
    """Mean and deviation over the valid frames of [batch, frames, mels]: [batch, 2 mels]."""
    valid = torch.ones_like(mel[..., :1]) if valid is None else valid.to(mel.dtype)
    count = valid.sum(1)
    mean = (mel * valid).sum(1) / count
    variance = ((mel - mean[:, None]) ** 2 * valid).sum(1) / count
    return torch.cat([mean, torch.sqrt(variance + 1e-5)], dim=1)
