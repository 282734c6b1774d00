"""Who speaks, and how: the voices of speakers 1, 2, 3, ..., and two dials as a manner of speaking."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

Sex = Literal["female", "male"]

#: Base F0 (Hz) and size of the formants against Peterson & Barney's men: their men and women spoke at about 132 and
#: 223 Hz, and the women's formants lie 17 % higher.
_SPEAKERS: dict[Sex, tuple[float, float]] = {"female": (210.0, 1.17), "male": (122.0, 1.0)}

#: Durations of consonants and pauses (s) are given for this many syllables per second.
USUAL_RATE_HZ = 4.5

#: The level of the hiss against the voice is given for this slope of the voice's spectrum (dB per octave).
USUAL_TILT_DB = -8.0


@dataclass(frozen=True)
class Voice:
    """Who speaks: what stays the same from clip to clip.

    f0_hz: base pitch, about 90..260. tract_scale: factor on all formants, about 0.9..1.3 (above 1: a shorter tract than
    the average man's). formant_offsets: further factors on F1, F2, F3, about 0.9..1.1. jitter, shimmer: standard
    deviation of period and amplitude from cycle to cycle, as a share, 0..0.1. breathiness: level of the breath beside
    the voice, 0..0.5. tilt_db_per_octave: added to the manner's, about -2..2. rate_scale: factor on the speaking rate.
    """

    sex: Sex
    f0_hz: float
    tract_scale: float
    formant_offsets: tuple[float, float, float] = (1.0, 1.0, 1.0)
    jitter: float = 0.006
    shimmer: float = 0.04
    breathiness: float = 0.06
    tilt_db_per_octave: float = 0.0
    rate_scale: float = 1.0


@dataclass(frozen=True)
class Manner:
    """How it is said. The defaults are a matter-of-fact voice.

    pitch_semitones: mean pitch against the voice's base, -12..12. pitch_range_semitones: from the 10th to the 90th
    percentile of the pitch, 0..18. rate_hz: syllables per second between the pauses, 1..10. tilt_db_per_octave: slope
    of the voice's spectrum before the formants shape it, -18 (soft) to 0 (pressed). loudness_db: RMS while speaking,
    against full scale (dBFS), -60..-16. lift_semitones: step of the pitch at a phrase's last syllable, before the whole
    melody is brought to its range, -6..6. formant_scale: lips spread (above 1) or rounded (below), 0.9..1.1.
    roughness: factor on jitter and shimmer, 0..5. breath: factor on the voice's breathiness, 0..5. pause_scale: factor
    on the pauses, 0..3. noise_db: RMS of the room's noise (dBFS), -90..-40.
    """

    pitch_semitones: float = 0.0
    pitch_range_semitones: float = 5.0
    rate_hz: float = USUAL_RATE_HZ
    tilt_db_per_octave: float = USUAL_TILT_DB
    loudness_db: float = -28.0
    lift_semitones: float = -1.0
    formant_scale: float = 1.0
    roughness: float = 1.0
    breath: float = 1.0
    pause_scale: float = 1.0
    noise_db: float = -62.0


def voice(speaker: int, *, seed: int = 0) -> Voice:
    """The voice of speaker 1, 2, 3, ...: the same for the same number and seed. Odd ones are female, even ones male.

    >>> voice(1).sex, voice(2).sex, voice(1) == voice(1), voice(1) == voice(3)
    ('female', 'male', True, False)
    """
    rng = np.random.default_rng([seed, speaker])
    sex: Sex = "female" if speaker % 2 else "male"
    f0_hz, tract_scale = _SPEAKERS[sex]
    first, second, third = np.exp(rng.uniform(-0.04, 0.04, 3)).tolist()
    return Voice(
        sex=sex,
        f0_hz=f0_hz * 2 ** (float(rng.uniform(-3.5, 3.5)) / 12),
        tract_scale=tract_scale * math.exp(float(rng.uniform(-0.07, 0.07))),
        formant_offsets=(first, second, third),
        jitter=float(rng.uniform(0.003, 0.012)),
        shimmer=float(rng.uniform(0.02, 0.07)),
        breathiness=float(rng.uniform(0.03, 0.12)),
        tilt_db_per_octave=float(rng.uniform(-1.0, 1.0)),
        rate_scale=float(rng.uniform(0.9, 1.12)),
    )


def manner(energy: float, brightness: float) -> Manner:
    """Two dials of the synthesiser, 0..1 each, as a manner of speaking.

    energy raises pitch, range, rate, loudness and the upper spectrum, and shortens pauses. brightness widens the range,
    spreads the lips, lets phrases end higher and smooths the voice. The directions follow Scherer (2003), "Vocal
    communication of emotion", table 2 (arousal-like and valence-like); the sizes are ours.

    Raises:
        ValueError: a dial lies outside 0..1.

    >>> manner(1.0, 0.5).rate_hz > manner(0.0, 0.5).rate_hz
    True
    """
    if not (0 <= energy <= 1 and 0 <= brightness <= 1):
        raise ValueError(f"energy and brightness are dials from 0 to 1, not {energy} and {brightness}")
    return Manner(
        pitch_semitones=-3.5 + 7.5 * energy + 1.5 * brightness,
        pitch_range_semitones=2.0 + 4.5 * energy + 3.5 * brightness,
        rate_hz=3.0 + 2.7 * energy + 0.4 * brightness,
        tilt_db_per_octave=-12.0 + 6.0 * energy + 1.0 * brightness,
        loudness_db=-36.0 + 14.0 * energy,
        lift_semitones=-2.5 + 5.0 * brightness,
        formant_scale=0.96 + 0.09 * brightness,
        roughness=0.7 + 2.5 * energy * (1 - brightness),
        breath=1.8 - 1.2 * energy,
        pause_scale=1.5 - 0.9 * energy,
    )
