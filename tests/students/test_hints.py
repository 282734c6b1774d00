"""A student that is told more than the answers: from the table's embeddings, and from a teacher in the loop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import torch

from distill import runs, table
from distill.annotation import Annotation
from distill.errors import DistillError, Refused
from distill.learning import loop
from distill.learning.clips import Clips
from distill.perturb import surroundings
from students import catalogue, hints
from students.augmentation import Augmentation
from students.batches import TrainingBatches
from students.hints import embeddings_of, objective_of, weight_of_embedding
from students.training import train_student
from tests.students.test_online import Level, labelled_by

QUICK: dict[str, Any] = {"epochs": 2, "batch_size": 4, "workers": 0, "device": "cpu", "precision": "float32"}
BOTH: dict[str, Any] = {"match_embedding": 0.5, "relational": 1.0}


class Telling(Level):
    """Also tells an embedding: the answers at three scales, and a dimension that never varies."""

    def annotate(self, signals: Any, lengths: Any, sampling_rate: int) -> Annotation:
        heard = super().annotate(signals, lengths, sampling_rate)
        return replace(heard, embedding=np.c_[heard.adv * [1.0, 30.0, 0.1], np.ones(len(heard.adv))])


@pytest.fixture(scope="module")
def labels(make_labels: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with embeddings of seven dimensions."""
    return make_labels(tmp_path_factory.mktemp("corpus"), dimensions=7)


def weights(run: Path) -> bytes:
    return (run / "model.safetensors").read_bytes()


def clips(embeddings: np.ndarray | None) -> Clips:
    rng = np.random.default_rng(0)
    return Clips(rng.integers(-9000, 9000, 32_000).astype(np.int16), np.arange(0, 32_001, 4000),
                 rng.random((8, 3)).astype(np.float32), np.ones(8, np.float32), None, embeddings)  # fmt: skip


def drawn(some: Clips, mixup: float, **options: Any) -> list[Any]:
    given = {"augmentation": Augmentation(mixup=mixup), "batch_size": 4, "longest": 1.0, "seed": 0, "workers": 0}
    return list(TrainingBatches(some, np.arange(8), surroundings(None, None), **{**given, **options})(0))


def test_a_table_gives_its_embeddings(labels: Path) -> None:
    read = table.read(labels)
    (rows,) = embeddings_of([read], match_embedding=1.0, relational=0.0) or []
    assert rows.dtype == np.float16 and rows.shape == (12, 7)
    np.testing.assert_array_equal(rows, np.array(read.column("embedding"), np.float16))
    assert embeddings_of([read], match_embedding=0.0, relational=0.0) is None


def test_tables_without_or_of_another_size_are_refused(make_labels: Any, labels: Path, tmp_path: Path) -> None:
    without, other = make_labels(tmp_path / "without"), make_labels(tmp_path / "other", dimensions=5)
    with pytest.raises(DistillError, match="without/labels: holds no embeddings; label again with --embeddings"):
        embeddings_of([table.read(labels), table.read(without)], **BOTH)
    with pytest.raises(DistillError, match=r"differ in size, 7 in .* and 5 in .*other/labels; train on tables of one"):
        embeddings_of([table.read(labels), table.read(other)], **BOTH)
    assert embeddings_of([table.read(without)], match_embedding=0.0, relational=1.0) is None  # the answers will do


@pytest.mark.parametrize("lacking, told", [(None, "none, 7"), ([1.0, 2.0], "2, 7")])
def test_a_row_without_or_of_another_size_is_refused(make_labels: Any, tmp_path: Path, lacking: Any, told: str) -> None:
    part = make_labels(tmp_path, dimensions=7) / "part-0.parquet"
    rows = pyarrow.parquet.read_table(part)
    damaged = [np.asarray(row, np.float16) for row in rows["embedding"].to_pylist()]
    damaged[3] = None if lacking is None else np.asarray(lacking, np.float16)
    column = pyarrow.array(damaged, pyarrow.list_(pyarrow.float16()))
    place = rows.column_names.index("embedding")
    pyarrow.parquet.write_table(rows.set_column(place, "embedding", column), part)
    with pytest.raises(DistillError, match=rf"embeddings differ in size \({told}\)"):
        table.read(part.parent).embeddings()


def test_batches_carry_embeddings_and_know_none_of_a_mixed_voice() -> None:
    known = np.random.default_rng(1).random((8, 5)).astype(np.float16)
    for batch in drawn(clips(known), 0.0):
        rows = [np.flatnonzero((known == row).all(1)) for row in batch.embedding.numpy().astype(np.float16)]
        assert all(len(row) == 1 for row in rows)
        np.testing.assert_array_equal(clips(known).targets[np.concatenate(rows)], batch.target.numpy())
    assert all(batch.embedding.isnan().all() for batch in drawn(clips(known), 1.0))
    assert all(batch.embedding is None for batch in drawn(clips(None), 0.5))


