"""Golden vectors: what another runtime reads is what was answered, and whatever is not the same is told."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import pytest

from distill import cli
from distill.errors import DistillError
from distill.golden import Clip, check, write_golden

CLIPS = [Clip("a.wav", np.array([1, -2, 300, -32768, 32767], np.int16)), Clip("b.wav", np.arange(400, dtype=np.int16))]


@pytest.fixture
def student(make_student: Callable[..., Path], tmp_path: Path) -> Path:
    path = make_student(tmp_path / "s.onnx")
    write_golden(path, CLIPS, audio_licence="CC0-1.0")
    return path


def answers(student: Path) -> dict:
    return json.loads(student.with_suffix(".golden.json").read_text())


def test_the_clips_are_read_without_a_decoder(student: Path) -> None:
    """As a C program would: from the bytes at start, in pairs, the low one first."""
    told, raw = answers(student), student.with_suffix(".golden.pcm").read_bytes()
    assert (len(raw), sha256(raw).hexdigest()) == (2 * 405, told["pcm_sha256"])
    for clip, entry in zip(CLIPS, told["clips"], strict=True):
        piece = raw[2 * entry["start"] : 2 * (entry["start"] + entry["samples"])]
        assert struct.unpack(f"<{len(clip.pcm)}h", piece) == tuple(clip.pcm.tolist())
        assert sha256(piece).hexdigest() == entry["sha256"]
        assert entry["file"] == clip.file
    assert told["audio_licence"] == "CC0-1.0"


def test_the_answers_are_those_of_the_student(student: Path) -> None:
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(student).graph.initializer}
    for clip, entry in zip(CLIPS, answers(student)["clips"], strict=True):
        level = np.abs(clip.pcm / 32768).mean()
        assert entry["adv"] == pytest.approx((level * weights["inward"] @ weights["outward"])[0], abs=1e-6)


def test_the_same_file_gives_the_same_answers(student: Path) -> None:
    result = check(student)
    assert (result["n"], result["passed"], result["same_file"], result["tolerance"]) == (2, True, True, 1e-3)
    assert result["max_abs"] == 0


@pytest.mark.parametrize(("by", "holds"), [(0.0009, True), (0.0011, False)])
def test_an_answer_may_differ_by_a_thousandth(student: Path, by: float, holds: bool) -> None:
    told = answers(student)
    told["clips"][1]["adv"][2] += by
    student.with_suffix(".golden.json").write_text(json.dumps(told))
    assert check(student)["passed"] == holds
    assert check(student)["max_abs"] == pytest.approx(by, abs=1e-6)


def test_an_axis_that_is_lacking_stays_lacking(make_student: Callable[..., Path], tmp_path: Path) -> None:
    some, every = make_student(tmp_path / "some.onnx", axes=["arousal", "valence"]), make_student(tmp_path / "all.onnx")
    write_golden(some, CLIPS, audio_licence="CC0-1.0")
    assert [entry["adv"][1] for entry in answers(some)["clips"]] == [None, None]
    assert check(some)["passed"]
    other = check(every, golden=some.with_suffix(".golden.json"))
    assert (other["passed"], other["max_abs"], other["same_file"]) == (False, None, False)


def test_vectors_of_another_file_say_so(
    student: Path, make_student: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_student(tmp_path / "other.onnx", hidden=3)
    with pytest.raises(SystemExit) as left:
        cli.main(["check", str(other), "--golden", str(student.with_suffix(".golden.json"))])
    assert left.value.code == 1
    told = capsys.readouterr().out
    assert "OTHER ANSWERS to 2 clips" in told and "another file than the one whose answers they are" in told


def test_the_command_says_that_it_holds(student: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["check", str(student)])
    assert capsys.readouterr().out == "the same answers to 2 clips: largest difference 0 (at most 0.001)\n"
    cli.main(["check", str(student), "--json"])
    assert json.loads(capsys.readouterr().out)["passed"] is True


def test_what_is_not_the_pcm_that_was_answered_is_refused(student: Path) -> None:
    pcm = student.with_suffix(".golden.pcm")
    raw = pcm.read_bytes()
    pcm.write_bytes(raw[:-2] + b"\x00\x00")
    with pytest.raises(DistillError, match=r"s\.golden\.pcm: is not the PCM"):
        check(student)
    pcm.unlink()
    with pytest.raises(DistillError, match=r"s\.golden\.pcm: no such file"):
        check(student)
    pcm.write_bytes(raw)
    told = answers(student)
    told["clips"][0]["start"] = 1
    student.with_suffix(".golden.json").write_text(json.dumps(told))
    with pytest.raises(DistillError, match="the clip at sample 1 is not the one"):
        check(student)


def test_a_student_without_vectors_is_one_line(make_student: Callable[..., Path], tmp_path: Path) -> None:
    path = make_student(tmp_path / "bare.onnx")
    with pytest.raises(DistillError, match=r"bare\.golden\.json: no golden vectors; `distill export` writes them"):
        check(path)
    path.with_suffix(".golden.json").write_text("[]")
    with pytest.raises(DistillError, match="holds no golden vectors"):
        check(path)


@pytest.mark.parametrize(
    "damage",
    [
        {"clips": []}, {"clips": None}, {"clips": [1, 2]}, {"clips": {"a": 1}}, {"clips": [{"start": 0}]},
        {"tolerance": None}, {"tolerance": "a"}, {"tolerance": 9}, {"full_scale": 0}, {"sampling_rate": 8000},
    ],
)  # fmt: skip
def test_vectors_that_somebody_damaged_are_one_line(student: Path, damage: dict) -> None:
    student.with_suffix(".golden.json").write_text(json.dumps(answers(student) | damage))
    with pytest.raises(DistillError, match=r"s\.golden\.json: is not as `distill export` wrote it"):
        check(student)


@pytest.mark.parametrize(
    "damage", [{"adv": "x"}, {"adv": [0.1, 0.2]}, {"adv": ["a", "b", "c"]}, {"samples": "a"}, {"start": None}]
)
def test_a_clip_that_somebody_damaged_is_one_line(student: Path, damage: dict) -> None:
    told = answers(student)
    told["clips"] = [clip | damage for clip in told["clips"]]
    student.with_suffix(".golden.json").write_text(json.dumps(told))
    with pytest.raises(DistillError, match=r"s\.golden\.json: "):
        check(student)
