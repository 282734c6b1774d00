"""The family of Wav2Small: students by what they are made of, of which the published layouts are three.

A member is written as "wav2small:hop=16,n_fft=256,channels=8": what is left out is as in the paper's.

| key | what it says | of the paper's |
|---|---|---|
| hop | milliseconds from one frame to the next | 2 |
| n_fft | samples of a frame, a power of two | 64 |
| mels | mel bands | 26 |
| channels | of every convolution | 13 |
| depth | convolutions before and behind the max-pool | 3+4 |
| pool | over time: softmax (features together), channels (each apart, their Gram matrix beside), mean | softmax |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from distill.annotation import AXES
from distill.audio import SAMPLING_RATE
from distill.errors import DistillError
from students.frontend import FoldedLogMel, LogMel, sample_mask
from students.network import Quantisation, StudentNetwork
from students.wav2small import (
    CHANNELS,
    DEPTH,
    ChannelPooling,
    GramBeside,
    TimeSoftmaxPooling,
    Vgg,
    Wav2Small,
    Wav2Small17K,
)

#: What a member's name begins with.
FAMILY = "wav2small:"

#: What a hop (ms), a transform (samples), bands, channels, and convolutions on a side of the max-pool can be.
HOPS, TRANSFORMS, MELS, WIDTHS = range(1, 65), (32, 64, 128, 256, 512, 1024), range(4, 129), range(1, 65)
DEPTHS = range(1, 9)

POOLS = ("softmax", "channels", "mean")

_MS = SAMPLING_RATE // 1000


@dataclass(frozen=True)
class Shape:
    """What a member is made of. hop: ms; n_fft: samples; depth: convolutions before and behind the max-pool."""

    hop: int = 2
    n_fft: int = 64
    mels: int = 26
    channels: int = CHANNELS
    depth: tuple[int, int] = DEPTH
    pool: str = "softmax"

    def __str__(self) -> str:
        """
        >>> str(Shape(hop=16, n_fft=256))
        'wav2small:hop=16,n_fft=256,mels=26,channels=13,depth=3+4,pool=softmax'
        """
        return FAMILY + ",".join(f"{key.name}={_written(getattr(self, key.name))}" for key in fields(self))

    @property
    def published(self) -> bool:
        """Whether the trunk is the published one, for which the exporters have graphs of their own."""
        trunk = (self.mels, self.channels, self.depth) == (26, CHANNELS, DEPTH)
        return trunk and self.pool in ("softmax", "channels")


def is_member(name: str) -> bool:
    """Whether a name is meant as one of the family.

    >>> is_member("wav2small:hop=8"), is_member("wav2small"), is_member("wav2small-lite")
    (True, False, False)
    """
    return name.startswith(FAMILY)


def shape_of(name: str) -> Shape:
    """What a name says, checked.

    >>> shape_of("wav2small:hop=8,n_fft=128,depth=2+3")
    Shape(hop=8, n_fft=128, mels=26, channels=13, depth=(2, 3), pool='softmax')

    Raises:
        DistillError: an unknown key, one that stands twice, a value that cannot be, or values that do not go together.
    """
    given: dict[str, str] = {}
    for part in name.removeprefix(FAMILY).split(","):
        key, equals, value = part.partition("=")
        if key not in _READ or not equals:
            raise DistillError(f"{name}: {part!r} is no key=value of the family; there are {', '.join(_READ)}")
        if key in given:
            raise DistillError(f"{name}: {key} stands twice")
        given[key] = value
    return _checked(name, Shape(**{key: _READ[key](name, key, value) for key, value in given.items()}))


def written(values: Mapping[str, Any]) -> str:
    """Keys and values as a name; `shape_of` reads and checks it.

    >>> written({"hop": 8, "n_fft": 128})
    'wav2small:hop=8,n_fft=128'
    """
    return FAMILY + ",".join(f"{key}={value}" for key, value in values.items())


def build_member(name: str) -> StudentNetwork:
    """A member with fresh weights. One of the published trunk is that class, and is exported as that is.

    >>> type(build_member("wav2small:hop=8,n_fft=128")).__name__, type(build_member("wav2small:channels=8")).__name__
    ('Wav2Small', 'Member')

    Raises:
        DistillError: as `shape_of`.
    """
    shape = shape_of(name)
    if shape.published:
        return (Wav2Small if shape.pool == "softmax" else Wav2Small17K)(_frontend(shape))
    return Member(shape)


class Member(Vgg):
    """A student of another trunk than the published: PCM [batch, samples] at 16 kHz -> A/D/V [batch, 3].

    >>> Member(Shape(hop=16, n_fft=256, channels=8, pool="mean")).eval()(torch.zeros(2, 16_000)).shape
    torch.Size([2, 3])
    """

    quantisation = Quantisation(activation_bits=(8, 16), float_modules=("gram",))

    def __init__(self, shape: Shape) -> None:
        super().__init__(_frontend(shape), channels=shape.channels, depth=shape.depth)
        self.attention = _POOLINGS[shape.pool](shape.channels, self.bands)
        more = shape.channels if shape.pool == "channels" else 0
        self.head = nn.Linear(shape.channels * (self.bands + more), len(AXES))

    def pooled(self, pcm: Tensor, lengths: Tensor | None = None) -> Tensor:
        """pcm: float32 [batch, samples] -> float32 [batch, width]; lengths: as of `PooledNetwork`."""
        features: Tensor = self.attention(*self.features(pcm, lengths))
        return features


class WholePooling(TimeSoftmaxPooling):
    """As `Wav2Small` pools: [batch, channels, tokens, mels] -> [batch, channels * mels]."""

    def forward(self, x: Tensor, tokens: Tensor | None = None) -> Tensor:
        """tokens: [batch], how many of each clip count."""
        return super().forward(x.transpose(1, 2).flatten(2), tokens)


class GramPooling(ChannelPooling):
    """As `Wav2Small17K` pools: [batch, channels, tokens, mels] -> [batch, channels * (mels + channels)]."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.gram = GramBeside()

    def forward(self, x: Tensor, tokens: Tensor | None = None) -> Tensor:
        """tokens: [batch], how many of each clip count."""
        features: Tensor = self.gram(super().forward(x, tokens)).flatten(1)
        return features


