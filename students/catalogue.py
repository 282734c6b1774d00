"""The students by name, and the figures that `distill students` lists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from distill.audio import SAMPLING_RATE
from distill.errors import DistillError
from distill.plugins import is_plugin, plugin
from students.family import build_member, is_member
from students.mobilenet import MobileNet
from students.network import StudentNetwork
from students.streaming import Wav2SmallStream
from students.wav2small import Wav2Small, Wav2Small17K, Wav2SmallLite

#: Every student, with the weights it starts from. The large MobileNets diverge at the small ones' learning rate.
STUDENTS: dict[str, Callable[[], StudentNetwork]] = {
    "wav2small": Wav2Small,
    "wav2small-lite": Wav2SmallLite,
    "wav2small-stream": Wav2SmallStream,
    "wav2small-17k": Wav2Small17K,
    "mobilenetv3-small": partial(MobileNet, "mobilenetv3_small_100", learning_rate=3e-3),
    "mobilenetv3-large": partial(MobileNet, "mobilenetv3_large_100", learning_rate=1e-3),
    "mobilenetv4-small": partial(MobileNet, "mobilenetv4_conv_small", learning_rate=3e-3),
    "mobilenetv4-medium": partial(MobileNet, "mobilenetv4_conv_medium", learning_rate=1e-3),
}

#: The clip on which operations are counted, as in the paper (seconds).
COUNTED_SECONDS = 5


@dataclass(frozen=True)
class Figures:
    """What a student costs. macs_per_second and tokens_per_second: per second of audio, counted on a 5 s clip."""

    name: str
    parameters: int
    trainable: int
    macs_per_second: float
    tokens_per_second: float
    hop_ms: float

    def as_dict(self) -> dict[str, Any]:
        """As `distill students --json` has it."""
        return asdict(self)


def build(name: str) -> StudentNetwork:
    """A student with fresh weights, by its name here, by what a member of the family is made of (`students.family`), or
    by the name of a class of one's own, "package.module:Class".

    >>> type(build("wav2small")).__name__, build("wav2small:hop=16,n_fft=256,channels=8").channels
    ('Wav2Small', 8)

    Raises:
        DistillError: no student of that name.
    """
    if is_member(name):
        return build_member(name)
    if is_plugin(name):
        network: StudentNetwork = plugin(name, StudentNetwork)()
        return network
    if name not in STUDENTS:
        raise DistillError(f"{name}: no such student; there are {', '.join(STUDENTS)}")
    return STUDENTS[name]()


def figures(name: str) -> Figures:
    """Count a student's parameters and operations.

    >>> counted = figures("wav2small")
    >>> counted.parameters, counted.trainable
    (72477, 67395)
    """
    model = build(name).eval()
    samples = COUNTED_SECONDS * SAMPLING_RATE
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model(torch.zeros(1, samples))
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return Figures(
        name=name,
        parameters=sum(size for size, _ in sizes),
        trainable=sum(size for size, trains in sizes if trains),
        macs_per_second=counter.get_total_flops() / 2 / COUNTED_SECONDS,  # a multiply-accumulate is two operations
        tokens_per_second=model.tokens(samples) / COUNTED_SECONDS,
        hop_ms=1000 * model.frontend.hop / SAMPLING_RATE,
    )
