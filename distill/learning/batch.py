"""What one step of training sees."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """Clips and what is known of them.

    pcm: float32 [batch, samples] at 16 kHz; lengths: [batch] in samples; target: float32 [batch, 3], NaN where unknown.
    weight: float32 [batch, 3], how much each counts in the loss, or None where all count alike.
    embedding: float32 [batch, dimensions], the teacher's, a row of NaN where it is unknown, or None.
    beside: float32 [batch, n], what is told the network of each clip beside its sound, or None.

    >>> Batch(torch.zeros(2, 16_000), torch.full((2,), 16_000), torch.full((2, 3), 0.5)).pcm.shape
    torch.Size([2, 16000])
    """

    pcm: Tensor
    lengths: Tensor
    target: Tensor
    weight: Tensor | None = None
    embedding: Tensor | None = None
    beside: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        return Batch(*(None if part is None else part.to(device, non_blocking=True) for part in self))  # type: ignore[arg-type]

    def told(self) -> tuple[Tensor, ...]:
        """What a network takes behind samples and lengths: what is said beside the sound, if anything is."""
        return () if self.beside is None else (self.beside,)

    def parts(self, size: int) -> list[Batch]:
        """The same clips in batches of `size`, the last perhaps smaller, none longer than its longest clip.

        >>> [len(part.lengths) for part in Batch(torch.zeros(5, 9), torch.full((5,), 9), torch.zeros(5, 3)).parts(2)]
        [2, 2, 1]
        """
        split = ([None] * -(-len(self.lengths) // size) if side is None else torch.split(side, size) for side in self)
        parts = [Batch(*sides) for sides in zip(*split, strict=True)]
        return [part._replace(pcm=part.pcm[:, : int(part.lengths.max())]) for part in parts]
