"""From the states of all layers to one sequence: the last, a learned sum, or a sum that each utterance gates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from teacher.published.network import masked_mean


class Merge(nn.Module, ABC):
    """States of a backbone as one: layers + 1 times [batch, time, width] -> [batch, time, width]."""

    @abstractmethod
    def forward(self, states: Sequence[Tensor], mask: Tensor) -> Tensor:
        """mask: boolean [batch, time], the frames within each clip."""


class Last(Merge):
    """The last hidden state."""

    def forward(self, states: Sequence[Tensor], mask: Tensor) -> Tensor:
        return states[-1]


class Weighted(Merge):
    """A sum of all states with learned weights, the same for every clip: softmax of `weights` [layers + 1].

    Yang et al. (2021), "SUPERB: Speech processing universal performance benchmark"; PEFT-SER (Feng and Narayanan 2023).
    """

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(layers + 1))

    def forward(self, states: Sequence[Tensor], mask: Tensor) -> Tensor:
        shares = torch.softmax(self.weights, dim=0)
        return torch.stack([share * state for share, state in zip(shares, states, strict=True)]).sum(0)


class AttentiveMerge(Merge):
    """A sum of the layers' answers, each scaled by a gate that the utterance sets: 0..1, one a layer.

    "Attentive merging of hidden embeddings from pre-trained speech model" (AttM): mean over time -> SiLU of a linear
    layer to one number a layer -> SiLU of one to half as many -> sigmoid of one to as many. Theirs then joins the
    scaled layers by a large linear layer (40.9 M parameters for 12 layers of 1024); here they are summed.
    """

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        half = max(1, layers // 2)
        self.squeeze, self.inner, self.outer = nn.Linear(width, 1), nn.Linear(layers, half), nn.Linear(half, layers)

    def forward(self, states: Sequence[Tensor], mask: Tensor) -> Tensor:
        answers = states[1:]
        gates = self.gates(answers, mask)
        return torch.stack([gate[:, None, None] * x for gate, x in zip(gates.unbind(1), answers, strict=True)]).sum(0)

    def gates(self, answers: Sequence[Tensor], mask: Tensor) -> Tensor:
        """What each utterance takes of each layer: [batch, layers], 0..1."""
        heard = torch.stack([masked_mean(x, mask) for x in answers], dim=1)
        inner = functional.silu(self.inner(functional.silu(self.squeeze(heard)[..., 0])))
        return torch.sigmoid(self.outer(inner))
