"""Arrays and numbers as C writes them."""

from __future__ import annotations

import numpy as np

from distill.errors import DistillError

#: Largest whole number of a scale.
_LARGEST = 2**31 - 1


def define(name: str, value: int | str) -> str:
    """A macro.

    >>> define("ROWS", 2), define("FLOOR", -7)
    ('#define ROWS 2', '#define FLOOR (-7)')
    """
    return f"#define {name} ({value})" if isinstance(value, int) and value < 0 else f"#define {name} {value}"


def table(kind: str, name: str, values: np.ndarray, comment: str = "") -> str:
    """A constant array of any shape.

    >>> print(table("int8_t", "HEAD", np.array([[1, -2], [3, 4]])))
    static const int8_t HEAD[2][2] STUDENT_ALIGNED = {
        {1, -2},
        {3, 4},
    };
    """
    shape = "".join(f"[{size}]" for size in values.shape)
    head = f"/* {comment} */\n" if comment else ""
    return f"{head}static const {kind} {name}{shape} STUDENT_ALIGNED = {_braced(values, kind, 0)};"


def fixed(values: np.ndarray, bits: int, what: str) -> np.ndarray:
    """Scales in units of 2^-bits: int64.

    Raises:
        DistillError: one is too large, of `what`.
    """
    found = np.rint(np.asarray(values, np.float64) * 2.0**bits)
    if not (np.abs(found) <= _LARGEST).all():
        raise DistillError(f"the C engine has no room for a scale of {what}: {np.abs(values).max():.3g}")
    return np.asarray(found, np.int64)


def shift_for(values: np.ndarray, bits: int) -> int:
    """How far values can be shifted to the left, to be whole numbers of so many bits.

    >>> shift_for(np.array([0.25, 0.1]), 16)
    17
    """
    return int(np.floor(bits - 1e-9 - np.log2(max(float(np.abs(values).max()), 2.0**-40))))


def _braced(values: np.ndarray, kind: str, depth: int) -> str:
    margin = "    " * (depth + 1)
    if values.ndim == 1:
        if depth and len(values) <= 16:
            return "{" + ", ".join(_number(value, kind) for value in values) + "}"
        lines = _wrapped([_number(value, kind) for value in values], 112 - len(margin))
        return "{\n" + "".join(f"{margin}{line}\n" for line in lines) + "    " * depth + "}"
    rows = "".join(f"{margin}{_braced(row, kind, depth + 1)},\n" for row in values)
    return "{\n" + rows + "    " * depth + "}"


def _number(value: int, kind: str) -> str:
    if kind == "uint32_t":
        return f"0x{int(value):08X}u"
    # The lowest number of 32 bits cannot be written as one.
    return "INT32_MIN" if int(value) == -(2**31) else str(int(value))


def _wrapped(numbers: list[str], width: int) -> list[str]:
    lines, line = [], ""
    for number in numbers:
        if line and len(line) + len(number) + 2 > width:
            lines.append(line)
            line = ""
        line += f"{' ' if line else ''}{number},"
    return [*lines, line]
