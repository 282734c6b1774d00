"""Hints from inside the teacher: what they measure, what they leave out, and that they come back after a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distill.errors import DistillError
from distill.learning.batch import Batch
from distill.learning.loss import mse_loss
from distill.learning.objective import EmbeddingHint, Objective, RelationalHint
from tests.distill.test_learning import Drawn, Means, train

NOBODY = float("nan")


def batch(target: torch.Tensor, embedding: torch.Tensor | None = None) -> Batch:
    return Batch(torch.zeros(len(target), 4), torch.full((len(target),), 4), target, None, embedding)


def drawn(n: int = 16, width: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Features [n, width] and targets [n, 3]."""
    rng = np.random.default_rng(1)
    return torch.tensor(rng.normal(size=(n, width)), dtype=torch.float32), torch.tensor(rng.random((n, 3))).float()


def embeddings(features: torch.Tensor) -> torch.Tensor:
    """A linear map of the features: four dimensions of very different scale, and one that never varies."""
    matrix = torch.tensor(np.random.default_rng(2).normal(size=(features.shape[1], 4)), dtype=torch.float32)
    varied = features @ matrix * torch.tensor([0.1, 1.0, 10.0, 30.0]) + torch.tensor([5.0, 0.0, -3.0, 100.0])
    return torch.cat([varied, torch.full((len(features), 1), 7.0)], dim=1)


def test_dimensions_count_alike_and_those_that_hardly_vary_not_at_all() -> None:
    features, target = drawn(64)
    wanted = embeddings(features)
    hint = EmbeddingHint(5, wanted.numpy())
    assert hint.kept.tolist() == [0, 1, 2, 3]
    torch.nn.init.zeros_(hint.projection.weight)
    torch.nn.init.zeros_(hint.projection.bias)
    assert hint(features, batch(target, wanted)).item() == pytest.approx(1, rel=1e-4)  # the variance of each
    off = [wanted.clone() for _ in range(4)]
    for dimension, moved in enumerate(off):
        moved[:, dimension] = wanted[:, dimension].mean()
    values = [float(hint(features, batch(target, moved))) for moved in off]
    assert values == pytest.approx([0.75] * 4, rel=1e-3)


def test_the_projection_finds_a_linear_map() -> None:
    features, target = drawn(64)
    given = batch(target, embeddings(features))
    assert given.embedding is not None
    hint = EmbeddingHint(5, given.embedding.numpy())
    optimiser = torch.optim.Adam(hint.parameters(), lr=0.05)
    for _ in range(300):
        optimiser.zero_grad()
        value = hint(features, given)
        value.backward()
        optimiser.step()
    assert value.item() < 1e-3


def test_clips_whose_embedding_is_unknown_are_left_out() -> None:
    features, target = drawn()
    wanted = embeddings(features)
    hint = EmbeddingHint(5, wanted.numpy())
    alone = hint(features[:10], batch(target[:10], wanted[:10]))
    wanted[10:] = NOBODY
    torch.testing.assert_close(hint(features, batch(target, wanted)), alone)
    features.requires_grad_()
    hint(features, batch(target, torch.full_like(wanted, NOBODY))).backward()
    assert features.grad is not None and not features.grad.any()


def test_known_clips_alone_standardise() -> None:
    known = embeddings(drawn(64)[0]).numpy()
    with_unknown = np.concatenate([known, np.full((3, 5), np.nan, np.float32)])
    torch.testing.assert_close(EmbeddingHint(5, with_unknown).mean, EmbeddingHint(5, known).mean)


def test_an_embedding_that_never_varies_is_refused() -> None:
    with pytest.raises(DistillError, match="the same for every clip"):
        EmbeddingHint(5, np.ones((8, 4), np.float32))


def relational(points: torch.Tensor, wanted: torch.Tensor) -> float:
    """Park et al.'s own formulas, pair by pair."""

    def distances(rows: torch.Tensor) -> list[float]:
        return [float((rows[i] - rows[j]).norm()) for i in range(len(rows)) for j in range(i)]

    off = np.array(distances(points)) / np.mean(distances(points)) - np.array(distances(wanted)) / np.mean(
        distances(wanted)
    )
    return float(np.mean(np.where(np.abs(off) <= 1, 0.5 * off**2, np.abs(off) - 0.5)))


