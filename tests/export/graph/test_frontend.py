"""The front-end that is computed when a file is loaded is the one that was trained on."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from distill.student import INPUT
from export.graph import frontend
from export.graph.writer import Graph
from students.frontend import FoldedLogMel, LogMel, dft_kernels, mel_matrix, normalise
from students.quantised import DECIBELS


def computed(graph: Graph, *names: str, pcm: np.ndarray | None = None) -> list[np.ndarray]:
    graph("Identity", names[0], output="adv")
    model = graph.model()
    del model.graph.output[:]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(list(names), {INPUT: np.zeros((1, 16), np.float32) if pcm is None else pcm})


@pytest.mark.parametrize("n_fft, mels", [(64, 26), (256, 20), (512, 64)])
def test_dft_and_filters_are_those_of_the_student(n_fft: int, mels: int) -> None:
    graph, layer = Graph(), LogMel(n_fft, n_fft // 2, mels)
    kernels, bins = frontend.dft(graph, layer)
    found, rows, filters = computed(graph, kernels, bins, frontend.mel_filters(graph, layer, bins))
    real, imaginary = dft_kernels(n_fft)
    half = n_fft // 2
    np.testing.assert_allclose(found[: half + 1, 0], real, atol=2e-6)
    np.testing.assert_allclose(np.abs(found[half + 1 :, 0]), np.abs(imaginary[half - 1 : 0 : -1]), atol=2e-6)
    np.testing.assert_allclose(filters, mel_matrix(n_fft, mels)[rows[:, 0].astype(int)], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("layer", [LogMel(), FoldedLogMel(256), FoldedLogMel(64, 20)])
@pytest.mark.parametrize("level", [1.0, 1e-3, 0.0])
def test_log_mel_is_that_of_the_student(level: float, layer: LogMel) -> None:
    graph = Graph()
    pcm = (level * np.random.default_rng(0).standard_normal((2, 4000))).astype(np.float32)
    kernels, bins = frontend.dft(graph, layer)
    power = frontend.power(graph, frontend.normalised(graph), layer, kernels)
    mel = graph("MatMul", graph("Transpose", power, perm=[0, 2, 1]), frontend.mel_filters(graph, layer, bins))
    (found,) = computed(graph, frontend.nepers(graph, mel), pcm=pcm)
    expected = layer(normalise(torch.from_numpy(pcm))).detach().numpy() / DECIBELS
    np.testing.assert_allclose(found, expected, atol=1e-3)
