"""Losses on A/D/V. A target that is NaN (an axis nobody answered) takes no part."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

#: Of what was predicted, the targets and, where clips do not count alike, their weights: [batch, axes] each -> scalar.
Loss = Callable[..., Tensor]

#: Keeps a batch whose targets are all alike from dividing by zero.
_EPSILON = 1e-8


def ccc_loss(predicted: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean over the axes of 1 - CCC, taken over the batch. predicted, target: [batch, axes] -> scalar.

    weight: [batch, axes], above 0: means, variances and covariance are weighted; a clip of weight 2 counts as two.

    >>> x = torch.tensor([[0.1], [0.5], [0.9]])
    >>> round(float(ccc_loss(x, x)), 4)
    0.0
    """
    known = torch.isfinite(target)
    count = _total(known, weight).clamp(min=1 if weight is None else _EPSILON)
    target = torch.where(known, target, 0.0)
    predicted = torch.where(known, predicted, 0.0)
    mean_p, mean_t = _total(predicted, weight) / count, _total(target, weight) / count
    centred_p = torch.where(known, predicted - mean_p, 0.0)
    centred_t = torch.where(known, target - mean_t, 0.0)
    covariance = _total(centred_p * centred_t, weight) / count
    spread = (_total(centred_p**2, weight) + _total(centred_t**2, weight)) / count
    concordance = (2 * covariance + _EPSILON) / (spread + (mean_p - mean_t) ** 2 + _EPSILON)
    answered = known.sum(0) > 1
    return ((1 - concordance) * answered).sum() / answered.sum().clamp(min=1)


def mse_loss(predicted: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean squared error over the known targets. predicted, target: [batch, axes] -> scalar. weight: as of the CCC.

    >>> float(mse_loss(torch.tensor([[0.5], [0.5]]), torch.tensor([[0.0], [torch.nan]])))
    0.25
    """
    known = torch.isfinite(target)
    error = torch.where(known, (predicted - torch.where(known, target, 0.0)) ** 2, 0.0)
    if weight is None:
        return error.sum() / known.sum().clamp(min=1)
    return (weight * error).sum() / (weight * known).sum().clamp(min=_EPSILON)


def ccc_and_mse_loss(predicted: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """1 - CCC plus ten times the MSE, which brings the two to the same order on answers of about 0..1.

    >>> x = torch.tensor([[0.1], [0.5], [0.9]])
    >>> round(float(ccc_and_mse_loss(x + 0.2, x)), 3)  # 1 - 0.842, and ten times 0.04
    0.558
    """
    return ccc_loss(predicted, target, weight) + 10 * mse_loss(predicted, target, weight)


def _total(values: Tensor, weight: Tensor | None) -> Tensor:
    """Sum over the batch."""
    return (values if weight is None else weight * values).sum(0)


LOSSES: dict[str, Loss] = {"ccc": ccc_loss, "mse": mse_loss, "ccc+mse": ccc_and_mse_loss}
