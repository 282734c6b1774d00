"""The files of a student in C: its numbers, and the engine that reads them, in one file."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from export.c import layouts, tables, x86
from export.c.description import Description, RunningLevel
from export.c.numbers import define, fixed, shift_for, table
from students.frontend import POWER_FLOOR, VARIANCE_FLOOR
from students.wav2small import SCORES

#: The engine's sources.
ENGINE = Path(__file__).parent / "engine"

#: What kernels that multiply signed levels by signed weights take off the levels.
SIGNED = 128

_LOG2_E = math.log2(math.e)

#: Of samples of 16 bits at full scale.
_FULL_POWER = 2.0**30


def sources(student: Description) -> dict[str, str]:
    """Text by file name: student.h, student.c, student_weights.h and, for processors with vectors of their own,
    student_weights_x86.h."""
    made = {"student_shape.h": shape(student)}
    return {
        "student.h": _whole("student.h", made, set()),
        "student.c": _whole("student.c", made, {"student.h", "student_weights.h"}),
        "student_weights.h": weights(student),
        "student_weights_x86.h": x86.weights(student),
    }


def shape(student: Description) -> str:
    """What memory and layers depend on."""
    lines = {
        "STUDENT_FFT": student.n_fft, "STUDENT_FFT_BITS": student.n_fft.bit_length() - 1,
        "STUDENT_HOP": student.hop, "STUDENT_BANDS": student.mels,
        "STUDENT_FINE": len(student.fine), "STUDENT_COARSE": len(student.coarse),
        "STUDENT_TOKEN_PARTS": student.parts, "STUDENT_LIN_ROWS": len(student.lin.levels),
        "STUDENT_GRAM": int(student.lin_bias is not None), "STUDENT_CAUSAL": int(student.level is not None),
    }  # fmt: skip
    return "\n".join(define(name, value) for name, value in lines.items()) + "\n"


def weights(student: Description) -> str:
    """Tables, weights and scales: student_weights.h."""
    parts = [
        *_front_end(student), *_shared(student), *_head(student),
        "#if defined(STUDENT_KERNELS_X86)", '#include "student_weights_x86.h"', "#else",
        *_first(student), *_convolutions(student), *_attention(student),
        "#endif",
    ]  # fmt: skip
    body = "\n\n".join(parts)
    guard = "STUDENT_WEIGHTS_H"
    return (
        "/* Tables, weights and scales of the student; made by `distill export`. */\n"
        f'#ifndef {guard}\n#define {guard}\n\n#include <stdint.h>\n\n#include "student.h"\n\n{body}\n\n#endif\n'
    )


def _front_end(student: Description) -> list[str]:
    rows = tables.mel_rows(student.n_fft, student.mels)
    floor = VARIANCE_FLOOR * _FULL_POWER
    numbers = {
        "MEL_ZERO": student.mel_zero, "MEL_SCALE": round(math.log(2) / student.mel_step * 2**16),
        "MEL_FLOOR": round(math.log2(POWER_FLOOR) * 2**16), "VARIANCE_FLOOR_Q16": round(floor * 2**16),
        "SCORE_LIMIT": round(SCORES * _LOG2_E * 2**16),
        "FORGETTING_Q24": round(student.forgetting * _LOG2_E * 2**24),
    }  # fmt: skip
    return [
        "\n".join(define(name, value) for name, value in numbers.items()),
        *([_level(student.level)] if student.level is not None else []),
        table("int32_t", "LOG2_TABLE", tables.log2_table(), "log2 of 1 to 2, in units of 2^-16"),
        table("uint32_t", "EXP2_TABLE", tables.exp2_table(), "2 to the power of 0 to -1, in units of 2^-20"),
        table("int32_t", "HANN", tables.hann(student.n_fft), "the window, with what the transform has room for"),
        table("int32_t", "ROOTS", tables.roots(student.n_fft), "exp(-2 pi i k / n), in units of 2^-31"),
        table("uint8_t", "REVERSED", tables.reversed_bits(student.n_fft // 2)),
        table("uint8_t", "MEL_FIRST", rows.first, "bins of every mel band, and their weights, in units of 2^-22"),
        table("uint8_t", "MEL_END", rows.end),
        table("uint16_t", "MEL_WEIGHTS", rows.weights),
    ]


def _level(level: RunningLevel) -> str:
    """Of a stream: what its average of power loses with every frame, and begins with."""
    lost, floor = 1 - math.exp(-level.forgetting), level.floor * _FULL_POWER * 2**16
    return "\n".join([
        define("LEVEL_LOST", f"{round(lost * 2**32)}u"), define("LEVEL_FLOOR_Q16", round(floor)),
        define("FLOOR_ADDED_Q16", round(lost * floor)),
    ])  # fmt: skip


def _shared(student: Description) -> list[str]:
    """What all kernels read alike. The level that stands for zero is taken off in the first convolution's bias: the
    kernel multiplies levels as they are."""
    conv = student.fine[0]
    sums = conv.levels.sum((1, 2, 3))
    bias = conv.bias - student.mel_zero * sums
    shift = shift_for(student.lin.scale * 2**8, 31)
    return [
        "#if defined(STUDENT_SIGNED_LEVELS)",
        table("int32_t", "FIRST_BIAS", bias + SIGNED * sums, "the first convolution"),
        "#else",
        table("int32_t", "FIRST_BIAS", bias, "the first convolution"),
        "#endif",
        table("int32_t", "FIRST_SCALE", fixed(conv.scale, 32, "the first convolution")),
        define("VALUE_SHIFT", shift),
        table("int32_t", "VALUE_SCALE", fixed(student.lin.scale * 2**8, shift, "lin")),
        *([] if student.lin_bias is None else
          [table("int32_t", "LIN_BIAS", fixed(student.lin_bias, 16, "the bias of lin"))]),
    ]  # fmt: skip


def _first(student: Description) -> list[str]:
    levels = student.fine[0].levels
    return [
        "#if defined(STUDENT_SIGNED_LEVELS)",
        table("int8_t", "FIRST_WEIGHTS", layouts.first_columns(levels), "3 bands of 3 times"),
        "#else",
        table("int16_t", "FIRST_WEIGHTS", layouts.first_pairs(levels), "outer bands of 3 times, middle ones"),
        "#endif",
    ]


def _convolutions(student: Description) -> list[str]:
    """Of 13 by 13 channels, in the order of each target's kernel. A scale of all targets is a multiple of four, so that
    Winograd's, whose sums are four times as large, rounds as the others do."""
    convs = student.convolutions
    quarter, bias = layouts.quarter_scales(convs), np.stack([conv.bias for conv in convs])
    levels = [conv.levels for conv in convs]
    return [
        "#if defined(STUDENT_SIGNED_LEVELS)",
        table("int8_t", "CONV_WEIGHTS", np.stack([layouts.columns(level) for level in levels]), "[13][band][time][13]"),
        table("int32_t", "CONV_BIAS", bias + SIGNED * np.stack([level.sum((1, 2, 3)) for level in levels])),
        table("int32_t", "CONV_SCALE", 4 * quarter),
        "#else",
        table("int16_t", "CONV_WEIGHTS", np.stack([layouts.winograd(level) for level in levels]),
              "four times transformed: [16 places][13][14]"),
        table("int32_t", "CONV_REQUANT", np.stack([4 * bias, quarter], -1), "4 * bias, scale / 4"),
        "#endif",
    ]  # fmt: skip


