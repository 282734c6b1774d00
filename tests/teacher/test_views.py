"""Views: the answer to the clip as it is, and a spread that the clip alone decides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill import table
from distill.annotation import Annotation
from distill.audio import padded
from distill.errors import DistillError, Refused
from teacher.ensemble import Mean
from teacher.labelling import label
from teacher.views import Views, views_of

CLIPS = [np.random.default_rng(n).normal(0, 0.1, 9000 + 2000 * n).astype(np.float32) for n in range(3)]

MOVED = np.array([[0.3, 0.0, -0.1]], np.float32)


def asked(annotator: Any, clips: list[np.ndarray]) -> Annotation:
    return annotator.annotate(padded(clips), list(map(len, clips)), 16_000)  # type: ignore[no-any-return]


def test_the_answer_is_that_to_the_clip_as_it_is(quick: Any) -> None:
    plain, seen = asked(quick, CLIPS), asked(Views(quick, 5), CLIPS)
    np.testing.assert_array_equal(seen.adv, plain.adv)
    assert seen.spread.shape == (3, 3) and (seen.spread > 0).all() and (seen.spread < 0.2).all()


def test_the_clip_alone_decides_its_spread(quick: Any) -> None:
    together = asked(Views(quick, 4), CLIPS).spread
    for number, clip in enumerate(CLIPS):
        np.testing.assert_allclose(asked(Views(quick, 4), [clip]).spread[0], together[number], rtol=1e-6)


def test_the_teacher_is_asked_no_more_at_once_than_it_says(quick: Any) -> None:
    sizes: list[int] = []
    answer = quick.annotate
    quick.annotate = lambda signals, lengths, rate: sizes.append(len(lengths)) or answer(signals, lengths, rate)
    quick.together = 4
    asked(Views(quick, 3), CLIPS)
    assert sizes == [4, 4, 1] and Views(quick, 3).together == 1


@pytest.mark.parametrize("samples", [4800, 4801, 4950, 5400, 20_000])
def test_no_view_is_shorter_than_the_teacher_takes(samples: int) -> None:
    for seed in range(20):
        clip = np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)
        views = views_of(clip, 6, 4800)
        np.testing.assert_array_equal(views[0], clip)
        assert all(4800 <= len(view) <= samples / 0.97 + 1 for view in views)
        assert samples < 20_000 or all(len(view) < 0.95 * samples for view in views[1:])


def test_of_a_mean_the_spread_is_that_over_teachers_and_views(quick: Any) -> None:
    class Moved:
        def __init__(self) -> None:
            self.card, self.said = quick.card, np.zeros((0, 3))

        def annotate(self, signals: Any, lengths: Any, rate: int) -> Annotation:
            self.said = quick.annotate(signals, lengths, rate).adv + MOVED
            return Annotation(self.said)

    clip, moved = CLIPS[0], Moved()
    seen = asked(Views(Mean([quick, moved]), 3), [clip])
    every = np.concatenate([moved.said, moved.said - MOVED])
    np.testing.assert_allclose(seen.spread[0], every.std(0), rtol=1e-4)


def test_a_table_has_the_spreads_and_goes_on_with_as_many_views_alone(
    corpus: Path, tmp_path: Path, quick: Any, teach: Callable[[Any], str]
) -> None:
    for name, views in (("plain", 1), ("seen", 3)):
        label(corpus, output=tmp_path / name, teacher="taught", views=views, jobs=1)
    plain, seen = (table.read(tmp_path / name) for name in ("plain", "seen"))
    np.testing.assert_array_equal(seen.adv, plain.adv)
    assert None not in seen.column("spread_arousal") and seen.info["arguments"]["views"] == 3
    assert set(plain.column("spread_arousal")) == {None}
    with pytest.raises(Refused, match="labelled with views 3, now it is 1"):
        label(corpus, output=tmp_path / "seen", teacher="taught", jobs=1)
    with pytest.raises(DistillError, match="--views 0"):
        label(corpus, output=tmp_path / "none", teacher="taught", views=0, jobs=1)


def test_other_clips_have_other_views_and_the_same_clip_the_same() -> None:
    first, again, other = (views_of(clip, 3, 4800) for clip in (CLIPS[0], CLIPS[0].copy(), CLIPS[1]))
    for one, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, same)
    assert not np.array_equal(first[1], first[2]) and len(first[1]) != len(other[1])


def test_more_views_begin_with_those_of_fewer() -> None:
    few, many = views_of(CLIPS[2], 2, 4800), views_of(CLIPS[2], 5, 4800)
    np.testing.assert_array_equal(few[1], many[1])


def test_a_view_is_the_clip_but_for_a_little_noise() -> None:
    """A steady tone stays one, at nearly its level and pitch."""
    clip = (0.3 * np.sin(np.arange(32_000) / 5)).astype(np.float32)
    for view in views_of(clip, 6, 4800)[1:]:
        power = np.abs(np.fft.rfft(view * np.hanning(len(view)))) ** 2
        peak = int(np.argmax(power))
        noise = power.sum() - power[peak - 10 : peak + 11].sum()
        assert peak / len(view) == pytest.approx(1 / (10 * np.pi), rel=0.04)
        assert 20 < 10 * np.log10(power.sum() / noise) < 40 and view.std() == pytest.approx(clip.std(), rel=0.05)


def test_speech_amid_silence_is_never_cropped_away() -> None:
    clip = np.zeros(160_000, np.float32)
    clip[:400] = 0.5
    for view in views_of(clip, 12, 4800)[1:]:
        assert np.abs(view).max() > 0.3


def test_embeddings_are_of_the_clips_as_they_are(quick: Any) -> None:
    answer = quick.annotate
    quick.annotate = lambda signals, lengths, rate: Annotation(
        answer(signals, lengths, rate).adv, embedding=np.array(lengths, np.float32)[:, None]
    )
    seen = asked(Views(quick, 4), CLIPS)
    np.testing.assert_array_equal(seen.embedding[:, 0], [len(clip) for clip in CLIPS])
    assert asked(Views(quick, 1), CLIPS).spread.max() == 0
