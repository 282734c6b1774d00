"""A recording or a stream in, one answer a window out; a clip that says nothing gets null and a warning."""

from __future__ import annotations

import io
import json
import math
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile
from onnx import TensorProto, helper

from distill.audio import SAMPLING_RATE
from distill.emotionwords import nearest_words
from distill.errors import AudioError, DistillError
from distill.prediction import predict
from distill.student import Student

Tone = Callable[..., np.ndarray]
Make = Callable[..., Path]
Command = Callable[..., Any]

KEYS = ["file", "start", "end", "arousal", "dominance", "valence", "derived", "warning"]


@pytest.fixture
def student(tmp_path: Path, make_student: Make) -> Student:
    return Student(make_student(tmp_path / "student.onnx"))


@pytest.fixture
def clip(tmp_path: Path, tone: Tone) -> Path:
    """Seven seconds that grow louder, so that every window has another answer."""
    path = tmp_path / "clip.wav"
    soundfile.write(path, tone(7.0) * np.linspace(0, 1, 7 * SAMPLING_RATE, dtype=np.float32), SAMPLING_RATE)
    return path


class Dripping(io.RawIOBase):
    """A stream that gives at most `drop` bytes at a time."""

    def __init__(self, content: bytes, drop: int) -> None:
        self.content, self.drop = io.BytesIO(content), drop

    def read(self, size: int = -1) -> bytes:
        return self.content.read(min(size, self.drop))


def pcm_of(path: Path) -> bytes:
    return bytes(soundfile.read(path, dtype="int16")[0].tobytes())


def test_a_clip_has_one_answer(student: Student, clip: Path) -> None:
    (found,) = predict(clip, student=student)
    row = found.as_dict()
    assert list(row) == KEYS and json.loads(json.dumps(row)) == row
    assert (row["file"], row["start"], row["end"], row["derived"], row["warning"]) == (
        str(clip), 0.0, 7.0, ["dominance"], None,
    )  # fmt: skip
    expected = student(soundfile.read(clip, dtype="float32")[0][None])[0]
    np.testing.assert_allclose([row["arousal"], row["dominance"], row["valence"]], expected, rtol=1e-6)


def test_windows_reach_the_end(student: Student, clip: Path) -> None:
    found = list(predict(clip, student=student, window=2.0, hop=1.5))
    assert [(row.start, row.end) for row in found] == [(0, 2), (1.5, 3.5), (3, 5), (4.5, 6.5), (5, 7)]
    assert len({row.arousal for row in found}) == 5


@pytest.mark.parametrize("drop", [1, 3, 1000, 1 << 20])
@pytest.mark.parametrize("options", [{}, {"window": 2.0}, {"window": 2.0, "hop": 0.7}, {"window": 7.0}])
def test_a_stream_is_answered_as_the_file_is(
    student: Student, clip: Path, drop: int, options: dict[str, float]
) -> None:
    of_file = list(predict(clip, student=student, **options))
    of_stream = list(predict(Dripping(pcm_of(clip), drop), student=student, **options))  # type: ignore[arg-type]
    assert [row.as_dict() for row in of_stream] == [{**row.as_dict(), "file": "-"} for row in of_file]


def test_a_stream_at_another_rate_is_answered_as_the_file_is(student: Student, tmp_path: Path, tone: Tone) -> None:
    samples = tone(2.3, rate=44100) * np.linspace(0, 1, round(2.3 * 44100), dtype=np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 44100)
    of_file = predict(tmp_path / "a.wav", student=student, window=1.0)
    of_stream = predict(io.BytesIO(pcm_of(tmp_path / "a.wav")), student=student, window=1.0, sampling_rate=44100)
    for there, here in zip(of_file, of_stream, strict=True):
        assert {**there.as_dict(), "file": "-"} == here.as_dict()


def test_a_stream_is_answered_while_it_runs(student: Student, clip: Path) -> None:
    stream = io.BytesIO(pcm_of(clip) * 100)
    first = next(predict(stream, student=student, window=1.0))
    assert first.end == 1.0 and stream.tell() < 200_000


class Talking(io.RawIOBase):
    """A stream of somebody who talks on: a reader that asks for more than was said so far would wait for ever."""

    def __init__(self, said: bytes) -> None:
        self.said = io.BytesIO(said)

    def read1(self, size: int = -1) -> bytes:
        return self.said.read(min(size, 1600)) or pytest.fail("waits for what nobody has said")

    def read(self, size: int = -1) -> bytes:
        return pytest.fail("waits for a whole block")


def test_a_stream_is_answered_by_what_is_there(student: Student, clip: Path) -> None:
    stream = Talking(pcm_of(clip)[: 2 * 3 * SAMPLING_RATE])
    answers = predict(stream, student=student, window=2.0, hop=0.5)  # type: ignore[arg-type]
    assert [next(answers).end for _ in range(3)] == [2.0, 2.5, 3.0]


