"""Predicting with a causal student: it goes on from what it has heard, however the audio comes in."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile
from onnx import TensorProto, helper, numpy_helper

from distill.audio import SAMPLING_RATE
from distill.errors import AudioError, DistillError
from distill.prediction import predict
from distill.pretrained import STEP
from distill.streaming import TOKEN_SAMPLES
from distill.student import Student

Tone = Callable[..., np.ndarray]
Make = Callable[..., Path]
Command = Callable[..., Any]

#: Samples of a token of the tiny student (32 ms).
TOKEN = 512


def with_step(path: Path) -> Path:
    """The step file of the tiny student: the mean of the rectified samples so far, through the same two matrices."""
    whole = onnx.load(path)
    weights = [tensor for tensor in whole.graph.initializer if tensor.name in ("inward", "outward")]
    constants = {"tokens": [1, -1, TOKEN], "token": [2], "time": [1], "sum": [0], "count": [1], "last": [-1]}
    arrays = {name: np.array(value, np.int64) for name, value in constants.items()}
    nodes = [
        helper.make_node("Reshape", ["pcm", "tokens"], ["cut"]),
        helper.make_node("Abs", ["cut"], ["rectified"]),
        helper.make_node("ReduceMean", ["rectified", "token"], ["means"], keepdims=0),
        helper.make_node("CumSum", ["means", "axis"], ["sums_of_these"]),
        helper.make_node("Gather", ["state", "sum"], ["sum_before"], axis=1),
        helper.make_node("Gather", ["state", "count"], ["count_before"], axis=1),
        helper.make_node("Add", ["sums_of_these", "sum_before"], ["sums"]),
        helper.make_node("Mul", ["means", "zero"], ["zeros"]),
        helper.make_node("Add", ["zeros", "one"], ["ones"]),
        helper.make_node("CumSum", ["ones", "axis"], ["counts_of_these"]),
        helper.make_node("Add", ["counts_of_these", "count_before"], ["counts"]),
        helper.make_node("Div", ["sums", "counts"], ["mean_so_far"]),
        helper.make_node("Unsqueeze", ["mean_so_far", "token"], ["column"]),
        helper.make_node("MatMul", ["column", "inward"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "outward"], ["adv"]),
        helper.make_node("Gather", ["sums", "last"], ["last_sum"], axis=1),
        helper.make_node("Gather", ["counts", "last"], ["last_count"], axis=1),
        helper.make_node("Concat", ["last_sum", "last_count"], ["next_state"], axis=1),
    ]
    more = {"zero": np.float32(0), "one": np.float32(1), "axis": np.array(1, np.int64)}
    initial = [numpy_helper.from_array(np.asarray(value), name) for name, value in {**arrays, **more}.items()]
    ends = {"pcm": [1, "samples"], "state": [1, 2], "adv": [1, "n", 3], "next_state": [1, 2]}
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ends[name]) for name in names]
        for names in (("pcm", "state"), ("adv", "next_state"))
    )
    graph = helper.make_graph(nodes, "step", inputs, outputs, [*weights, *initial])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    metadata = {entry.key: entry.value for entry in whole.metadata_props}
    helper.set_model_props(model, {**metadata, TOKEN_SAMPLES: json.dumps(TOKEN)})
    onnx.save(model, str(path.with_suffix(STEP)))
    return path


@pytest.fixture
def causal(tmp_path: Path, make_student: Make) -> Student:
    return Student(with_step(make_student(tmp_path / "causal.onnx")))


@pytest.fixture
def clip(tmp_path: Path, tone: Tone) -> Path:
    """Four seconds that grow louder: of whole tokens, so that the last answer is that of the whole clip."""
    path = tmp_path / "clip.wav"
    soundfile.write(path, tone(4.0) * np.linspace(0.01, 1, 4 * SAMPLING_RATE, dtype=np.float32), SAMPLING_RATE)
    return path


def pcm_of(path: Path) -> bytes:
    return bytes(soundfile.read(path, dtype="int16")[0].tobytes())


class Dripping(io.RawIOBase):
    """A stream that gives at most `drop` bytes at a time."""

    def __init__(self, content: bytes, drop: int) -> None:
        self.content, self.drop = io.BytesIO(content), drop

    def read(self, size: int = -1) -> bytes:
        return self.content.read(min(size, self.drop))


def test_every_answer_is_that_of_all_that_was_heard_until_then(causal: Student, clip: Path) -> None:
    found = list(predict(clip, student=causal, hop=0.5))
    heard = soundfile.read(clip, dtype="float32")[0]
    assert len(found) == 8 and [row.start for row in found] == [0.0, *(row.end for row in found[:-1])]
    for number, row in enumerate(found, start=1):
        assert 0 <= row.end - 0.5 * number < 0.032 + 1e-6  # the first token that ends at the hop, or behind it
        expected = causal(heard[None, : round(row.end * SAMPLING_RATE)])[0]
        np.testing.assert_allclose([row.arousal, row.dominance, row.valence], expected, atol=1e-5)
    assert found[-1].end == 4.0 and found[0].derived == ["dominance"]


@pytest.mark.parametrize("drop", [1, 333, 1 << 20])
def test_a_stream_goes_on_as_the_recording_does(causal: Student, clip: Path, drop: int) -> None:
    of_stream = list(predict(Dripping(pcm_of(clip), drop), student=causal, hop=0.25))  # type: ignore[arg-type]
    for there, here in zip(predict(clip, student=causal, hop=0.25), of_stream, strict=True):
        assert (here.file, here.start, here.end) == ("-", there.start, there.end)
        assert here.arousal == pytest.approx(there.arousal, abs=1e-5)


def test_a_stream_at_another_rate_goes_on(causal: Student, tmp_path: Path, tone: Tone) -> None:
    samples = tone(2.0, rate=44100)
    soundfile.write(tmp_path / "a.wav", samples, 44100)
    stream = io.BytesIO(pcm_of(tmp_path / "a.wav"))
    found = list(predict(stream, student=causal, hop=0.5, sampling_rate=44100))
    expected = list(predict(tmp_path / "a.wav", student=causal, hop=0.5))
    assert len(found) == len(expected) == 4
    assert found[2].arousal == pytest.approx(expected[2].arousal, abs=1e-3)


def test_what_is_left_over_is_answered(causal: Student, clip: Path) -> None:
    assert [row.end for row in predict(clip, student=causal, hop=1.5)] == [1.504, 3.008, 4.0]


def test_a_hop_below_a_token_answers_every_token(causal: Student, clip: Path) -> None:
    found = list(predict(clip, student=causal, hop=0.01))
    assert len(found) == 125 and {round(row.end - row.start, 6) for row in found} == {0.032}
    assert [row.warning is None for row in found] == [False] * 9 + [True] * 116  # from 0.3 s on
    assert str(found[0].warning).startswith("too short: 0.03 s")


@pytest.mark.parametrize("drop", [777, 1 << 20])
def test_before_the_first_sound_there_is_no_answer(causal: Student, tone: Tone, drop: int) -> None:
    heard = np.concatenate([np.zeros(2 * SAMPLING_RATE), tone(2.0), np.zeros(SAMPLING_RATE)])
    pcm = (32767 * heard).astype("<i2").tobytes()
    found = list(predict(Dripping(pcm, drop), student=causal, hop=1.0))  # type: ignore[arg-type]
    assert [row.warning is None for row in found] == [False, True, True, True, True]  # the second ends at 2.016 s
    assert str(found[0].warning).startswith("silent") and found[0].arousal is None


def test_less_than_a_token_is_too_short(causal: Student) -> None:
    (row,) = predict(io.BytesIO(b"\1\1" * 100), student=causal, hop=0.5)
    assert row.end == pytest.approx(100 / SAMPLING_RATE) and str(row.warning).startswith("too short")


def test_with_windows_each_is_answered_for_itself(causal: Student, clip: Path) -> None:
    found = list(predict(clip, student=causal, window=1.0, hop=0.5))
    expected = causal(soundfile.read(clip, dtype="float32")[0][None, 8000:24000])[0]
    assert (found[1].start, found[1].end) == (0.5, 1.5) and found[1].arousal == pytest.approx(expected[0], abs=1e-6)


def test_without_a_hop_a_recording_has_one_answer(causal: Student, clip: Path) -> None:
    (row,) = predict(clip, student=causal)
    assert (row.start, row.end) == (0.0, 4.0)


@pytest.mark.parametrize("hop", [0.001, -1.0, math.nan])
def test_a_hop_that_cannot_be_is_refused(causal: Student, clip: Path, hop: float) -> None:
    with pytest.raises(DistillError, match="--hop"):
        next(predict(clip, student=causal, hop=hop))


@pytest.mark.parametrize("rate", [16_000, 22_050])
def test_half_a_sample_and_a_missing_file_are_named(causal: Student, tmp_path: Path, rate: int) -> None:
    pcm = (3_000 * np.sin(np.arange(20_000) / 5)).astype("<i2").tobytes()
    how = {"student": causal, "hop": 0.5, "sampling_rate": rate}
    whole, answers = list(predict(io.BytesIO(pcm), **how)), predict(io.BytesIO(pcm + b"\1"), **how)
    assert len(whole) > 1 and [next(answers) for _ in whole] == whole  # what is due comes first
    with pytest.raises(AudioError, match="half a sample"):
        next(answers)
    with pytest.raises(AudioError, match=r"nowhere\.wav: no such file"):
        list(predict(tmp_path / "nowhere.wav", student=causal, hop=0.5))


def test_the_command_goes_on_and_draws_it(distill: Command, causal: Student, clip: Path, tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    done = distill("predict", clip, "--student", causal.path, "--hop", "0.5", "--plot", page, "--json")
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 8, done.stderr
    assert "4 s of audio, 8 answers; one every 0.51 s" in page.read_text()
