"""An ONNX graph in the making. Tensors have names of one to three letters: a name is stored wherever it is used."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from distill.annotation import AXES
from distill.streaming import NEXT_STATE, STATE
from distill.student import INPUT, OUTPUT

#: Operators up to this set run on every onnxruntime since 1.14 (2023).
OPSET = 17

#: What graphs written here were tried on, the oldest (docs/exporting.md).
OLDEST_RUNTIME = "onnxruntime 1.15"

#: What the file format itself is: that of the set's time.
IR_VERSION = 8

#: First letter of a constant's name, by what it belongs to. What is computed has a number alone.
PARTS = {"weights": "w", "scales": "s", "front_end": "f", "graph": "g"}


class Graph:
    """Nodes and constants from `INPUT` on. Equal constants of one part are stored once.

    >>> graph = Graph()
    >>> graph("Add", INPUT, graph.constant(np.float32(1)))
    '0'
    """

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[str, str, tuple[int, ...], bytes], onnx.TensorProto] = {}
        self._computed = 0

    def __call__(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """A node with one output; returns the output's name. An input that is left out is the empty name."""
        name = output or self._next()
        self._nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def split(self, tensor: str, into: int, *, axis: int, sizes: list[int] | None = None) -> list[str]:
        """The parts of a tensor, equal ones or those of `sizes`."""
        names = [self._next() for _ in range(into)]
        given = [] if sizes is None else [self.integers(*sizes)]
        self._nodes.append(helper.make_node("Split", [tensor, *given], names, axis=axis))
        return names

    def constant(self, values: Any, part: str = "graph") -> str:
        """The name of a stored tensor. part: a key of `PARTS`, for the byte table."""
        array = np.asarray(values)
        key = (part, array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            letter = PARTS[part]
            count = sum(tensor.name.startswith(letter) for tensor in self._constants.values())
            self._constants[key] = numpy_helper.from_array(array, letter + short(count))
        return self._constants[key].name

    def integers(self, *values: int) -> str:
        """Axes, sizes, pads: a stored int64 [n]."""
        return self.constant(np.array(values, np.int64))

    def number(self, value: float, part: str = "graph") -> str:
        """A stored float32 []."""
        return self.constant(np.float32(value), part)

    def model(self, *, state: int = 0) -> onnx.ModelProto:
        """The graph from PCM to A/D/V. Its last node has to put out `OUTPUT`.

        state: numbers that go in and come out beside them, and then there is an answer a token.
        """
        adv: dict[str, list[str | int]] = {OUTPUT: ["batch", *["tokens"] * bool(state), len(AXES)]}
        pcm: dict[str, list[str | int]] = {INPUT: ["batch", "samples"]}
        if state:
            pcm[STATE], adv[NEXT_STATE] = ["batch", state], ["batch", state]
        inputs, outputs = (
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in values.items()]
            for values in (pcm, adv)
        )
        graph = helper.make_graph(self._nodes, "g", inputs, outputs, list(self._constants.values()))
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)

    def _next(self) -> str:
        self._computed += 1
        return short(self._computed - 1)


def short(number: int) -> str:
    """A number to the base 36.

    >>> short(0), short(35), short(36)
    ('0', 'Z', '10')
    """
    return (short(number // 36) if number >= 36 else "") + _DIGITS[number % 36]


_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
