"""A whole benchmark of two tiny exported students."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.benchmark import benchmark

MakeStudent = Callable[..., Path]


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory, make_student: MakeStudent) -> tuple[Path, dict[str, Any]]:
    """The folder and the result of one real benchmark of two students."""
    folder = tmp_path_factory.mktemp("measured")
    models = [
        make_student(folder / "small.onnx"),
        make_student(folder / "large.onnx", hidden=4096, name="large", precision="int8", parameters=98_765),
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