def test_relations_are_those_of_the_paper() -> None:
    features, target = drawn()
    wanted = embeddings(features)[:, :3]
    hint = RelationalHint()
    assert float(hint(features, batch(target, wanted))) == pytest.approx(relational(features, wanted), rel=1e-4)
    assert float(hint(features, batch(target))) == pytest.approx(relational(features, target), rel=1e-4)


def test_relations_do_not_depend_on_scale_or_rotation() -> None:
    features, target = drawn(width=3)
    turned = torch.linalg.qr(torch.tensor(np.random.default_rng(0).normal(size=(3, 3))).float())[0]
    assert float(RelationalHint()(target @ turned * 50, batch(target))) == pytest.approx(0, abs=1e-5)
    assert float(RelationalHint()(features, batch(target))) > 0.01


def test_relations_leave_out_what_is_unknown() -> None:
    features, target = drawn()
    expected = relational(features[4:], target[4:, [0, 2]])
    target[:4], target[:, 1] = NOBODY, NOBODY
    assert float(RelationalHint()(features, batch(target))) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("case", ["one clip", "nobody", "all alike", "two of the same"])
def test_relations_and_gradients_stay_finite(case: str) -> None:
    features, target = drawn(1 if case == "one clip" else 8)
    if case == "nobody":
        target = torch.full_like(target, NOBODY)
    if case == "all alike":
        features, target = torch.ones_like(features), torch.ones_like(target)
    if case == "two of the same":
        features[1], target[1] = features[0], target[0]
    features.requires_grad_()
    value = RelationalHint()(features, batch(target))
    value.backward()
    assert value.isfinite() and features.grad is not None and features.grad.isfinite().all()


def test_hints_are_added_with_their_weights() -> None:
    features, target = drawn()
    predicted, given = features[:, :3], batch(target, embeddings(features))
    assert given.embedding is not None
    match, relation = EmbeddingHint(5, given.embedding.numpy()), RelationalHint()
    together = Objective(mse_loss, [(match, 0.5), (relation, 2.0)])
    expected = mse_loss(predicted, target) + 0.5 * match(features, given) + 2.0 * relation(features, given)
    torch.testing.assert_close(together(features, predicted, given), expected)
    assert torch.equal(Objective(mse_loss)(features, predicted, given), mse_loss(predicted, target))


class WithEmbedding(Drawn):
    """Batches that know an embedding, a linear map of the clip."""

    def __call__(self, epoch: int) -> Any:
        for given in super().__call__(epoch):
            yield given._replace(embedding=given.pcm @ torch.tensor([[1.0, 2.0, 0.5], [0.0, -3.0, 0.5]]))


def matching() -> Objective:
    torch.manual_seed(1)
    known = np.random.default_rng(0).normal(size=(64, 2)) @ [[1.0, 2.0, 0.5], [0.0, -3.0, 0.5]]
    return Objective(mse_loss, [(EmbeddingHint(2, known), 0.5)])


@pytest.mark.parametrize("killed_after", [1, 3])
def test_an_interrupted_projection_ends_the_same_to_the_bit(tmp_path: Path, killed_after: int) -> None:
    def die(line: dict[str, Any]) -> None:
        if line["epoch"] == killed_after:
            raise KeyboardInterrupt

    undisturbed, resumed = matching(), matching()
    first = train(tmp_path / "a", batches=WithEmbedding(), objective=undisturbed)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "b", batches=WithEmbedding(), objective=matching(), log=die)
    second = train(tmp_path / "b", batches=WithEmbedding(), objective=resumed)
    assert set(first) == set(Means().state_dict())  # the projection is no part of the network
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    before, after = undisturbed.state_dict(), resumed.state_dict()
    assert before and all(torch.equal(value, after[name]) for name, value in before.items())
    assert not torch.equal(before["hints.0.projection.weight"], matching().state_dict()["hints.0.projection.weight"])


def test_a_checkpoint_of_before_goes_on(tmp_path: Path) -> None:
    undisturbed = train(tmp_path / "a", epochs=4)

    def die(line: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "b", epochs=4, log=die)
    path = tmp_path / "b" / "checkpoints" / "last.pt"
    saved = torch.load(path, weights_only=True)
    del saved["objective"]
    torch.save(saved, path)
    resumed = train(tmp_path / "b", epochs=4)
    assert all(torch.equal(value, resumed[name]) for name, value in undisturbed.items())
