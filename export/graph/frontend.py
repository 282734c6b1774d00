"""The front-end in the graph: DFT and mel filters are computed from ranges and cosines when the file is loaded.

onnxruntime folds what hangs on no input into constants: they cost no bytes in the file, and no time in an answer.
"""

from __future__ import annotations

import math

import numpy as np
from onnx import TensorProto
from torch import nn

from distill.audio import SAMPLING_RATE
from distill.student import INPUT
from export.graph.memory import WholeClip
from export.graph.writer import Graph
from students.frontend import POWER_FLOOR, VARIANCE_FLOOR, FoldedLogMel, LogMel, mel_edges
from students.streaming import FRAME, LEVEL_FLOOR, LEVEL_FORGETTING, TOKEN, RunningLevel


def levelled(graph: Graph, level: nn.Module, memory: WholeClip) -> str:
    """PCM as the student normalises it: [batch, 1, samples]."""
    return _by_running_level(graph, memory) if isinstance(level, RunningLevel) else normalised(graph)


def _by_running_level(graph: Graph, memory: WholeClip) -> str:
    """As `RunningLevel` computes it, of whole tokens of samples."""
    samples = graph("Shape", INPUT, start=1, end=2)
    whole = graph("Mul", graph("Div", samples, graph.integers(TOKEN)), graph.integers(TOKEN))
    cut = graph("Slice", INPUT, graph.integers(0), whole, graph.integers(1))
    framed = graph("Reshape", cut, graph.integers(0, -1, FRAME))
    centred = graph("Sub", framed, graph("ReduceMean", framed, axes=[2]))
    power = graph("Transpose", graph("ReduceMean", graph("Mul", centred, centred), axes=[2]), perm=[0, 2, 1])
    sums = memory.running_sums(graph, graph("Concat", graph("Mul", power, power), power, axis=1), 2, LEVEL_FORGETTING)
    above, below = graph.split(sums, 2, axis=1)
    floor, squared = graph.number(LEVEL_FLOOR, "front_end"), graph.number(LEVEL_FLOOR**2, "front_end")
    level = graph("Div", graph("Add", above, squared), graph("Add", below, floor))
    scale = graph("Transpose", graph("Sqrt", graph("Add", level, floor)), perm=[0, 2, 1])
    return graph("Reshape", graph("Div", centred, scale), graph.integers(0, 1, -1))


def normalised(graph: Graph) -> str:
    """PCM with zero mean and unit variance per clip [batch, 1, samples]: an instance normalisation has the same floor
    on the variance."""
    scale, shift = graph.constant(np.ones(1, np.float32)), graph.constant(np.zeros(1, np.float32))
    return graph("InstanceNormalization", graph("Unsqueeze", INPUT, graph.integers(1)), scale, shift,
                 epsilon=VARIANCE_FLOOR)  # fmt: skip


def power(graph: Graph, normalised: str, frontend: LogMel, kernels: str) -> str:
    """Squares of the real and imaginary parts of the frames' DFT: [batch, n_fft, frames]."""
    transform = _folded if isinstance(frontend, FoldedLogMel) else _convolved
    parts = transform(graph, normalised, frontend, kernels)
    return graph("Mul", parts, parts)


def _convolved(graph: Graph, normalised: str, frontend: LogMel, kernels: str) -> str:
    return graph("Conv", normalised, kernels, strides=[frontend.hop])


