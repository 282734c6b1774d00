"""Weights fitted and rounded, layer after layer, each error made good by what is still to come.

Within a layer, input after input: Frantar et al. (2022), "GPTQ: Accurate Post-Training Quantization for Generative
Pre-trained Transformers"; the second moments of what the layer sees on calibration clips say how inputs stand in for
each other. From layer to layer: each is first fitted to put out what the float one does, of what the rounded ones
before it hand on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from students.quantised import (
    DECIBELS,
    Bits,
    QuantisedVgg,
    Rounded,
    RoundedConv,
    attention_of,
    folded_convolutions,
    steps_tried,
    to_levels,
)
from students.wav2small import Vgg7, convolved

#: Added to the moments' diagonal, in shares of its mean: calibration clips do not show every direction.
DAMPING = 0.01

#: What holds a fitted weight to the float one, in shares of its input's own variance.
HOLD = 0.01

#: Clips that are looked at, at most: their activations are held in memory.
CLIPS = 100


class Moments(NamedTuple):
    """Of a layer's inputs and of what it should put out, less their means: products of inputs [inputs, inputs], of
    outputs by inputs [outputs, inputs]; and the means [inputs], [outputs]."""

    inputs: Tensor
    outputs: Tensor
    mean: Tensor
    wanted: Tensor


@torch.no_grad()
def compensate(network: QuantisedVgg, student: Vgg7, clips: Sequence[np.ndarray]) -> None:
    """Round convolutions, lin and sof anew, with their biases. clips: float32 [samples] each.

    The softmax over time does not see what is the same at all times of a clip: sof may err there for nothing.
    """
    pcm = [torch.from_numpy(clip)[None] for clip in clips[:CLIPS]]
    seen, step = [network.log_mel(clip) for clip in pcm], network.mel.step
    sound = [network.frontend(network.level(clip))[:, None] / DECIBELS for clip in pcm]
    for name, (weight, bias) in folded_convolutions(student).items():
        conv, seen, sound = network.layers[name], _into(network, name, seen), _into(network, name, sound)
        wanted = [convolved(x, weight, network.pads, bias) for x in sound]
        found = moments((_patches(x, conv), y[0].flatten(1).T) for x, y in zip(seen, wanted, strict=True))
        settle(conv.weight, found)
        conv.bias.copy_(bias_of(conv.weight, found))
        seen, step, sound = [conv(x, step) for x in seen], conv.out.step, [torch.relu(y) for y in wanted]
    _attend(network, student, [(network.tokens(x)[0], network.tokens(y)[0]) for x, y in zip(seen, sound, strict=True)])


def _attend(network: QuantisedVgg, student: Vgg7, tokens: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Round lin and sof. tokens: of each clip what they see, and what the float ones saw, [tokens, ..., inputs]."""
    lin, sof = (layer.weight.flatten(1) for layer in attention_of(student))
    bias = attention_of(student)[0].bias
    assert bias is not None
    found = moments((_rows(x), _rows(y) @ lin.T + bias) for x, y in tokens)
    settle(network.lin, found)
    network.lin_bias.copy_(bias_of(network.lin, found))
    settle(network.sof, moments((_rows(x - x.mean(0)), _rows(y - y.mean(0)) @ sof.T) for x, y in tokens))


def to_nearest(network: QuantisedVgg) -> None:
    """Each weight for itself, on the step of its row that loses least of the weights in squares."""
    for layer in network.rounded():
        layer.fit()


def settle(layer: Rounded, found: Moments, *, hold: float = HOLD) -> None:
    """Fit a layer, and put every row on the step, and its levels, that lose least of what it puts out."""
    weight = fitted(layer.weight.flatten(1), found, hold)
    steps = steps_tried(weight, layer.bits)
    bits = layer.bits if isinstance(layer.bits, int) else layer.bits * len(steps)
    tried = compensated(weight.repeat(len(steps), 1), steps.flatten(), bits, found.inputs)
    tried = tried.view(len(steps), *weight.shape)
    lost = ((tried - weight) @ found.inputs * (tried - weight)).sum(-1)
    best, row = lost.argmin(0), torch.arange(len(weight))
    layer.step.copy_(steps[best, row])
    layer.weight.copy_(tried[best, row].reshape(layer.weight.shape))


def fitted(weight: Tensor, found: Moments, hold: float = HOLD) -> Tensor:
    """The weights [rows, inputs] that put out, by least squares, what is wanted; held to the given ones, in shares of
    the inputs' own variances.

    >>> exact = Moments(torch.eye(2), torch.tensor([[1.0, 3.0]]), torch.zeros(2), torch.zeros(1))
    >>> fitted(torch.tensor([[1.0, 3.0]]), exact).tolist()
    [[1.0, 3.0]]
    """
    held = hold * torch.diag(found.inputs.diag().double().clamp(min=1e-9))
    wanted = found.outputs.double() + weight.double() @ held
    exact: Tensor = torch.linalg.solve(found.inputs.double() + held, wanted.T)
    return exact.T.float()


def moments(clips: Iterable[tuple[Tensor, Tensor]]) -> Moments:
    """Of inputs [places, inputs] and outputs [places, outputs] of one clip each; every clip counts as much."""
    each = [(x.T @ x / len(x), y.T @ x / len(x), x.mean(0), y.mean(0)) for x, y in clips]
    inputs, outputs, mean, wanted = (torch.stack(parts).mean(0) for parts in zip(*each, strict=True))
    return Moments(inputs - torch.outer(mean, mean), outputs - torch.outer(wanted, mean), mean, wanted)


def compensated(weight: Tensor, step: Tensor, bits: Bits, moments: Tensor) -> Tensor:
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


def _into(network: QuantisedVgg, name: str, activations: Sequence[Tensor]) -> list[Tensor]:
    return [network.into(name, x) for x in activations]


def _patches(x: Tensor, conv: RoundedConv) -> Tensor:
    """What a convolution multiplies at every place of x [1, channels, time, mels]: [places, inputs]."""
    weight = conv.weight.weight
    return functional.unfold(functional.pad(x[:, : weight.shape[1]], (1, 1, *conv.pads)), weight.shape[-2:])[0].T


def bias_of(layer: Rounded, found: Moments) -> Tensor:
    """With which the layer's mean output is the one that is wanted."""
    return found.wanted - layer.weight.flatten(1) @ found.mean


def _rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])
