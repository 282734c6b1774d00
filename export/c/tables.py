"""Tables of the front-end and of the engine's own logarithm and exponential, as whole numbers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from students.frontend import mel_matrix

#: Between the values of a table are straight lines: 64 of them in an octave.
STEPS = 64

#: Units of the weights of mel bands.
MEL_BITS = 22


def log2_table() -> np.ndarray:
    """log2 of 1 to 2 in units of 2^-16: int64 [65].

    >>> log2_table()[[0, 32, 64]].tolist()
    [0, 38336, 65536]
    """
    return _nearest(np.log2(1 + np.arange(STEPS + 1) / STEPS) * 2**16)


def exp2_table() -> np.ndarray:
    """2 to the power of 0 to -1 in units of 2^-20: int64 [65].

    >>> exp2_table()[[0, 64]].tolist()
    [1048576, 524288]
    """
    return _nearest(2.0 ** (20 - np.arange(STEPS + 1) / STEPS))


def hann(n_fft: int) -> np.ndarray:
    """The periodic window, which takes samples of 30 bits down to 30 - log2 n: int64 [n_fft].

    >>> int(hann(64).max()) == 2 ** (30 - 6 + 2)
    True
    """
    bits = 30 - (n_fft.bit_length() - 1)
    return _nearest((0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)) * 2 ** (bits + 2))


def roots(n_fft: int) -> np.ndarray:
    """exp(-2 pi i k / n) in units of 2^-31: int64 [n / 2, 2]. The first, which is one, is as near as 32 bits come."""
    turns = -2 * np.pi * np.arange(n_fft // 2) / n_fft
    exact = np.stack([np.cos(turns), np.sin(turns)], 1) * 2**31
    return np.asarray(np.minimum(_nearest(exact), 2**31 - 1))


def reversed_bits(count: int) -> np.ndarray:
    """Where the transform takes each of its inputs: int64 [count].

    >>> reversed_bits(8).tolist()
    [0, 4, 2, 6, 1, 5, 3, 7]
    """
    bits = count.bit_length() - 1
    return np.array([int(f"{place:0{bits}b}"[::-1], 2) for place in range(count)])


class MelRows(NamedTuple):
    """The mel triangles as rows without their zeros. first, end: int64 [mels]; weights: int64, one row after the
    other."""

    first: np.ndarray
    end: np.ndarray
    weights: np.ndarray


def mel_rows(n_fft: int, mels: int) -> MelRows:
    """Of the matrix that the student was trained with; a band narrower than a bin may have none."""
    matrix = _nearest(mel_matrix(n_fft, mels).astype(np.float64) * 2**MEL_BITS).T
    rows = [np.flatnonzero(row) for row in matrix]
    assert not matrix[:, [0, -1]].any()  # the engine does not compute these two bins
    first = np.array([row[0] if len(row) else 0 for row in rows])
    end = np.array([row[-1] + 1 if len(row) else 0 for row in rows])
    kept = [row[start:stop] for row, start, stop in zip(matrix, first, end, strict=True)]
    return MelRows(first, end, np.concatenate(kept))


def _nearest(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.rint(values), np.int64)
