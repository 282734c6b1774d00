"""What a graph keeps of the audio before: nothing where it answers whole clips, a state where it goes token by token.

The graphs of `vgg` and `integer` ask it for what stood before a tensor; so one writer makes both kinds of file. The
state is one vector, float32 [batch, n], zeros before anything was heard; only the file knows what is where in it.
"""

from __future__ import annotations

from math import prod

import numpy as np
from onnx import TensorProto

from distill.streaming import NEXT_STATE, STATE
from export.graph.writer import Graph
from students.streaming import BLOCK


class WholeClip:
    """Before a clip there are zeros."""

    carries = False

    def before(self, graph: Graph, x: str, shape: list[int], axis: int, *, integer: bool = False) -> str:
        """x behind what stood before it along an axis: `shape` of it, without the batch."""
        return x

    def zeros(self, steps: int) -> int:
        """How many of so many steps before x the operator has to fill up itself."""
        return steps

    def running_sums(self, graph: Graph, x: str, rows: int, forgetting: float) -> str:
        """As of `students.streaming`: y_t = exp(-forgetting) y_(t-1) + x_t. x: [batch, rows, steps]."""
        steps = _steps(graph, x)
        more = graph("Mod", graph("Sub", graph.integers(0), steps), graph.integers(BLOCK))
        filled = graph("Pad", x, graph("Concat", graph.integers(0, 0, 0, 0, 0), more, axis=0))
        blocked = graph("Reshape", filled, graph.integers(0, rows, -1, BLOCK))
        within = graph("MatMul", blocked, _decays(graph, graph.integers(BLOCK), forgetting))
        ends = graph("Gather", within, graph.constant(np.int64(BLOCK - 1)), axis=3)
        earlier = graph("MatMul", ends, _decays(graph, _steps(graph, ends), forgetting * BLOCK, since=1))
        left = _what_is_left(graph, graph.integers(BLOCK), forgetting)
        kept = graph("Mul", graph("Unsqueeze", earlier, graph.integers(3)), left)
        whole = graph("Reshape", graph("Add", within, kept), graph.integers(0, rows, -1))
        return graph("Slice", whole, graph.integers(0), steps, graph.integers(2))

    def close(self, graph: Graph) -> int:
        """Put the next state together; returns its size."""
        return 0


class Carried(WholeClip):
    """Before the samples stands what the state says, and all that was asked for goes into the next state."""

    carries = True

    def __init__(self) -> None:
        self._size, self._kept = 0, list[str]()

    def before(self, graph: Graph, x: str, shape: list[int], axis: int, *, integer: bool = False) -> str:
        earlier = self._part(graph, shape)
        earlier = graph("Cast", earlier, to=TensorProto.UINT8) if integer else earlier
        both = graph("Concat", earlier, x, axis=axis)
        last = graph("Slice", both, graph.integers(-shape[axis - 1]), graph.integers(_END), graph.integers(axis))
        self._keep(graph, graph("Cast", last, to=TensorProto.FLOAT) if integer else last)
        return both

    def zeros(self, steps: int) -> int:
        return 0

    def running_sums(self, graph: Graph, x: str, rows: int, forgetting: float) -> str:
        """x: [batch, rows, steps], few of them: one product takes all."""
        steps = _steps(graph, x)
        sums = graph("MatMul", x, _decays(graph, steps, forgetting))
        left = _what_is_left(graph, steps, forgetting)
        found = graph("Add", sums, graph("Mul", self._part(graph, [rows, 1]), left))
        self._keep(graph, graph("Slice", found, graph.integers(-1), graph.integers(_END), graph.integers(2)))
        return found

    def close(self, graph: Graph) -> int:
        graph("Concat", *self._kept, axis=1, output=NEXT_STATE)
        return self._size

    def _part(self, graph: Graph, shape: list[int]) -> str:
        """The next part of the state, as [batch, *shape]."""
        start, self._size = self._size, self._size + prod(shape)
        part = graph("Slice", STATE, graph.integers(start), graph.integers(self._size), graph.integers(1))
        return graph("Reshape", part, graph.integers(0, *shape))

    def _keep(self, graph: Graph, x: str) -> None:
        self._kept.append(graph("Flatten", x))


def memory_of(*, step: bool) -> WholeClip:
    """Of a graph that answers token by token, or of one that answers whole clips."""
    return Carried() if step else WholeClip()


#: Where a slice to the end ends.
_END = np.iinfo(np.int64).max


def _steps(graph: Graph, x: str) -> str:
    """Of the last of three axes: int64 [1]."""
    return graph("Shape", x, start=2, end=3)


def _decays(graph: Graph, steps: str, forgetting: float, since: int = 0) -> str:
    """`students.streaming.decays`. steps: int64 [1]."""
    place = _places(graph, steps)
    ago = graph("Sub", place, graph("Unsqueeze", place, graph.integers(1)))
    ago = graph("Sub", ago, graph.number(since)) if since else ago
    left = _exponential(graph, graph("Max", ago, graph.number(0)), forgetting)
    return graph("Where", graph("Less", ago, graph.number(0)), graph.number(0), left)


def _what_is_left(graph: Graph, steps: str, forgetting: float) -> str:
    """`students.streaming.what_is_left`. steps: int64 [1]."""
    return _exponential(graph, graph("Add", _places(graph, steps), graph.number(1)), forgetting)


def _exponential(graph: Graph, steps: str, forgetting: float) -> str:
    return graph("Exp", graph("Mul", steps, graph.number(-forgetting, "front_end")))


def _places(graph: Graph, steps: str) -> str:
    """0, 1, 2 ...: float32 [steps]."""
    zero, one = (graph.constant(np.int64(value)) for value in (0, 1))
    place = graph("Range", zero, graph("Squeeze", steps), one)
    return graph("Cast", place, to=TensorProto.FLOAT)


def ramp(graph: Graph, steps: str, forgetting: float) -> str:
    """What scores lose that later ones stand behind, as `students.wav2small.faded` has it: float32 [steps]."""
    last = graph("Cast", graph("Sub", steps, graph.integers(1)), to=TensorProto.FLOAT)
    return graph("Mul", graph("Sub", last, _places(graph, steps)), graph.number(forgetting))
