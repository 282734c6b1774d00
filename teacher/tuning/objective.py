"""What tuning makes small, and by what it is scored: CCC of the axes, cross-entropy and UAR of what is told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from distill.annotation import AXES
from distill.learning.loop import concordance
from distill.learning.loss import ccc_loss
from distill.metrics import unweighted_recall


class EmotionLoss:
    """The sum over the axes of 1 - CCC, and the cross-entropy of each column that is told apart: [batch, 3 + classes]
    -> scalar.

    The sum is that of Goncalves et al. (2024), the Odyssey 2024 baseline. weights: of the classes of each column in
    turn, float32 [classes].

    >>> x = torch.tensor([[0.1, 0.2, torch.nan], [0.5, 0.1, torch.nan]])
    >>> round(float(EmotionLoss()(x, x)), 4)
    0.0
    """

    def __init__(self, weights: Sequence[Tensor] = ()) -> None:
        self.weights = weights

    def __call__(self, predicted: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """target: NaN where nobody rated. weight: nobody's; every clip counts alike."""
        axes = len(AXES)
        rated = torch.isfinite(target[:, :axes]).sum(0) > 1
        value = ccc_loss(predicted[:, :axes], target[:, :axes]) * rated.sum()
        at = axes
        for weights in self.weights:
            columns = slice(at, at + len(weights))
            value = value + _cross_entropy(predicted[:, columns], target[:, columns], weights.to(predicted.device))
            at += len(weights)
        return value


def _cross_entropy(predicted: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Of the clips whose class is known; 0 where that of none is."""
    told = torch.isfinite(target).all(1)
    if not bool(told.any()):
        return predicted.sum() * 0
    return functional.cross_entropy(predicted[told], target[told], weights)


def loss_for(targets: np.ndarray, columns: Sequence[slice]) -> EmotionLoss:
    """The loss for training clips with these targets: classes count the more the rarer they are. columns: where in a
    row what is told apart stands.

    >>> targets = np.array([[0.5, 0.5, 0.5, 1, 0], [0.5, 0.5, 0.5, 1, 0], [0.5, 0.5, 0.5, 0, 1]])
    >>> [weights.tolist() for weights in loss_for(targets, [slice(3, 5)]).weights]
    [[0.75, 1.5]]
    """
    counts = [np.nansum(targets[:, place], axis=0) for place in columns]
    return EmotionLoss([torch.tensor(own.sum() / (len(own) * own), dtype=torch.float32) for own in counts])


def score(predicted: np.ndarray, target: np.ndarray, columns: Mapping[str, slice]) -> dict[str, dict[str, float]]:
    """{"ccc": {axis}} of the rated axes and, where something is told apart, {"uar": {column}}.

    >>> target = np.array([[0.1, 0.2, np.nan, 1, 0], [0.5, 0.1, np.nan, 0, 1]])
    >>> score(target, target, {"category": slice(3, 5)})
    {'ccc': {'arousal': 1.0, 'dominance': 1.0}, 'uar': {'category': 1.0}}
    """
    found = concordance(predicted, target)
    chosen = {column: classes(predicted[:, place], target[:, place]) for column, place in columns.items()}
    recalls = {column: float(unweighted_recall(*sides)) for column, sides in chosen.items() if len(sides[0])}
    return {**found, "uar": recalls} if recalls else found


def classes(predicted: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which class is answered, and which it is, of the clips of which that is known: int [n] each. predicted, target:
    [clips, classes].

    >>> classes(np.array([[0.2, 0.7], [0.9, 0.1]]), np.array([[1.0, 0.0], [np.nan, np.nan]]))
    (array([1]), array([0]))
    """
    told = np.isfinite(target).all(1)
    return predicted[told].argmax(1), target[told].argmax(1)