def test_half_a_sample_at_the_end_is_refused(student: Student, clip: Path) -> None:
    whole = list(predict(io.BytesIO(pcm_of(clip)), student=student, window=1.0, hop=0.7))
    answers = predict(io.BytesIO(pcm_of(clip) + b"\0"), student=student, window=1.0, hop=0.7)
    assert [next(answers) for _ in whole] == whole  # what is due comes first
    with pytest.raises(AudioError, match="half a sample"):
        next(answers)


@pytest.mark.parametrize(("samples", "reason"), [(np.zeros(16000), "silent"), (np.ones(800), "too short: 0.05 s")])
def test_a_clip_that_says_nothing_has_null_and_a_warning(
    student: Student, tmp_path: Path, samples: np.ndarray, reason: str
) -> None:
    soundfile.write(tmp_path / "a.wav", samples, SAMPLING_RATE)
    (row,) = predict(tmp_path / "a.wav", student=student)
    assert row.arousal is row.dominance is row.valence is None
    assert row.warning is not None and row.warning.startswith(reason)


def test_an_empty_stream_is_too_short(student: Student) -> None:
    (row,) = predict(io.BytesIO(), student=student, sampling_rate=8000)
    assert row.end == 0 and str(row.warning).startswith("too short")


def test_an_axis_that_the_student_lacks_is_null(tmp_path: Path, make_student: Make, clip: Path) -> None:
    (row,) = predict(clip, student=make_student(tmp_path / "s.onnx", axes=["arousal", "valence"], derived=[]))
    assert row.dominance is None and row.arousal is not None and row.valence is not None and row.warning is None


def test_two_hours_are_answered_window_by_window(student: Student, tmp_path: Path, tone: Tone) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, tone(45, rate=8000), 8000)
    size = 2 * 7200 * 8000
    with path.open("r+b") as handle:  # the rest is a hole: silence that takes no room on the disk
        handle.truncate(44 + size)
        for at, value in ((4, 36 + size), (40, size)):
            handle.seek(at)
            handle.write(value.to_bytes(4, "little"))
    tracemalloc.start()
    try:
        found = list(predict(path, student=student))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == 240 and found[-1].end == 7200
    assert [row.warning is None for row in found] == [True, True] + [False] * 238
    assert peak < 30e6  # the whole would be 460 MB at 16 kHz


@pytest.mark.parametrize(
    "options",
    [
        {"window": 0.1}, {"window": 2.0, "hop": 3.0}, {"window": 2.0, "hop": 0.0}, {"window": 2.0, "hop": -1.0},
        {"window": math.nan}, {"window": 2.0, "hop": 1e-9}, {"hop": 0.5},
    ],
)  # fmt: skip
def test_windows_that_cannot_be_are_refused(student: Student, clip: Path, options: dict[str, float]) -> None:
    for source in (clip, io.BytesIO(pcm_of(clip))):
        with pytest.raises(DistillError, match=r"--(window|hop)"):
            next(predict(source, student=student, **options))


def test_a_recording_that_cannot_be_read_is_named(student: Student, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"nowhere\.wav: no such file"):
        list(predict(tmp_path / "nowhere.wav", student=student))


def test_a_student_that_is_not_there_is_named(tmp_path: Path, clip: Path) -> None:
    with pytest.raises(DistillError, match=r"s\.onnx: no such student; make one with `distill export"):
        list(predict(clip, student=tmp_path / "s.onnx"))


def test_what_is_no_onnx_is_named(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "s.onnx").write_text("hello")
    with pytest.raises(DistillError, match=r"s\.onnx: onnxruntime cannot load it"):
        list(predict(clip, student=tmp_path / "s.onnx"))


@pytest.mark.parametrize("shape", [["batch", 2], ["batch", 3, 1]])
def test_an_onnx_of_another_shape_is_named(tmp_path: Path, clip: Path, shape: list[str | int]) -> None:
    pcm = helper.make_tensor_value_info("pcm", TensorProto.FLOAT, shape)
    adv = helper.make_tensor_value_info("adv", TensorProto.FLOAT, shape)
    graph = helper.make_graph([helper.make_node("Identity", ["pcm"], ["adv"])], "other", [pcm], [adv])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(tmp_path / "s.onnx"))
    with pytest.raises(DistillError, match=r"s\.onnx: not a student: expected pcm\[batch, samples\].*found pcm"):
        list(predict(clip, student=tmp_path / "s.onnx"))


