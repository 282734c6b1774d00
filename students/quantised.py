"""Wav2Small as it is computed in integers, in torch: what is tuned on it and what is exported from it round alike.

Weights are whole numbers times one step a row, activations whole numbers of 8 bits times one step a layer. Gradients go
straight through the rounding (Bengio et al. 2013, "Estimating or Propagating Gradients Through Stochastic Neurons").
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from students.wav2small import CHANNELS, LANES, ConvBlock, GramBeside, Pads, Vgg7, Wav2Small, convolved, faded

#: Largest level by the bits of a weight. Of 8 bits 7 are used: processors without VNNI add pairs of products in 16
#: bits, and 2 * 63 * 255 fits there. Of 4 and 2 bits the levels are the odd numbers: as many below zero as above it.
LARGEST = {8: 63, 4: 15, 2: 3}

#: Decibels a neper of power: the front-end in integers stops at the natural logarithm.
DECIBELS = 10 / math.log(10)

#: Levels of an activation: 0 to 255.
TOP = 255

#: Shares of a row's largest weight that are tried as its largest level.
_SHARES = torch.linspace(0.2, 1.0, 41)


#: Of a step; half precision has about four bits for it.
_SMALLEST_STEP = 2.0**-20


class Range(NamedTuple):
    """What an activation reaches, zero within."""

    low: float
    high: float

    def with_zero(self) -> Range:
        """The same, reaching zero, which has to be a level."""
        return Range(min(0.0, self.low), max(0.0, self.high))

    @property
    def step(self) -> float:
        """Of `TOP` equal ones from low to high."""
        return max(self.high - self.low, 1e-6) / TOP


#: Of a layer's weights: of all, or of each row, which then are 2 or 4.
Bits = int | tuple[int, ...]


def to_levels(scaled: Tensor, bits: Bits) -> Tensor:
    """Weights [rows, ...] over their steps, to the nearest level, with the gradient of doing nothing.

    >>> to_levels(torch.tensor([-9.0, -0.2, 0.2, 2.4]), 2).tolist(), to_levels(torch.tensor([0.2, 99.0]), 8).tolist()
    ([-3.0, -1.0, 1.0, 3.0], [0.0, 63.0])
    """
    largest = _largest(bits, scaled)
    within = torch.minimum(torch.maximum(scaled, -largest), largest)
    nearest = within.round() if bits == 8 else 2 * ((within - 1) / 2).round() + 1
    return within + (nearest - within).detach()


def _largest(bits: Bits, rows: Tensor) -> Tensor:
    """The largest level, [] or one of each row."""
    if isinstance(bits, int):
        return torch.tensor(float(LARGEST[bits]), dtype=rows.dtype)
    each = torch.tensor([float(LARGEST[few]) for few in bits], dtype=rows.dtype)
    return each.view(-1, *[1] * (rows.dim() - 1))


def steps_tried(weight: Tensor, bits: Bits) -> Tensor:
    """Steps for each row, float32 [tried, rows], of values that half precision has, in which they are kept. weight:
    [rows, ...]."""
    reach = weight.detach().flatten(1).abs().amax(1)
    tried = reach[None] * _SHARES[:, None] / _largest(bits, reach)
    return _in_half(tried)


def _in_half(steps: Tensor) -> Tensor:
    """As a file keeps them: the nearest value of half precision, float32."""
    return steps.clamp(min=_SMALLEST_STEP).half().float()


def best_steps(weight: Tensor, bits: Bits) -> Tensor:
    """The step of each row that loses least of the weights in squares: float32 [rows]. weight: [rows, ...]."""
    rows, tried = weight.detach().flatten(1), steps_tried(weight, bits)
    lost = torch.stack(
        [(to_levels(rows / step[:, None], bits) * step[:, None] - rows).square().sum(1) for step in tried]
    )
    return tried.gather(0, lost.argmin(0)[None])[0]


class Rounded(nn.Module):
    """A layer's weight [rows, ...] on its levels. bits: of its storage, keys of `LARGEST`. Its steps take in every
    weight, until `fit`, or whoever knows what the layer sees, has found better ones."""

    step: Tensor

    def __init__(self, weight: Tensor, bits: Bits) -> None:
        super().__init__()
        self.bits = bits
        self.weight = nn.Parameter(weight.detach().clone())
        self.register_buffer("step", steps_tried(weight, bits)[-1])

    def fit(self) -> None:
        """Take the steps that lose least of the weights in squares."""
        self.step.copy_(best_steps(self.weight, self.bits))

    @property
    def most_bits(self) -> int:
        """Of its rows."""
        return self.bits if isinstance(self.bits, int) else max(self.bits)

    @property
    def kept_step(self) -> Tensor:
        """The step as the file keeps it, in half precision; float32 [rows]."""
        return self.step + (_in_half(self.step) - self.step).detach()

    def _steps(self) -> Tensor:
        return self.kept_step.view(-1, *[1] * (self.weight.dim() - 1))

    def levels(self) -> Tensor:
        """Whole numbers as float32, of the weight's shape."""
        return to_levels(self.weight / self._steps(), self.bits)

    def forward(self) -> Tensor:
        """The weight that the levels stand for."""
        return self.levels() * self._steps()


