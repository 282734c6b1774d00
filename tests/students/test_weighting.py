"""Clips that count by how sure the teacher was: the weights, and their way through a batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import torch

from distill import runs, table
from distill.errors import DistillError
from distill.learning.clips import Clips
from distill.learning.loss import LOSSES, mse_loss
from distill.perturb import surroundings
from students.augmentation import Augmentation
from students.batches import TrainingBatches
from students.configuration import resolved
from students.lessons import Lessons
from students.training import train_student
from students.weighting import weights_by_spread

QUICK = {"epochs": 1, "batch_size": 4, "workers": 0, "device": "cpu", "precision": "float32"}


def with_spread(labels: Path, spread: np.ndarray) -> Path:
    part = labels / "part-0.parquet"
    rows = pyarrow.parquet.read_table(part)
    for column, name in enumerate(table.SPREADS):
        values = pyarrow.array(spread[:, column], pyarrow.float32(), from_pandas=True)
        rows = rows.set_column(rows.column_names.index(name), name, values)
    pyarrow.parquet.write_table(rows, part)
    return labels


def test_weights_fall_with_the_spread_and_have_a_mean_of_one(make_labels: Any, tmp_path: Path) -> None:
    spread = np.random.default_rng(0).uniform(0.01, 0.2, (12, 3))
    spread[3], spread[:, 2] = np.nan, 0.0
    (weights,) = weights_by_spread([table.read(with_spread(make_labels(tmp_path), spread))])
    known = np.arange(12) != 3
    floor = np.median(spread[known], axis=0)
    expected = 1 / (spread[known, 0] ** 2 + floor[0] ** 2)
    np.testing.assert_allclose(weights[known, 0], expected / expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(weights.mean(0), 1, rtol=1e-6)
    assert (weights[3] == 1).all() and (weights[:, 2] == 1).all()


def test_several_tables_are_weighted_together_and_each_needs_a_spread(make_labels: Any, tmp_path: Path) -> None:
    sure = with_spread(make_labels(tmp_path / "sure"), np.full((12, 3), 0.01))
    unsure = with_spread(make_labels(tmp_path / "unsure", clips=8), np.full((8, 3), 0.1))
    one, other = weights_by_spread([table.read(sure), table.read(unsure)])
    assert one.shape == (12, 3) and other.shape == (8, 3) and (one > 1).all() and (other < 1).all()
    with pytest.raises(DistillError, match="none/labels: holds no spread to weight by"):
        weights_by_spread([table.read(sure), table.read(make_labels(tmp_path / "none"))])


def batches(weights: np.ndarray | None, mixup: float) -> list[Any]:
    rng = np.random.default_rng(0)
    clips = Clips(rng.integers(-9000, 9000, 16_000).astype(np.int16), np.arange(0, 16_001, 2000),
                  rng.random((8, 3)).astype(np.float32), np.ones(8, np.float32), weights)  # fmt: skip
    how = Augmentation(mixup=mixup)
    return list(TrainingBatches(clips, np.arange(8), surroundings(None, None), augmentation=how, batch_size=4,
                                longest=1.0, seed=0, workers=0)(0))  # fmt: skip


def test_batches_carry_the_weights_through_mixup_by_share() -> None:
    plain = batches(None, 1.0)
    targets = np.random.default_rng(0)
    targets.integers(-9000, 9000, 16_000)
    weighted = batches(targets.random((8, 3)).astype(np.float32), 1.0)  # the very targets: mixed alike, they stay so
    assert len(plain) == 2 and all(batch.weight is None for batch in plain)
    for before, after in zip(plain, weighted, strict=True):
        assert torch.equal(before.pcm, after.pcm) and torch.equal(before.target, after.target)
        assert torch.equal(after.target, after.weight)


def test_training_hands_the_weights_to_the_loss(
    make_labels: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = with_spread(make_labels(tmp_path), np.random.default_rng(0).uniform(0.01, 0.2, (12, 3)))
    heard: list[torch.Tensor] = []

    def listening(predicted: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        heard.append(weight)
        return mse_loss(predicted, target, weight)

    monkeypatch.setitem(LOSSES, "ccc", listening)
    train_student(labels, output=tmp_path / "run", weight_by_spread=True, **QUICK)  # type: ignore[arg-type]
    assert heard and all(weight.shape == (4, 3) and (weight > 0).all() and weight.std() > 0 for weight in heard)
    config = runs.read_config(tmp_path / "run")
    assert config["weight_by_spread"] is True and len(config["weights_sha256"]) == 64


def test_a_run_without_weights_is_configured_as_before(make_labels: Any, tmp_path: Path) -> None:
    given = {"epochs": 1, "max_minutes": None, "loss": "ccc", "arch": "wav2small", "learning_rate": None}
    unused = {"weight_by_spread": False, "match_embedding": 0.0, "relational": 0.0}
    config = resolved({**given, **unused}, Lessons([table.read(make_labels(tmp_path))]))
    assert not {*unused, "weights_sha256", "embeddings_sha256"} & set(config)


def test_a_table_without_spread_is_refused_before_the_run_is_begun(make_labels: Any, tmp_path: Path) -> None:
    with pytest.raises(DistillError, match="holds no spread"):
        train_student(make_labels(tmp_path), output=tmp_path / "run", weight_by_spread=True, **QUICK)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()
