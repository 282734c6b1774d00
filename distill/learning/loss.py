"""Losses on A/D/V. A target that is NaN (an axis nobody answered) takes no part."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]

#: Keeps a batch whose targets are all alike from dividing by zero.
_EPSILON = 1e-8


def ccc_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean over the axes of 1 - CCC, taken over the batch. predicted, target: [batch, axes] -> scalar.

    >>> x = torch.tensor([[0.1], [0.5], [0.9]])
    >>> round(float(ccc_loss(x, x)), 4)
    0.0
    """
    known = torch.isfinite(target)
    count = known.sum(0).clamp(min=1)
    target = torch.where(known, target, 0.0)
    predicted = torch.where(known, predicted, 0.0)
    mean_p, mean_t = predicted.sum(0) / count, target.sum(0) / count
    centred_p = torch.where(known, predicted - mean_p, 0.0)
    centred_t = torch.where(known, target - mean_t, 0.0)
    covariance = (centred_p * centred_t).sum(0) / count
    spread = ((centred_p**2).sum(0) + (centred_t**2).sum(0)) / count
    concordance = (2 * covariance + _EPSILON) / (spread + (mean_p - mean_t) ** 2 + _EPSILON)
    answered = known.sum(0) > 1
    return ((1 - concordance) * answered).sum() / answered.sum().clamp(min=1)


def mse_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squared error over the known targets. predicted, target: [batch, axes] -> scalar."""
    known = torch.isfinite(target)
    return torch.where(known, (predicted - torch.where(known, target, 0.0)) ** 2, 0.0).sum() / known.sum().clamp(min=1)


def ccc_and_mse_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """1 - CCC plus ten times the MSE, which brings the two to the same order on answers of about 0..1."""
    return ccc_loss(predicted, target) + 10 * mse_loss(predicted, target)


LOSSES: dict[str, Loss] = {"ccc": ccc_loss, "mse": mse_loss, "ccc+mse": ccc_and_mse_loss}
