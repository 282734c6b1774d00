"""What training does to a clip: first to its voice, of which a teacher may be asked, then to what surrounds it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from distill.audio import SAMPLING_RATE
from distill.errors import DistillError
from distill.learning.clips import Clips
from distill.perturb import (
    Surroundings,
    add_noise,
    band_limit,
    change_speed,
    clip,
    codecs,
    equalise,
    excerpt,
    level,
    reverberate,
    through_codec,
    with_silence,
)


@dataclass(frozen=True)
class Augmentation:
    """How often each perturbation is drawn for a clip (speed, crop and silence: for a batch), and how strong it may
    be. The first four change the voice, of which a teacher in the loop is asked; the others leave its answer as it is.
    """

    mixup: float = 0.2
    speed: float = 0.2
    equaliser: float = 0.0
    crop: float = 0.3
    silence: float = 0.0
    room: float = 0.2
    noise: float = 0.4
    clipping: float = 0.0
    band: float = 0.0
    codec: float = 0.0
    snr_db: tuple[float, float] = (5.0, 30.0)
    speed_range: tuple[float, float] = (0.95, 1.05)
    equaliser_db: tuple[float, float] = (-6.0, 6.0)
    shortest_crop: float = 0.8
    gain_db: tuple[float, float] = (-20.0, 10.0)
    silence_seconds: tuple[float, float] = (0.1, 1.2)
    clipped_share: tuple[float, float] = (0.002, 0.1)
    lowest_hz: tuple[float, float] = (0.0, 300.0)
    highest_hz: tuple[float, float] = (3_400.0, 8_000.0)

    def with_shares(self, shares: Mapping[str, float]) -> Augmentation:
        """The same with other shares (0..1) of what is drawn, by name.

        >>> Augmentation().with_shares({"noise": 0.5}).noise
        0.5

        Raises:
            DistillError: no such perturbation, or no share.
        """
        for name, share in shares.items():
            if name not in SHARES:
                raise DistillError(f"--augment {name}: there are {', '.join(SHARES)}")
            if not 0 <= share <= 1:
                raise DistillError(f"--augment {name}={share:g}: a share is from 0 to 1")
        changed: dict[str, Any] = dict(shares)
        return replace(self, **changed)


#: Lengths of batches are multiples of so many samples.
_GRID = SAMPLING_RATE // 10

#: What of an `Augmentation` is a share of clips (batches).
SHARES = ("mixup", "speed", "equaliser", "crop", "silence", "room", "noise", "clipping", "band", "codec")

#: With the teacher in the loop the answer is known for whatever is done to a voice, so more may be done to it.
ONLINE = Augmentation(noise=0.3, room=0.1, speed=0.6, speed_range=(0.8, 1.25), equaliser=0.5)


class Voice(NamedTuple):
    """A clip as it was changed and mixed, and what its table teaches of it.

    signal: float32 [samples], peak about 1; target, weight: float32 [3], mixed by the share of the amplitudes.
    embedding: float16 [dimensions]; NaN for a mixed voice, since nobody has heard it.
    """

    signal: np.ndarray
    target: np.ndarray
    weight: np.ndarray | None
    embedding: np.ndarray | None


@dataclass(frozen=True)
class VoiceChanger:
    """Draws voices from clips. longest: samples, longer clips are cut at random."""

    clips: Clips
    augmentation: Augmentation
    longest: int

    def voices(self, members: np.ndarray, rng: np.random.Generator) -> list[Voice]:
        """The clips of a batch at a drawn speed, all of one length, some of them mixed."""
        drawn = [self._voice(index, signal) for index, signal in self._dry(members, rng)]
        return [self._mixed(drawn, position, rng) for position in range(len(drawn))]

    def _voice(self, index: int, signal: np.ndarray) -> Voice:
        clips = self.clips
        beside = (None if rows is None else rows[index] for rows in (clips.weights, clips.embeddings))
        return Voice(signal, clips.targets[index], *beside)

    def _dry(self, members: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[int, np.ndarray]]:
        """The clips at drawn speeds, all cut to one length: a batch without padding needs no mask, which would cost
        a third of the step."""
        how = self.augmentation
        signals = [self.clips.signal(index) for index in members]
        # One speed a batch: clips of one length stay so, and little is cut off.
        speed = rng.uniform(*how.speed_range) if rng.random() < how.speed else 1.0
        signals = [self._coloured(signal, speed, rng) for signal in signals]
        samples = min(self.longest, *map(len, signals))
        if rng.random() < how.crop:
            samples = int(samples * rng.uniform(how.shortest_crop, 1))
        samples = on_the_grid(samples)
        yield from ((index, excerpt(signal, samples, rng)) for index, signal in zip(members, signals, strict=True))

    def _coloured(self, signal: np.ndarray, speed: float, rng: np.random.Generator) -> np.ndarray:
        how = self.augmentation
        signal = signal if speed == 1.0 else change_speed(signal, speed)
        return equalise(signal, rng.uniform(*how.equaliser_db, 6)) if rng.random() < how.equaliser else signal

    def _mixed(self, drawn: list[Voice], position: int, rng: np.random.Generator) -> Voice:
        """Waveform mixup at a random ratio of levels."""
        voice = drawn[position]
        if rng.random() >= self.augmentation.mixup:
            return voice
        other = drawn[int(rng.integers(len(drawn)))]
        share = float(rng.beta(0.5, 0.5))
        share = max(share, 1 - share)
        blend = excerpt(other.signal, len(voice.signal), rng) * (level(voice.signal) / level(other.signal))
        mixed = share * voice.signal + (1 - share) * blend
        return Voice(
            signal=mixed.astype(np.float32),
            target=share * voice.target + (1 - share) * other.target,
            weight=None if voice.weight is None or other.weight is None
            else share * voice.weight + (1 - share) * other.weight,
            embedding=None if voice.embedding is None else np.full_like(voice.embedding, np.nan),
        )  # fmt: skip


def on_the_grid(samples: int) -> int:
    """Cut down to whole tenths of a second: for every length of a batch that it has not met, oneDNN makes kernels and
    keeps them, gigabytes in a long training.

    >>> on_the_grid(32_345), on_the_grid(800)
    (32000, 800)
    """
    return samples // _GRID * _GRID or samples


def surrounded(
    voices: Sequence[np.ndarray], how: Augmentation, around: Surroundings, rng: np.random.Generator
) -> list[np.ndarray]:
    """Voices [samples] each between drawn silence, in a drawn room, with drawn noise, through a drawn device, at a
    drawn level; those of a batch stay of one length.

    >>> from distill.perturb import surroundings
    >>> voice = np.sin(np.arange(16_000, dtype=np.float32) / 10)
    >>> still = Augmentation().with_shares({"silence": 0.0})
    >>> heard = surrounded([voice], still, surroundings(None, None), np.random.default_rng(0))
    >>> len(heard[0])
    16000
    """
    silence = rng.uniform(*how.silence_seconds) if rng.random() < how.silence else 0.0
    return [_level(_heard_through(_somewhere(_waited_for(voice, silence, rng), how, around, rng), how, rng), how, rng)
            for voice in voices]  # fmt: skip


def _waited_for(signal: np.ndarray, silence: float, rng: np.random.Generator) -> np.ndarray:
    """With `silence` seconds of nothing in all, before and after."""
    if not silence:
        return signal
    samples = on_the_grid(round(silence * SAMPLING_RATE))
    before = int(rng.integers(samples + 1))
    return with_silence(signal, before / SAMPLING_RATE, (samples - before) / SAMPLING_RATE)


def _somewhere(
    signal: np.ndarray, how: Augmentation, around: Surroundings, rng: np.random.Generator
) -> np.ndarray:  # fmt: skip
    if rng.random() < how.room:
        signal = reverberate(signal, around.rooms[int(rng.integers(len(around.rooms)))])
    if rng.random() < how.noise:
        noise = excerpt(around.noises[int(rng.integers(len(around.noises)))], len(signal), rng)
        signal = add_noise(signal, noise, rng.uniform(*how.snr_db))
    return signal


def _heard_through(signal: np.ndarray, how: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """A microphone that is too loud, a narrow line, a codec."""
    if rng.random() < how.clipping:
        signal = clip(signal, rng.uniform(*how.clipped_share))
    if rng.random() < how.band:
        signal = band_limit(signal, rng.uniform(*how.lowest_hz), rng.uniform(*how.highest_hz))
    if rng.random() < how.codec:
        known = codecs()
        signal = through_codec(signal, known[int(rng.integers(len(known)))])
    return signal


def _level(signal: np.ndarray, how: Augmentation, rng: np.random.Generator) -> np.ndarray:
    return (signal * 10 ** (rng.uniform(*how.gain_db) / 20)).astype(np.float32)
