"""The graph in integers is the rounded network, at any length, with any batch; and onnxruntime keeps it in integers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from distill.student import INPUT
from export.calibration import observe
from export.graph.integer import integer_graph
from export.graph.vgg import float_graph
from students.catalogue import build
from students.quantised import QuantisedVgg, layers_of

LAYOUTS = ("wav2small", "wav2small-lite", "wav2small-stream", "wav2small-17k")


def noise(batch: int, seconds: float) -> np.ndarray:
    return np.random.default_rng(3).standard_normal((batch, int(16_000 * seconds))).astype(np.float32)


def rounded(name: str, bits: int = 8) -> QuantisedVgg:
    torch.manual_seed(1)
    student = build(name).eval()
    return QuantisedVgg(student, dict.fromkeys(layers_of(student), bits), observe(student, list(noise(2, 1.0)))).eval()


def session(model: onnx.ModelProto, optimised: Path | None = None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if optimised:
        options.optimized_model_filepath = str(optimised)
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("batch, seconds", [(1, 0.25), (3, 0.7), (1, 2.011)])
def test_integers_answer_as_the_rounded_network(name: str, bits: int, batch: int, seconds: float) -> None:
    network, pcm = rounded(name, bits), noise(batch, seconds)
    (found,) = session(integer_graph(network)).run(None, {INPUT: pcm})
    with torch.inference_mode():
        expected = network(torch.from_numpy(pcm)).numpy()
    assert np.abs(found - expected).max() < 0.01 * np.abs(expected).max()


@pytest.mark.parametrize("name", LAYOUTS)
def test_float_graph_answers_as_the_student(name: str) -> None:
    torch.manual_seed(1)
    student, pcm = build(name).eval(), noise(2, 1.3)
    (found,) = session(float_graph(student)).run(None, {INPUT: pcm})
    with torch.inference_mode():
        np.testing.assert_allclose(found, student(torch.from_numpy(pcm)).numpy(), rtol=1e-3, atol=1e-4)


def test_an_axis_nobody_taught_is_nan() -> None:
    lacking = np.array([0, np.nan, 0], np.float32)
    network = rounded("wav2small")
    for model in (integer_graph(network, lacking), float_graph(build("wav2small").eval(), lacking)):
        (found,) = session(model).run(None, {INPUT: noise(1, 0.5)})
        assert np.isnan(found[0]).tolist() == [False, True, False]


def test_onnxruntime_keeps_the_trunk_in_integers(tmp_path: Path) -> None:
    """Two float islands: the front-end, and what stands behind lin and sof."""
    session(integer_graph(rounded("wav2small", 4)), tmp_path / "optimised.onnx")
    nodes = onnx.load(tmp_path / "optimised.onnx").graph.node
    count = Counter(node.op_type for node in nodes)
    assert count["QLinearConv"] == 7 and count["MatMulIntegerToFloat"] == 2
    assert count["QuantizeLinear"] == 1 and not count["DequantizeLinear"]
    assert not {"Pad", "Tile", "Range", "Cos", "Split", "Mod"} & count.keys(), "folded when it was loaded"
    between = [node.op_type for node in nodes]
    first, last = between.index("QuantizeLinear"), between.index("MatMulIntegerToFloat")
    assert set(between[first + 1 : last]) <= {"Reshape", "QLinearConv", "NhwcMaxPool", "Transpose"}
