"""Wav2Small in float32, as onnxruntime computes it fastest: 16 channels, time last.

Measured against the graph that torch exports (docs/exporting.md): convolutions take whole vectors of channels, the mel
product needs no transposed frames, and the softmax runs along memory.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from torch import Tensor

from distill.student import OUTPUT
from export.graph import frontend
from export.graph.writer import Graph
from students.quantised import blocks_of
from students.stored import stored
from students.wav2small import CHANNELS, LANES, Vgg7, Wav2Small

#: Zeros that fill up channels when the file is loaded.
SPARE = LANES - CHANNELS


def float_graph(student: Vgg7, lacking: np.ndarray | None = None) -> onnx.ModelProto:
    """The whole student. lacking: what is added to the answers, [3]: NaN on the axes that nobody taught."""
    return graph_of(student, stored(student), lacking)


def graph_of(student: Vgg7, kept: Mapping[str, Tensor], lacking: np.ndarray | None = None) -> onnx.ModelProto:
    """The graph of a student's layout with what `stored` names, whatever its values."""
    graph = Graph()
    x = _log_mel(graph, student)
    for name in blocks_of(student):
        if name == "coarse_0":
            x = graph("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        weight, bias = _kernel(graph, kept[f"{name}.weight"]), _filled(graph, kept[f"{name}.bias"], [0], [SPARE])
        x = graph("Relu", graph("Conv", x, weight, bias, pads=[1] * 4))
    pooling = _whole_pooling if isinstance(student, Wav2Small) else _apart_pooling
    answer(graph, pooling(graph, student, kept, x), kept["head.weight"], kept["head.bias"], lacking)
    return graph.model()


def answer(graph: Graph, pooled: str, weight: Tensor, bias: Tensor, lacking: np.ndarray | None) -> None:
    """The head, on pooled [batch, width]."""
    shift = numpy(bias) if lacking is None else numpy(bias) + lacking
    kept, shift = graph.constant(numpy(weight), "weights"), graph.constant(shift, "weights")
    graph("Gemm", pooled, kept, shift, transB=1, output=OUTPUT)


def gram_beside(graph: Graph, pooled: str) -> str:
    """[batch, channels, mels] with its products of channels behind it, flat."""
    products = graph("MatMul", pooled, graph("Transpose", pooled, perm=[0, 2, 1]))
    return graph("Flatten", graph("Concat", pooled, products, axis=2))


def numpy(tensor: Tensor | None) -> np.ndarray:
    """A tensor's values, detached from what computed them."""
    assert tensor is not None
    return np.ascontiguousarray(tensor.detach().numpy())


def _log_mel(graph: Graph, student: Vgg7) -> str:
    """[batch, 1, mels, frames] in nepers."""
    kernels, bins = frontend.dft(graph, student.frontend)
    mel = graph("Transpose", frontend.mel_filters(graph, student.frontend, bins), perm=[1, 0])
    power = frontend.power(graph, frontend.normalised(graph), student.frontend, kernels)
    return graph("Unsqueeze", frontend.nepers(graph, graph("MatMul", mel, power)), graph.integers(1))


def _kernel(graph: Graph, weight: Tensor) -> str:
    """A convolution's weight with time last, and both its channels filled up; one input channel stays one."""
    more = 0 if weight.shape[1] == 1 else SPARE
    return _filled(graph, weight.transpose(2, 3), [0, 0, 0, 0], [SPARE, more, 0, 0])


def _filled(graph: Graph, values: Tensor, before: list[int], after: list[int]) -> str:
    """Stored values with zeros before and after them on every axis."""
    return graph("Pad", graph.constant(numpy(values), "weights"), graph.integers(*before, *after))


def _whole_pooling(graph: Graph, student: Vgg7, kept: Mapping[str, Tensor], x: str) -> str:
    """x [batch, 16, mels, tokens] -> [batch, 169]. lin and sof are one product, with tokens last."""
    both = _lin_and_sof(kept).reshape(-1, CHANNELS, student.bands)
    stored = graph("Pad", graph.constant(both, "weights"), graph.integers(0, 0, 0, 0, SPARE, 0))
    matrix = graph("Reshape", stored, graph.integers(len(both), -1))
    flat = graph("Reshape", x, graph.integers(0, LANES * student.bands, -1))
    values, scores = graph.split(graph("MatMul", matrix, flat), 2, axis=1)
    pooled = _over_time(graph, values, scores)
    return graph("Add", pooled, graph.constant(numpy(kept["lin.bias"]), "weights"))


def _apart_pooling(graph: Graph, student: Vgg7, kept: Mapping[str, Tensor], x: str) -> str:
    """x [batch, 16, mels, tokens] -> [batch, 13 * (mels + 13)]."""
    both = graph.constant(_lin_and_sof(kept), "weights")
    weight = graph("Pad", both, graph.integers(0, 0, 0, 0, 0, SPARE, 0, 0))
    values, scores = graph.split(graph("Conv", x, weight), 2, axis=1)
    bias = graph.constant(numpy(kept["lin.bias"])[:, None], "weights")
    return gram_beside(graph, graph("Add", _over_time(graph, values, scores), bias))


def _lin_and_sof(kept: Mapping[str, Tensor]) -> np.ndarray:
    """One above the other."""
    return np.concatenate([numpy(kept["lin.weight"]), numpy(kept["sof.weight"])])


def _over_time(graph: Graph, values: str, scores: str) -> str:
    """Values weighted by the softmax of scores along the last axis, and summed. The bias of the scores would cancel,
    that of the values goes through unchanged: the weights sum to one."""
    weighted = graph("Mul", values, graph("Softmax", scores, axis=-1))
    return graph("ReduceSum", weighted, graph.integers(-1), keepdims=0)
