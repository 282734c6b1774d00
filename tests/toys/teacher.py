"""A teacher in one file: arousal is how loud a clip is, valence how often it crosses zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from distill.annotation import Annotation, TeacherCard


class Loudness:
    """Answers arousal and valence, and no dominance."""

    card = TeacherCard(
        name="loudness", source="a test", revision="1", licence="MIT", data_licence="CC0-1.0", parameters=0,
        axes=("arousal", "valence"), derived=(), range=(0.0, 1.0), trained_on="nothing", bundled=False,
        normalisation="none", gain_invariant=False, sampling_rate=16_000, shortest_seconds=0.25, longest_seconds=30.0,
    )  # fmt: skip

    @classmethod
    def load(cls) -> Loudness:
        return cls()

    def annotate(self, signals: Any, lengths: Sequence[int], sampling_rate: int) -> Annotation:
        """signals: float32 [batch, samples] -> adv float32 [batch, 3]."""
        clips = [np.asarray(signal[:length]) for signal, length in zip(signals, lengths, strict=True)]
        crossings = [np.mean(np.diff(np.signbit(clip))) for clip in clips]
        loud = [np.sqrt(np.mean(clip**2)) for clip in clips]
        return Annotation(np.array([[a, np.nan, v] for a, v in zip(loud, crossings, strict=True)], np.float32))
