"""Wav2Small and its training as one writes them first: what `distill benchmark-training` compares with.

Shares no code with what trains students; the parameters have the same names, so that weights go from one to the other.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.audio_utils import mel_filter_bank


class PlainWav2Small(nn.Module):
    """The paper's 72K layout, 13 channels: float32 [batch, samples] at 16 kHz -> arousal, dominance, valence.

    >>> PlainWav2Small().eval()(torch.zeros(2, 16_000)).shape
    torch.Size([2, 3])
    """

    def __init__(self) -> None:
        super().__init__()
        self.frontend = PlainLogMel()
        self.fine = nn.Sequential(block(1, 13), block(13, 13), block(13, 13))
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.coarse = nn.Sequential(*[block(13, 13) for _ in range(4)])
        self.attention = nn.ModuleDict({"lin": nn.Linear(169, 169), "sof": nn.Linear(169, 169)})
        self.head = nn.Linear(169, 3)

    def forward(self, pcm: Tensor) -> Tensor:
        """pcm: float32 [batch, samples] -> float32 [batch, 3]."""
        centred = pcm - pcm.mean(1, keepdim=True)
        normal = centred / torch.sqrt(centred.var(1, unbiased=False, keepdim=True) + 1e-7)
        x = self.frontend(normal).unsqueeze(1)  # [batch, 1, frames, 26]
        x = self.coarse(self.pool(self.fine(x)))  # [batch, 13, frames / 2, 13]
        x = x.transpose(1, 2).flatten(2)  # [batch, frames / 2, 169]
        x = (self.attention["lin"](x) * self.attention["sof"](x).softmax(1)).sum(1)
        adv: Tensor = self.head(x)
        return adv


class PlainLogMel(nn.Module):
    """[batch, samples] -> log-mel power in dB, [batch, frames, 26]; frozen."""

    def __init__(self) -> None:
        super().__init__()
        basis = torch.fft.rfft(torch.eye(64)).T * torch.hann_window(64)  # [33, 64]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # 26 bands over 33 bins leave some empty: so it is in the paper
            mel = mel_filter_bank(33, 26, 0.0, 8000.0, 16_000, norm="slaney", mel_scale="slaney")
        self.real = nn.Parameter(basis.real[:, None].contiguous(), requires_grad=False)
        self.imaginary = nn.Parameter(basis.imag[:, None].contiguous(), requires_grad=False)
        self.mel = nn.Parameter(torch.from_numpy(mel).float(), requires_grad=False)

    def forward(self, pcm: Tensor) -> Tensor:
        """pcm: float32 [batch, samples], normalised -> float32 [batch, frames, 26]."""
        pcm = pcm.unsqueeze(1)
        real = functional.conv1d(pcm, self.real, stride=32)
        imaginary = functional.conv1d(pcm, self.imaginary, stride=32)
        power = (real**2 + imaginary**2).transpose(1, 2)
        return 10 * torch.log10((power @ self.mel).clamp(min=1e-10))


def block(before: int, after: int) -> nn.Sequential:
    """3x3 convolution, batch norm, ReLU.

    >>> block(1, 8)(torch.zeros(1, 1, 16, 16)).shape
    torch.Size([1, 8, 16, 16])
    """
    convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
    return nn.Sequential(OrderedDict(conv=convolution, norm=nn.BatchNorm2d(after), relu=nn.ReLU()))


def plain_ccc_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean of 1 - CCC over the axes. predicted, target: [batch, 3] -> scalar.

    >>> x = torch.tensor([[0.1], [0.5], [0.9]])
    >>> round(float(plain_ccc_loss(x + 0.2, x)), 3)
    0.158
    """
    mean_p, mean_t = predicted.mean(0), target.mean(0)
    covariance = ((predicted - mean_p) * (target - mean_t)).mean(0)
    variances = predicted.var(0, unbiased=False) + target.var(0, unbiased=False)
    return (1 - 2 * covariance / (variances + (mean_p - mean_t) ** 2)).mean()


def plain_step(model: nn.Module, optimiser: torch.optim.Optimizer, pcm: Tensor, target: Tensor) -> float:
    """One update; returns the loss. pcm: [batch, samples]; target: [batch, 3]."""
    optimiser.zero_grad()
    loss = plain_ccc_loss(model(pcm), target)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return loss.item()
