"""How sure a teacher is: it answers a clip as it is and slightly changed; the spread of its answers says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from distill.annotation import Annotation, Annotator, ColumnAnnotator
from distill.audio import SAMPLING_RATE, SILENT_PEAK, digest, padded
from distill.errors import DistillError
from distill.perturb import Generator, add_noise, change_speed
from teacher.arrays import clip_of, on_host
from teacher.batches import clips_together

#: What is changed: another stretch of the clip (as a share of it), a little slower or faster, a little noise (dB).
#: None of it changes what a listener would say. The level stays: a teacher that divides it out would not notice, and
#: to one that does not it is evidence, so that its answers ought to move.
CROP, SPEED, SNR_DB = 0.9, (0.97, 1.03), 30.0


class Views:
    """A teacher that answers every clip `views` times. The answer is that to the clip as it is, as without views; the
    spread is the standard deviation over all answers, over those of several teachers as well where it is their mean.

    What is drawn follows from the clip's samples alone: the same clip has the same spread in any batch and any run.
    """

    def __init__(self, annotator: Annotator, views: int) -> None:
        self.annotator, self.views, self.card = annotator, views, annotator.card
        self._at_once = clips_together(annotator)
        self.together = max(1, self._at_once // views)

    def annotate(self, signals: Any, lengths: Sequence[int], sampling_rate: int) -> Annotation:
        """adv: of the clips as they are [batch, 3]; spread: over the views; embedding, categories: of the clips as they
        are."""
        clips = [clip_of(signal, length) for signal, length in zip(signals, lengths, strict=True)]
        seen = [view for clip in clips for view in views_of(clip, self.views, self._shortest)]
        chunks = [seen[at : at + self._at_once] for at in range(0, len(seen), self._at_once)]
        given = [self.annotator.annotate(padded(chunk), list(map(len, chunk)), sampling_rate) for chunk in chunks]
        adv = self._by_clip([one.adv for one in given])
        variance = adv.var(1)
        if all(one.spread is not None for one in given):  # of several teachers: within a view and between the views
            variance = variance + np.square(self._by_clip([one.spread for one in given])).mean(1)
        together = None if any(one.embedding is None for one in given) else [on_host(one.embedding) for one in given]
        embedding = None if together is None else np.concatenate(together)[:: self.views]
        classes = None if any(one.categories is None for one in given) else [on_host(one.categories) for one in given]
        return Annotation(
            adv[:, 0].astype(np.float32), np.sqrt(variance).astype(np.float32), embedding,
            None if classes is None else np.concatenate(classes)[:: self.views],
        )  # fmt: skip

    @property
    def _shortest(self) -> int:
        return int(np.ceil(self.card.shortest_seconds * SAMPLING_RATE))

    def _by_clip(self, answers: Sequence[Any]) -> np.ndarray:
        """float64 [clips, views, 3]."""
        rows = np.concatenate([np.asarray(answer, np.float64) for answer in answers])
        return rows.reshape(-1, self.views, rows.shape[1])


def in_views(annotator: Annotator, views: int) -> Views:
    """A teacher that answers every clip `views` times.

    Raises:
        DistillError: it reads more than the clip, of which there are no views.
    """
    if isinstance(annotator, ColumnAnnotator):
        raise DistillError(
            f"--views {views}: {annotator.card.name} reads the manifest too, of which there are no views"
        )
    return Views(annotator, views)


def views_of(clip: np.ndarray, views: int, shortest: int) -> list[np.ndarray]:
    """The clip as it is, and views - 1 others of it. clip: float32 [samples]; none is shorter than `shortest` samples,
    unless the clip is.

    >>> clip = np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    >>> [view is clip for view in views_of(clip, views=3, shortest=4_800)]
    [True, False, False]
    """
    rng = np.random.default_rng(int(digest(clip)[:16], 16))
    return [clip, *(_changed(clip, rng, shortest) for _ in range(views - 1))]


def _changed(clip: np.ndarray, rng: Generator, shortest: int) -> np.ndarray:
    speed = rng.uniform(*SPEED)
    # Room for the speed, and a sample for its rounding.
    samples = max(int(CROP * len(clip)), int(np.ceil(speed * (shortest + 1))))
    start = int(rng.integers(max(1, len(clip) - samples + 1)))
    cropped = clip[start : start + samples]
    if np.abs(cropped).max(initial=0.0) < SILENT_PEAK:  # what was said stands in the rest
        cropped = clip
    fast_enough = len(cropped) >= speed * (shortest + 1)
    view = change_speed(cropped, speed) if fast_enough else cropped.copy()
    return add_noise(view, rng.standard_normal(len(view)), SNR_DB)
