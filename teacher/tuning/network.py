"""The network of a tuned teacher: backbone, merged layers, pooling, hidden layer, answers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from distill.annotation import AXES
from distill.learning.network import PooledNetwork
from teacher.tuning import methods
from teacher.tuning.backbone import Backbone
from teacher.tuning.conditioning import Condition
from teacher.tuning.design import Design
from teacher.tuning.merging import AttentiveMerge, Last, Merge, Weighted
from teacher.tuning.pooling import pooling_of

#: Of PEFT-SER's head: its width, and the share of it that is left out at random in training.
POINTWISE_WIDTH, POINTWISE_DROPOUT = 256, 0.1

#: Of the other heads: shares left out at random before each linear layer, as published.
TANH_DROPOUT, NORMED_DROPOUT = 0.1, 0.5


class TunedNetwork(PooledNetwork):
    """From samples to [batch, 3 + categories]: the axes in the order of `AXES`, NaN where the design has none, and the
    categories' logits."""

    head: Answers

    def __init__(self, design: Design, backbone: Backbone) -> None:
        """Takes a frozen backbone and changes it.

        Raises:
            DistillError: the backbone has fewer layers than are asked for.
        """
        super().__init__()
        methods.apply(design, backbone)
        self.design, self.backbone = design, backbone
        self.merge = _merge(design, backbone)
        self.frames: nn.Module = Pointwise(backbone.width) if design.head == "pointwise" else nn.Identity()
        width = POINTWISE_WIDTH if design.head == "pointwise" else backbone.width
        self.pool = pooling_of(design.pooling, width)
        self.condition = _condition(design)
        beside = 0 if self.condition is None else self.condition.width
        self.hidden = _hidden(design.head, self.pool.times * width + beside, width)
        self.head = Answers(width, design.axes, len(design.categories))

    def pooled(self, pcm: Tensor, lengths: Tensor | None = None, *told: Tensor) -> Tensor:
        """told: [batch, 1 + text], as `Condition` takes it; without it nothing is known of the clips."""
        if lengths is None:
            lengths = torch.full((len(pcm),), pcm.shape[1], device=pcm.device)
        states, mask = self.backbone(pcm, lengths)
        pooled = self.pool(self.frames(self.merge(states, mask)), mask)
        if self.condition is not None:
            beside = told[0] if told else self.condition.unsaid(len(pcm), pcm.device)
            pooled = torch.cat([pooled, self.condition(beside)], dim=1)
        hidden: Tensor = self.hidden(pooled)
        return hidden

    def forward(self, pcm: Tensor, lengths: Tensor | None = None, *told: Tensor) -> Tensor:
        answers: Tensor = self.head(self.pooled(pcm, lengths, *told))
        return answers

    def start_near(self, targets: Tensor) -> None:
        """Let each axis begin at the mean of its known targets, float32 [n, 3 or more], as the students do: what CCC
        asks first is the level, and small rates are long on the way to it."""
        known = torch.isfinite(targets[:, : len(AXES)])
        means = torch.where(known, targets[:, : len(AXES)], 0.0).sum(0) / known.sum(0).clamp(min=1)
        with torch.no_grad():
            for place, axis in enumerate(self.design.axes):
                self.head.bias[place] = means[AXES.index(axis)]

    def train(self, mode: bool = True) -> TunedNetwork:
        """A backbone of which nothing of its own learns stays as it answers: without dropout."""
        super().train(mode)
        if self.design.method not in ("full", "partial"):
            self.backbone.eval()
        return self


class Pointwise(nn.Module):
    """Three convolutions of one frame: [batch, time, width] -> [batch, time, 256]. PEFT-SER's head."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = POINTWISE_WIDTH
        self.convolutions = nn.Sequential(
            nn.Conv1d(width, inner, 1), nn.ReLU(), nn.Dropout(POINTWISE_DROPOUT),
            nn.Conv1d(inner, inner, 1), nn.ReLU(), nn.Dropout(POINTWISE_DROPOUT),
            nn.Conv1d(inner, inner, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.convolutions(x.transpose(1, 2))
        return answer.transpose(1, 2)


class Answers(nn.Linear):
    """The last layer: [batch, width] -> [batch, 3 + categories], NaN for axes that it does not answer."""

    def __init__(self, width: int, axes: tuple[str, ...], categories: int) -> None:
        super().__init__(width, len(axes) + categories)
        self.places = [AXES.index(axis) for axis in axes] + [len(AXES) + place for place in range(categories)]
        self.columns = len(AXES) + categories

    def forward(self, x: Tensor) -> Tensor:
        answers = super().forward(x)
        if len(self.places) == self.columns:
            return answers
        spread = answers.new_full((len(answers), self.columns), float("nan"))
        spread[:, self.places] = answers
        return spread


def _merge(design: Design, backbone: Backbone) -> Merge:
    layers = len(backbone.blocks)
    if design.merge == "weighted":
        return Weighted(layers)
    return AttentiveMerge(layers, backbone.width) if design.merge == "attentive-merge" else Last()


def _condition(design: Design) -> Condition | None:
    if not design.conditions:
        return None
    return Condition(sex="gender" in design.conditions, dimensions=design.text)


def _hidden(head: str, wide: int, width: int) -> nn.Sequential:
    """[batch, wide] -> [batch, width]."""
    if head == "tanh":
        return nn.Sequential(nn.Dropout(TANH_DROPOUT), nn.Linear(wide, width), nn.Tanh(), nn.Dropout(TANH_DROPOUT))
    if head == "normed":
        drop = nn.Dropout(NORMED_DROPOUT)
        return nn.Sequential(drop, nn.Linear(wide, width), nn.LayerNorm(width), nn.ReLU(), nn.Dropout(NORMED_DROPOUT))
    return nn.Sequential(nn.Linear(wide, width), nn.ReLU())
