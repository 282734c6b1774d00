"""Voices that are annotated once and taken again: asked N passes long, surrounded anew, the same after a kill."""

from __future__ import annotations

import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distill.annotation import Annotation
from distill.errors import DistillError
from distill.learning import loop
from distill.learning.clips import Clips
from distill.perturb import surroundings
from students.augmentation import ONLINE
from students.batches import TrainingBatches
from students.passes import KeptPasses
from students.training import train_student
from tests.students.test_hints import QUICK, Telling, clips
from tests.students.test_online import CARD, VOICE_ONLY, labelled_by

PASSES = 2


class Counting(Telling):
    """Counts the voices it was asked about."""

    def __init__(self) -> None:
        self.asked = 0

    def annotate(self, signals: Any, lengths: Any, sampling_rate: int) -> Annotation:
        self.asked += len(lengths)
        return super().annotate(signals, lengths, sampling_rate)


def batches(folder: Path, teacher: Any, *, how: Any = ONLINE, some: Clips | None = None, **options: Any) -> Any:
    given = {"batch_size": 4, "longest": 1.0, "seed": 0, "workers": 0, "embeddings": True, **options}
    return TrainingBatches(some or clips(None), np.arange(8), surroundings(None, None), augmentation=how,
                           annotator=teacher, kept=KeptPasses(folder, PASSES), **given)  # fmt: skip


def same(one: Any, other: Any) -> bool:
    """Whether two passes are the same to the bit."""
    return all(
        (a is None and b is None) or torch.equal(a, b)
        for first, second in zip(one, other, strict=True) for a, b in zip(first, second, strict=True)
    )  # fmt: skip


def test_the_teacher_is_asked_in_the_first_passes_alone(tmp_path: Path) -> None:
    teacher = Counting()
    drawn, asked = batches(tmp_path, teacher), []
    for epoch in range(5):
        assert len(list(drawn(epoch))) == 2
        asked.append(teacher.asked)
    assert asked == [8, 16, 16, 16, 16]


def test_later_passes_have_the_same_voices_in_other_surroundings(tmp_path: Path) -> None:
    drawn = batches(tmp_path, Counting())
    first, other, again = (list(drawn(epoch)) for epoch in (0, 1, 2))
    for before, after in zip(first, again, strict=True):
        assert torch.equal(before.target, after.target) and torch.equal(before.embedding, after.embedding)
        assert before.pcm.shape == after.pcm.shape and not torch.equal(before.pcm, after.pcm)
    assert not any(torch.equal(one.target, two.target) for one, two in zip(first, other, strict=True))


def test_without_surroundings_a_kept_voice_is_the_one_that_was_answered(tmp_path: Path) -> None:
    drawn = batches(tmp_path, Counting(), how=VOICE_ONLY)
    first, again = list(drawn(0)), list(drawn(PASSES))
    assert same(first, again)
    asked_always = TrainingBatches(clips(None), np.arange(8), surroundings(None, None), augmentation=VOICE_ONLY,
                                   batch_size=4, longest=1.0, seed=0, workers=0, annotator=Telling())  # fmt: skip
    for kept, asked in zip(first, asked_always(0), strict=True):
        assert torch.equal(kept.target, asked.target)
        whole = asked.pcm / asked.pcm.abs().amax(1, keepdim=True)  # each at its own scale
        torch.testing.assert_close(kept.pcm, whole, atol=1e-4, rtol=0)


def test_an_interrupted_pass_is_completed_to_the_same_bits(tmp_path: Path) -> None:
    undisturbed = [list(batches(tmp_path / "a", Counting())(epoch)) for epoch in range(4)]
    next(iter(batches(tmp_path / "b", Counting())(0)))  # killed after a batch
    (tmp_path / "b" / ".0-000001.npz.partial").touch()
    teacher = Counting()
    assert all(same(list(batches(tmp_path / "b", teacher)(epoch)), undisturbed[epoch]) for epoch in range(4))
    assert teacher.asked == 12  # the first batch was whole


