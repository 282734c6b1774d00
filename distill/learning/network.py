"""What the loop trains."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class PooledNetwork(nn.Module, ABC):
    """A network that pools a clip into features, and a head that answers from them."""

    head: nn.Module

    @abstractmethod
    def pooled(self, pcm: Tensor, lengths: Tensor | None = None) -> Tensor:
        """What the head answers from. pcm: float32 [batch, samples] at 16 kHz -> float32 [batch, width].

        lengths: [batch] in samples; what stands behind them never changes the answer. None: no padding.
        """

    def forward(self, pcm: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The answers: as `pooled`, -> float32 [batch, 3] in the order of `AXES`."""
        adv: Tensor = self.head(self.pooled(pcm, lengths))
        return adv
