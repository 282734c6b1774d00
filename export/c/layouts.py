"""Weights in the order in which kernels read them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from export.c.description import Convolution, Product
from export.c.numbers import fixed
from students.quantised import LARGEST
from students.wav2small import CHANNELS

#: Channels in Winograd's domain: 13 and one of zeros, in the order in which pairs of bytes are taken out of words.
PAIRS = (0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14)

#: Where a word keeps its weights, by the bits of one: pairs of them lie 16 bits apart.
PLACES = {4: (0, 16, 4, 20, 8, 24, 12, 28), 8: (0, 16, 8, 24)}

#: Twice the transform of weights of Winograd's F(2, 3).
_TWICE = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]])


def winograd(levels: np.ndarray) -> np.ndarray:
    """Weights [13, 13, 3, 3] four times transformed: int64 [16, 13, 14], by place, output and input in pairs.

    Lavin and Gray (2015), "Fast Algorithms for Convolutional Neural Networks", F(2x2, 3x3).
    """
    turned = np.einsum("pt,oitb,qb->pqoi", _TWICE, levels, _TWICE).reshape(16, CHANNELS, CHANNELS)
    filled = np.pad(turned, ((0, 0), (0, 0), (0, 2)))
    return np.asarray(filled[:, :, list(PAIRS)])


def columns(levels: np.ndarray) -> np.ndarray:
    """Weights [13, in, 3, 3] by output, band, time and input: int64 [13, 3, 3, in]."""
    return np.ascontiguousarray(levels.transpose(0, 3, 2, 1))


def first_columns(levels: np.ndarray) -> np.ndarray:
    """The first convolution's [13, 1, 3, 3] by output, band and time, and seven zeros: int64 [13, 16]."""
    return np.asarray(np.pad(levels[:, 0].transpose(0, 2, 1).reshape(len(levels), -1), ((0, 0), (0, 7))))


def first_pairs(levels: np.ndarray) -> np.ndarray:
    """The first convolution's [13, 1, 3, 3]: the outer two bands of each time, then the middle ones, and a zero: int64
    [13, 10].

    >>> first_pairs(np.arange(9).reshape(1, 1, 3, 3))[0].tolist()
    [0, 2, 3, 5, 6, 8, 1, 4, 7, 0]
    """
    outer = levels[:, 0, :, [0, 2]].transpose(1, 2, 0).reshape(len(levels), -1)
    return np.concatenate([outer, levels[:, 0, :, 1], np.zeros((len(levels), 1), np.int64)], 1)


def quarter_scales(convolutions: Sequence[Convolution]) -> np.ndarray:
    """A quarter of the scales of requantisation, in units of 2^-32: int64 [convolutions, 13]. That of every target is a
    multiple of four, so that Winograd's, whose sums are four times as large, rounds as the others do."""
    return np.stack([fixed(conv.scale, 30, "a convolution") for conv in convolutions])


def score_scales(sof: Product) -> np.ndarray:
    """From sums of products of sof to exponents of two, in units of 2^-32: int64 [rows]."""
    return fixed(sof.scale * math.log2(math.e), 32, "sof")


def kept_bits(*products: Product) -> int:
    """Of the weights of lin and sof in memory: 4 where no level needs more, since levels of 2 bits are among those of
    4."""
    return 4 if max(product.bits for product in products) <= 4 else 8


def words(product: Product, bits: int) -> np.ndarray:
    """lin or sof, row by row in words of 32 bits: uint32 [rows, words]. Levels of 4 bits are 2 code - 15."""
    flat = product.levels.reshape(len(product.levels), -1)
    codes = (flat + LARGEST[4]) // 2 if bits == 4 else flat & 0xFF
    each = 32 // bits
    filled = np.pad(codes, ((0, 0), (0, -flat.shape[1] % each))).reshape(len(flat), -1, each)
    return np.asarray((filled << np.array(PLACES[bits])).sum(-1), np.uint32)
