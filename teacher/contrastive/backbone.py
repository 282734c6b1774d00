"""Encoders of views as a backbone of `distill train-teacher`: one state a clip, all views side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from distill.errors import DistillError
from teacher.contrastive.encoders import Encoders, Shape
from teacher.contrastive.functionals import KINDS, described
from teacher.tuning.backbone import Backbone, Origin, find_backbone, found_again, open_backbone
from teacher.tuning.design import Design
from teacher.tuning.options import VIEWS

#: Where `config.json` says which speech backbone is under them.
SPEECH = "backbone"


class ViewsBackbone(Backbone):
    """encoders: learn where a method lets them; speech: the backbone whose last hidden state is one of the views, or
    None; it is frozen whatever learns."""

    config: Shape

    def __init__(self, encoders: Encoders, speech: Backbone | None) -> None:
        super().__init__()
        self.encoders, self.speech, self.config = encoders, speech, encoders.shape
        self.width = len(self.config.views) * self.config.width
        self.blocks = nn.ModuleList()
        self.normalises = KINDS[self.config.functionals].gain_invariant and (speech is None or speech.normalises)
        self.normalisation = "zero mean, unit variance per clip" if self.normalises else "that of each view"
        if speech is not None:
            self.longest_seconds = min(self.longest_seconds, speech.longest_seconds)

    def represented(self, signals: Tensor, lengths: Tensor, told: Tensor | None = None) -> Tensor:
        """What each encoder says: [batch, views, width], in the order of the shape's `views`.

        signals: float32 [batch, samples] at 16 kHz, padded with anything; lengths: [batch] in samples; told: float32
        [batch, n], the clips' functionals; without them they are computed.
        """
        if told is None:
            told = self._described(signals, lengths)
        answers: Tensor = self.encoders(signals, lengths, told, self._spoken(signals, lengths))
        return answers

    def framed(self, signals: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        x = self.represented(signals, lengths).flatten(1)[:, None]
        return x, torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)

    def finished(self, x: Tensor) -> Tensor:
        return x

    def convolutions(self) -> list[nn.Module]:
        return [] if self.speech is None else [self.speech]

    @property
    def last_norm(self) -> nn.Module | None:
        return None

    def train(self, mode: bool = True) -> ViewsBackbone:
        """The speech backbone stays as it answers."""
        super().train(mode)
        if self.speech is not None:
            self.speech.eval()
        return self

    @torch.no_grad()
    def _described(self, signals: Tensor, lengths: Tensor) -> Tensor:
        heard = signals.detach().cpu().numpy()
        clips = [clip[:length] for clip, length in zip(heard, lengths.tolist(), strict=True)]
        rows = np.stack([described(self.config.functionals, clip) for clip in clips])
        return torch.from_numpy(rows).to(signals.device)

    @torch.no_grad()
    def _spoken(self, signals: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor] | None:
        if self.speech is None:
            return None
        states, mask = self.speech(signals, lengths)
        return states[-1], mask


def built(config: Mapping[str, Any]) -> Encoders:
    """The encoders that `config.json` describes, with any weights.

    Raises:
        DistillError: it does not describe any.
    """
    return Encoders(Shape.of(config), config.get(SPEECH))


def standing(encoders: Encoders) -> ViewsBackbone:
    """The encoders on the very speech backbone that they were trained on.

    Raises:
        DistillError: it is not there, or is another.
    """
    said = encoders.stands_on
    if said is None:
        return ViewsBackbone(encoders, None)
    wanted = Origin(**{**said, "folder": Path(said["folder"])})
    found = found_again(wanted, find_backbone, stands="the views", said_in="their config.json")
    return ViewsBackbone(encoders, open_backbone(found))


def suited(design: Design, *, layers: str | None) -> Design:
    """A design for views, which are one state a clip. layers: what was asked for.

    >>> from teacher.tuning.design import design_of
    >>> suited(design_of("head"), layers=None).layers
    'last'

    Raises:
        DistillError: it asks for layers, or for time, of which views have none.
    """
    if design.method not in ("full", "head"):
        raise DistillError(f"--method {design.method}: views have no layers to put it on; there are full, head")
    if layers not in (None, "last"):
        raise DistillError(f"--layers {layers}: views are one state; there is last")
    if design.pooling != "mean":
        raise DistillError(f"--pooling {design.pooling}: views are one state, without time; there is mean")
    return replace(design, layers="last")


def find_speech(name: str) -> Origin:
    """A speech backbone to stand on.

    Raises:
        DistillError: as of `find_backbone`, or views themselves.
    """
    origin = find_backbone(name)
    if origin.family == VIEWS:
        raise DistillError(f"--backbone {name}: holds views itself; they stand on a speech backbone")
    return origin