def _attention(student: Description) -> list[str]:
    bits = layouts.kept_bits(student.lin, student.sof)
    lin, sof = (layouts.words(product, bits) for product in (student.lin, student.sof))
    places = "{" + ", ".join(str(place) for place in layouts.PLACES[bits]) + "}"
    numbers = {"ATTENTION_BITS": bits, "TOKEN_WORDS": lin.shape[1], "ATTENTION_PLACES": places}
    return [
        "\n".join(define(name, value) for name, value in numbers.items()),
        table("uint32_t", "ATTENTION", np.stack([lin, sof], -1), f"weights of {bits} bits: a word of lin, one of sof"),
        table("int32_t", "SCORE_SCALE", layouts.score_scales(student.sof)),
    ]  # fmt: skip


def _head(student: Description) -> list[str]:
    head = student.head
    taught = np.isfinite(head.bias)
    shift = shift_for(head.step, 17)
    return [
        "\n".join([define("HEAD_INPUTS", head.levels.shape[1]), define("HEAD_SHIFT", shift)]),
        table("int8_t", "HEAD", head.levels),
        table("int32_t", "HEAD_SCALE", fixed(head.step, shift, "the head")),
        table("int32_t", "HEAD_BIAS", fixed(np.where(taught, head.bias, 0.0), 16, "the head's bias")),
        table("uint8_t", "HEAD_TAUGHT", taught.astype(np.int64)),
    ]


def _whole(name: str, made: dict[str, str], left: set[str]) -> str:
    """A source with what it includes of the engine, each once."""
    seen: set[str] = set()

    def read(name: str) -> str:
        if name in seen:
            return ""
        seen.add(name)
        text = made[name] if name in made else (ENGINE / name).read_text()
        return _INCLUDE.sub(lambda found: found[0] if found[1] in left else read(found[1]), text)

    return read(name)


_INCLUDE = re.compile(r'^#include "([a-z0-9_]+\.h)"\n', re.MULTILINE)
