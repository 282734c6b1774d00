"""Clips of a batch, and answers, may be tensors on a GPU: here they become numpy's."""

from __future__ import annotations

from typing import Any

import numpy as np


def on_host(values: Any) -> np.ndarray:
    """The same as a numpy array; no copy where it is one.

    >>> on_host([0.5]).tolist()
    [0.5]
    """
    return np.asarray(values.cpu() if hasattr(values, "cpu") else values)


def clip_of(signal: Any, length: int) -> np.ndarray:
    """One clip of a padded batch without its padding: float32 [length].

    >>> clip_of([0.5, 0.25, 9.0], 2).tolist()
    [0.5, 0.25]
    """
    return on_host(signal)[: int(length)].astype(np.float32, copy=False)
