"""What is packed into bytes comes out of the graph as it went in."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from distill.student import INPUT
from export.graph.weights import Stored, expanded, packed
from export.graph.writer import Graph
from students.quantised import LARGEST


def levels_of(bits: int, *shape: int) -> np.ndarray:
    rng, largest = np.random.default_rng(bits), LARGEST[bits]
    if bits == 8:
        return rng.integers(-largest, largest + 1, shape).astype(np.float32)
    return (2 * rng.integers(0, 2**bits, shape) - largest).astype(np.float32)


@pytest.mark.parametrize("bits", LARGEST)
def test_weights_of_all_shapes_come_out_as_they_went_in(bits: int) -> None:
    weights = {"a": levels_of(bits, 3, 5), "b": levels_of(bits, 13, 1, 3, 3), "c": levels_of(bits, 2)}
    graph = Graph()
    names = expanded(graph, {name: Stored(levels, bits) for name, levels in weights.items()})
    graph("Identity", INPUT, output="adv")
    model = graph.model()
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names.values())
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(list(names.values()), {INPUT: np.zeros((1, 3), np.float32)})
    for name, tensor in zip(names, found, strict=True):
        assert tensor.dtype == np.int8 and np.array_equal(tensor, weights[name])


@pytest.mark.parametrize("bits", [2, 4])
def test_bytes_are_full(bits: int) -> None:
    for count in range(1, 9):
        assert len(packed(levels_of(bits, count), bits)) == -(-count * bits // 8)