def _folded(graph: Graph, normalised: str, frontend: LogMel, kernels: str) -> str:
    """As `FoldedLogMel` computes it; the two products take their halves of the kernels."""
    n, middle = frontend.n_fft, frontend.n_fft // 2
    samples = graph("Slice", graph("Shape", normalised), graph.integers(2), graph.integers(3))
    whole = graph("Mul", graph("Div", samples, graph.integers(n)), graph.integers(n))
    cut = graph("Slice", normalised, graph.integers(0), whole, graph.integers(2))
    framed = graph("Reshape", cut, graph.integers(0, -1, n))
    first, ahead, half, last = graph.split(framed, 4, axis=2, sizes=[1, middle - 1, 1, middle - 1])
    behind = graph("Slice", last, graph.integers(-1), graph.integers(-n), graph.integers(2), graph.integers(-1))
    sums = graph("Concat", first, graph("Add", ahead, behind), half, axis=2)
    rows = graph("Squeeze", kernels, graph.integers(1))
    cosines, sines = graph.split(rows, 2, axis=0, sizes=[middle + 1, middle - 1])
    real = graph("MatMul", sums, graph("Transpose", _columns(graph, cosines, 0, middle + 1), perm=[1, 0]))
    odd = graph("Transpose", _columns(graph, sines, 1, middle), perm=[1, 0])
    imaginary = graph("MatMul", graph("Sub", ahead, behind), odd)
    return graph("Transpose", graph("Concat", real, imaginary, axis=2), perm=[0, 2, 1])


def _columns(graph: Graph, matrix: str, first: int, end: int) -> str:
    return graph("Slice", matrix, graph.integers(first), graph.integers(end), graph.integers(1))


def dft(graph: Graph, frontend: LogMel) -> tuple[str, str]:
    """The windowed DFT as one convolution's weight [n_fft, 1, n_fft], and the bin of each of its rows [n_fft, 1].

    Row r <= n_fft / 2 is the cosine of bin r. Row r above is the one of bin n_fft - r a quarter of a turn later, its
    sine but for the sign, which the square takes away. The sines of the first and the last bin are zero, and left out.
    Phases are whole numbers until the last moment: float32 has no digits for many turns.
    """
    n = frontend.n_fft
    time = graph("Range", _integer(graph, 0), _integer(graph, n), _integer(graph, 1))
    row = graph("Unsqueeze", time, graph.integers(1))
    quarter = graph("Mul", graph("Div", row, _integer(graph, n // 2 + 1)), _integer(graph, n // 4))
    phase = graph("Mod", graph("Add", graph("Mul", row, time), quarter), _integer(graph, n))
    turns = graph("Mul", graph("Cast", phase, to=TensorProto.FLOAT), graph.number(2 * math.pi / n, "front_end"))
    waves = graph("Cos", turns)
    half = graph.number(0.5, "front_end")
    window = graph("Sub", half, graph("Mul", half, graph("Gather", waves, graph.integers(1))))  # periodic Hann
    bins = graph("Min", row, graph("Sub", _integer(graph, n), row))
    kernels = graph("Unsqueeze", graph("Mul", waves, window), graph.integers(1))
    return kernels, graph("Cast", bins, to=TensorProto.FLOAT)


def mel_filters(graph: Graph, frontend: LogMel, bins: str) -> str:
    """The triangles from the edges between them: [n_fft, mels]. bins: of each row of the DFT, [n_fft, 1]."""
    hertz = mel_edges(frontend.mels)
    edges = graph.constant((hertz * frontend.n_fft / SAMPLING_RATE).astype(np.float32), "front_end")
    low, middle, high = (_from(graph, edges, first, frontend.mels) for first in range(3))
    rising = graph("Div", graph("Sub", bins, low), graph("Sub", middle, low))
    falling = graph("Div", graph("Sub", high, bins), graph("Sub", high, middle))
    triangles = graph("Max", graph("Min", rising, falling), graph.number(0.0))
    width = graph("Mul", graph("Sub", high, low), graph.number(SAMPLING_RATE / frontend.n_fft / 2, "front_end"))
    return graph("Div", triangles, width)  # Slaney's area norm


def nepers(graph: Graph, mel: str, floor: str | None = None) -> str:
    """The natural logarithm of mel power, not below the floor."""
    return graph("Log", graph("Max", mel, floor or graph.number(POWER_FLOOR, "front_end")))


def _from(graph: Graph, vector: str, first: int, count: int) -> str:
    return graph("Slice", vector, graph.integers(first), graph.integers(first + count))


def _integer(graph: Graph, value: int) -> str:
    return graph.constant(np.int64(value))
