"""Two regressors that each lack the other's half, fitted to rated clips, and put together as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from distill.annotation import AXES
from teacher.prosody.analysis import Array
from teacher.prosody.corpus import Corpus
from teacher.prosody.regressor import Regressor, gaussian_plus_linear, squash
from teacher.prosody.views import view_weights

LINEAR = 0.3  # share of the linear kernel


class Material(NamedTuple):
    """A corpus made ready for fitting."""

    mean: Array  # [d]
    scale: Array  # [d]
    centres: Array  # [n, d]: the clips as they are
    rows: Array  # [n * views, d]: every view a row
    ratings: Array  # [n * views, 3]
    categories: Any  # [n * views]
    weights: Array  # [n * views]


def prepare(corpus: Corpus) -> Material:
    """Standardise by the weighted moments of all views.

    >>> from teacher.prosody.views import VIEWS
    >>> heard = np.random.default_rng(0).standard_normal((3, len(VIEWS), 4))
    >>> corpus = Corpus(np.array(["ann", "bob", "cy"]), np.zeros((3, 3)), np.array([""] * 3), np.ones(3), heard)
    >>> material = prepare(corpus)
    >>> material.centres.shape, len(material.rows) == 3 * len(VIEWS)
    ((3, 4), True)
    """
    count = corpus.features.shape[1]
    weights = (corpus.weights[:, None] * view_weights()).ravel()
    flat = corpus.features.reshape(-1, corpus.features.shape[2]).astype(np.float64)
    mean = np.average(flat, axis=0, weights=weights)
    scale = np.sqrt(np.average((flat - mean) ** 2, axis=0, weights=weights)) + 1e-6
    return Material(
        mean=mean,
        scale=scale,
        centres=squash(corpus.features[:, 0], mean, scale),
        rows=squash(flat, mean, scale),
        ratings=np.repeat(np.nan_to_num(corpus.ratings), count, axis=0),
        categories=np.repeat(corpus.categories, count),
        weights=weights,
    )


def expert(material: Material, **learnt: Array) -> Regressor:
    """A regressor of what was learnt; what was not is empty."""
    dimensions, axes = len(material.mean), len(AXES)
    empty: dict[str, Array] = {
        "kernel": np.zeros(2), "centres": np.zeros((0, dimensions)), "coefficients": np.zeros((0, axes)),
        "directions": np.zeros((0, dimensions)), "thresholds": np.zeros(0), "prototypes": np.zeros((0, axes)),
        "offset": np.zeros(axes),
    }  # fmt: skip
    return Regressor(mean=material.mean, scale=material.scale, **(empty | learnt))


def fit_kernel(material: Material, width: float, ridge: float) -> Regressor:
    """Kernel ridge regression on all views, with the clips as they are for its only centres (subset of regressors)."""
    offset = np.average(material.ratings, axis=0, weights=material.weights)
    response = gaussian_plus_linear(material.rows, material.centres, width, LINEAR)
    penalty = ridge * gaussian_plus_linear(material.centres, material.centres, width, LINEAR)
    weighted = (response * material.weights[:, None]).T
    system = weighted @ response + penalty + 1e-6 * np.eye(len(penalty))
    coefficients = np.linalg.solve(system, weighted @ (material.ratings - offset))
    kernel = np.array([width, LINEAR])
    return expert(material, kernel=kernel, centres=material.centres, coefficients=coefficients, offset=offset)


def fit_discriminant(material: Material, shrinkage: float, temperature: float) -> Regressor:
    """Linear discriminants with a shrunk common covariance, and the mean ratings of the categories."""
    names, which = np.unique(material.categories, return_inverse=True)
    own = np.eye(len(names))[which] * material.weights[:, None]
    own_mean, prototypes = (own.T @ of / own.sum(axis=0)[:, None] for of in (material.rows, material.ratings))
    rest = material.rows - own_mean[which]
    covariance = (rest * material.weights[:, None]).T @ rest / material.weights.sum()
    level = np.trace(covariance) / len(covariance)
    shrunk = (1 - shrinkage) * covariance + shrinkage * level * np.eye(len(covariance))
    directions = np.linalg.solve(shrunk, own_mean.T).T / temperature
    thresholds = -0.5 * np.sum(directions * own_mean, axis=1)
    return expert(material, directions=directions, thresholds=thresholds, prototypes=prototypes)


# --- two experts, one answer -----------------------------------------------------------------------------------------


class Blending(NamedTuple):
    """How the experts' answers are put together: offset + sum of gain x answer."""

    gains: Array  # [experts, 3]
    offset: Array  # [3]


def blending(answers: Array, ratings: Array) -> Blending:
    """Equal parts of the experts, stretched to mean and spread of the ratings.

    A regression answers too close to the mean, which the concordance punishes. The stretch is taken from answers for
    speakers left out. answers: [experts, n, views, 3], of which the first view counts; ratings: [n, 3].

    >>> ratings = np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    >>> how = blending(0.5 * ratings[None, :, None], ratings)  # one expert, one view, half as far from the mean
    >>> how.gains.tolist(), how.offset.tolist()
    ([[2.0, 2.0, 2.0]], [0.0, 0.0, 0.0])
    """
    heard = answers[:, :, 0]
    with np.errstate(divide="ignore", invalid="ignore"):  # an axis that nobody rated: NaN from here on
        gains = 1 / heard.std(axis=1) / len(heard)
        together = np.einsum("enk,ek->nk", heard, gains)
        gains = gains * ratings.std(axis=0) / together.std(axis=0)
    return Blending(gains, ratings.mean(axis=0) - np.einsum("enk,ek->k", heard, gains) / len(ratings))


def blended(answers: Array, how: Blending) -> Array:
    """Answers of the experts [experts, ..., 3] as one [..., 3].

    >>> how = Blending(np.ones((2, 3)), np.full(3, 0.5))
    >>> blended(np.ones((2, 1, 3)), how).tolist()  # two experts, one clip
    [[2.5, 2.5, 2.5]]
    """
    return np.asarray(np.einsum("e...k,ek->...k", answers, how.gains) + how.offset)


def blend(experts: Sequence[Regressor], how: Blending) -> Regressor:
    """The experts as one regressor."""
    stretched = [_stretched(one, gain) for one, gain in zip(experts, how.gains, strict=True)]
    joined = ("centres", "coefficients", "directions", "thresholds", "prototypes")
    arrays = {name: np.concatenate([getattr(one, name) for one in stretched]) for name in joined}
    offset = how.offset + np.sum([one.offset for one in stretched], axis=0)
    return replace(experts[0], offset=offset, **arrays)


def _stretched(one: Regressor, gain: Array) -> Regressor:
    scaled = {name: getattr(one, name) * gain for name in ("coefficients", "prototypes", "offset")}
    return replace(one, **scaled)
