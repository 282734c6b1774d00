"""What is said when: phrases of made-up syllables, and the mouth that glides from one to the next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from distill.audio import SAMPLING_RATE
from distill.synthesis.voices import USUAL_RATE_HZ, Manner, Voice

#: 8 ms between two states of the vocal tract.
HOP = 128

#: F1, F2, F3 (Hz), averages over 33 men. Peterson & Barney (1952), "Control methods used in a study of the vowels",
#: JASA 24, table II.
VOWELS = {
    "heed": (270.0, 2290.0, 3010.0),
    "hid": (390.0, 1990.0, 2550.0),
    "head": (530.0, 1840.0, 2480.0),
    "had": (660.0, 1720.0, 2410.0),
    "hod": (730.0, 1090.0, 2440.0),
    "hawed": (570.0, 840.0, 2410.0),
    "hood": (440.0, 1020.0, 2240.0),
    "who'd": (300.0, 870.0, 2240.0),
    "hud": (640.0, 1190.0, 2390.0),
    "heard": (490.0, 1350.0, 1690.0),
}

#: F4 to F8 (Hz) hardly move in speech: the odd quarter waves of a 17.5 cm tube, c / 4L = 500 Hz. All of them up to
#: Nyquist are needed, or the upper half of the spectrum would be too weak.
UPPER_FORMANTS = (3500.0, 4500.0, 5500.0, 6500.0, 7500.0)

#: F0 (Hz) never leaves this range, whatever the dials say.
F0_RANGE_HZ = (60.0, 500.0)

#: Width of the smoothing by which the mouth (formants), the gains and the melody glide between their targets (s).
_GLIDE_SECONDS = {"formants": 0.06, "gains": 0.024, "melody": 0.12}


class _Consonant(NamedTuple):
    """Levels against a vowel (0..1) and targets of the formants; `parts` are (seconds, voicing, breath, frication)."""

    parts: tuple[tuple[float, float, float, float], ...]
    formants: tuple[float, float, float]
    hiss_hz: float = 4000.0


#: The part of a stop before it bursts.
_CLOSED = (0.05, 0.0, 0.0, 0.0)

#: Loci and hiss after Stevens (1998), "Acoustic Phonetics", chapters 7 to 9: labials pull F2 down to about 1000 Hz,
#: alveolars to 1700, palatals and velars to 2000; [s] hisses around 5 to 6 kHz, [ʃ] around 3, [f] weakly and wide.
_CONSONANTS = {
    "m": _Consonant(((0.06, 0.3, 0.0, 0.0),), (270.0, 1050.0, 2250.0)),
    "n": _Consonant(((0.06, 0.3, 0.0, 0.0),), (270.0, 1600.0, 2600.0)),
    "l": _Consonant(((0.05, 0.5, 0.0, 0.0),), (360.0, 1150.0, 2700.0)),
    "w": _Consonant(((0.05, 0.5, 0.0, 0.0),), (300.0, 750.0, 2200.0)),
    "s": _Consonant(((0.1, 0.0, 0.0, 0.25),), (320.0, 1700.0, 2600.0), 5800.0),
    "ʃ": _Consonant(((0.1, 0.0, 0.0, 0.32),), (320.0, 2000.0, 2500.0), 3000.0),
    "f": _Consonant(((0.09, 0.0, 0.0, 0.1),), (320.0, 1000.0, 2300.0), 4500.0),
    "z": _Consonant(((0.07, 0.25, 0.0, 0.14),), (320.0, 1700.0, 2600.0), 5800.0),
    "t": _Consonant((_CLOSED, (0.012, 0.0, 0.0, 0.4), (0.03, 0.0, 0.25, 0.0)), (300.0, 1700.0, 2600.0), 4000.0),
    "k": _Consonant((_CLOSED, (0.012, 0.0, 0.0, 0.3), (0.03, 0.0, 0.3, 0.0)), (300.0, 2000.0, 2300.0), 1900.0),
    "b": _Consonant(((0.05, 0.06, 0.0, 0.0), (0.01, 0.2, 0.0, 0.15)), (250.0, 1000.0, 2200.0), 1200.0),
    "h": _Consonant(((0.05, 0.0, 0.3, 0.0),), (500.0, 1500.0, 2500.0)),
    "": _Consonant((), (500.0, 1500.0, 2500.0)),
}


class Segment(NamedTuple):
    """One target that the tracks glide to. voicing, breath, frication: gains 0..1; pitch: semitones, any scale."""

    seconds: float
    voicing: float
    breath: float
    frication: float
    f1: float
    f2: float
    f3: float
    hiss_hz: float
    pitch: float


class Tracks(NamedTuple):
    """What the synthesiser does every `HOP` samples: formants [frames, 8], the others [frames]; Hz, or gains 0..1."""

    f0: np.ndarray
    formants: np.ndarray
    voicing: np.ndarray
    breath: np.ndarray
    frication: np.ndarray
    hiss_hz: np.ndarray


# What is said: segments ------------------------------------------------------------------------------------------


def plan(voice: Voice, manner: Manner, seconds: float, rng: np.random.Generator) -> list[Segment]:
    """Phrases with pauses between them, stretched by a few per cent to fill `seconds`.

    >>> from distill.synthesis import voice
    >>> round(sum(segment.seconds for segment in plan(voice(1), Manner(), 2.0, np.random.default_rng(0))), 6)
    2.0
    """
    rate_hz = manner.rate_hz * voice.rate_scale
    edge = _pause(min(0.08, seconds / 20))
    segments, left, last = [edge], seconds - 2 * edge.seconds, False
    while not last:
        room, syllables = max(1, round(left * rate_hz)), int(rng.integers(4, 9))
        last = room < syllables + 4  # what would be left over is too short for a phrase of its own
        spoken = list(_phrase(room if last else syllables, rate_hz, manner.lift_semitones, rng))
        pause = float(rng.uniform(0.15, 0.4)) * manner.pause_scale * USUAL_RATE_HZ / rate_hz
        segments += [*spoken, edge if last else _pause(pause)]
        left -= sum(segment.seconds for segment in spoken) + pause
    stretch = seconds / sum(segment.seconds for segment in segments)
    return [segment._replace(seconds=segment.seconds * stretch) for segment in segments]


def _pause(seconds: float) -> Segment:
    return Segment(seconds, 0.0, 0.0, 0.0, 500.0, 1500.0, 2500.0, 4000.0, 0.0)


def _phrase(syllables: int, rate_hz: float, lift: float, rng: np.random.Generator) -> Iterator[Segment]:
    """Pitch sinks from the first syllable to the last, with accents on the way and the lift at the end."""
    for index in range(syllables):
        sinking = 1.5 - 3.0 * index / max(syllables - 1, 1)
        accent = float(rng.normal(0.0, 1.2))
        last = index == syllables - 1
        seconds = float(rng.uniform(0.8, 1.2)) / rate_hz * (1.25 if last else 1.0)
        yield from _syllable(seconds, rate_hz, sinking + accent + lift * last, accent, rng)


def _syllable(
    seconds: float, rate_hz: float, pitch: float, accent: float, rng: np.random.Generator
) -> Iterator[Segment]:
    """A consonant, then a vowel that is louder where it is accented (1.5 dB an accent)."""
    consonant = list(_CONSONANTS.values())[rng.integers(len(_CONSONANTS))]
    vowel = list(VOWELS.values())[rng.integers(len(VOWELS))]
    for part, voicing, breath, frication in consonant.parts:
        part *= USUAL_RATE_HZ / rate_hz
        seconds -= part
        yield Segment(part, voicing, breath, frication, *consonant.formants, consonant.hiss_hz, pitch)
    loud = 0.7 * 10 ** (1.5 * min(max(accent, -2.0), 2.0) / 20)
    yield Segment(seconds, loud, 0.0, 0.0, *vowel, consonant.hiss_hz, pitch)


# How the mouth moves: tracks -------------------------------------------------------------------------------------


def glide(segments: list[Segment], voice: Voice, manner: Manner, samples: int) -> Tracks:
    """Each frame takes its segment's targets, and smoothing makes one glide into the next.

    >>> from distill.synthesis import voice
    >>> rng = np.random.default_rng(0)
    >>> tracks = glide(plan(voice(1), Manner(), 2.0, rng), voice(1), Manner(), 32_000)
    >>> tracks.f0.shape == tracks.voicing.shape
    True
    """
    table = np.array(segments)
    ends = np.cumsum(table[:, 0]) * SAMPLING_RATE
    frames = np.arange(samples // HOP + 2) * HOP
    held = table[np.minimum(np.searchsorted(ends, frames, side="right"), len(table) - 1)]
    voicing, breath, frication = _smoothed(held[:, 1:4], "gains").T
    return Tracks(
        f0=_melody(_smoothed(held[:, 8:], "melody")[:, 0], voicing, voice, manner),
        formants=_formants(_smoothed(held[:, 4:7], "formants"), voice, manner),
        voicing=voicing,
        breath=breath + voicing * voice.breathiness * manner.breath,
        frication=frication,
        hiss_hz=held[:, 7],
    )


def _smoothed(tracks: np.ndarray, kind: str) -> np.ndarray:
    """Moving Hann-weighted mean along time. tracks: [frames, columns]."""
    reach = max(1, round(_GLIDE_SECONDS[kind] * SAMPLING_RATE / HOP / 2))
    weights = np.hanning(2 * reach + 3)[1:-1]
    padded = np.pad(tracks, ((reach, reach), (0, 0)), mode="edge")
    columns = [np.convolve(column, weights / weights.sum(), mode="valid") for column in padded.T]
    return np.stack(columns, axis=1)


def _melody(contour: np.ndarray, voicing: np.ndarray, voice: Voice, manner: Manner) -> np.ndarray:
    """The contour brought to the manner's mean and range, as F0 in Hz. contour: semitones on any scale, [frames]."""
    heard = contour[voicing > 0.3] if (voicing > 0.3).any() else contour
    low, high = np.percentile(heard, [10, 90])
    # A clip of one syllable hardly moves: below this width its pitch is not forced through the whole range.
    scale = manner.pitch_range_semitones / max(float(high - low), 1.0)
    semitones = manner.pitch_semitones + scale * (contour - heard.mean())
    return np.asarray(np.clip(voice.f0_hz * 2 ** (semitones / 12), *F0_RANGE_HZ))


def _formants(lower: np.ndarray, voice: Voice, manner: Manner) -> np.ndarray:
    """F1 to F8 (Hz) [frames, 8] of this speaker, from F1 to F3 of the average man [frames, 3]."""
    upper = np.broadcast_to(UPPER_FORMANTS, (len(lower), len(UPPER_FORMANTS)))
    everyone = np.concatenate([lower * voice.formant_offsets, upper], axis=1)
    return np.asarray(everyone * voice.tract_scale * manner.formant_scale)
