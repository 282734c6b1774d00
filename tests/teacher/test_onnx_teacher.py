"""ONNX files as teachers: audEERING's format, our own students, and any whose order somebody wrote down."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from distill.audio import padded
from distill.errors import DistillError
from distill.student import Student
from teacher.catalogue import card_of, open_teacher
from teacher.overhead import write_constant
from teacher.published.onnx import OnnxTeacher

LENGTHS = (8000, 16000, 12345)


def write(path: Path, outputs: dict[str, np.ndarray]) -> Path:
    """A graph that answers, for each output, (mean |x|, mean x^2) through the given matrix [2, width]."""
    nodes = [
        helper.make_node("Abs", ["signal"], ["rectified"]), helper.make_node("Mul", ["signal", "signal"], ["power"]),
        helper.make_node("ReduceMean", ["rectified", "axes"], ["one"], keepdims=1),
        helper.make_node("ReduceMean", ["power", "axes"], ["two"], keepdims=1),
        helper.make_node("Concat", ["one", "two"], ["both"], axis=1),
        *(helper.make_node("MatMul", ["both", f"{name}_w"], [name]) for name in outputs),
    ]  # fmt: skip
    constants = [numpy_helper.from_array(w.astype(np.float32), f"{name}_w") for name, w in outputs.items()]
    constants.append(numpy_helper.from_array(np.array([1], np.int64), "axes"))
    signal = helper.make_tensor_value_info("signal", TensorProto.FLOAT, ["batch", "time"])
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", w.shape[1]]) for n, w in outputs.items()]
    graph = helper.make_graph(nodes, "teacher", [signal], values, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(path))
    return path


def signals() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [
        (0.05 * (1 + n) + 0.1 * rng.standard_normal(samples)).astype(np.float32) for n, samples in enumerate(LENGTHS)
    ]


def features(x: np.ndarray, *, normalised: bool) -> np.ndarray:
    x = (x - x.mean()) / np.sqrt(x.var() + 1e-7) if normalised else x
    return np.array([np.abs(x).mean(), np.square(x).mean()])


HEAD = np.array([[0.1, 0.5, 0.9], [0.3, 0.1, 0.2]])


def test_audeerings_format_is_known(tmp_path: Path) -> None:
    path = write(tmp_path / "model.onnx", {"hidden_states": np.eye(2), "logits": HEAD})
    teacher = open_teacher(str(path))
    given = teacher.annotate(padded(signals()), LENGTHS, 16000)
    wanted = np.stack([features(x, normalised=True) for x in signals()])
    np.testing.assert_allclose(given.adv, wanted @ HEAD, atol=1e-5)
    np.testing.assert_allclose(given.embedding, wanted, atol=1e-5)
    assert teacher.card.gain_invariant and teacher.card.licence == teacher.card.data_licence == "unknown"


def test_another_order_is_put_right(tmp_path: Path) -> None:
    path = write(tmp_path / "other.onnx", {"answers": HEAD})
    said = {"order": ["valence", "arousal", "dominance"], "normalisation": "none", "licence": "MIT"}
    (tmp_path / "other.json").write_text(json.dumps(said))
    teacher = open_teacher(str(path))
    given = teacher.annotate(padded(signals()), LENGTHS, 16000)
    wanted = np.stack([features(x, normalised=False) for x in signals()]) @ HEAD
    np.testing.assert_allclose(given.adv, wanted[:, [1, 2, 0]], atol=1e-5)
    assert given.embedding is None and teacher.card.licence == "MIT" and teacher.card.order == tuple(said["order"])


def test_an_axis_that_is_not_answered_is_lacking(tmp_path: Path) -> None:
    path = write(tmp_path / "two.onnx", {"answers": HEAD[:, :2]})
    (tmp_path / "two.json").write_text('{"order": ["arousal", "valence"], "normalisation": "none"}')
    teacher = open_teacher(str(path))
    assert teacher.card.axes == ("arousal", "valence")
    assert np.isnan(teacher.annotate(padded(signals()), LENGTHS, 16000).adv).tolist() == [[False, True, False]] * 3


def test_a_student_teaches_with_its_own_licence(tmp_path: Path, make_student: Callable[..., Path]) -> None:
    path = make_student(tmp_path / "student.onnx", licence="CC BY 4.0")
    teacher, (clip, *_) = open_teacher(str(path)), signals()
    given = teacher.annotate(clip[None], [len(clip)], 16000).adv
    np.testing.assert_allclose(given, Student(path)(clip[None]), atol=1e-6)
    assert teacher.card.licence == "CC BY 4.0" and teacher.card.derived == ("dominance",)
    assert card_of(str(path)) == teacher.card


@pytest.mark.parametrize(
    ("said", "word"),
    [(None, "nobody says its order, normalisation"), ('{"order": ["arousal"]}', "normalisation"),
     ('{"order": ["joy"], "normalisation": "none"}', "order takes arousal"),
     ('{"order": ["arousal", "valence"], "normalisation": "none"}', "answers 3 numbers"),
     ('{"order": ["arousal"], "normalisation": "loud"}', "normalisation clip or none"),
     ('{"output": "logits", "order": ["arousal"], "normalisation": "none"}', "no output 'logits'"),
     ('{"order": 5}', "order is 5"), ('{"output": ["adv"]}', "output is"), ('{"licence": 3}', "licence is 3"),
     ('{"order": ["arousal", "arousal", "valence"], "normalisation": "none"}', "order is"),
     ("[]", "no JSON object"), ("{", "other.json")],
)  # fmt: skip
def test_what_nobody_describes_is_one_line(tmp_path: Path, said: str | None, word: str) -> None:
    path = write(tmp_path / "other.onnx", {"answers": HEAD})
    if said is not None:
        (tmp_path / "other.json").write_text(said)
    with pytest.raises(DistillError, match=word) as caught:
        open_teacher(str(path))
    assert "\n" not in str(caught.value)


def test_what_is_no_onnx_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"\x00" * 99)
    with pytest.raises(DistillError, match="cannot load it as ONNX"):
        open_teacher(str(tmp_path / "no.onnx"))


def test_another_rate_is_refused(tmp_path: Path) -> None:
    teacher: Any = open_teacher(str(write(tmp_path / "model.onnx", {"hidden_states": np.eye(2), "logits": HEAD})))
    with pytest.raises(ValueError, match="8000"):
        teacher.annotate(padded(signals()), LENGTHS, 8000)


def test_it_takes_as_many_threads_as_its_process_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of several processes, or an actor of a cluster, has a share of the cores."""
    write_constant(tmp_path / "constant.onnx")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    teacher = OnnxTeacher.load(tmp_path / "constant.onnx")
    assert teacher._session.get_session_options().intra_op_num_threads == 3
