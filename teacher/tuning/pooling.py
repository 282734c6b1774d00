"""From frames to one vector a clip, masked: mean, mean and deviation, attention, attentive statistics."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from teacher.published.network import masked_mean
from teacher.published.odyssey import AttentiveStatistics

#: Keeps the deviation of a clip that is the same throughout from an infinite gradient.
VARIANCE_FLOOR = 1e-5


class Pooling(nn.Module, ABC):
    """[batch, time, width], boolean [batch, time] -> [batch, `times` width]."""

    times = 1

    @abstractmethod
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """mask: the frames that count; every clip has one."""


class Mean(Pooling):
    """The mean over time (Wagner et al. 2023)."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return masked_mean(x, mask)


class MeanAndDeviation(Pooling):
    """Mean and standard deviation over time, side by side.

    Diatlova et al. (2024), "Adapting WavLM for speech emotion recognition".

    >>> MeanAndDeviation()(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[True, True, False]])).tolist()
    [[2.0, 1.0]]
    """

    times = 2

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        mean = masked_mean(x, mask)
        variance = masked_mean((x - mean[:, None]).square(), mask)
        return torch.cat([mean, variance.clamp(min=VARIANCE_FLOOR).sqrt()], dim=1)


class Attention(Pooling):
    """A mean weighted by the softmax over time of a learned score of each frame."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        shares = torch.softmax(self.score(x).masked_fill(~mask[..., None], -torch.inf), dim=1)
        return (torch.where(mask[..., None], x, 0.0) * shares).sum(1)


class AttentiveMeanAndDeviation(Pooling):
    """Mean and standard deviation weighted by attention: Okabe et al. (2018), as the Odyssey 2024 baseline has it."""

    times = 2

    def __init__(self, width: int) -> None:
        super().__init__()
        self.statistics = AttentiveStatistics(width)
        nn.init.normal_(self.statistics.attention, std=width**-0.5)  # at zero nothing before it would learn

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.statistics(x, mask)  # type: ignore[no-any-return]


def pooling_of(name: str, width: int) -> Pooling:
    """The pooling that goes by a name of `teacher.tuning.options.POOLINGS`.

    >>> pooling_of("std", 8).times
    2
    """
    if name == "attention":
        return Attention(width)
    if name == "attentive-stats":
        return AttentiveMeanAndDeviation(width)
    return {"mean": Mean, "std": MeanAndDeviation}[name]()
