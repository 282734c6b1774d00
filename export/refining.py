"""Rows of lin and sof of few bits, moved level by level until the answers are the float network's.

What a row pools of a clip is linear in its weights of lin, and nearly so in those of sof as long as these move little.
So each row has a quadratic of its own over the clips: how far is what it pools from what the float row pools, and how
far are the answers, with what all other rows err by. It is descended one weight after the other, from level to level
(coordinate descent; with the exact curvature, no gradient and no learning rate are needed).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from distill.audio import SAMPLING_RATE
from distill.progress import Progress
from export.rounding import moments
from students.quantised import LARGEST, QuantisedVgg, Rounded
from students.wav2small import Wav2Small, faded

#: Seconds of the pieces on which rows are compared: of a second there are twice as many as of two, and none is told by
#: fewer numbers.
PIECE = 1.0

#: Times that every row is moved, rows that are looked at together, and times that a row's weights are gone through.
SWEEPS, BLOCK, TURNS = 2, 13, 4

#: What the rows themselves count beside the answers, in shares of what each varies by.
ROWS = 1.0

#: What holds a row to the float one on single tokens, of which there are far more than clips.
HOLD = 0.3

#: A step moves at most by this share in a turn.
_STRETCH = 0.05


class _Row(NamedTuple):
    """Weights of lin and of sof [2, inputs] of one row, and the steps of both [2]."""

    weight: Tensor
    step: Tensor


@torch.no_grad()
def refine(network: QuantisedVgg, kept: Wav2Small, student: Wav2Small, clips: Sequence[np.ndarray]) -> None:
    """Move the rows of lin and sof in place. kept: the float network with the rows of `network`; student: that whose
    answers are wanted. clips: float32 [samples] each, taken in pieces.

    A row stays as it was where what it really pools is not nearer after the move.
    """
    pcm = [torch.from_numpy(piece)[None] for clip in clips for piece in pieces(clip)]
    rows = _Rows(network, kept, [network.seen(clip)[0] for clip in pcm])
    wanted, answers = (_centred(torch.cat([answer(clip) for clip in pcm])) for answer in (kept.pooled, student))
    drawn = torch.Generator().manual_seed(0)
    with Progress("refining", SWEEPS * len(network.lin.weight), "rows") as bar:
        for _ in range(SWEEPS):
            order = torch.randperm(len(network.lin.weight), generator=drawn).tolist()
            for block in (order[first : first + BLOCK] for first in range(0, len(order), BLOCK)):
                _move(rows, block, wanted, answers)
                bar.advance(len(block))


def pieces(clip: np.ndarray) -> list[np.ndarray]:
    """A clip in equal parts of `PIECE` seconds or a little more; a shorter one as it is.

    >>> [len(piece) for piece in pieces(np.zeros(40_000, np.float32))]
    [20000, 20000]
    """
    return np.array_split(clip, max(1, int(len(clip) / SAMPLING_RATE / PIECE)))


class _Rows:
    """The rows of a network, and the tokens that they pool."""

    def __init__(self, network: QuantisedVgg, kept: Wav2Small, tokens: Sequence[Tensor]) -> None:
        self.layers: tuple[Rounded, Rounded] = (network.lin, network.sof)
        self.float = tuple(layer.weight.detach() for layer in (kept.attention.lin, kept.attention.sof))
        self.head, self.forgetting = network.head.weight().detach(), network.forgetting
        self.step = list(network.layers.values())[-1].out.step
        self.tokens = [(clip / self.step).round().to(torch.uint8) for clip in tokens]
        # of single tokens, less a clip's mean, which softmax and bias do not see
        centred = ((x - x.mean(0), x[:, :0]) for x in tokens[:: 1 + len(tokens) // 300])
        self.spread = moments(centred).inputs
        self.pooled = _centred(self._pooled([layer.weight for layer in self.layers]))

    def __getitem__(self, row: int) -> _Row:
        lin, sof = self.layers
        return _Row(torch.stack([lin.weight[row], sof.weight[row]]), torch.stack([lin.step[row], sof.step[row]]))

    def put(self, row: int, moved: _Row, pooled: Tensor) -> None:
        for number, layer in enumerate(self.layers):
            layer.weight[row], layer.step[row] = moved.weight[number], moved.step[number]
        self.pooled[:, row] = pooled

    def tops(self, row: int) -> list[int]:
        """The largest levels, of lin and of sof."""
        return [LARGEST[bits if isinstance(bits := layer.bits, int) else bits[row]] for layer in self.layers]

    def slopes(self, block: Sequence[int]) -> Tensor:
        """What the rows pool, by their weights of lin and of sof: [clips, rows, 2, inputs], less the mean clip."""
        lin, sof = (layer.weight[block] * self.step for layer in self.layers)
        found = torch.empty(len(self.tokens), len(block), 2, lin.shape[1])
        for x, slope in zip(self.tokens, found, strict=True):
            x = x.float()
            share, value = self._share(x @ sof.T), x @ lin.T
            both = torch.stack([share, share * (value - (share * value).sum(0))], 2)
            slope.copy_((both.flatten(1).T @ x).view(slope.shape) * self.step)
        return _centred(found)

    def repooled(self, block: Sequence[int], moved: Sequence[_Row]) -> Tensor:
        """What the rows would pool after a move: [clips, rows], less the mean clip."""
        return _centred(self._pooled([torch.stack([row.weight[number] for row in moved]) for number in range(2)]))

    def _pooled(self, weights: Sequence[Tensor]) -> Tensor:
        lin, sof = (weight * self.step for weight in weights)
        return torch.stack([
            (self._share(x @ sof.T) * (x @ lin.T)).sum(0) for x in (tokens.float() for tokens in self.tokens)
        ])  # fmt: skip

    def _share(self, scores: Tensor) -> Tensor:
        """What each token counts, of scores [tokens, rows]."""
        return torch.softmax(faded(scores[None], self.forgetting)[0], 0)


def _move(rows: _Rows, block: Sequence[int], wanted: Tensor, answers: Tensor) -> None:
    """Move some rows, one after the other by what is foreseen, and keep what holds."""
    share = rows.head.square() / (3 * answers.var(0)[:, None])
    curve = share.sum(0) + ROWS / (wanted.shape[1] * wanted.var(0).clamp(min=1e-9))
    slopes, foreseen, aims, moved = rows.slopes(block), rows.pooled.clone(), [], []
    for number, row in enumerate(block):
        others = foreseen @ rows.head.T - answers - (foreseen[:, row] - wanted[:, row])[:, None] * rows.head[:, row]
        aim = wanted[:, row] - others @ (rows.head[:, row] / (3 * answers.var(0))) / curve[row]
        best = _descended(rows, row, slopes[:, number], aim - rows.pooled[:, row])
        foreseen[:, row] += slopes[:, number].flatten(1) @ (best.weight - rows[row].weight).flatten()
        aims.append(aim)
        moved.append(best)
    for row, aim, best, pooled in zip(block, aims, moved, rows.repooled(block, moved).T, strict=True):
        if (pooled - aim).square().sum() < (rows.pooled[:, row] - aim).square().sum():
            rows.put(row, best, pooled)


def _descended(rows: _Rows, row: int, slope: Tensor, lack: Tensor) -> _Row:
    """A row moved to make good what it lacks. slope: [clips, 2, inputs]; lack: [clips]."""
    at, inputs = rows[row], slope.shape[2]
    flat = slope.flatten(1)
    curve, pull = (flat.T @ flat / len(flat)).double(), (flat.T @ lack / len(flat)).double()
    for number, hold in enumerate((HOLD, 3 * HOLD)):
        part = slice(number * inputs, (number + 1) * inputs)
        held = hold * curve[part, part].diag().mean() / rows.spread.diag().mean() * rows.spread.double()
        pull[part] += held @ (rows.float[number][row] - at.weight[number]).double()
        curve[part, part] += held + 1e-4 * curve[part, part].diag().mean() * torch.eye(inputs)
    weight, step = _turned(curve.numpy(), pull.numpy(), at, rows.tops(row))
    return _Row(torch.from_numpy(weight).float().view(2, inputs), torch.tensor(step))


def _turned(curve: np.ndarray, pull: np.ndarray, at: _Row, tops: Sequence[int]) -> tuple[np.ndarray, list[float]]:
    """Weights [2 * inputs] and steps from which no single weight's move to another level leads further down."""
    weight, step = at.weight.flatten().double().numpy().copy(), at.step.tolist()
    inputs, slope = len(weight) // 2, -pull
    for _ in range(TURNS):
        changed = False
        for place in range(2 * inputs):
            half = place // inputs
            best = (weight[place] - slope[place] / curve[place, place]) / step[half]
            level = min(max(2 * round((best - 1) / 2) + 1, -tops[half]), tops[half])  # odd ones, as of 2 and 4 bits
            change = level * step[half] - weight[place]
            if abs(change) > 1e-3 * step[half]:
                weight[place] += change
                slope = slope + change * curve[place]
                changed = True
        for half, part in enumerate((slice(0, inputs), slice(inputs, None))):
            along = weight[part] @ curve[part, part] @ weight[part]
            stretch = 1 + min(max(-(slope[part] @ weight[part]) / along, -_STRETCH), _STRETCH)
            kept = float(np.float16(step[half] * stretch))  # as the file has it
            change = np.zeros_like(weight)
            change[part] = weight[part] * (kept / step[half] - 1)
            weight, slope, step[half] = weight + change, slope + curve @ change, kept
        if not changed:
            break
    return weight, step


def _centred(x: Tensor) -> Tensor:
    return x - x.mean(0)
