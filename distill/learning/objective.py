"""What training makes small: the answers' loss, and beside it hints from inside the teacher."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.errors import DistillError
from distill.learning.batch import Batch
from distill.learning.loss import Loss, mse_loss

#: A dimension of the teacher's embedding whose deviation is below this share of the mean one says nothing of a clip.
HARDLY_VARIES = 1e-3

#: Keeps clips that are all alike from dividing by zero.
_EPSILON = 1e-8


class Objective(nn.Module):
    """The answers' loss plus every hint times its weight. What a hint learns is saved and resumed with the training,
    and is no part of the network.

    hints: modules of (features, batch) -> scalar, each with its weight.
    """

    def __init__(self, loss: Loss, hints: Sequence[tuple[nn.Module, float]] = ()) -> None:
        super().__init__()
        self.loss = loss
        self.hints = nn.ModuleList(hint for hint, _ in hints)
        self.weights = [weight for _, weight in hints]

    def forward(self, features: Tensor, predicted: Tensor, batch: Batch) -> Tensor:
        """features: [batch, width], what the network pooled; predicted: [batch, 3], its answers -> scalar."""
        value = self.loss(predicted, batch.target, batch.weight)
        for hint, weight in zip(self.hints, self.weights, strict=True):
            value = value + weight * hint(features, batch)
        return value


class EmbeddingHint(nn.Module):
    """How far a linear projection of the student's pooled features is from the teacher's embedding.

    Romero et al. (2015), "FitNets: Hints for thin deep nets", equation 3: a regressor is learned beside the student and
    dropped afterwards. Mean squared error over dimensions that are standardised, so that each counts alike; a clip
    whose embedding is unknown (NaN) is left out.

    >>> EmbeddingHint(8, np.array([[0.1, 5.0], [0.9, 5.0]])).projection.out_features  # a constant says nothing
    1
    """

    mean: Tensor
    deviation: Tensor
    kept: Tensor

    def __init__(self, width: int, known: np.ndarray) -> None:
        """width: of the student's features. known: [clips, dimensions], the teacher's embeddings of training clips, by
        which dimensions are standardised; those that hardly vary over them are left out.

        Raises:
            DistillError: the embedding is the same for every clip.
        """
        super().__init__()
        heard = known[np.isfinite(known).all(1)].astype(np.float64)
        mean, deviation = heard.mean(0), heard.std(0)
        kept = np.flatnonzero(deviation > HARDLY_VARIES * deviation.mean())
        if not len(kept):
            raise DistillError("--match-embedding: the teacher's embedding is the same for every clip")
        self.register_buffer("mean", torch.from_numpy(mean[kept].astype(np.float32)))
        self.register_buffer("deviation", torch.from_numpy(deviation[kept].astype(np.float32)))
        self.register_buffer("kept", torch.from_numpy(kept))
        self.projection = nn.Linear(width, len(kept))

    def forward(self, features: Tensor, batch: Batch) -> Tensor:
        """features: [batch, width] -> scalar; about 1 where the features say nothing of the embedding."""
        if batch.embedding is None:  # not one clip of the batch could be answered
            return features.sum() * 0
        wanted = (batch.embedding[:, self.kept] - self.mean) / self.deviation
        return mse_loss(self.projection(features), wanted)


class RelationalHint(nn.Module):
    """Whether clips that are far apart for the teacher are so for the student.

    Park et al. (2019), "Relational knowledge distillation", equations 5 to 7: the Huber loss between the distances of
    all pairs of the batch, on each side divided by their mean. The teacher's distances are those of its embeddings, or
    of its answers where it gives none; the student's are those of its pooled features.

    >>> features = torch.tensor([[0.0], [1.0], [3.0]])
    >>> far = Batch(torch.zeros(3, 1), torch.ones(3), 2 * features)
    >>> float(RelationalHint()(features, far))  # the same distances, but for a factor
    0.0
    """

    def forward(self, features: Tensor, batch: Batch) -> Tensor:
        """features: [batch, width] -> scalar; 0 where fewer than two clips are known."""
        wanted = batch.target if batch.embedding is None else batch.embedding
        finite = torch.isfinite(wanted)
        answered = finite.any(0)  # an axis that the teacher lacks is NaN for every clip
        known = finite[:, answered].all(1) & finite.any(1)
        if int(known.sum()) < 2:
            return features.sum() * 0
        value: Tensor = functional.huber_loss(_distances(features[known]), _distances(wanted[known][:, answered]))
        return value


def _distances(points: Tensor) -> Tensor:
    """Of all pairs of [n, dimensions], divided by their mean: [n (n - 1) / 2]."""
    one, other = torch.triu_indices(len(points), len(points), offset=1, device=points.device)
    apart: Tensor = torch.linalg.vector_norm(points[one] - points[other], dim=1)
    return apart / apart.mean().clamp(min=_EPSILON)
