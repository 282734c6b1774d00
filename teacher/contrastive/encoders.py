"""An encoder a view: frames of a backbone, the log-mel spectrum, functionals; each answers one vector a clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from transformers.audio_utils import mel_filter_bank

from distill.audio import SAMPLING_RATE
from distill.errors import DistillError
from teacher.contrastive.functionals import dimensions_of
from teacher.published.network import mask_of, normalised
from teacher.tuning.pooling import MeanAndDeviation

#: Of the log-mel spectrum: samples of a frame and between frames, Hz, and the power that is as good as none.
_FRAME, _HOP, _LOWEST, _HIGHEST, _FLOOR = 512, 160, 60.0, 7600.0, 1e-6

#: Of the convolutions over time: frames that each hears, and by how many it goes on.
_KERNEL, _STRIDES = 5, (2, 2, 1)

#: Share of what was pooled that is left out at random in training.
_DROPOUT = 0.1

#: Deviations from the mean beyond which a number says no more than that it is far out.
_FARTHEST = 5.0


@dataclass(frozen=True)
class Shape:
    """What the encoders are built by, but for their weights.

    width: of the vector that each answers; channels: of its layers; mels: bands of the log-mel spectrum; functionals:
    of `teacher.contrastive.functionals.KINDS`; described: how many of them; speech: width of the backbone's states, 0
    where there is no such view.
    """

    width: int
    channels: int
    mels: int
    functionals: str
    described: int
    speech: int = 0

    def __post_init__(self) -> None:
        sizes = (self.width, self.channels, self.mels, self.described)
        if not all(isinstance(size, int) and size > 0 for size in sizes) or self.speech < 0:
            raise DistillError("the views' sizes must be whole numbers above 0")
        if self.described != dimensions_of(self.functionals):
            raise DistillError(
                f"the views were made of {self.described} functionals ({self.functionals}); there are "
                f"{dimensions_of(self.functionals)} now; pre-train again"
            )

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Shape:
        """What `config.json` says of it.

        Raises:
            DistillError: it says too little, or what cannot be.
        """
        try:
            return cls(**{field.name: config[field.name] for field in fields(cls)})
        except (KeyError, TypeError) as error:
            raise DistillError(f"the configuration holds no shape of views ({error})") from None

    @property
    def views(self) -> tuple[str, ...]:
        """Their names, in the order of what the encoders answer.

        >>> Shape(width=8, channels=8, mels=20, functionals="own", described=360).views
        ('log-mel', 'functionals')
        """
        return (*(["backbone"] if self.speech else []), "log-mel", "functionals")


class Encoders(nn.Module):
    """From the views of clips to [batch, views, width]. stands_on: where the backbone comes from whose states are one
    of the views, or None."""

    def __init__(self, shape: Shape, stands_on: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.shape, self.stands_on = shape, stands_on
        self.spectrum = LogMel(shape.mels)
        self.frames = nn.ModuleDict()
        if shape.speech:
            self.frames["backbone"] = FrameEncoder(nn.LayerNorm(shape.speech), shape.speech, shape)
        self.frames["log-mel"] = FrameEncoder(Standardised(shape.mels), shape.mels, shape)
        self.described = VectorEncoder(shape)

    def forward(
        self, signals: Tensor, lengths: Tensor, described: Tensor, speech: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """signals: float32 [batch, samples], padded with anything; lengths: [batch] in samples; described: float32
        [batch, n], their functionals; speech: the backbone's states [batch, time, width] and their mask."""
        heard = {"log-mel": self.spectrum(signals, lengths), **({} if speech is None else {"backbone": speech})}
        encoded = [encoder(*heard[name]) for name, encoder in self.frames.items()]
        return torch.stack([*encoded, self.described(described)], dim=1)


class LogMel(nn.Module):
    """Samples -> log-mel power, float32 [batch, frames, mels] in dB, and the mask of the frames within each clip. Each
    clip is brought to zero mean and unit variance before, so that its level says nothing."""

    window: Tensor
    filters: Tensor

    def __init__(self, mels: int) -> None:
        super().__init__()
        filters = mel_filter_bank(_FRAME // 2 + 1, mels, _LOWEST, _HIGHEST, SAMPLING_RATE, "slaney", "slaney")
        self.register_buffer("window", torch.hann_window(_FRAME))
        self.register_buffer("filters", torch.from_numpy(filters.T.copy()).float())

    def forward(self, signals: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(signals.device.type, enabled=False):
            clean = normalised(signals.float(), lengths)
            clean = nn.functional.pad(clean, (0, max(0, _FRAME - clean.shape[1])))
            spectrum = torch.stft(clean, _FRAME, _HOP, window=self.window, center=False, return_complex=True)
            bands = (self.filters @ (spectrum.real.square() + spectrum.imag.square())).transpose(1, 2)
        frames = ((lengths - _FRAME) // _HOP + 1).clamp(min=1)
        return 10 * torch.log10(bands + _FLOOR), mask_of(frames, bands.shape[1])


class Standardised(nn.Module):
    """[..., n] less a mean, by a deviation, which are found once and never learned.

    >>> Standardised(1)(torch.tensor([[2.0], [9.0]])).tolist()
    [[2.0], [5.0]]
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("deviation", torch.ones(inputs))

    @torch.no_grad()
    def fit(self, values: Tensor) -> None:
        """Take mean and deviation of [count, n]; what never varies is left as it is."""
        deviation, mean = torch.std_mean(values.double(), dim=0, correction=0)
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(deviation > 1e-6, deviation, 1.0))

    def forward(self, x: Tensor) -> Tensor:
        return ((x - self.mean) / self.deviation).clamp(-_FARTHEST, _FARTHEST)


class FrameEncoder(nn.Module):
    """Convolutions over time, then mean and deviation over it: [batch, time, inputs], boolean [batch, time] ->
    [batch, width]. Frames outside the mask never change the answer. scale: what the frames go through before."""

    def __init__(self, scale: nn.Module, inputs: int, shape: Shape) -> None:
        super().__init__()
        self.scale = scale
        widths = [inputs, *[shape.channels] * len(_STRIDES)]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(before, after, _KERNEL, stride, padding=_KERNEL // 2)
            for (before, after), stride in zip(pairwise(widths), _STRIDES, strict=True)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(shape.channels) for _ in _STRIDES)
        self.pool = MeanAndDeviation()
        self.answer = nn.Sequential(nn.Dropout(_DROPOUT), nn.Linear(2 * shape.channels, shape.width))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x, frames = self.scale(x), mask.sum(1)
        for convolution, norm, stride in zip(self.convolutions, self.norms, _STRIDES, strict=True):
            x = torch.where(mask[..., None], x, 0.0).transpose(1, 2)
            x = nn.functional.gelu(norm(convolution(x).transpose(1, 2)))
            frames = (frames - 1) // stride + 1
            mask = mask_of(frames, x.shape[1])
        answer: Tensor = self.answer(self.pool(x, mask))
        return answer


class VectorEncoder(nn.Module):
    """Functionals through two linear layers: [batch, n] -> [batch, width]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.scale = Standardised(shape.described)
        self.layers = nn.Sequential(
            nn.Linear(shape.described, 2 * shape.channels), nn.LayerNorm(2 * shape.channels), nn.GELU(),
            nn.Dropout(_DROPOUT), nn.Linear(2 * shape.channels, shape.width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.layers(self.scale(x))
        return answer
