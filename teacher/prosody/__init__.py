"""The bundled teacher: functionals of a clip, and a small regressor trained on human ratings of EMO-DB. No torch."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from distill.annotation import Annotation, TeacherCard
from distill.audio import SAMPLING_RATE
from distill.files import read_json, sha256_of
from teacher.arrays import clip_of
from teacher.prosody.features import functionals
from teacher.prosody.regressor import Regressor, read_regressor

__all__ = ["Prosody"]

BUNDLED = Path(__file__).parent / "weights"


class Prosody:
    """Arousal, dominance and valence of a clip from how it is said: pitch, voice, timbre and rhythm.

    The answer does not depend on the clip's level, nor on digital silence around it.

    >>> teacher = Prosody.load()
    >>> teacher.card.derived
    ('dominance',)
    """

    def __init__(self, card: TeacherCard, regressor: Regressor) -> None:
        self.card = card
        self.regressor = regressor

    @classmethod
    def load(cls, folder: Path | None = None) -> Prosody:
        """Load the bundled weights, or those that `train_prosody` wrote into `folder`.

        Raises:
            ValueError: an array is missing, surplus or misshaped, or weights and card do not belong together.
        """
        return _bundled() if folder is None else _load(Path(folder))

    def annotate(self, signals: Any, lengths: Sequence[int], sampling_rate: int = SAMPLING_RATE) -> Annotation:
        """Annotate a padded batch.

        Args:
            signals: float32 [batch, samples]; what stands behind a clip's length is never read.
            lengths: samples of each clip [batch].
            sampling_rate: 16 kHz.

        Returns:
            adv float32 [batch, 3], about 0..1, never clipped, and the standardised functionals as embedding.

        Raises:
            ValueError: for another sampling rate, samples that are not finite, or a silent clip: silence has no mood.
        """
        clips = [_clip(signal, int(length)) for signal, length in zip(signals, lengths, strict=True)]
        features = [functionals(clip, sampling_rate)[None] for clip in clips]
        # One clip at a time: a matrix product over a batch rounds otherwise than over one row.
        answers = [self.regressor(row) for row in features]
        heard = [self.regressor.standardised(row).astype(np.float32) for row in features]
        return Annotation(adv=_rows(answers, 3), embedding=_rows(heard, len(self.regressor.mean)))


def _clip(signal: Any, length: int) -> Any:
    clip = clip_of(signal, length)
    if not np.any(clip):
        raise ValueError("a silent clip has no arousal, dominance or valence")
    return clip


def _rows(rows: list[Any], columns: int) -> Any:
    return np.concatenate([np.zeros((0, columns), np.float32), *rows])


@functools.cache
def _bundled() -> Prosody:
    teacher = _load(BUNDLED)
    return Prosody(replace(teacher.card, source="bundled", bundled=True), teacher.regressor)


def _load(folder: Path) -> Prosody:
    weights = folder / "prosody.npz"
    regressor = read_regressor(weights)
    card = TeacherCard.from_dict(read_json(folder / "prosody.json")["card"])
    if (revision := sha256_of(weights)[:12]) != card.revision:
        raise ValueError(f"{folder}: the card describes revision {card.revision}, the weights are {revision}")
    return Prosody(card, regressor)
