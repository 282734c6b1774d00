"""What is taken out of a graph that torch wrote does not move its answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch

from distill.annotation import AXES
from export.graph.passes import frontend_made, without_names
from export.ladder import session_answer
from export.onnx import Answering, write_float
from tests.toys.student import Bands


def test_front_end_and_names_are_spared(tmp_path: Path) -> None:
    torch.manual_seed(0)
    student = Bands().eval()
    write_float(Answering(student, AXES), tmp_path / "a.onnx")
    slim = without_names(frontend_made(onnx.load(tmp_path / "a.onnx"), student.frontend))
    onnx.checker.check_model(slim)
    onnx.save(slim, tmp_path / "b.onnx")
    stored = 4 * (2 * 129 * 256 + 129 * 20)
    assert (tmp_path / "b.onnx").stat().st_size < (tmp_path / "a.onnx").stat().st_size - stored
    assert not any(node.name for node in slim.graph.node) and not slim.graph.value_info
    for samples in (4_000, 16_001):
        pcm = np.random.default_rng(0).standard_normal((2, samples)).astype(np.float32)
        plain, small = (session_answer(tmp_path / name)(pcm) for name in ("a.onnx", "b.onnx"))
        np.testing.assert_allclose(small, plain, atol=1e-4)
