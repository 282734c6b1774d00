"""What pre-training makes small: views of one utterance are alike, those of different utterances are not."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import torch
from torch import Tensor, nn

from distill.learning.network import PooledNetwork
from teacher.contrastive.backbone import ViewsBackbone

#: Of the vectors that are compared.
PROJECTED = 64


class ViewNetwork(PooledNetwork):
    """Encoders, and on each a projection in which its view is compared with the others; the projections are dropped
    after pre-training (Chen et al. 2020, "A simple framework for contrastive learning", section 4.2)."""

    head: Projections

    def __init__(self, backbone: ViewsBackbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = Projections(len(backbone.config.views), backbone.config.width)

    def pooled(self, pcm: Tensor, lengths: Tensor | None = None, *told: Tensor) -> Tensor:
        """told: float32 [batch, n], the functionals, where somebody has computed them already -> [batch, views x
        width]."""
        if lengths is None:
            lengths = torch.full((len(pcm),), pcm.shape[1], device=pcm.device)
        return self.backbone.represented(pcm, lengths, *told).flatten(1)

    def forward(self, pcm: Tensor, lengths: Tensor | None = None, *told: Tensor) -> Tensor:
        """-> float32 [batch, views x `PROJECTED`]."""
        answers: Tensor = self.head(self.pooled(pcm, lengths, *told))
        return answers


class Projections(nn.Module):
    """[batch, views x width] -> [batch, views x `PROJECTED`], each view by layers of its own."""

    def __init__(self, views: int, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, PROJECTED)) for _ in range(views)
        )

    def forward(self, x: Tensor) -> Tensor:
        parts = x.chunk(len(self.layers), dim=1)
        return torch.cat([layers(part) for layers, part in zip(self.layers, parts, strict=True)], dim=1)


class PairwiseContrast:
    """Mean over all pairs of views of the symmetric NT-Xent loss: [batch, views x dimensions] -> scalar.

    Of a pair, each clip of one view has to find its own among all clips of the batch in the other view, by the softmax
    of cosines over a temperature, and the other way round (Tian et al. 2020, "Contrastive multiview coding", section
    3.3: all pairs; Chen et al. 2020, equation 1: the loss).

    >>> alike = torch.eye(4).repeat(1, 2)  # two views, in which every clip is itself
    >>> round(float(PairwiseContrast(2, temperature=0.1)(alike)), 4)
    0.0001
    """

    def __init__(self, views: int, temperature: float) -> None:
        self.views, self.temperature = views, temperature

    def __call__(self, projected: Tensor, target: Tensor | None = None, weight: Tensor | None = None) -> Tensor:
        """target, weight: nobody's; an utterance is its own label."""
        pairs = list(combinations(_directions(projected, self.views), 2))
        return torch.stack([self._of_a_pair(one, other) for one, other in pairs]).mean()

    def _of_a_pair(self, one: Tensor, other: Tensor) -> Tensor:
        alike = one @ other.T / self.temperature
        own = alike.diagonal()
        return 0.5 * ((alike.logsumexp(1) - own).mean() + (alike.logsumexp(0) - own).mean())


class Retrieval:
    """Of how many clips the nearest one in another view is the same clip, 0..1, for every two views. By chance it would
    be one of all clips that are compared.

    >>> Retrieval(("a", "b"))(np.tile(np.eye(3, dtype=np.float32), 2), np.zeros((3, 3)))
    {'retrieval': {'a to b': 1.0, 'b to a': 1.0}}
    """

    def __init__(self, views: tuple[str, ...]) -> None:
        self.views = views

    def __call__(self, projected: np.ndarray, target: np.ndarray) -> dict[str, dict[str, float]]:
        """projected: float32 [clips, views x dimensions]; target: nobody's."""
        sides = dict(zip(self.views, _directions(torch.from_numpy(projected), len(self.views)), strict=True))
        found = {f"{one} to {other}": _found(sides[one], sides[other]) for one, other in permutations(self.views, 2)}
        return {"retrieval": found}


def _found(one: Tensor, other: Tensor) -> float:
    own = torch.arange(len(one))
    return float(((one @ other.T).argmax(1) == own).double().mean())


def _directions(projected: Tensor, views: int) -> list[Tensor]:
    """Each view's vectors at length one: [batch, dimensions] a view."""
    return [nn.functional.normalize(part, dim=1) for part in projected.chunk(views, dim=1)]
