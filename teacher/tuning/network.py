"""The network of a tuned teacher: a backbone, and of its layers a readout (merged, pooled, a hidden layer, answers) for
all that it is asked, or one for each of several tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from distill.annotation import AXES
from distill.learning.network import PooledNetwork
from teacher.tuning import methods
from teacher.tuning.backbone import Backbone
from teacher.tuning.conditioning import Condition
from teacher.tuning.design import Design
from teacher.tuning.merging import AttentiveMerge, Last, Merge, Weighted
from teacher.tuning.options import ADV
from teacher.tuning.pooling import pooling_of

#: Of PEFT-SER's head: its width, and the share of it that is left out at random in training.
POINTWISE_WIDTH, POINTWISE_DROPOUT = 256, 0.1

#: Of the other heads: shares left out at random before each linear layer, as published.
TANH_DROPOUT, NORMED_DROPOUT = 0.1, 0.5


class TunedNetwork(PooledNetwork):
    """From samples to [batch, 3 + classes]: the axes in the order of `AXES`, NaN where the design has none, and the
    logits of what is told apart. Several tasks go through the backbone together, once."""

    head: Answers

    def __init__(self, design: Design, backbone: Backbone) -> None:
        """Takes a frozen backbone and changes it.

        Raises:
            DistillError: the backbone has fewer layers than are asked for.
        """
        super().__init__()
        methods.apply(design, backbone)
        self.design, self.backbone = design, backbone
        asked = _asked(design)
        self.readouts = nn.ModuleList(Readout(design, backbone) for _ in asked)
        self.head = Answers(POINTWISE_WIDTH if design.head == "pointwise" else backbone.width, asked)

    def pooled(self, pcm: Tensor, lengths: Tensor | None = None, *told: Tensor) -> Tensor:
        """told: [batch, 1 + text], as `Condition` takes it; without it nothing is known of the clips."""
        if lengths is None:
            lengths = torch.full((len(pcm),), pcm.shape[1], device=pcm.device)
        states, mask = self.backbone(pcm, lengths)
        return torch.cat([readout(states, mask, *told) for readout in self.readouts], dim=1)

    def forward(self, pcm: Tensor, lengths: Tensor | None = None, *told: Tensor) -> Tensor:
        answers: Tensor = self.head(self.pooled(pcm, lengths, *told))
        return answers

    def start_near(self, targets: Tensor) -> None:
        """Let each axis begin at the mean of its known targets, float32 [n, 3 or more], as the students do: what CCC
        asks first is the level, and small rates are long on the way to it."""
        known = torch.isfinite(targets[:, : len(AXES)])
        means = torch.where(known, targets[:, : len(AXES)], 0.0).sum(0) / known.sum(0).clamp(min=1)
        self.head.begin({AXES.index(axis): float(means[AXES.index(axis)]) for axis in self.design.axes})

    def train(self, mode: bool = True) -> TunedNetwork:
        """A backbone of which nothing of its own learns stays as it answers: without dropout."""
        super().train(mode)
        if self.design.method not in ("full", "partial"):
            self.backbone.eval()
        return self


class Readout(nn.Module):
    """What is heard in the states of a backbone: layers + 1 times [batch, time, width] -> [batch, width]."""

    def __init__(self, design: Design, backbone: Backbone) -> None:
        super().__init__()
        self.merge = _merge(design, backbone)
        self.frames: nn.Module = Pointwise(backbone.width) if design.head == "pointwise" else nn.Identity()
        width = POINTWISE_WIDTH if design.head == "pointwise" else backbone.width
        self.pool = pooling_of(design.pooling, width)
        self.condition = _condition(design)
        beside = 0 if self.condition is None else self.condition.width
        self.hidden = _hidden(design.head, self.pool.times * width + beside, width)

    def forward(self, states: Sequence[Tensor], mask: Tensor, *told: Tensor) -> Tensor:
        pooled = self.pool(self.frames(self.merge(states, mask)), mask)
        if self.condition is not None:
            beside = told[0] if told else self.condition.unsaid(len(pooled), pooled.device)
            pooled = torch.cat([pooled, self.condition(beside)], dim=1)
        hidden: Tensor = self.hidden(pooled)
        return hidden


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


class Answers(nn.Module):
    """The last layers, a readout each: [batch, readouts x width] -> [batch, 3 + classes], NaN for axes that nobody
    answers. asked: of each readout, the columns that it answers."""

    def __init__(self, width: int, asked: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.width, self.asked = width, asked
        self.each = nn.ModuleList(nn.Linear(width, len(columns)) for columns in asked)
        self.columns = max(len(AXES), 1 + max(column for columns in asked for column in columns))

    def forward(self, x: Tensor) -> Tensor:
        answers = torch.cat(
            [layer(own) for layer, own in zip(self.each, torch.split(x, self.width, dim=1), strict=True)], 1
        )
        spread = answers.new_full((len(answers), self.columns), float("nan"))
        spread[:, [column for columns in self.asked for column in columns]] = answers
        return spread

    @torch.no_grad()
    def begin(self, values: Mapping[int, float]) -> None:
        """Let columns begin at these values."""
        for bias, columns in zip([layer.bias for layer in self.each], self.asked, strict=True):
            for place, column in enumerate(columns):
                if column in values:
                    bias[place] = values[column]  # type: ignore[index,operator]


def _asked(design: Design) -> list[list[int]]:
    """Of each readout, the columns of the answer: those of one task, or all."""
    own = {task: list(range(*columns.indices(columns.stop))) for task, columns in design.columns.items()}
    if design.axes:
        own[ADV] = [AXES.index(axis) for axis in design.axes]
    return list(own.values()) if design.composition != "none" else [[place for part in own.values() for place in part]]


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
