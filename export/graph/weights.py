"""How weights are stored: two of 4 bits or four of 2 bits a byte, unpacked by arithmetic that is folded at load.

The types INT4 and INT2 of ONNX would need a far newer runtime, and be as large.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import NamedTuple

import numpy as np
from onnx import TensorProto

from export.graph.writer import Graph
from students.quantised import LARGEST


class Stored(NamedTuple):
    """Levels of a weight (whole numbers in any shape), and the bits in which they are kept, a key of `LARGEST`."""

    levels: np.ndarray
    bits: int


def expanded(graph: Graph, weights: Mapping[str, Stored]) -> dict[str, str]:
    """The weights as int8 tensors of their shapes, by name. Those of the same few bits are kept as one."""
    found: dict[str, str] = {}
    by_bits = sorted(weights, key=lambda name: weights[name].bits)
    for bits, names in groupby(by_bits, key=lambda name: weights[name].bits):
        several = {name: weights[name].levels for name in names}
        found |= _plain(graph, several) if bits == 8 else _unpacked(graph, several, bits)
    return found


def packed(levels: np.ndarray, bits: int) -> np.ndarray:
    """Levels [n] as bytes, the first in the lowest bits; the last byte is filled up.

    >>> packed(np.array([-3, 3, -1, 1, -1]), 2).tolist()
    [156, 1]
    """
    codes = (levels.astype(np.int64) + LARGEST[bits]) // 2
    filled = np.concatenate([codes, np.zeros(-len(codes) % (8 // bits), np.int64)]).reshape(-1, 8 // bits)
    return np.asarray((filled * _places(bits)).sum(1), np.uint8)


def _plain(graph: Graph, weights: Mapping[str, np.ndarray]) -> dict[str, str]:
    return {name: graph.constant(levels.astype(np.int8), "weights") for name, levels in weights.items()}


def _unpacked(graph: Graph, weights: Mapping[str, np.ndarray], bits: int) -> dict[str, str]:
    """Byte by byte divided by the places of a byte's parts, and what is left of that by one part's size."""
    flat = np.concatenate([levels.ravel() for levels in weights.values()])
    kept = graph("Cast", graph.constant(packed(flat, bits)[:, None], "weights"), to=TensorProto.INT32)
    parts = graph("Div", kept, graph.constant(_places(bits).astype(np.int32)))
    codes = graph("Mod", parts, graph.constant(np.int32(2**bits)))
    doubled = graph("Mul", codes, graph.constant(np.int32(2)))
    levels = graph("Cast", graph("Sub", doubled, graph.constant(np.int32(LARGEST[bits]))), to=TensorProto.INT8)
    sizes = [weight.size for weight in weights.values()]
    spare = -len(flat) % (8 // bits)
    row = graph("Reshape", levels, graph.integers(-1))
    split = graph.split(row, len(sizes) + bool(spare), axis=0, sizes=sizes + [spare] * bool(spare))
    return {
        name: graph("Reshape", part, graph.integers(*weight.shape))
        for (name, weight), part in zip(weights.items(), split[: len(sizes)], strict=True)
    }


def _places(bits: int) -> np.ndarray:
    return 2 ** np.arange(0, 8, bits)
