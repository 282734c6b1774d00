"""What every exported graph can be spared, whoever wrote it: model in, model out, the same answers."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from distill.student import INPUT, OUTPUT
from export.graph import frontend
from export.graph.writer import PARTS, Graph, short
from students.frontend import LogMel
from students.quantised import DECIBELS

#: The module that `frontend_made` replaces, as the exporter by tracing names its nodes.
FRONTEND = "/frontend/"

#: Names that stay: the graph's input and output, and that of an input that is left out.
_FIXED = {INPUT, OUTPUT, ""}


def frontend_made(model: onnx.ModelProto, layer: LogMel) -> onnx.ModelProto:
    """The stored DFT and mel matrices replaced by ones computed at load: 20 KB less. Exact but for float32's rounding,
    since the two parts of the DFT are one convolution, whose squares one mel product adds up."""
    nodes = list(model.graph.node)
    inside = [index for index, node in enumerate(nodes) if FRONTEND in node.name]
    stored = {tensor.name for tensor in model.graph.initializer}
    made = {name for index in inside for name in nodes[index].output}
    needed = [name for index in inside for name in nodes[index].input if name and name not in made | stored]
    constants = {node.output[0] for node in nodes if node.op_type == "Constant"}
    (source,) = {name for name in needed if name not in constants}
    result = nodes[inside[-1]].output[0]
    graph = Graph()
    _decibels(graph, layer, _old(source), _old(result))
    written = graph.model().graph
    rest = [node for index, node in enumerate(nodes) if index not in set(inside)]
    first = next((index + 1 for index, node in enumerate(rest) if source in node.output), 0)
    _renamed(rest, model.graph.initializer, _old)
    found = onnx.ModelProto()
    found.CopyFrom(model)
    del found.graph.node[:]
    found.graph.node.extend([*rest[:first], *written.node, *rest[first:]])
    found.graph.initializer.extend(written.initializer)
    return without_unused(found)


def without_unused(model: onnx.ModelProto) -> onnx.ModelProto:
    """Stored tensors and constants that nothing reads."""
    read = {name for node in model.graph.node for name in node.input} | {OUTPUT}
    nodes = [node for node in model.graph.node if node.op_type != "Constant" or node.output[0] in read]
    tensors = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(tensors)
    return model


def without_names(model: onnx.ModelProto) -> onnx.ModelProto:
    """Names of nodes and shapes of what is between them serve readers, not runtimes. Tensors get short ones, which tell
    the byte table what they belong to; constants that stand among the nodes are stored beside the others."""
    _constants_stored(model)
    names = _short_names(model)
    _renamed(list(model.graph.node), model.graph.initializer, lambda name: names.get(name, name))
    for node in model.graph.node:
        node.ClearField("name")
        node.ClearField("doc_string")
    model.graph.ClearField("value_info")
    model.graph.name = "g"
    return model


def _decibels(graph: Graph, layer: LogMel, source: str, result: str) -> None:
    """Normalised PCM [batch, samples] to log-mel [batch, frames, mels]."""
    kernels, bins = frontend.dft(graph, layer)
    mel = frontend.mel_filters(graph, layer, bins)
    power = frontend.power(graph, graph("Unsqueeze", source, graph.integers(1)), layer, kernels)
    nepers = frontend.nepers(graph, graph("MatMul", graph("Transpose", power, perm=[0, 2, 1]), mel))
    graph("Mul", nepers, graph.number(DECIBELS, "front_end"), output=result)


def _old(name: str) -> str:
    return name if name in _FIXED else f"old.{name}"


def _constants_stored(model: onnx.ModelProto) -> None:
    constants = [node for node in model.graph.node if node.op_type == "Constant"]
    for node in constants:
        tensor = TensorProto()
        tensor.CopyFrom(node.attribute[0].t)
        tensor.name = node.output[0]
        model.graph.initializer.append(tensor)
        model.graph.node.remove(node)


def _short_names(model: onnx.ModelProto) -> dict[str, str]:
    """A new name for every tensor but the graph's own input and output."""
    stored = {tensor.name: PARTS[_part(tensor)] for tensor in model.graph.initializer}
    computed = dict.fromkeys((name for node in model.graph.node for name in node.output), "")
    letters = {name: letter for name, letter in {**stored, **computed}.items() if name and name != OUTPUT}
    return {name: letter + short(number) for number, (name, letter) in enumerate(letters.items())}


def _part(tensor: onnx.TensorProto) -> str:
    """A key of `PARTS`. Names of our own writing have their letter already; those of torch and onnxruntime say more."""
    own = {letter: part for part, letter in PARTS.items()}
    if re.fullmatch("[a-z][0-9A-Z]+", tensor.name) and tensor.name[0] in own:
        return own[tensor.name[0]]
    if tensor.name.endswith(("_scale", "_zero_point")):
        return "scales"
    return "weights" if numpy_helper.to_array(tensor).dtype in _WEIGHTS and len(tensor.dims) else "graph"


_WEIGHTS = {np.dtype(kind) for kind in (np.float32, np.int8, np.uint8, np.int32)}


def _renamed(nodes: list[onnx.NodeProto], tensors: object, new: Callable[[str], str]) -> None:
    """Every tensor by its new name; the graph's input and output, and inputs left out, keep theirs."""
    for node in nodes:
        for names in (node.input, node.output):
            names[:] = [name if name in _FIXED else new(name) for name in names]
    for tensor in tensors:  # type: ignore[attr-defined]
        tensor.name = new(tensor.name)
