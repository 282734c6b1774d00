"""Tiny exported students and a whole benchmark of two of them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.benchmark import benchmark

MakeStudent = Callable[..., Path]

METADATA = {
    "name": "tiny", "sampling_rate": 16000, "axes": ["arousal", "dominance", "valence"], "derived": ["dominance"],
    "range": [0, 1], "shortest_seconds": 0.3, "licence": "MIT", "data_licence": "CC0-1.0", "lineage": [],
    "parameters": 17_234, "trainable": 16_001, "macs_per_second": 4_213_000.0, "tokens_per_second": 100.0,
    "hop_ms": 10.0, "precision": "float32",
}  # fmt: skip


@pytest.fixture(scope="session")
def make_student() -> MakeStudent:
    """make_student(path, hidden=8, **metadata): an ONNX file, the clip's mean through two matrices."""
    return _save_student


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder and the result of one real benchmark of two students."""
    folder = tmp_path_factory.mktemp("measured")
    models = [
        _save_student(folder / "small.onnx"),
        _save_student(folder / "large.onnx", hidden=4096, name="large", precision="int8", parameters=98_765),
    ]
    return folder / "report", benchmark(models, output=folder / "report", rounds=4, seconds=(0.5, 1, 5))


@pytest.fixture
def record(measured: tuple[Path, dict[str, Any]]) -> dict[str, Any]:
    """What benchmark.json holds, to be changed at will, with agreement filled in."""
    found = copy.deepcopy(measured[1])
    for place, model in enumerate(found["models"]):
        axes = {"arousal": 0.7149 - place / 10, "dominance": -0.0512, "valence": 0.5811}
        model["ccc"] = {
            axis: {"value": value, "low": value - 0.04, "high": value + 0.03} for axis, value in axes.items()
        }
        model["n_truth"] = 381
    return found


def _save_student(path: Path, *, hidden: int = 8, **metadata: Any) -> Path:
    values = np.random.default_rng(0)
    weights = {"inward": values.normal(size=(1, hidden)), "outward": values.normal(size=(hidden, 3)) / hidden}
    nodes = [
        helper.make_node("ReduceMean", ["pcm", "axes"], ["mean"], keepdims=1),
        helper.make_node("MatMul", ["mean", "inward"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "outward"], ["adv"]),
    ]
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    constants.append(numpy_helper.from_array(np.array([1], np.int64), "axes"))
    pcm = helper.make_tensor_value_info("pcm", TensorProto.FLOAT, ["batch", "samples"])
    adv = helper.make_tensor_value_info("adv", TensorProto.FLOAT, ["batch", 3])
    graph = helper.make_graph(nodes, "tiny", [pcm], [adv], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {key: json.dumps(value) for key, value in {**METADATA, **metadata}.items()})
    onnx.save(model, str(path))
    return path
