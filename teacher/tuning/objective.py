"""What tuning makes small, and by what it is scored: CCC of the axes, cross-entropy and UAR of the categories."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from distill.annotation import AXES
from distill.learning.loop import concordance
from distill.learning.loss import ccc_loss
from distill.metrics import unweighted_recall


class EmotionLoss:
    """The sum over the axes of 1 - CCC, and the cross-entropy of the categories: [batch, 3 + categories] -> scalar.

    The sum is that of Goncalves et al. (2024), the Odyssey 2024 baseline. weights: of the categories, float32
    [categories], or None where there are none.

    >>> x = torch.tensor([[0.1, 0.2, torch.nan], [0.5, 0.1, torch.nan]])
    >>> round(float(EmotionLoss()(x, x)), 4)
    0.0
    """

    def __init__(self, weights: Tensor | None = None) -> None:
        self.weights = weights

    def __call__(self, predicted: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """target: NaN where nobody rated. weight: nobody's; every clip counts alike."""
        axes = len(AXES)
        rated = torch.isfinite(target[:, :axes]).sum(0) > 1
        value = ccc_loss(predicted[:, :axes], target[:, :axes]) * rated.sum()
        told = torch.isfinite(target[:, axes:]).all(1)
        if self.weights is None or not bool(told.any()):
            return value
        weights = self.weights.to(predicted.device)
        return value + functional.cross_entropy(predicted[told, axes:], target[told, axes:], weights)


def loss_for(targets: np.ndarray) -> EmotionLoss:
    """The loss for training clips with these targets: categories count the more the rarer they are.

    >>> loss_for(np.array([[0.5, 0.5, 0.5, 1, 0], [0.5, 0.5, 0.5, 1, 0], [0.5, 0.5, 0.5, 0, 1]])).weights.tolist()
    [0.75, 1.5]
    """
    counts = np.nansum(targets[:, len(AXES) :], axis=0)
    if not len(counts):
        return EmotionLoss()
    return EmotionLoss(torch.tensor(counts.sum() / (len(counts) * counts), dtype=torch.float32))


def score(predicted: np.ndarray, target: np.ndarray) -> dict[str, dict[str, float]]:
    """{"ccc": {axis}} of the rated axes and, where there are categories, {"uar": {"category"}}.

    >>> target = np.array([[0.1, 0.2, np.nan, 1, 0], [0.5, 0.1, np.nan, 0, 1]])
    >>> score(target, target)
    {'ccc': {'arousal': 1.0, 'dominance': 1.0}, 'uar': {'category': 1.0}}
    """
    found = concordance(predicted, target)
    axes = len(AXES)
    told = np.isfinite(target[:, axes:]).all(1) & (target.shape[1] > axes)
    if not told.any():
        return found
    recall = unweighted_recall(predicted[told, axes:].argmax(1), target[told, axes:].argmax(1))
    return {**found, "uar": {"category": float(recall)}}
