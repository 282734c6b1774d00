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
from export.graph.memory import WholeClip, memory_of, ramp
from export.graph.writer import Graph
from students.quantised import blocks_of
from students.stored import stored
from students.wav2small import CHANNELS, LANES, SCORES, Vgg7, Wav2Small

#: Zeros that fill up channels when the file is loaded.
SPARE = LANES - CHANNELS


def float_graph(student: Vgg7, lacking: np.ndarray | None = None, *, step: bool = False) -> onnx.ModelProto:
    """The whole student. lacking: what is added to the answers, [3]: NaN on the axes that nobody taught. step: token by
    token, with a state; of a student that is causal."""
    return graph_of(student, stored(student), lacking, step=step)


def graph_of(
    student: Vgg7, kept: Mapping[str, Tensor], lacking: np.ndarray | None = None, *, step: bool = False
) -> onnx.ModelProto:  # fmt: skip
    """The graph of a student's layout with what `stored` names, whatever its values."""
    graph, memory = Graph(), memory_of(step=step)
    x, mels, channels = _log_mel(graph, student, memory), student.frontend.mels, 1
    before, behind = student.pads
    for name in blocks_of(student):
        if name == "coarse_0":
            x, mels = memory.before(graph, x, [LANES, mels, 1], 3), student.bands
            x = graph("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, memory.zeros(1)] * 2)
        x, channels = memory.before(graph, x, [channels, mels, before], 3), LANES
        weight, bias = _kernel(graph, kept[f"{name}.weight"]), _filled(graph, kept[f"{name}.bias"], [0], [SPARE])
        x = graph("Relu", graph("Conv", x, weight, bias, pads=[1, memory.zeros(before), 1, behind]))
    pooling = _whole_pooling if isinstance(student, Wav2Small) else _apart_pooling
    pooled = pooling(graph, student, kept, x, memory)
    head = graph.constant(numpy(kept["head.weight"]), "weights")
    answer(graph, pooled, head, numpy(kept["head.bias"]), lacking, memory)
    return graph.model(state=memory.close(graph))


def answer(
    graph: Graph, pooled: str, weight: str, bias: np.ndarray, lacking: np.ndarray | None, memory: WholeClip
) -> None:  # fmt: skip
    """The head, weight [3, width] and bias [3], on pooled [batch, width], or one a token."""
    shift = graph.constant(bias if lacking is None else bias + lacking, "weights")
    if memory.carries:  # no Gemm takes three axes
        product = graph("MatMul", pooled, graph("Transpose", weight, perm=[1, 0]))
        graph("Add", product, shift, output=OUTPUT)
    else:
        graph("Gemm", pooled, weight, shift, transB=1, output=OUTPUT)


def gram_beside(graph: Graph, pooled: str) -> str:
    """[batch, channels, mels] with its products of channels behind it, flat."""
    products = graph("MatMul", pooled, graph("Transpose", pooled, perm=[0, 2, 1]))
    return graph("Flatten", graph("Concat", pooled, products, axis=2))


def numpy(tensor: Tensor | None) -> np.ndarray:
    """A tensor's values, detached from what computed them."""
    assert tensor is not None
    return np.ascontiguousarray(tensor.detach().numpy())


def _log_mel(graph: Graph, student: Vgg7, memory: WholeClip) -> str:
    """[batch, 1, mels, frames] in nepers."""
    kernels, bins = frontend.dft(graph, student.frontend)
    mel = graph("Transpose", frontend.mel_filters(graph, student.frontend, bins), perm=[1, 0])
    power = frontend.power(graph, frontend.levelled(graph, student.level, memory), student.frontend, kernels)
    return graph("Unsqueeze", frontend.nepers(graph, graph("MatMul", mel, power)), graph.integers(1))


def _kernel(graph: Graph, weight: Tensor) -> str:
    """A convolution's weight with time last, and both its channels filled up; one input channel stays one."""
    more = 0 if weight.shape[1] == 1 else SPARE
    return _filled(graph, weight.transpose(2, 3), [0, 0, 0, 0], [SPARE, more, 0, 0])


def _filled(graph: Graph, values: Tensor, before: list[int], after: list[int]) -> str:
    """Stored values with zeros before and after them on every axis."""
    return graph("Pad", graph.constant(numpy(values), "weights"), graph.integers(*before, *after))


def _whole_pooling(graph: Graph, student: Vgg7, kept: Mapping[str, Tensor], x: str, memory: WholeClip) -> str:
    """x [batch, 16, mels, tokens] -> [batch, 169], or one a token. lin and sof are one product, with tokens last."""
    both = _lin_and_sof(kept).reshape(-1, CHANNELS, student.bands)
    stored = graph("Pad", graph.constant(both, "weights"), graph.integers(0, 0, 0, 0, SPARE, 0))
    matrix = graph("Reshape", stored, graph.integers(len(both), -1))
    flat = graph("Reshape", x, graph.integers(0, LANES * student.bands, -1))
    values, scores = graph.split(graph("MatMul", matrix, flat), 2, axis=1)
    if memory.carries:
        pooled = token_by_token(graph, values, scores, len(both) // 2, student.forgetting, memory)
    else:
        pooled = _over_time(graph, values, _faded(graph, scores, student.forgetting))
    return graph("Add", pooled, graph.constant(numpy(kept["lin.bias"]), "weights"))


def _faded(graph: Graph, scores: str, forgetting: float) -> str:
    """As `students.wav2small.faded`; scores: [batch, width, tokens]."""
    if not forgetting:
        return scores
    return graph("Sub", cut_off(graph, scores), ramp(graph, graph("Shape", scores, start=2, end=3), forgetting))


def cut_off(graph: Graph, scores: str) -> str:
    """Scores between -`SCORES` and `SCORES`."""
    return graph("Clip", scores, graph.number(-SCORES), graph.number(SCORES))


def token_by_token(
    graph: Graph, values: str, scores: str, width: int, forgetting: float, memory: WholeClip
) -> str:  # fmt: skip
    """Both [batch, width, tokens] -> what is pooled up to every token, [batch, tokens, width]."""
    weights = graph("Exp", cut_off(graph, scores))
    added = graph("Concat", graph("Mul", values, weights), weights, axis=1)
    above, below = graph.split(memory.running_sums(graph, added, 2 * width, forgetting), 2, axis=1)
    return graph("Transpose", graph("Div", above, below), perm=[0, 2, 1])


def _apart_pooling(graph: Graph, student: Vgg7, kept: Mapping[str, Tensor], x: str, memory: WholeClip) -> str:
    """x [batch, 16, mels, tokens] -> [batch, 13 * (mels + 13)]; no causal student pools so."""
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
