"""A corpus on disk: many voices and moods, evenly spread, as FLAC files and a manifest."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import soundfile

from distill.audio import SAMPLING_RATE
from distill.errors import DistillError, Refused
from distill.files import whole, write_csv
from distill.synthesis.speech import speak
from distill.synthesis.voices import manner, voice

#: Goes into every file that `write_corpus` makes: raise it when the same seed begins to sound different.
VERSION = 1

#: What it is under.
LICENCE = "CC0-1.0 (synthesised by distill: nobody is recorded)"

#: The columns of the manifest.
COLUMNS = ("file", "speaker", "sex", "energy", "brightness")


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