def test_embeddings_change_nothing_else_of_a_batch() -> None:
    known = np.random.default_rng(1).random((8, 5)).astype(np.float16)
    for before, after in zip(drawn(clips(None), 0.5), drawn(clips(known), 0.5), strict=True):
        assert torch.equal(before.pcm, after.pcm) and torch.equal(before.target, after.target)


def test_a_teacher_in_the_loop_tells_of_the_mixed_voice() -> None:
    for batch in drawn(clips(None), 1.0, annotator=Telling(), embeddings=True):
        np.testing.assert_allclose(batch.embedding[:, :3], batch.target * torch.tensor([1.0, 30.0, 0.1]), rtol=1e-6)
    assert all(batch.embedding is None for batch in drawn(clips(None), 1.0, annotator=Telling(), embeddings=False))


def test_a_teacher_in_the_loop_is_asked_how_its_embedding_varies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "ASKED_BEFORE", 5)
    asked: list[int] = []

    class Counted(Telling):
        def annotate(self, signals: Any, lengths: Any, sampling_rate: int) -> Annotation:
            asked.append(len(lengths))
            return super().annotate(signals, lengths, sampling_rate)

    network = catalogue.build("wav2small-17k")
    objective = objective_of(
        torch.nn.functional.mse_loss, network, clips(None), np.arange(8), Counted(), seed=0, **BOTH
    )
    assert sum(asked) == 5 and objective.weights == [0.5, 1.0]
    assert objective.hints[0].kept.tolist() == [0, 1]  # all clips are of one length
    assert objective.hints[0].projection.in_features == network.head.in_features


def test_a_teacher_without_embeddings_is_refused(make_labels: Any, tmp_path: Path) -> None:
    labels = labelled_by(make_labels(tmp_path), "1")
    online: dict[str, Any] = {"online": True, "open_teacher": lambda _: Level()}
    with pytest.raises(DistillError, match="--match-embedding: the teacher level gives no embedding"):
        train_student(labels, output=tmp_path / "run", match_embedding=1.0, **online, **QUICK)
    result = train_student(labels, output=tmp_path / "run", relational=1.0, **online, **QUICK)
    assert result["epochs"] == 2


def test_online_the_embedding_is_matched_unless_nobody_wants_it() -> None:
    loss, network = torch.nn.functional.mse_loss, catalogue.build("wav2small-17k")
    given: dict[str, Any] = {"relational": 0.0, "seed": 0, "asked": False}
    for asked, count in ((None, 1), (0.0, 0)):
        weight = weight_of_embedding(asked, online=True)
        objective = objective_of(loss, network, clips(None), np.arange(8), Telling(), match_embedding=weight, **given)
        assert len(objective.hints) == count
    assert weight_of_embedding(None, online=False) == 0 and weight_of_embedding(0.5, online=False) == 0.5


def test_by_default_a_teacher_without_embeddings_teaches_by_its_answers(
    make_labels: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = labelled_by(make_labels(tmp_path), "1")
    result = train_student(labels, output=tmp_path / "run", online=True, open_teacher=lambda _: Level(), **QUICK)
    assert result["epochs"] == 2 and "level gives no embedding: its answers alone teach" in capsys.readouterr().err


def test_a_run_matches_the_embedding_and_exports_the_student_alone(labels: Path, tmp_path: Path) -> None:
    train_student(labels, output=tmp_path / "run", **BOTH, **QUICK)
    train_student(labels, output=tmp_path / "plain", **QUICK)
    config = runs.read_config(tmp_path / "run")
    assert (config["match_embedding"], config["relational"], len(config["embeddings_sha256"])) == (0.5, 1.0, 64)
    assert weights(tmp_path / "run") != weights(tmp_path / "plain")
    assert (tmp_path / "run" / "model.safetensors").stat().st_size == (
        tmp_path / "plain" / "model.safetensors"
    ).stat().st_size


@pytest.mark.parametrize("online", [False, True])
def test_an_interrupted_run_with_hints_resumes_to_the_same_bytes(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, online: bool
) -> None:
    labelled_by(labels, "1")
    given = {"online": online, "open_teacher": lambda _: Telling(), **BOTH, **QUICK}
    save = loop._save

    def save_and_die(*arguments: Any) -> None:
        save(*arguments)
        raise KeyboardInterrupt

    train_student(labels, output=tmp_path / "undisturbed", **given)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(loop, "_save", save_and_die)
        train_student(labels, output=tmp_path / "run", **given)
    train_student(labels, output=tmp_path / "run", **given)
    assert weights(tmp_path / "run") == weights(tmp_path / "undisturbed")


def test_a_run_with_hints_does_not_go_on_without(labels: Path, tmp_path: Path) -> None:
    train_student(labels, output=tmp_path / "run", match_embedding=0.5, **QUICK)
    with pytest.raises(Refused, match=r"was begun with match_embedding 0\.5, now it is None"):
        train_student(labels, output=tmp_path / "run", **QUICK)