class Activation(nn.Module):
    """What a layer hands on, in 8 bits. Real zero is a level, since convolutions pad with it."""

    step: Tensor
    zero: Tensor

    def __init__(self, reach: Range) -> None:
        super().__init__()
        reach = reach.with_zero()
        self.register_buffer("step", torch.tensor(reach.step))
        self.register_buffer("zero", torch.tensor(float(round(-reach.low / reach.step))))

    def forward(self, x: Tensor) -> Tensor:
        """x, rounded and cut off: a ReLU where zero is the lowest level."""
        within = (x / self.step).clamp(-self.zero, TOP - self.zero)
        return (within + (within.round() - within).detach()) * self.step


class RoundedConv(nn.Module):
    """3x3 convolution with its batch norm folded in, ReLU, and what it hands on."""

    def __init__(self, weight: Tensor, bias: Tensor, bits: Bits, out: Range, pads: Pads = (1, 1)) -> None:
        super().__init__()
        self.pads = pads
        self.weight = Rounded(weight, bits)
        self.bias = nn.Parameter(bias.detach().clone())
        self.out = Activation(Range(0.0, out.high))

    def bias_levels(self, step: Tensor) -> Tensor:
        """The bias in steps of the products: whole numbers as float32 [channels]. step: of the input."""
        scaled = self.bias / (step * self.weight.kept_step)
        return scaled + (scaled.round() - scaled).detach()

    def forward(self, x: Tensor, step: Tensor) -> Tensor:
        """x: [batch, 1 or 16, time, mels], in steps of `step` -> [batch, 16, time, mels], zero beyond 13."""
        bias = self.bias_levels(step) * (step * self.weight.kept_step)
        weight, more = self.weight(), LANES - CHANNELS
        weight = functional.pad(weight, (0, 0, 0, 0, 0, x.shape[1] - weight.shape[1], 0, more))
        y: Tensor = self.out(convolved(x, weight, self.pads, functional.pad(bias, (0, more))))
        return y


