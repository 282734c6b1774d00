"""Weights rounded one input after the other, each error made good by the inputs that are still to come.

Frantar et al. (2022), "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers"; the second
moments of what the layer sees on calibration clips say how inputs stand in for each other. Layers follow one another:
each sees what the rounded ones before it hand on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from students.quantised import QuantisedVgg, Rounded, RoundedConv, steps_tried, to_levels

#: Added to the moments' diagonal, in shares of its mean: calibration clips do not show every direction.
DAMPING = 0.01

#: Of the steps that can be tried each so many-th is.
EVERY = 3

#: Clips that are looked at, at most: their activations are held in memory.
CLIPS = 40


@torch.no_grad()
def compensate(network: QuantisedVgg, clips: Sequence[np.ndarray]) -> None:
    """Round convolutions, lin and sof anew. clips: float32 [samples] each.

    The softmax over time does not see what is the same at all times of a clip: sof may err there for nothing.
    """
    seen, step = [network.log_mel(torch.from_numpy(clip)[None]) for clip in clips[:CLIPS]], network.mel.step
    for name, conv in network.layers.items():
        seen = [network.into(name, x) for x in seen]
        settle(conv.weight, _moments(_patches(x, conv) for x in seen))
        seen, step = [conv(x, step) for x in seen], conv.out.step
    tokens = [network.tokens(x).squeeze(0) for x in seen]
    settle(network.lin, _moments(tokens))
    settle(network.sof, _moments(x - x.mean(0) for x in tokens))


def settle(layer: Rounded, moments: Tensor) -> None:
    """Put every row of a layer on the step, and its levels, that lose least of what it puts out. moments: of its
    inputs, [inputs, inputs]."""
    weight = layer.weight.flatten(1)
    steps = steps_tried(weight, layer.bits)[::EVERY]
    found = compensated(weight.repeat(len(steps), 1), steps.flatten(), layer.bits, moments).view(
        len(steps), *weight.shape
    )
    lost = ((found - weight) @ moments * (found - weight)).sum(-1)
    best, row = lost.argmin(0), torch.arange(len(weight))
    layer.step.copy_(steps[best, row])
    layer.weight.copy_(found[best, row].reshape(layer.weight.shape))


def compensated(weight: Tensor, step: Tensor, bits: int, moments: Tensor) -> Tensor:
    """Weights [rows, inputs] on the levels of steps [rows]. moments: of the inputs, [inputs, inputs]."""
    inputs = len(moments)
    order = torch.argsort(moments.diag(), descending=True)
    damped = moments.double() + DAMPING * moments.diag().mean() * torch.eye(inputs)
    spread = torch.linalg.cholesky(torch.linalg.inv(damped[order][:, order]), upper=True)
    left, step = weight.double()[:, order], step.double()
    found = torch.zeros_like(left)
    for column in range(inputs):
        found[:, order[column]] = rounded = to_levels(left[:, column] / step, bits) * step
        error = (left[:, column] - rounded) / spread[column, column]
        left[:, column:] -= error[:, None] * spread[column, column:]
    return found.float()


def _patches(x: Tensor, conv: RoundedConv) -> Tensor:
    """What a convolution multiplies at every place of x [1, channels, time, mels]: [places, inputs]."""
    weight = conv.weight.weight
    return functional.unfold(functional.pad(x[:, : weight.shape[1]], (1, 1, *conv.pads)), weight.shape[-2:])[0].T


def _moments(inputs: Iterable[Tensor]) -> Tensor:
    """Mean products of inputs, of one clip each, [..., width]; every clip counts as much."""
    rows = (x.reshape(-1, x.shape[-1]) for x in inputs)
    return torch.stack([clip.T @ clip / len(clip) for clip in rows]).mean(0)
