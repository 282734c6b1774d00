"""From functionals to arousal, dominance and valence: two small experts, added up, in numpy.

One expert is kernel ridge regression over the training clips as centres; its kernel is a Gaussian plus a little of
the linear one, so that it neither falls to a constant far away nor runs off. The other hears categories: linear
discriminants, a softened posterior, and the mean rating of each category. Both are smooth and bounded.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from distill.annotation import AXES
from distill.files import whole
from teacher.prosody.analysis import Array
from teacher.prosody.features import FEATURES

__all__ = ["Regressor", "gaussian_plus_linear", "read_regressor", "squash", "write_regressor"]

SQUASH = 4.0  # standard deviations that a functional can be away at most


def squash(features: Array, mean: Array, scale: Array) -> Array:
    """Standardise and softly bound to +-SQUASH, so that one odd functional cannot carry the answer away.

    >>> squash(np.array([[0.1, 1e9]]), np.zeros(2), np.ones(2)).round(2).tolist()
    [[0.1, 4.0]]
    """
    standard = (features.astype(np.float64) - mean) / scale
    return np.asarray(SQUASH * np.tanh(standard / SQUASH))


def gaussian_plus_linear(left: Array, right: Array, width: float, linear: float) -> Array:
    """exp(-width |a - b|^2 / d) + linear a.b / d for all pairs of rows: [left, right].

    >>> row = np.ones((1, 2))
    >>> float(gaussian_plus_linear(row, row, width=1.0, linear=0.3)[0, 0])
    1.3
    """
    products = left @ right.T
    distance = np.sum(left**2, axis=1)[:, None] + np.sum(right**2, axis=1) - 2 * products
    dimensions = left.shape[1]
    return np.asarray(np.exp(-width / dimensions * np.maximum(distance, 0)) + linear / dimensions * products)


def posterior(standard: Array, directions: Array, thresholds: Array) -> Array:
    """Softmax of linear discriminants [n, categories]; empty where there are no categories.

    >>> posterior(np.array([[1.0]]), np.array([[0.0], [0.0]]), np.zeros(2)).tolist()
    [[0.5, 0.5]]
    """
    score = standard @ directions.T + thresholds
    score = np.exp(score - score.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(score / score.sum(axis=1, keepdims=True)) if score.size else score


@dataclass(frozen=True)
class Regressor:
    """The weights. d functionals, m centres, c categories (perhaps none), three axes in the order of `AXES`."""

    mean: Array  # [d]
    scale: Array  # [d]
    kernel: Array  # [2]: width of the Gaussian, share of the linear kernel
    centres: Array  # [m, d], squashed
    coefficients: Array  # [m, 3]
    directions: Array  # [c, d]
    thresholds: Array  # [c]
    prototypes: Array  # [c, 3]
    offset: Array  # [3]

    def standardised(self, features: Array) -> Array:
        """Functionals [n, d] as the experts see them."""
        return squash(features, self.mean, self.scale)

    def __call__(self, features: Array) -> Array:
        """Answer for functionals [n, d]: float32 [n, 3], arousal, dominance, valence; never clipped."""
        standard = self.standardised(features)
        near = gaussian_plus_linear(standard, self.centres, *self.kernel) @ self.coefficients
        heard = posterior(standard, self.directions, self.thresholds) @ self.prototypes
        return np.asarray(self.offset + near + heard, dtype=np.float32)

    @property
    def parameters(self) -> int:
        """Count of numbers in the weights."""
        return sum(array.size for array in asdict(self).values())


def write_regressor(regressor: Regressor, path: Path) -> None:
    """Write the weights as one .npz of float32 arrays, whole or not at all."""
    with whole(path) as beside, beside.open("wb") as handle:
        arrays: dict[str, Any] = {name: np.asarray(array, np.float32) for name, array in asdict(regressor).items()}
        np.savez(handle, **arrays)


def read_regressor(path: Path) -> Regressor:
    """Read weights strictly.

    Raises:
        ValueError: an array is missing, surplus or misshaped; the message names it.
    """
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    _check_names(arrays, path)
    _check_shapes(arrays, path)
    return Regressor(**{name: array.astype(np.float64) for name, array in arrays.items()})


def _check_names(arrays: dict[str, Array], path: Path) -> None:
    wanted = {field.name for field in fields(Regressor)}
    if missing := sorted(wanted - set(arrays)):
        raise ValueError(f"{path.name} lacks the array {missing[0]!r}")
    if surplus := sorted(set(arrays) - wanted):
        raise ValueError(f"{path.name} holds an array that is not part of the model: {surplus[0]!r}")


def _check_shapes(arrays: dict[str, Array], path: Path) -> None:
    d, axes = FEATURES, len(AXES)
    m, c = arrays["centres"].shape[0], arrays["directions"].shape[0]
    wanted: dict[str, tuple[int, ...]] = {
        "mean": (d,), "scale": (d,), "kernel": (2,), "centres": (m, d), "coefficients": (m, axes),
        "directions": (c, d), "thresholds": (c,), "prototypes": (c, axes), "offset": (axes,),
    }  # fmt: skip
    for name, shape in wanted.items():
        if arrays[name].shape != shape or arrays[name].dtype != np.float32:
            found = f"{arrays[name].dtype} {list(arrays[name].shape)}"
            raise ValueError(f"{path.name}: the array {name!r} is {found}, it must be float32 {list(shape)}")