def test_an_onnx_without_metadata_is_named(tmp_path: Path, clip: Path, make_student: Make) -> None:
    model = onnx.load(str(make_student(tmp_path / "s.onnx")))
    helper.set_model_props(model, {"name": '"tiny"'})
    onnx.save(model, str(tmp_path / "s.onnx"))
    with pytest.raises(DistillError, match="its metadata lacks sampling_rate, axes"):
        list(predict(clip, student=tmp_path / "s.onnx"))


def test_the_command_prints_a_json_object_a_line(distill: Command, student: Student, clip: Path) -> None:
    done = distill("predict", clip, "--student", student.path, "--window", "2", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and [row["start"] for row in rows] == [0, 2, 4, 5]
    assert rows == [row.as_dict() for row in predict(clip, student=student, window=2.0)]


def test_the_command_reads_a_stream(student: Student, clip: Path) -> None:
    command = [sys.executable, "-m", "distill", "predict", "-", "--student", str(student.path), "--json"]
    done = subprocess.run(command, input=pcm_of(clip), capture_output=True)
    (row,) = predict(clip, student=student)
    assert json.loads(done.stdout) == {**row.as_dict(), "file": "-"}


def test_a_line_is_printed_while_the_stream_runs_and_an_interruption_ends_it(student: Student, clip: Path) -> None:
    options = ["--student", str(student.path), "--window", "2", "--hop", "0.5"]
    command = [sys.executable, "-m", "distill", "predict", "-", *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as talk:
        assert talk.stdin is not None and talk.stdout is not None and talk.stderr is not None
        talk.stdin.write(pcm_of(clip)[: 2 * round(2.6 * SAMPLING_RATE)])
        talk.stdin.flush()
        assert [talk.stdout.readline()[:14] for _ in range(2)] == [b"- 0.00-2.00 s:", b"- 0.50-2.50 s:"]
        talk.send_signal(signal.SIGINT)
        assert (talk.wait(30), talk.stdout.read(), talk.stderr.read()) == (0, b"", b"")


def test_the_command_answers_folders_and_names_what_it_cannot(
    distill: Command, student: Student, corpus: Path, tmp_path: Path
) -> None:
    soundfile.write(corpus / "b" / "silent.wav", np.zeros(16000), SAMPLING_RATE)
    (corpus / "a" / "broken.wav").write_text("hello")
    done = distill("predict", corpus, tmp_path / "nowhere.wav", "--student", student.path, "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    heard = ["a/one.wav", "a/two.flac", "b/four.flac", "b/silent.wav", "b/three.wav"]
    assert [row["file"] for row in rows] == [str(corpus / name) for name in heard]
    assert [row["warning"] is None for row in rows] == [True, True, True, False, True]
    named = done.stderr.splitlines()
    assert named[0].startswith(f"{corpus / 'a/broken.wav'}: not audio") and named[1].endswith(
        "nowhere.wav: no such file"
    )
    assert named[2] == "distill: 3 of 7 recordings have no answer; each is named above" and done.returncode == 1


def test_a_folder_without_recordings_is_refused(distill: Command, tmp_path: Path) -> None:
    done = distill("predict", tmp_path)
    assert done.returncode == 1 and done.stderr == f"distill: {tmp_path}: no recordings in this folder\n"


def test_the_command_says_why_the_only_recording_has_no_answer(distill: Command, tmp_path: Path) -> None:
    done = distill("predict", tmp_path / "nowhere.wav")
    assert done.returncode == 1 and done.stderr == f"distill: {tmp_path / 'nowhere.wav'}: no such file\n"


def test_the_command_adds_words_and_says_what_they_are(distill: Command, student: Student, clip: Path) -> None:
    done = distill("predict", clip, "--student", student.path, "--json", "--words")
    (row,) = (json.loads(line) for line in done.stdout.splitlines())
    assert row["words"] == nearest_words(row) and list(row) == [*KEYS, "words"]
    assert "to arousal and valence, as dominance is derived" in done.stderr and "classify nothing" in done.stderr
    shown = distill("predict", clip, "--student", student.path, "--words").stdout
    assert shown.endswith("".join(f"{near['word']} ({near['distance']:.2f}), " for near in row["words"])[:-2] + "\n")


def test_the_command_draws_a_page(distill: Command, student: Student, clip: Path, tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    done = distill("predict", clip, "--student", student.path, "--window", "2", "--plot", page)
    assert done.returncode == 0 and page.read_text().count("<svg") == 1
    refused = distill("predict", clip, "--student", student.path, "--plot", tmp_path / "out.png")
    assert refused.returncode == 1 and refused.stdout == "" and "ends in .html" in refused.stderr


def test_the_command_fails_where_nothing_was_answered(distill: Command, student: Student, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(16000), SAMPLING_RATE)
    done = distill("predict", tmp_path / "silent.wav", "--student", student.path, "--json")
    assert done.returncode == 1 and json.loads(done.stdout)["warning"].startswith("silent")