def test_a_teacher_that_is_asked_in_this_process_keeps_the_same_voices(tmp_path: Path) -> None:
    """With a worker, which then reads what was kept by this process."""
    asked_there = batches(tmp_path / "a", Counting(), workers=1)
    teacher = Counting()
    teacher.card = replace(CARD, own_threads=True)
    asked_here = batches(tmp_path / "b", teacher, workers=1)
    assert all(same(list(asked_here(epoch)), list(asked_there(epoch))) for epoch in range(4))
    assert teacher.asked == 16


@pytest.mark.parametrize("damage", ["lost", "broken off", "empty"])
def test_what_was_lost_or_damaged_is_asked_again(tmp_path: Path, damage: str) -> None:
    drawn = list(batches(tmp_path, Counting())(2))
    path = tmp_path / "0-000001.npz"
    content = path.read_bytes()
    path.unlink() if damage == "lost" else path.write_bytes(content[: 0 if damage == "empty" else 500])
    teacher = Counting()
    assert same(list(batches(tmp_path, teacher)(2)), drawn) and teacher.asked == 4
    assert path.read_bytes()[:500] == content[:500]


def test_weights_stay_with_the_voices(tmp_path: Path) -> None:
    some = clips(None)
    weighted = Clips(some.pcm, some.offsets, some.targets, some.peaks, some.targets)
    drawn = batches(tmp_path, Counting(), some=weighted)
    first, again = list(drawn(0)), list(drawn(PASSES))
    assert all(torch.equal(one.weight, two.weight) for one, two in zip(first, again, strict=True))


def test_a_silent_stretch_stays_finite(tmp_path: Path) -> None:
    some = clips(None)
    silent = Clips(np.zeros_like(some.pcm), some.offsets, some.targets, some.peaks)
    for batch in batches(tmp_path, Counting(), some=silent)(0):
        assert batch.pcm.isfinite().all() and batch.target.isnan().all()


@pytest.fixture
def labels(make_labels: Any, tmp_path: Path) -> Path:
    return labelled_by(make_labels(tmp_path), CARD.revision)


def train(labels: Path, output: Path, teacher: Any, **options: Any) -> dict[str, Any]:
    given = {**QUICK, "epochs": 4, "online": True, "annotated_passes": PASSES, "match_embedding": 0.0,
             "open_teacher": lambda _: teacher}  # fmt: skip
    return train_student(labels, output=output, **{**given, **options})


@pytest.mark.parametrize("workers", [0, 1])
def test_an_interrupted_run_resumes_to_the_same_bytes_without_asking_again(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    train(labels, tmp_path / "undisturbed", Counting())
    save = loop._save

    def save_and_die(state: Any, folder: Path) -> None:
        save(state, folder)
        if state.epoch == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(loop, "_save", save_and_die)
        train(labels, tmp_path / "run", Counting(), workers=workers)
    assert len(list((tmp_path / "run" / "annotated").glob("*/*.npz"))) == 2 * PASSES
    teacher = Counting()
    train(labels, tmp_path / "run", teacher, workers=workers)
    weights = [(tmp_path / run / "model.safetensors").read_bytes() for run in ("undisturbed", "run")]
    assert weights[0] == weights[1] and teacher.asked == 0
    assert not (tmp_path / "run" / "annotated").exists()


def test_voices_of_another_configuration_are_not_taken(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(loop, "_append", dies)  # before anything is saved: the command may still be corrected
        train(labels, tmp_path / "run", Counting())
    teacher = Counting()
    train(labels, tmp_path / "run", teacher, seed=1)
    assert teacher.asked == PASSES * 8


def test_the_disk_is_checked_before(labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**10, 0, 210_000_000))
    with pytest.raises(DistillError, match=r"annotated.*: \d{3,} MB are needed, 210 MB are free"):
        train(labels, tmp_path / "run", Counting(), annotated_passes=1000)
    train(labels, tmp_path / "run", Counting())
    assert "the voices of 2 passes are kept in" in capsys.readouterr().err


def test_without_a_teacher_in_the_loop_it_is_refused(labels: Path, tmp_path: Path) -> None:
    with pytest.raises(DistillError, match="--annotated-passes needs --online"):
        train(labels, tmp_path / "run", Counting(), online=False)
    assert not (tmp_path / "run").exists()
