"""How much a clip counts: the surer the teacher was of it, the more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distill import table
from distill.annotation import axis_columns
from distill.errors import DistillError


def weights_by_spread(tables: Sequence[table.LabelTable]) -> list[np.ndarray]:
    """Of each table float32 [rows, 3]: 1 / (spread^2 + median spread^2), with a mean of 1 on every axis over them all.

    A row without a spread counts 1. The median keeps a clip of which the teacher seems certain from counting for all:
    at most twice as much as one of median spread.

    Raises:
        DistillError: a table has no spread at all.
    """
    spreads = [axis_columns(list(zip(*(labels.column(name) for name in table.SPREADS), strict=True)))
               for labels in tables]  # fmt: skip
    for labels, spread in zip(tables, spreads, strict=True):
        if not np.isfinite(spread).any():
            raise DistillError(
                f"{labels.folder}: holds no spread to weight by; label with --views 5, or with a mean: of teachers"
            )
    together = np.concatenate(spreads).astype(np.float64)
    weights = np.stack([_weights(axis) for axis in together.T], axis=1).astype(np.float32)
    return np.split(weights, np.cumsum([len(spread) for spread in spreads])[:-1])


def _weights(spread: np.ndarray) -> np.ndarray:
    """Of one axis: [n] -> [n]. Where more than half of the spreads are zero, the mean stands for the median."""
    weights, known = np.ones(len(spread)), np.isfinite(spread)
    if spread[known].any():
        floor = np.median(spread[known]) or np.mean(spread[known])
        precision = 1 / (spread[known] ** 2 + floor**2)
        weights[known] = precision / precision.mean()
    return weights
