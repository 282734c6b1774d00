"""The teacher in the loop: it answers what was done to a voice, not what the table says of the untouched one."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distill.annotation import AXES, Annotation, TeacherCard
from distill.audio import Span, digest, read
from distill.errors import DistillError
from distill.learning.clips import Clips, Example, cache
from distill.perturb import surroundings
from students.augmentation import ONLINE, Augmentation
from students.batches import TrainingBatches, annotated
from students.training import train_student
from teacher.catalogue import open_teacher
from tests.teacher.test_onnx_teacher import HEAD, write

CARD = TeacherCard(
    "level", "here", "1", "MIT", "CC0-1.0", 0, AXES, (), (0.0, 1.0), "nothing", False, "none", False, 16_000, 0.2, 30.0
)  # fmt: skip


class Level:
    """Answers three measures of a clip, so that a test can compute them too."""

    card = CARD

    def annotate(self, signals: Any, lengths: Any, sampling_rate: int) -> Annotation:
        clips = [signal[:length] for signal, length in zip(signals, lengths, strict=True)]
        return Annotation(np.array([measured(clip) for clip in clips], np.float32))


def measured(clip: np.ndarray) -> tuple[float, float, float]:
    return float(np.abs(clip).mean()), float(clip.std()), float(len(clip) / 16_000)


@pytest.fixture
def clips(make_labels: Any, tmp_path: Path) -> Clips:
    make_labels(tmp_path)
    chosen = [_example(path) for path in sorted((tmp_path / "audio").iterdir())]
    return cache(chosen, tmp_path / "run" / "cache", shortest=0.25)[0]


def _example(path: Path) -> Example:
    signal = read(path)
    return Example(path.parent, path.name, Span(0.0, len(signal) / 16_000), digest(signal), np.zeros(3), path.name)


def batches(clips: Clips, how: Augmentation, **options: Any) -> TrainingBatches:
    around = surroundings(None, None)
    given = {"batch_size": 4, "longest": 6.0, "seed": 0, "workers": 0, "annotator": Level(), **options}
    return TrainingBatches(clips, np.arange(len(clips)), around, augmentation=how, **given)


#: Speeds, equaliser and mixup, but neither noise nor room nor another level.
VOICE_ONLY = replace(ONLINE, noise=0.0, room=0.0, speed=1.0, equaliser=1.0, mixup=1.0, gain_db=(0.0, 0.0))


def test_the_teacher_answers_the_changed_and_mixed_voice(clips: Clips) -> None:
    """As loud as it was recorded, with a peak of 0.5; a teacher may hear the level, which the student divides out."""
    assert clips.peaks == pytest.approx(0.5, rel=1e-3)
    for batch in batches(clips, VOICE_ONLY)(0):
        for signal, length, target in zip(batch.pcm.numpy(), batch.lengths, batch.target.numpy(), strict=True):
            assert target == pytest.approx(measured(0.5 * signal[:length]), rel=1e-3)


def test_noise_and_room_come_after_the_answer(clips: Clips) -> None:
    loud = replace(VOICE_ONLY, noise=1.0, room=1.0, snr_db=(0.0, 0.0))
    batch = next(iter(batches(clips, loud)(0)))
    assert not np.allclose(batch.target.numpy()[:, 0], batch.pcm.abs().mean(1), rtol=0.05)


class OfAllCores(Level):
    """Cannot be asked in a fork, as one with threads of its own, or on a GPU; remembers where it was asked."""

    card = replace(CARD, own_threads=True)

    def __init__(self) -> None:
        self.asked_in: set[int] = set()

    def annotate(self, signals: Any, lengths: Any, sampling_rate: int) -> Annotation:
        self.asked_in.add(os.getpid())
        return super().annotate(signals, lengths, sampling_rate)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_teacher_with_threads_of_its_own_is_asked_in_this_process(clips: Clips, workers: int) -> None:
    """The batches are those of any other teacher, to the bit."""
    teacher = OfAllCores()
    drawn = list(batches(clips, ONLINE, annotator=teacher, workers=workers)(3))
    assert teacher.asked_in == {os.getpid()}
    for one, other in zip(drawn, batches(clips, ONLINE)(3), strict=True):
        assert torch.equal(one.pcm, other.pcm) and torch.equal(one.target, other.target)


def test_without_a_teacher_the_targets_are_the_tables(clips: Clips) -> None:
    assert all((batch.target == 0).all() for batch in batches(clips, VOICE_ONLY, annotator=None)(0))


def test_a_clip_that_says_nothing_is_left_out_of_the_loss() -> None:
    rng = np.random.default_rng(0)
    voice, silence, blip = rng.normal(0, 0.1, 8000), np.zeros(8000), rng.normal(0, 0.1, 800)
    adv = annotated([signal.astype(np.float32) for signal in (voice, silence, blip)], Level()).adv
    assert np.isfinite(adv[0]).all()
    assert np.isnan(adv[1:]).all()


def labelled_by(folder: Path, revision: str, teacher: str = "level") -> Path:
    info = json.loads((folder / "labels.json").read_text())
    info["arguments"] = {"teacher": teacher}
    info["teacher"]["revision"] = revision
    (folder / "labels.json").write_text(json.dumps(info))
    return folder


def test_a_run_with_its_teacher_learns(make_labels: Any, tmp_path: Path) -> None:
    labels = labelled_by(make_labels(tmp_path), "1")
    result = train_student(
        labels, output=tmp_path / "run", epochs=1, batch_size=4, workers=0, online=True, open_teacher=lambda _: Level()
    )
    assert result["epochs"] == 1
    assert "online: true" in (tmp_path / "run" / "config.yaml").read_text()


def test_a_run_with_an_onnx_teacher_is_the_same_whatever_the_number_of_workers(
    make_labels: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # as many threads, and so the same bits
    teacher = write(tmp_path / "model.onnx", {"hidden_states": np.eye(2), "logits": HEAD})
    labels = labelled_by(make_labels(tmp_path), open_teacher(str(teacher)).card.revision, str(teacher))
    for workers in (0, 1):
        given: dict[str, Any] = {"epochs": 2, "batch_size": 4, "device": "cpu", "precision": "float32"}
        output = tmp_path / f"run-{workers}"
        train_student(labels, output=output, workers=workers, online=True, open_teacher=open_teacher, **given)
    weights = [(tmp_path / f"run-{workers}" / "model.safetensors").read_bytes() for workers in (0, 1)]
    assert weights[0] == weights[1]


def test_another_revision_of_the_teacher_is_refused(make_labels: Any, tmp_path: Path) -> None:
    labels = labelled_by(make_labels(tmp_path), "older")
    with pytest.raises(DistillError, match="was labelled by level older, here it is 1"):
        train_student(labels, output=tmp_path / "run", epochs=1, online=True, open_teacher=lambda _: Level())


def test_online_without_a_teacher_is_refused(make_labels: Any, tmp_path: Path) -> None:
    labels = labelled_by(make_labels(tmp_path), "1")
    with pytest.raises(DistillError, match="--online needs"):
        train_student(labels, output=tmp_path / "run", epochs=1, online=True)
