"""Students and teachers asked alike: what is said of which clip, and what becomes of those that have no answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from distill.annotation import Annotation
from distill.audio import read
from distill.errors import DistillError
from distill.evaluation.answering import TOGETHER, Clip, Recordings, answers, model_of_student, model_of_teacher
from distill.prediction import answer
from distill.student import Student

Tone = Callable[..., np.ndarray]
Make = Callable[..., Path]

FILES = ("a/one.wav", "a/two.flac", "b/three.wav", "b/four.flac")
KEYS = [(file, None, None) for file in FILES]
NOTHING_SAID: list[Mapping[str, Any]] = [{}] * len(KEYS)


class Listener:
    """A teacher that reads columns: answers the clip's mean level, and NaN with a reason to whoever says "mute"."""

    together = 3

    def __init__(self, card: Any) -> None:
        self.card, self.told, self.asked = card, [], []

    def annotate(self, signals: Any, lengths: Sequence[int], sampling_rate: int) -> Annotation:
        raise AssertionError("it reads columns")

    def annotate_rows(
        self, signals: Any, lengths: Sequence[int], sampling_rate: int, columns: Sequence[Mapping[str, Any]]
    ) -> Annotation:
        self.told += columns
        self.asked.append(len(lengths))
        level = [float(np.abs(row[:length]).mean()) for row, length in zip(signals, lengths, strict=True)]
        mute = ["is mute" if said.get("words") == "mute" else None for said in columns]
        adv = [[np.nan if why else value] * 3 for value, why in zip(level, mute, strict=True)]
        return Annotation(np.array(adv, np.float32), reasons=mute)


@pytest.fixture
def listener(quick: Any) -> Listener:
    return Listener(quick.card)


def test_a_student_answers_as_in_predict(corpus: Path, tmp_path: Path, make_student: Make) -> None:
    student = Student(make_student(tmp_path / "s.onnx"))
    found = answers(model_of_student(student), Recordings(tmp_path / "truth.csv", corpus), KEYS, NOTHING_SAID)
    expected = [answer(student, read(corpus / file))[0] for file in FILES]
    assert found.rows == [0, 1, 2, 3] and not found.failures
    np.testing.assert_array_equal(found.adv[:, 0], expected)


def test_a_teacher_answers_every_clip_as_if_alone(corpus: Path, quick: Any) -> None:
    found = answers(model_of_teacher(quick), Recordings(corpus, corpus), KEYS, NOTHING_SAID)
    np.testing.assert_allclose(found.adv[:, 0], [quick.answer(read(corpus / file)) for file in FILES], atol=1e-6)


def test_versions_stand_in_their_order(corpus: Path, quick: Any) -> None:
    def versions(signal: np.ndarray) -> list[np.ndarray]:
        return [signal * np.float32(gain) for gain in np.linspace(1, 0.5, TOGETHER - 1)]

    found = answers(model_of_teacher(quick), Recordings(corpus, corpus), KEYS, NOTHING_SAID, versions)
    assert found.adv.shape == (4, TOGETHER - 1, 3)
    for row, file in enumerate(FILES):
        expected = [quick.answer(version) for version in versions(read(corpus / file))]
        np.testing.assert_allclose(found.adv[row], expected, atol=1e-6)


def test_a_version_without_an_answer_is_nan_and_the_clip_counts(corpus: Path, quick: Any) -> None:
    versions = lambda signal: [signal, signal[:100], 0 * signal, np.tile(signal, 31)]  # noqa: E731
    found = answers(model_of_teacher(quick), Recordings(corpus, corpus), KEYS, NOTHING_SAID, versions)
    assert found.rows == [0, 1, 2, 3] and not found.failures
    assert np.isfinite(found.adv[:, 0]).all() and np.isnan(found.adv[:, 1:]).all()


def test_what_fails_is_named_in_the_order_of_the_truth(corpus: Path, quick: Any, tone: Tone) -> None:
    (corpus / "a" / "two.flac").write_text("text")
    soundfile.write(corpus / "b" / "three.wav", np.zeros(16_000), 16_000)
    soundfile.write(corpus / "long.wav", tone(31.0), 16_000)
    keys = [("gone.wav", None, None), *KEYS, ("long.wav", None, None), ("a/one.wav", 0.0, 0.1), ("long.wav", 1.0, 3.0)]
    found = answers(model_of_teacher(quick), Recordings(corpus, corpus), keys, [{}] * len(keys))
    assert found.rows == [1, 4, 7] and found.adv.shape == (3, 1, 3)
    assert [(failure.file, failure.start, failure.reason.split(":")[0]) for failure in found.failures] == [
        ("gone.wav", None, "no such file"), ("a/two.flac", None, "not audio that can be read"),
        ("b/three.wav", None, "silent"), ("long.wav", None, "too long"), ("a/one.wav", 0.0, "too short"),
    ]  # fmt: skip
    assert "31.00 s, quick hears at most 30 s at once" in found.failures[3].reason


def test_a_teacher_is_told_all_but_the_truth(corpus: Path, listener: Listener) -> None:
    columns = [{"file": file, "arousal": 0.9, "valence": 0.1, "words": "so"} for file in FILES]
    answers(model_of_teacher(listener), Recordings(corpus, corpus), KEYS, columns)
    assert listener.told == [{"file": file, "start": None, "end": None, "words": "so"} for file in FILES]


def test_a_teachers_own_reason_is_given(corpus: Path, listener: Listener) -> None:
    columns = [{"words": words} for words in ("so", "mute", "so", "so")]
    found = answers(model_of_teacher(listener), Recordings(corpus, corpus), KEYS, columns)
    assert found.rows == [0, 2, 3] and [failure.reason for failure in found.failures] == ["is mute"]


def test_nan_on_an_axis_that_is_promised_is_no_answer(quick: Any, tone: Tone) -> None:
    quick.answer = lambda clip: [0.5, float("nan"), 0.5]
    clips = [Clip(tone(), {})]
    adv, reason = model_of_teacher(quick).answer(clips)[0]
    assert np.isnan(adv).all() and reason == "quick answered NaN"
    quick.card = replace(quick.card, axes=("arousal", "valence"))
    adv, reason = model_of_teacher(quick).answer(clips)[0]
    assert reason is None and adv[0] == 0.5 and np.isnan(adv[1])


def test_recordings_are_found_by_base_name_and_an_ambiguous_one_is_refused(corpus: Path, tmp_path: Path) -> None:
    recordings = Recordings(tmp_path / "t.csv", corpus)
    np.testing.assert_array_equal(recordings.read(("three", None, None)), read(corpus / "b" / "three.wav"))
    assert len(recordings.read(("three", 0.5, None))) == 24_000
    (corpus / "a" / "three.wav").write_bytes((corpus / "b" / "three.wav").read_bytes())
    with pytest.raises(DistillError, match=r"t\.csv, three: ambiguous name"):
        Recordings(tmp_path / "t.csv", corpus).read(("three", None, None))