class RoundedHead(nn.Module):
    """The linear head, its weights in 8 bits."""

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self.weight = Rounded(head.weight, 8)
        self.weight.fit()
        self.bias = nn.Parameter(head.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """x: [batch, width] -> [batch, 3]."""
        return functional.linear(x, self.weight(), self.bias)


class QuantisedVgg(nn.Module):
    """A student of the Vgg layouts in integers: PCM [batch, samples] -> A/D/V [batch, 3].

    bits: of every layer in `layers_of`; those of lin and of sof may be told row by row. reach: of every activation, as
    `observe` tells it.
    """

    def __init__(self, student: Vgg7, bits: Mapping[str, Bits], reach: Mapping[str, Range]) -> None:
        super().__init__()
        self.frontend, self.level, self.pool = student.frontend, student.level, student.pool
        self.pads, self.forgetting = student.pads, student.forgetting
        self.mel = Activation(reach["mel"])
        folded = folded_convolutions(student)
        self.convs = nn.ModuleDict({
            name: RoundedConv(weight, bias, bits[name], reach[name], self.pads)
            for name, (weight, bias) in folded.items()
        })  # fmt: skip
        self.whole, self.bands = isinstance(student, Wav2Small), student.bands
        lin, sof = attention_of(student)
        self.lin, self.sof = Rounded(lin.weight.flatten(1), bits["lin"]), Rounded(sof.weight.flatten(1), bits["sof"])
        # The softmax over time does not see the bias of sof. That of lin goes through it unchanged.
        assert lin.bias is not None
        self.lin_bias = nn.Parameter(lin.bias.detach().clone())
        self.head = RoundedHead(student.head)
        self.gram = GramBeside()

    def rounded(self) -> list[Rounded]:
        """All weights that have levels."""
        return [*(conv.weight for conv in self.layers.values()), self.lin, self.sof, self.head.weight]

    def steps(self) -> list[Tensor]:
        """The steps that can be learned: of all weights, and of what the convolutions hand on."""
        return [*(rounded.step for rounded in self.rounded()), *(conv.out.step for conv in self.layers.values())]

    @property
    def layers(self) -> dict[str, RoundedConv]:
        """The convolutions by name, in their order."""
        return {name: conv for name, conv in self.convs.items() if isinstance(conv, RoundedConv)}

    @property
    def rows(self) -> int:
        """Of lin and of sof."""
        return len(self.lin.weight)

    def log_mel(self, pcm: Tensor) -> Tensor:
        """What the first convolution takes, in nepers: [batch, 1, frames, mels]."""
        mel: Tensor = self.mel(self.frontend(self.level(pcm))[:, None] / DECIBELS)
        return mel

    def into(self, name: str, x: Tensor) -> Tensor:
        """What the convolution of that name takes of what the one before it hands on."""
        return self.pool(x) if name == "coarse_0" else x  # type: ignore[no-any-return]

    def tokens(self, x: Tensor) -> Tensor:
        """What lin and sof are applied to of what the last convolution hands on: [batch, tokens, 169], or [batch,
        tokens, mels, 13]."""
        x = x[:, :CHANNELS].transpose(1, 2)
        return x.flatten(2) if self.whole else x.transpose(2, 3)

    def seen(self, pcm: Tensor) -> Tensor:
        """What lin and sof see: [batch, tokens, 169], or [batch, tokens, mels, 13]."""
        x, step = self.log_mel(pcm), self.mel.step
        for name, conv in self.layers.items():
            x, step = conv(self.into(name, x), step), conv.out.step
        return self.tokens(x)

    def pooled(self, pcm: Tensor) -> Tensor:
        """What the head sees: [batch, width]."""
        x = self.seen(pcm)
        weights = torch.softmax(faded(x @ self.sof().T, self.forgetting), dim=1)
        pooled = (x @ self.lin().T * weights).sum(1) + self.lin_bias
        features: Tensor = pooled if self.whole else self.gram(pooled.transpose(1, 2)).flatten(1)
        return features

    def forward(self, pcm: Tensor) -> Tensor:
        """pcm: float32 [batch, samples] -> float32 [batch, 3]."""
        adv: Tensor = self.head(self.pooled(pcm))
        return adv


def layers_of(student: Vgg7) -> tuple[str, ...]:
    """Names of the layers whose bits can be chosen."""
    return (*folded_convolutions(student), "lin", "sof")


def attention_of(student: Vgg7) -> tuple[nn.Linear | nn.Conv2d, nn.Linear | nn.Conv2d]:
    """lin and sof, of either layout."""
    lin, sof = (getattr(student.attention, name) for name in ("lin", "sof"))
    return lin, sof


def folded_convolutions(student: Vgg7) -> dict[str, tuple[Tensor, Tensor]]:
    """Weight and bias of every convolution with its batch norm folded in; the first one takes nepers, not decibels."""
    found = {name: folded(block) for name, block in blocks_of(student).items()}
    first, (weight, bias) = next(iter(found.items()))
    return {**found, first: (weight * DECIBELS, bias)}


def blocks_of(student: Vgg7) -> dict[str, ConvBlock]:
    """The convolutions by name, in their order."""
    return {
        f"{stage}_{number}": block
        for stage, blocks in (("fine", student.fine), ("coarse", student.coarse))
        for number, block in enumerate(blocks)
        if isinstance(block, ConvBlock)
    }


def folded(block: ConvBlock) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution with its batch norm folded in."""
    norm = block.norm
    assert norm.running_mean is not None and norm.running_var is not None  # this norm tracks
    gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return (block.conv.weight * gain[:, None, None, None]).detach(), (norm.bias - norm.running_mean * gain).detach()
