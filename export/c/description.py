"""What the engine computes, as whole numbers and steps: read off the very module that the ONNX file is written from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from students import streaming
from students.quantised import QuantisedVgg, Rounded
from students.wav2small import CHANNELS


@dataclass(frozen=True)
class Convolution:
    """A 3x3 convolution. levels: int64 [13, 1 or 13, 3 times, 3 bands]; bias: int64 [13], in steps of the products;
    scale: float64 [13], from sums of products to levels."""

    levels: np.ndarray
    bias: np.ndarray
    scale: np.ndarray


@dataclass(frozen=True)
class Product:
    """lin or sof. levels: int64 [rows, bands or 1, 13]; bits: of the weights as they are kept; scale: float64 [rows],
    from sums of products to what they stand for."""

    levels: np.ndarray
    bits: int
    scale: np.ndarray


@dataclass(frozen=True)
class Head:
    """levels: int64 [3, width]; step: float64 [3]; bias: float64 [3], NaN on axes that nobody taught."""

    levels: np.ndarray
    step: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True)
class RunningLevel:
    """What a stream is normalised by: power averaged by power. forgetting: nepers that a frame loses with every later
    one; floor: power that it begins with, and that is added to it, of samples at -1..1."""

    forgetting: float
    floor: float


@dataclass(frozen=True)
class Description:
    """A student. fine: convolutions before the pool, the first of one channel; coarse: those behind it. lin_bias:
    float64 [13] where it cannot go into the head's, else None. level: of a student that looks back alone; None for one
    that hears whole clips. forgetting: nepers that a token loses with every later one."""

    n_fft: int
    hop: int
    mels: int
    mel_step: float
    mel_zero: int
    fine: list[Convolution]
    coarse: list[Convolution]
    lin: Product
    sof: Product
    lin_bias: np.ndarray | None
    head: Head
    level: RunningLevel | None = None
    forgetting: float = 0.0

    @property
    def convolutions(self) -> list[Convolution]:
        """Those of 13 by 13 channels, in their order."""
        return [*self.fine[1:], *self.coarse]

    @property
    def half(self) -> int:
        """Bands behind the pool."""
        return (self.mels + 1) // 2

    @property
    def parts(self) -> int:
        """How many products with lin a token takes: of all bands at once, or of every band apart."""
        return int(self.half // self.lin.levels.shape[1])


def describe(network: QuantisedVgg, lacking: np.ndarray | None = None) -> Description:
    """Read a network in integers. lacking: what is added to the answers, [3]: NaN on the axes that nobody taught."""
    step, convolutions = network.mel.step, {}
    for name, conv in network.layers.items():
        scale = float(step) * _whole(conv.weight.kept_step) / float(conv.out.step)
        bias = _levels(conv.bias_levels(step))
        convolutions[name] = Convolution(_levels(conv.weight.levels()), bias, scale)
        step = conv.out.step
    apart = None if network.whole else _whole(network.lin_bias)
    return Description(
        n_fft=network.frontend.n_fft, hop=network.frontend.hop, mels=network.frontend.mels,
        mel_step=float(network.mel.step), mel_zero=int(network.mel.zero),
        fine=[conv for name, conv in convolutions.items() if name.startswith("fine")],
        coarse=[conv for name, conv in convolutions.items() if name.startswith("coarse")],
        lin=_product(network, network.lin, float(step)), sof=_product(network, network.sof, float(step)),
        lin_bias=apart, head=_head(network, lacking), level=_level(network), forgetting=network.forgetting,
    )  # fmt: skip


def _level(network: QuantisedVgg) -> RunningLevel | None:
    causal = isinstance(network.level, streaming.RunningLevel)
    return RunningLevel(streaming.LEVEL_FORGETTING, streaming.LEVEL_FLOOR) if causal else None


def _product(network: QuantisedVgg, layer: Rounded, step: float) -> Product:
    levels = _levels(layer.levels())
    by_band = levels.reshape(len(levels), CHANNELS, -1).transpose(0, 2, 1)
    return Product(np.ascontiguousarray(by_band), layer.most_bits, step * _whole(layer.kept_step))


def _head(network: QuantisedVgg, lacking: np.ndarray | None) -> Head:
    head = network.head
    bias = head.bias + (head.weight() @ network.lin_bias if network.whole else 0.0)
    unanswered = 0.0 if lacking is None else lacking.astype(np.float64)
    return Head(_levels(head.weight.levels()), _whole(head.weight.kept_step), _whole(bias) + unanswered)


def _whole(tensor: Tensor) -> np.ndarray:
    return np.asarray(tensor.detach().numpy(), np.float64)


def _levels(tensor: Tensor) -> np.ndarray:
    return np.asarray(np.rint(tensor.detach().numpy()), np.int64)
