"""Weights in the order in which the kernels for x86 read them: words of four, as one instruction multiplies them."""

from __future__ import annotations

import numpy as np

from export.c import layouts
from export.c.description import Description
from export.c.numbers import table
from students.wav2small import CHANNELS

#: Rows of lin and sof are filled up to the most that a vector holds.
LANES = 16

#: Channels that fill whole words.
_FOURS = CHANNELS // 4 * 4


def weights(student: Description) -> str:
    """student_weights_x86.h."""
    convs = student.convolutions
    scales = layouts.score_scales(student.sof)
    body = "\n\n".join([
        table("int32_t", "FIRST_WORDS", first_words(student.fine[0].levels), "[3 times][13]: three bands a word"),
        table("int32_t", "CONV_WORDS", np.stack([conv_words(conv.levels) for conv in convs]), "[30 words][13]"),
        table("int32_t", "CONV_BIAS", np.stack([conv.bias for conv in convs])),
        table("int32_t", "CONV_SCALE", 4 * layouts.quarter_scales(convs)),
        table("int32_t", "LIN_WORDS", token_words(student.lin.levels), "[words of a token][rows, filled up]"),
        table("int32_t", "SOF_WORDS", token_words(student.sof.levels)),
        table("int32_t", "SCORE_SCALE", np.pad(scales, (0, -len(scales) % LANES))),
    ])  # fmt: skip
    guard = "STUDENT_WEIGHTS_X86_H"
    return (
        "/* Weights of the student as the kernels for x86 read them; made by `distill export`. No other target needs\n"
        f" * this file. */\n#ifndef {guard}\n#define {guard}\n\n{body}\n\n#endif\n"
    )


def first_words(levels: np.ndarray) -> np.ndarray:
    """Weights [13, 1, 3 times, 3 bands], three bands a word: int32 [3, 13].

    >>> first_words(np.full((13, 1, 3, 3), -1))[0, :2].tolist() == [0xFFFFFF, 0xFFFFFF]
    True
    """
    return _words(levels[:, 0].transpose(1, 0, 2))


def conv_words(levels: np.ndarray) -> np.ndarray:
    """Weights [13, 13, 3 times, 3 bands]: int32 [30, 13]. By band, four channels and time; behind them, by time, the
    channel left over in all three bands.

    >>> conv_words(np.zeros((13, 13, 3, 3))).shape
    (30, 13)
    """
    fours = levels[:, :_FOURS].reshape(CHANNELS, -1, 4, 3, 3).transpose(4, 1, 3, 0, 2).reshape(-1, CHANNELS, 4)
    return np.concatenate([_words(fours), _words(levels[:, _FOURS].transpose(1, 0, 2))])


def token_words(levels: np.ndarray) -> np.ndarray:
    """lin or sof [rows, bands, 13]: int32 [words, rows filled up]. By band, four channels each; behind them the channel
    left over, of every third band and both its neighbours.

    >>> token_words(np.zeros((169, 13, 13))).shape, token_words(np.zeros((13, 1, 13))).shape
    ((44, 176), (4, 16))
    """
    rows = len(levels)
    fours = levels[:, :, :_FOURS].reshape(rows, -1, 4).transpose(1, 0, 2)
    words = np.concatenate([_words(fours), _words(_triples(levels[:, :, _FOURS]))])
    return np.pad(words, ((0, 0), (0, -rows % LANES)))


def _triples(left_over: np.ndarray) -> np.ndarray:
    """[rows, bands] -> [triples, rows, 3], around the bands 1, 4, 7, ...; the last one is around the last band where
    there is none behind it, and leaves out the band that the triple before has."""
    rows, bands = left_over.shape
    found = []
    for first in range(0, bands, 3):
        middle = min(first + 1, bands - 1)
        triple = np.zeros((rows, 3), left_over.dtype)
        for band in range(first, min(first + 3, bands)):
            triple[:, band - middle + 1] = left_over[:, band]
        found.append(triple)
    return np.stack(found)


def _words(levels: np.ndarray) -> np.ndarray:
    """[..., up to 4] -> words, lowest byte first: int32 [...]."""
    filled = np.pad(levels, [(0, 0)] * (levels.ndim - 1) + [(0, 4 - levels.shape[-1])])
    return np.ascontiguousarray(filled.astype("<i1")).view("<i4")[..., 0]