class MeanPooling(nn.Module):
    """The mean over time, without a weight: [batch, channels, tokens, mels] -> [batch, channels * mels]."""

    def forward(self, x: Tensor, tokens: Tensor | None = None) -> Tensor:
        """tokens: [batch], how many of each clip count.

        >>> x = torch.tensor([1.0, 3.0, 9.0]).reshape(1, 1, 3, 1)
        >>> MeanPooling()(x).item() > 4, MeanPooling()(x, torch.tensor([2])).item()
        (True, 2.0)
        """
        if tokens is None:
            return x.mean(2).flatten(1)
        mask = sample_mask(tokens, x.shape[2])[:, None, :, None]
        return (torch.where(mask, x, 0.0).sum(2) / tokens[:, None, None]).flatten(1)


_POOLINGS: dict[str, Callable[[int, int], nn.Module]] = {
    "softmax": lambda channels, bands: WholePooling(channels * bands),
    "channels": lambda channels, bands: GramPooling(channels),
    "mean": lambda channels, bands: MeanPooling(),
}


def _frontend(shape: Shape) -> LogMel:
    """Frames that do not overlap are transformed with half of the multiplications."""
    hop = shape.hop * _MS
    return FoldedLogMel(shape.n_fft, shape.mels) if hop == shape.n_fft else LogMel(shape.n_fft, hop, shape.mels)


# --- a name's parts --------------------------------------------------------------------------------------------------


def _whole(within: range | tuple[int, ...]) -> Callable[[str, str, str], int]:
    told = f"{within[0]} to {within[-1]}" if isinstance(within, range) else ", ".join(map(str, within))

    def read(name: str, key: str, value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,4}", value) or int(value) not in within:
            raise DistillError(f"{name}: {key} is {value!r}; it must be a whole number of {told}")
        return int(value)

    return read


def _depth(name: str, key: str, value: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9])\+([0-9])", value)
    if not found or not all(int(part) in DEPTHS for part in found.groups()):
        raise DistillError(f"{name}: {key} is {value!r}; it must be two numbers of 1 to {DEPTHS[-1]}, as in 3+4")
    return int(found[1]), int(found[2])


def _pool(name: str, key: str, value: str) -> str:
    if value not in POOLS:
        raise DistillError(f"{name}: {key} is {value!r}; there are {', '.join(POOLS)}")
    return value


_READ: dict[str, Callable[[str, str, str], Any]] = {
    "hop": _whole(HOPS), "n_fft": _whole(TRANSFORMS), "mels": _whole(MELS), "channels": _whole(WIDTHS),
    "depth": _depth, "pool": _pool,
}  # fmt: skip


def _checked(name: str, shape: Shape) -> Shape:
    if shape.hop * _MS > shape.n_fft:
        raise DistillError(f"{name}: frames of {shape.n_fft} samples every {shape.hop * _MS} leave some unheard")
    return shape


def _written(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, tuple) else str(value)
