"""Which clips become golden vectors: pieces of the run's held-out ones if they may be handed on, else synthesised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from distill.audio import SAMPLING_RATE
from distill.golden import FULL_SCALE, Clip
from distill.licences import UNKNOWN, kind
from distill.progress import say
from distill.runs import Clip as Held
from distill.synthesis import LICENCE, Manner, manner, speak, voice

#: How many there are.
CLIPS = 20

#: Their lengths in samples, in turn, the shortest first: few, for they travel with the student (360 KB in all), and
#: most no whole number of frames, for a runtime that frames otherwise differs at the edges.
SAMPLES = (4_000, 6_411, 9_599, 16_000)

#: Recordings under licences of these kinds may be handed on.
FREE = ("permissive", "share-alike")


def golden_clips(
    held_out: Sequence[Held], lineage: Sequence[Mapping[str, Any]], *, synthetic: bool = False
) -> tuple[list[Clip], str]:
    """The clips, and the licence they are handed on under. synthetic: no recordings, whatever their licence."""
    licence = audio_licence(lineage)
    if synthetic or not held_out:
        return synthesised(), LICENCE
    if kind(licence) not in FREE:
        say(f"the recordings are under {licence!r}, and stay here: the golden vectors are of synthesised clips")
        return synthesised(), LICENCE
    return pieces(held_out), licence


def audio_licence(lineage: Sequence[Mapping[str, Any]]) -> str:
    """What the recordings of a run are under, all of them.

    >>> audio_licence([{"role": "audio", "data_licence": "CC0-1.0"}, {"role": "audio", "data_licence": None}])
    'CC0-1.0; unknown'
    """
    named = [entry.get("data_licence") or UNKNOWN for entry in lineage if entry["role"] == "audio"]
    return "; ".join(dict.fromkeys(named)) or UNKNOWN


def pieces(held_out: Sequence[Held]) -> list[Clip]:
    """`CLIPS` pieces of as many held-out clips as there are, each from another place in its clip."""
    chosen = [held_out[number * len(held_out) // CLIPS] for number in range(CLIPS)]
    return [Clip(clip.file, _pcm(_piece(clip.signal, number))) for number, clip in enumerate(chosen)]


def synthesised() -> list[Clip]:
    """`CLIPS` clips of speech-like audio, the same each time: voices and manners of `distill.synthesis`."""
    return [
        Clip(
            f"synthesised {number:02d}",
            _pcm(speak(voice(number + 1), _manner(number), seconds=_samples(number) / SAMPLING_RATE, seed=number)),
        )
        for number in range(CLIPS)
    ]


def _manner(number: int) -> Manner:
    """From calm to excited, and, out of step with it, from dark to bright."""
    return manner(number / (CLIPS - 1), 7 * number % CLIPS / (CLIPS - 1))


def _piece(signal: np.ndarray, number: int) -> np.ndarray:
    spare = max(0, len(signal) - _samples(number))
    start = spare * (number + 1) // (CLIPS + 1)
    return signal[start : start + _samples(number)]


def _samples(number: int) -> int:
    return SAMPLES[number % len(SAMPLES)]


def _pcm(signal: np.ndarray) -> np.ndarray:
    """float32 [samples] at -1..1 -> int16 [samples]."""
    return np.clip(np.round(signal * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
