"""PCM to log-mel inside the network, as in Wav2Small: what is trained on is what runs on the device."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from distill.audio import SAMPLING_RATE

#: A number of samples, frames or tokens: of one clip, or of each clip of a batch.
Count = TypeVar("Count", int, Tensor)

#: Normaliser's floor on the variance, and log-mel's floor on the power.
VARIANCE_FLOOR, POWER_FLOOR = 1e-7, 1e-10


def frames_of(samples: Count, n_fft: int, hop: int) -> Count:
    """Whole frames in `samples` samples: no padding at either end.

    >>> frames_of(16_000, 64, 32)
    499
    """
    return (samples - n_fft) // hop + 1


def sample_mask(lengths: Tensor, samples: int) -> Tensor:
    """Boolean [batch, samples], true before each clip's length. lengths: [batch].

    >>> sample_mask(torch.tensor([1, 3]), 3).tolist()
    [[True, False, False], [True, True, True]]
    """
    return torch.arange(samples, device=lengths.device)[None] < lengths[:, None]


def normalise(pcm: Tensor, mask: Tensor | None = None) -> Tensor:
    """Zero mean and unit variance per clip; samples outside the mask do not count. pcm: [batch, samples].

    >>> normalise(torch.tensor([[1.0, 3.0]])).round(decimals=3).tolist()
    [[-1.0, 1.0]]
    """
    if mask is None:
        centred = pcm - pcm.mean(-1, keepdim=True)
        return centred / torch.sqrt((centred * centred).mean(-1, keepdim=True) + VARIANCE_FLOOR)
    count = mask.sum(-1, keepdim=True)
    pcm = torch.where(mask, pcm, 0.0)
    centred = torch.where(mask, pcm - pcm.sum(-1, keepdim=True) / count, 0.0)
    return centred / torch.sqrt((centred * centred).sum(-1, keepdim=True) / count + VARIANCE_FLOOR)


class ClipLevel(nn.Module):
    """`normalise` as a part of a network: the level is that of the whole clip."""

    def forward(self, pcm: Tensor, mask: Tensor | None = None) -> Tensor:
        """pcm: [batch, samples] -> the same, normalised."""
        return normalise(pcm, mask)


def dft_kernels(n_fft: int) -> np.ndarray:
    """Real and imaginary DFT rows under a periodic Hann window: float32 [2, n_fft // 2 + 1, n_fft].

    >>> dft_kernels(512).shape
    (2, 257, 512)
    """
    time = np.arange(n_fft)
    phase = 2 * math.pi * np.outer(np.arange(n_fft // 2 + 1), time) / n_fft
    window = 0.5 - 0.5 * np.cos(2 * math.pi * time / n_fft)
    return np.stack([np.cos(phase) * window, -np.sin(phase) * window]).astype(np.float32)


def mel_matrix(n_fft: int, mels: int) -> np.ndarray:
    """Triangular Slaney filters over 0..Nyquist with Slaney's area norm, librosa's default: float32 [bins, mels].

    Slaney (1998), Auditory Toolbox: linear below 1 kHz (200/3 Hz a mel), logarithmic above (27 steps to 6.4 kHz).

    >>> mel_matrix(512, 40).shape
    (257, 40)
    """
    bins = np.linspace(0, SAMPLING_RATE / 2, n_fft // 2 + 1)
    edges = mel_edges(mels)
    rising = (bins[:, None] - edges[None, :-2]) / np.diff(edges)[None, :-1]
    falling = (edges[None, 2:] - bins[:, None]) / np.diff(edges)[None, 1:]
    area = 2.0 / (edges[2:] - edges[:-2])
    return np.asarray(np.maximum(0, np.minimum(rising, falling)) * area, np.float32)


def mel_edges(mels: int) -> np.ndarray:
    """Where the triangles begin, have their tops and end, in Hz: float64 [mels + 2]; neighbours share theirs."""
    return _mel_to_hz(np.linspace(0, _hz_to_mel(SAMPLING_RATE / 2), mels + 2))


_LINEAR, _LOG_FROM, _LOG_STEP = 200.0 / 3, 1000.0, math.log(6.4) / 27


def _hz_to_mel(hz: float) -> float:
    return hz / _LINEAR if hz < _LOG_FROM else _LOG_FROM / _LINEAR + math.log(hz / _LOG_FROM) / _LOG_STEP


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    knee = _LOG_FROM / _LINEAR
    return np.where(mel < knee, mel * _LINEAR, _LOG_FROM * np.exp(_LOG_STEP * (mel - knee)))


class LogMel(nn.Module):
    """PCM -> log-mel power in dB, frozen and always in float32.

    Wav2Small's front-end: two 1 x n_fft DFT convolutions, power without a square root, Slaney mel, 10 log10.
    [batch, samples] -> [batch, frames, mels]; frames = (samples - n_fft) // hop + 1.

    >>> LogMel()(torch.zeros(1, 16_000)).shape
    torch.Size([1, 499, 26])
    """

    def __init__(self, n_fft: int = 64, hop: int = 32, mels: int = 26) -> None:
        super().__init__()
        self.n_fft, self.hop, self.mels = n_fft, hop, mels
        real, imaginary = torch.from_numpy(dft_kernels(n_fft))[:, :, None]
        # Parameters, not buffers: the paper's 72K counts them. They never train.
        self.real = nn.Parameter(real, requires_grad=False)
        self.imaginary = nn.Parameter(imaginary, requires_grad=False)
        self.mel = nn.Parameter(torch.from_numpy(mel_matrix(n_fft, mels)), requires_grad=False)

    def forward(self, pcm: Tensor) -> Tensor:
        """pcm: float32 [batch, samples], normalised -> float32 [batch, frames, mels] in dB."""
        with torch.autocast(pcm.device.type, enabled=False):
            return 10.0 * torch.log10(torch.clamp(self.power(pcm.float()) @ self.mel, min=POWER_FLOOR))

    def power(self, pcm: Tensor) -> Tensor:
        """pcm: float32 [batch, samples] -> float32 [batch, frames, bins]."""
        framed = pcm[:, None]
        real = nn.functional.conv1d(framed, self.real, stride=self.hop)
        imaginary = nn.functional.conv1d(framed, self.imaginary, stride=self.hop)
        return (real * real + imaginary * imaginary).transpose(1, 2)


class FoldedLogMel(LogMel):
    """The same of frames that do not overlap, with half of the multiplications.

    The window is symmetric, so the real part needs only the sums of the samples that lie as far from a frame's middle,
    and the imaginary part only their differences. What the transform is made of is no weight: it is not counted, and
    not kept with the student.

    >>> FoldedLogMel(256)(torch.zeros(1, 16_000)).shape
    torch.Size([1, 62, 26])
    """

    sums: Tensor
    differences: Tensor

    def __init__(self, n_fft: int = 256, mels: int = 26) -> None:
        nn.Module.__init__(self)
        self.n_fft, self.hop, self.mels = n_fft, n_fft, mels
        real, imaginary = torch.from_numpy(dft_kernels(n_fft))
        middle = n_fft // 2
        self.register_buffer("sums", real[:, : middle + 1].T.contiguous(), persistent=False)
        self.register_buffer("differences", imaginary[1:middle, 1:middle].T.contiguous(), persistent=False)
        self.register_buffer("mel", torch.from_numpy(mel_matrix(n_fft, mels)), persistent=False)

    def power(self, pcm: Tensor) -> Tensor:
        """pcm: float32 [batch, samples] -> float32 [batch, frames, bins]."""
        frames, middle = pcm.shape[1] // self.n_fft, self.n_fft // 2
        framed = pcm[:, : frames * self.n_fft].reshape(pcm.shape[0], frames, self.n_fft)
        ahead, behind = framed[..., 1:middle], framed[..., middle + 1 :].flip(-1)
        real = torch.cat([framed[..., :1], ahead + behind, framed[..., middle : middle + 1]], -1) @ self.sums
        imaginary = (ahead - behind) @ self.differences
        return real * real + nn.functional.pad(imaginary * imaginary, (1, 1))
