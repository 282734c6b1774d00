"""What a student of Wav2Small's family would take of a device's flash and memory: an estimate, told without a device.

It is that of an engine which streams: frame after frame goes through the network, in integers, and no clip is kept.

| flash | bytes |
|---|---|
| weights | each at the bits with which `distill export --int8` keeps it: 8, or 4 |
| scales | a row of outputs: 4 for its bias, 2 for its step |
| front-end | 2 each for half a window, half a turn of the transform's cosines, and two mel weights a bin |

| memory | bytes |
|---|---|
| front-end | a frame: 2 a sample as it came, 4 in the transform |
| rows | 3 rows of what each 3 x 3 layer takes, the max-pool too: 1 a value |
| pooling | a pooled value: 4 for its sum; where it is weighted, 8 more for the sum of weights and the largest score |

Not in it: the engine's own code, its stack, the caller's buffer of samples.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from export.precision import usual_bits
from students.network import StudentNetwork
from students.wav2small import ChannelPooling, TimeSoftmaxPooling, Vgg, Vgg7

#: What a row of outputs takes beside its weights: a bias of 32 bits, a step of 16.
_ROW = 4 + 2


@dataclass(frozen=True)
class Footprint:
    """Bytes by what they hold."""

    flash: dict[str, int]
    ram: dict[str, int]

    @property
    def flash_bytes(self) -> int:
        """All of it."""
        return sum(self.flash.values())

    @property
    def ram_bytes(self) -> int:
        """All of it, at any length of a clip."""
        return sum(self.ram.values())


def footprint(network: StudentNetwork) -> Footprint | None:
    """The estimate for a student; None for one of another make, of which nothing is known.

    >>> from students.catalogue import build
    >>> told = footprint(build("wav2small"))
    >>> told.flash_bytes, told.ram_bytes
    (41164, 7560)
    """
    if not isinstance(network, Vgg):
        return None
    return Footprint(_flash(network), _ram(network))


def _flash(network: Vgg) -> dict[str, int]:
    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)}
    bits = {name: layer.weight.numel() * _bits(network, name) for name, layer in layers.items()}
    points = network.frontend.n_fft
    return {
        "weights": sum(-(-each // 8) for each in bits.values()),
        "scales": sum(layer.weight.shape[0] * _ROW for layer in layers.values()),
        "front_end": 2 * (points // 2 + points // 2 + 2 * (points // 2 + 1)),
    }


def _bits(network: Vgg, layer: str) -> int:
    """Of a layer's weights in the file: only the published trunk's writer knows fewer than 8."""
    usual = usual_bits(network) if isinstance(network, Vgg7) else {}
    return usual.get(layer.removeprefix("attention."), 8)


def _ram(network: Vgg) -> dict[str, int]:
    return {"front_end": network.frontend.n_fft * (2 + 4), "rows": 3 * _taken(network), "pooling": _pooled(network)}


def _taken(network: Vgg) -> int:
    """Values in a row of what all 3 x 3 layers take: the first takes bands alone, the max-pool what they hand to it."""
    fine = network.frontend.mels * (1 + network.channels * len(network.fine))
    return fine + network.bands * network.channels * len(network.coarse)


def _pooled(network: Vgg) -> int:
    weighted = isinstance(network.attention, TimeSoftmaxPooling | ChannelPooling)
    return network.channels * network.bands * (12 if weighted else 4)
