"""What the ladder is climbed on: a run's held-out clips at many lengths, as they are, softer, louder, and in noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from distill.audio import SAMPLING_RATE
from distill.perturb import add_noise, synthetic_noise
from students.network import SHORTEST_SECONDS

#: Lengths that are tried (seconds), and how many clips there are in all.
SECONDS = (1, 2, 3, 5, 8, 12, 20, 30)
CLIPS = 200

#: What is done to the clips of a length, in turn: gain in dB, and signal-to-noise ratio in dB or None. One thing at a
#: time; what was left as it was stands in both comparisons.
CONDITIONS: tuple[tuple[float, float | None], ...] = ((0, None), (-20, None), (0, 20), (20, None), (0, 10), (0, 0))


class Probe(NamedTuple):
    """A clip, float32 [samples], and by what it is told apart: {"length": "5 s", "level": "-20 dB", "snr": "clean"}."""

    signal: np.ndarray
    traits: dict[str, str]


def probes(signals: Sequence[np.ndarray], *, count: int = CLIPS) -> list[Probe]:
    """Up to `count` clips of the lengths `SECONDS`, each made of real ones, one after the other.

    >>> made = probes([np.ones(8_000, np.float32)] * 2)
    >>> len(made), made[15].traits, len(made[15].signal)
    (16, {'length': '30 s', 'level': '-20 dB', 'snr': 'clean'}, 480000)
    """
    each = min(max(1, count // len(SECONDS)), len(signals))
    made = ([_made(signals, first, seconds * SAMPLING_RATE) for first in range(each)] for seconds in SECONDS)
    return [tried for clips in made for tried in varied(clips)]


def varied(clips: Sequence[np.ndarray]) -> list[Probe]:
    """The clips, under `CONDITIONS` in turn; the noise is synthesised, and always the same.

    >>> [tried.traits["snr"] for tried in varied([np.ones(8_000, np.float32)] * 4)]
    ['clean', 'clean', '20 dB', 'clean']
    """
    rng = np.random.default_rng(0)
    return [_under(CONDITIONS[number % len(CONDITIONS)], clip, rng) for number, clip in enumerate(clips)]


def synthetic_probes() -> list[Probe]:
    """Noise of every length of the ladder, and of the shortest.

    >>> [probe.traits["length"] for probe in synthetic_probes()]
    ['1 s', '2 s', '3 s', '5 s', '8 s', '12 s', '20 s', '30 s', '0.25 s']
    """
    rng = np.random.default_rng(0)
    made = probes([rng.standard_normal(SAMPLING_RATE).astype(np.float32)], count=len(SECONDS))
    return [*made, probe(made[0].signal[: int(SHORTEST_SECONDS * SAMPLING_RATE)])]


def probe(signal: np.ndarray, *, level: float = 0, snr: float | None = None) -> Probe:
    """A clip with its traits as people read them.

    >>> probe(np.zeros(8_000, np.float32), snr=10).traits
    {'length': '0.5 s', 'level': '0 dB', 'snr': '10 dB'}
    """
    noise = "clean" if snr is None else f"{snr:g} dB"
    return Probe(signal, {"length": f"{len(signal) / SAMPLING_RATE:g} s", "level": f"{level:g} dB", "snr": noise})


def _under(condition: tuple[float, float | None], signal: np.ndarray, rng: np.random.Generator) -> Probe:
    gain, snr = condition
    if snr is not None:
        signal = add_noise(signal, synthetic_noise(rng, len(signal) / SAMPLING_RATE), snr)
    return probe((signal * 10 ** (gain / 20)).astype(np.float32), level=gain, snr=snr)


def _made(signals: Sequence[np.ndarray], first: int, samples: int) -> np.ndarray:
    parts, length, number = [], 0, first
    while length < samples:
        parts.append(signals[number % len(signals)])
        length += len(parts[-1])
        number += 1
    return np.concatenate(parts)[:samples].astype(np.float32)
