"""Token by token with a state is the whole clip, in float and in integers, in batches, for any cut into tokens."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from distill.streaming import STATE
from distill.student import INPUT
from export.calibration import observe
from export.graph.integer import integer_graph
from export.graph.memory import WholeClip
from export.graph.vgg import float_graph
from export.graph.writer import Graph
from students.catalogue import build
from students.quantised import QuantisedVgg, layers_of
from students.streaming import LEVEL_FORGETTING, TOKEN, running_sums

#: A graph, whole (False) or as a step (True).
Writer = Callable[[bool], onnx.ModelProto]

TOKENS = 23


def noise(samples: int, batch: int = 1) -> np.ndarray:
    swell = 0.1 + np.sin(np.arange(samples) / 3000) ** 2
    return (0.1 * swell * np.random.default_rng(3).standard_normal((batch, samples)) + 0.02).astype(np.float32)


@pytest.fixture(scope="module", params=["float", "integer"])
def writer(request: pytest.FixtureRequest) -> Writer:
    torch.manual_seed(1)
    student = build("wav2small-stream").eval()
    torch.nn.init.normal_(student.head.weight, 0.0, 2.0)
    if request.param == "float":
        return lambda step: float_graph(student, step=step)
    reach = observe(student, list(noise(16_000, 2)))
    network = QuantisedVgg(student, dict.fromkeys(layers_of(student), 8), reach).eval()
    return lambda step: integer_graph(network, step=step)


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("batch, tokens", [(1, 1), (1, 5), (1, TOKENS), (3, 2)])
def test_steps_are_the_whole_clip(writer: Writer, batch: int, tokens: int) -> None:
    whole, step, pcm = session(writer(False)), session(writer(True)), noise(TOKENS * TOKEN, batch)
    expected = [whole.run(None, {INPUT: pcm[:, :end]})[0] for end in range(TOKEN, pcm.shape[1] + 1, TOKEN)]
    state, found = np.zeros((batch, step.get_inputs()[1].shape[1]), np.float32), []
    for start in range(0, pcm.shape[1], tokens * TOKEN):
        adv, state = step.run(None, {INPUT: pcm[:, start : start + tokens * TOKEN], STATE: state})
        found.append(adv)
    assert np.abs(np.concatenate(found, 1) - np.stack(expected, 1)).max() < 1e-4
    assert np.std(expected, 0).min() > 1e-3, "answers that do not vary say nothing"


def test_a_token_keeps_what_the_state_says_and_nothing_else(writer: Writer) -> None:
    """From the same state the same answer, whoever spoke before."""
    step, pcm = session(writer(True)), noise(8 * TOKEN)
    state = np.zeros((1, step.get_inputs()[1].shape[1]), np.float32)
    _, state = step.run(None, {INPUT: pcm[:, : 4 * TOKEN], STATE: state})
    once = step.run(None, {INPUT: pcm[:, 4 * TOKEN :], STATE: state})
    step.run(None, {INPUT: 9 * pcm, STATE: state})
    again = step.run(None, {INPUT: pcm[:, 4 * TOKEN :], STATE: state})
    assert all(np.array_equal(one, other) for one, other in zip(once, again, strict=True))


@pytest.mark.parametrize("steps", [1, 128, 300, 225_000])
def test_sums_of_a_clip_are_those_of_the_student_up_to_an_hour(steps: int) -> None:
    x = np.random.default_rng(0).random((1, 2, steps), np.float32)
    graph, memory = Graph(), WholeClip()
    graph("Identity", memory.running_sums(graph, INPUT, 2, LEVEL_FORGETTING), output="adv")
    model = graph.model()
    for value in (*model.graph.input, *model.graph.output):
        del value.type.tensor_type.shape.dim[:]
        value.type.tensor_type.shape.dim.add(), value.type.tensor_type.shape.dim.add()
        value.type.tensor_type.shape.dim.add()
    (found,) = session(model).run(None, {INPUT: x})
    np.testing.assert_allclose(found, running_sums(torch.from_numpy(x), LEVEL_FORGETTING).numpy(), rtol=1e-5)
