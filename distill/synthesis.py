"""Speech-like audio out of nothing but arithmetic: voices, moods and a small corpus, for the demo and the tests.

Nobody is recorded and nothing is said: vowels, consonants and pauses in the rhythm and melody of speech. A glottal
pulse train and noise (the source) pass the resonances of a vocal tract (the filter), as in Klatt (1980), "Software for
a cascade/parallel formant synthesizer", JASA 67. The two dials of `manner` belong to this synthesiser: they move pitch,
rate, loudness and timbre, and are no one's rating of an emotion.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import soundfile

from distill.audio import SAMPLING_RATE
from distill.errors import DistillError, Refused
from distill.files import whole, write_csv

Sex = Literal["female", "male"]

#: Goes into every file that `write_corpus` makes: raise it when the same seed begins to sound different.
VERSION = 1

#: The columns of the manifest.
COLUMNS = ("file", "speaker", "sex", "energy", "brightness")

#: 8 ms between two states of the vocal tract; windows of 16 ms (periodic Hann) overlap by half and so add up to one.
HOP = 128
WINDOW = 2 * HOP
#: 64 ms: a window and 48 ms for its resonances to die away in, so that nothing wraps around.
FFT = 8 * HOP

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
FADING_FORMANT_HZ, HIGHEST_FORMANT_HZ = 7000.0, 7600.0

#: Base F0 (Hz) and size of the formants against Peterson & Barney's men: their men and women spoke at about 132 and
#: 223 Hz, and the women's formants lie 17 % higher.
_SPEAKERS: dict[Sex, tuple[float, float]] = {"female": (210.0, 1.17), "male": (122.0, 1.0)}

#: F0 (Hz) never leaves this range, whatever the dials say.
F0_RANGE_HZ = (60.0, 500.0)

#: Harmonics end below Nyquist, so that the pulse train does not alias (Hz).
HIGHEST_HARMONIC_HZ = 7800.0

#: Peak of a clip at most; louder ones are turned down as a whole.
HIGHEST_PEAK = 0.95

#: Durations of consonants and pauses (s) are given for this many syllables per second.
USUAL_RATE_HZ = 4.5

#: The level of the hiss against the voice is given for this slope of the voice's spectrum (dB per octave).
USUAL_TILT_DB = -8.0

#: Fade at both ends of a clip (s).
FADE_SECONDS = 0.01

#: Width of the smoothing by which the mouth (formants), the gains and the melody glide between their targets (s).
_GLIDE_SECONDS = {"formants": 0.06, "gains": 0.024, "melody": 0.12}


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


class _Segment(NamedTuple):
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


class _Tracks(NamedTuple):
    """What the synthesiser does every `HOP` samples: formants [frames, 8], the others [frames]; Hz, or gains 0..1."""

    f0: np.ndarray
    formants: np.ndarray
    voicing: np.ndarray
    breath: np.ndarray
    frication: np.ndarray
    hiss_hz: np.ndarray


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


def speak(voice: Voice, manner: Manner, *, seconds: float, seed: int) -> np.ndarray:
    """float32 [round(16000 * seconds)] at 16 kHz, peak at most `HIGHEST_PEAK`; never digital silence.

    seconds: at least 0.1. seed: what is said and how the pitch moves; two voices with one seed say the same.

    Raises:
        ValueError: fewer than 0.1 seconds.

    >>> clip = speak(voice(1), Manner(), seconds=1.5, seed=0)
    >>> clip.shape, clip.dtype.name
    ((24000,), 'float32')
    """
    if not seconds >= 0.1:
        raise ValueError(f"{seconds} s is too short to speak: give at least 0.1")
    rng = np.random.default_rng(seed)
    samples = round(seconds * SAMPLING_RATE)
    tracks = _tracks(_plan(voice, manner, seconds, rng), voice, manner, samples)
    clip = _at_level(_vocalised(tracks, voice, manner, samples, rng), tracks, manner.loudness_db)
    clip += _room_noise(samples, manner.noise_db, rng)
    return _faded(clip * min(1.0, HIGHEST_PEAK / float(np.abs(clip).max()))).astype(np.float32)


def write_corpus(
    folder: Path, *, speakers: int, clips: int, seconds: tuple[float, float] = (2.0, 5.0), seed: int = 0
) -> Path:
    """Write `folder/speaker-01/clip-001.flac` ... (16 kHz, mono, 16 bit) and `folder/manifest.csv`; give its path.

    clips: for each speaker. seconds: shortest and longest clip. Everything follows from the seed, and no clip depends
    on how many there are: a second call skips what is there, and a call for more only adds. manifest: `COLUMNS`, with
    POSIX paths relative to `folder`.

    Raises:
        DistillError: nothing to write, or lengths that cannot be.
        Refused: a file that is already there was not made by the same call.
    """
    if speakers < 1 or clips < 1:
        raise DistillError(f"a corpus needs at least one speaker and one clip, not {speakers} and {clips}")
    if not 0.1 <= seconds[0] <= seconds[1] < math.inf:
        raise DistillError(f"clips of {seconds[0]:g} to {seconds[1]:g} s cannot be: give 0.1 <= shortest <= longest")
    rows = [
        _write_clip(folder, speaker, clip, seconds, seed)
        for speaker in range(1, speakers + 1)
        for clip in range(1, clips + 1)
    ]
    write_csv(folder / "manifest.csv", COLUMNS, rows)
    return folder / "manifest.csv"


def _write_clip(
    folder: Path, speaker: int, clip: int, seconds: tuple[float, float], seed: int
) -> tuple[str, str, str, float, float]:
    name = f"speaker-{speaker:02d}"
    path = folder / name / f"clip-{clip:03d}.flac"
    energy, brightness = _dials(speaker, clip, seed)
    who = voice(speaker, seed=seed)
    recipe = f"distill synthesis {VERSION}: seed {seed}, {seconds[0]:g} to {seconds[1]:g} s, {name}, clip {clip}"
    if not _is_written(path, recipe):
        rng = np.random.default_rng([seed, speaker, clip])
        length = float(rng.uniform(*seconds))
        samples = speak(who, manner(energy, brightness), seconds=length, seed=int(rng.integers(2**32)))
        _write_flac(path, samples, recipe)
    return f"{name}/{path.name}", name, who.sex, round(energy, 4), round(brightness, 4)


def _dials(speaker: int, clip: int, seed: int) -> tuple[float, float]:
    """energy, brightness of a clip: a few cover the square evenly, and more of them do not move the first ones.

    The R2 sequence of Roberts (2018), "The unreasonable effectiveness of quasirandom sequences", from a point of the
    speaker's own.
    """
    plastic = 1.324717957244746  # the real root of x^3 = x + 1
    start = np.random.default_rng([seed, speaker, 0]).random(2)
    energy, brightness = ((start + clip / plastic ** np.array([1, 2])) % 1.0).tolist()
    return energy, brightness


def _is_written(path: Path, recipe: str) -> bool:
    if not path.exists():
        return False
    try:
        with soundfile.SoundFile(path) as sound:
            found = str(sound.comment)
    except soundfile.SoundFileError:
        found = ""
    if found != recipe:
        raise Refused(f"{path}: there, but not from this seed and these lengths; remove it or choose another folder")
    return True


def _write_flac(path: Path, samples: np.ndarray, recipe: str) -> None:
    with whole(path) as beside, soundfile.SoundFile(beside, "w", SAMPLING_RATE, 1, "PCM_16", format="FLAC") as sound:
        sound.license = "CC0-1.0"
        sound.comment = recipe
        sound.write(samples)


# What is said: segments ------------------------------------------------------------------------------------------


def _plan(voice: Voice, manner: Manner, seconds: float, rng: np.random.Generator) -> list[_Segment]:
    """Phrases with pauses between them, stretched by a few per cent to fill `seconds`."""
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


def _pause(seconds: float) -> _Segment:
    return _Segment(seconds, 0.0, 0.0, 0.0, 500.0, 1500.0, 2500.0, 4000.0, 0.0)


def _phrase(syllables: int, rate_hz: float, lift: float, rng: np.random.Generator) -> Iterator[_Segment]:
    """Pitch sinks from the first syllable to the last, with accents on the way and the lift at the end."""
    for index in range(syllables):
        sinking = 1.5 - 3.0 * index / max(syllables - 1, 1)
        accent = float(rng.normal(0.0, 1.2))
        last = index == syllables - 1
        seconds = float(rng.uniform(0.8, 1.2)) / rate_hz * (1.25 if last else 1.0)
        yield from _syllable(seconds, rate_hz, sinking + accent + lift * last, accent, rng)


def _syllable(
    seconds: float, rate_hz: float, pitch: float, accent: float, rng: np.random.Generator
) -> Iterator[_Segment]:
    """A consonant, then a vowel that is louder where it is accented (1.5 dB an accent)."""
    consonant = list(_CONSONANTS.values())[rng.integers(len(_CONSONANTS))]
    vowel = list(VOWELS.values())[rng.integers(len(VOWELS))]
    for part, voicing, breath, frication in consonant.parts:
        part *= USUAL_RATE_HZ / rate_hz
        seconds -= part
        yield _Segment(part, voicing, breath, frication, *consonant.formants, consonant.hiss_hz, pitch)
    loud = 0.7 * 10 ** (1.5 * min(max(accent, -2.0), 2.0) / 20)
    yield _Segment(seconds, loud, 0.0, 0.0, *vowel, consonant.hiss_hz, pitch)


# How the mouth moves: tracks -------------------------------------------------------------------------------------


def _tracks(segments: list[_Segment], voice: Voice, manner: Manner, samples: int) -> _Tracks:
    """Each frame takes its segment's targets, and smoothing makes one glide into the next."""
    table = np.array(segments)
    ends = np.cumsum(table[:, 0]) * SAMPLING_RATE
    frames = np.arange(samples // HOP + 2) * HOP
    held = table[np.minimum(np.searchsorted(ends, frames, side="right"), len(table) - 1)]
    voicing, breath, frication = _smoothed(held[:, 1:4], "gains").T
    return _Tracks(
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


# How it sounds: source and filter --------------------------------------------------------------------------------


def _vocalised(tracks: _Tracks, voice: Voice, manner: Manner, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Voice, breath and hiss, mixed in the frequency domain, frame by frame -> float64 [samples], at any level."""
    pulses, openness = _glottis(tracks, voice, manner, samples, rng)
    noise = rng.standard_normal(samples)
    tract = _tract(tracks.formants)
    tilt = manner.tilt_db_per_octave + voice.tilt_db_per_octave
    voiced = _level(_spectra(pulses) * tract * _slope(tilt))
    breath = _level(_spectra(noise * openness) * tract * _slope(tilt / 2))
    hiss = _level(_spectra(noise) * _hiss(tracks.hiss_hz))
    voiced *= tracks.voicing[:, None]
    voiced += breath * tracks.breath[:, None]
    # Whoever speaks softly blows softly: without this, hiss would rule the long-term spectrum of a dark voice.
    voiced += hiss * tracks.frication[:, None] * 10 ** ((tilt - USUAL_TILT_DB) / 20)
    return _overlapped(np.fft.irfft(voiced, n=FFT), samples)


def _glottis(
    tracks: _Tracks, voice: Voice, manner: Manner, samples: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Band-limited pulses, and how far the glottis is open for breath (0.4..1.6), both [samples]."""
    f0 = np.interp(np.arange(samples), np.arange(len(tracks.f0)) * HOP, tracks.f0)
    cycles = np.cumsum(f0) / SAMPLING_RATE
    # Pulses stand at whole cycles, so that their length and height change halfway between two.
    cycle = np.rint(cycles).astype(np.int64)
    unsteady = rng.standard_normal((2, int(cycle[-1]) + 1)) * manner.roughness
    f0 = f0 * (1 + voice.jitter * np.clip(unsteady[0], -4, 4))[cycle]
    phase = 2 * np.pi * np.cumsum(f0) / SAMPLING_RATE
    height = np.clip(1 + voice.shimmer * unsteady[1], 0.2, 2.0)[cycle]
    return height * _pulses(phase, f0), 1 - 0.6 * np.cos(phase)


def _pulses(phase: np.ndarray, f0: np.ndarray) -> np.ndarray:
    """The sum of cos(k * phase) over the harmonics k below `HIGHEST_HARMONIC_HZ`, in closed form (Dirichlet kernel)."""
    harmonics = np.floor(HIGHEST_HARMONIC_HZ / f0)
    half = 0.5 * phase
    below = np.sin(half)
    below[np.abs(below) < 1e-9] = 1e-9
    return np.asarray(0.5 * (np.sin((2 * harmonics + 1) * half) / below - 1))


def _spectra(signal: np.ndarray) -> np.ndarray:
    """Spectra of the overlapping windows around every frame: complex [frames, FFT / 2 + 1]."""
    frames = len(signal) // HOP + 2
    padded = np.zeros((frames + 1) * HOP)
    padded[HOP : HOP + len(signal)] = signal
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    return np.fft.rfft(np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP] * hann, n=FFT)


def _overlapped(blocks: np.ndarray, samples: int) -> np.ndarray:
    """The inverse of `_spectra`: blocks [frames, FFT] laid over each other -> [samples]."""
    parts = blocks.reshape(len(blocks), FFT // HOP, HOP)
    total = np.zeros((len(blocks) + FFT // HOP, HOP))
    for index in range(FFT // HOP):
        total[index : index + len(blocks)] += parts[:, index]
    return total.reshape(-1)[HOP : HOP + samples]


def _tract(formants: np.ndarray) -> np.ndarray:
    """Response of the resonators in cascade, each of gain one at 0 Hz: complex [frames, FFT / 2 + 1].

    formants: Hz [frames, 8]. Bandwidths grow with frequency, near Klatt's (1980) defaults: 65 Hz at 500, 215 at 3500.
    Towards Nyquist they widen fast, so that formants that a short tract pushes there fade instead of heaping up.
    """
    bandwidths = 40 + 0.05 * formants + 4 * np.maximum(formants - FADING_FORMANT_HZ, 0.0)
    radius = np.exp(-np.pi * bandwidths / SAMPLING_RATE)
    first = -2 * radius * np.cos(2 * np.pi * np.minimum(formants, HIGHEST_FORMANT_HZ) / SAMPLING_RATE)
    second = radius**2
    gain = np.prod(1 + first + second, axis=1)
    return np.asarray(gain[:, None] / np.fft.rfft(_product(first, second), n=FFT))


def _product(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Coefficients of the product over n of (1 + first_n / z + second_n / z^2): [frames, n] -> [frames, 2 n + 1]."""
    frames, sections = first.shape
    whole_product = np.zeros((frames, 2 * sections + 1))
    whole_product[:, 0] = 1.0
    for index in range(sections):
        before = whole_product.copy()
        whole_product[:, 1:] += first[:, index, None] * before[:, :-1]
        whole_product[:, 2:] += second[:, index, None] * before[:, :-2]
    return whole_product


def _slope(db_per_octave: float) -> np.ndarray:
    """A causal filter that falls or rises by so much an octave from 80 Hz on: complex [FFT / 2 + 1]."""
    pole = math.exp(-2 * math.pi * 80.0 / SAMPLING_RATE)
    six_db = 1 - pole * np.exp(-2j * np.pi * np.arange(FFT // 2 + 1) / FFT)
    return np.asarray(six_db ** (db_per_octave / (20 * math.log10(2))))


def _hiss(centre_hz: np.ndarray) -> np.ndarray:
    """Gain of the narrow passage: a hump of half an octave (standard deviation), [frames, FFT / 2 + 1]."""
    octaves = np.log2(np.fft.rfftfreq(FFT, 1 / SAMPLING_RATE).clip(min=1.0))
    return np.asarray(np.exp(-2 * (octaves - np.log2(centre_hz)[:, None]) ** 2))


def _level(spectra: np.ndarray) -> np.ndarray:
    """`spectra` at an RMS of one over the clip, so that the gains of voice, breath and hiss mean the same."""
    power = float((spectra.real**2 + spectra.imag**2).sum()) / len(spectra)
    return spectra / math.sqrt(power + 1e-30)


def _at_level(speech: np.ndarray, tracks: _Tracks, loudness_db: float) -> np.ndarray:
    """Bring the RMS while speaking (pauses left out) to `loudness_db`. speech: [samples]."""
    speaking = np.repeat(tracks.voicing + tracks.frication + tracks.breath > 0.05, HOP)[: len(speech)]
    rms = math.sqrt(float(np.mean(speech[speaking] ** 2)) if speaking.any() else 1.0)
    return speech * (10 ** (loudness_db / 20) / max(rms, 1e-9))


def _room_noise(samples: int, noise_db: float, rng: np.random.Generator) -> np.ndarray:
    """Noise that falls by 3 dB an octave (pink) above 50 Hz, of RMS `noise_db` (dBFS), [samples]."""
    length = 1 << (samples - 1).bit_length()
    hz = np.fft.rfftfreq(length, 1 / SAMPLING_RATE)
    spectrum = rng.standard_normal((2, len(hz))) / np.sqrt(np.maximum(hz, 50.0))
    noise = np.fft.irfft(spectrum[0] + 1j * spectrum[1], n=length)[:samples]
    return np.asarray(noise * (10 ** (noise_db / 20) / math.sqrt(float(np.mean(noise**2)))))


def _faded(clip: np.ndarray) -> np.ndarray:
    """The first and last 10 ms rise and fall as a half cosine, in place."""
    length = min(round(FADE_SECONDS * SAMPLING_RATE), len(clip) // 2)
    rise = 0.5 - 0.5 * np.cos(np.pi * np.arange(length) / length)
    clip[:length] *= rise
    clip[-length:] *= rise[::-1]
    return clip
