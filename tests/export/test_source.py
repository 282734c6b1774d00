"""What can be exported besides a run: a float file of ours, with all its clips from --audio."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from distill.errors import DistillError
from distill.student import Student
from export import source
from export.exporting import export
from export.ladder import LIMITS, Limit
from export.source import Audio, open_source

LENIENT = Limit(max_abs=10.0, ccc=-1.0)  # of noise there is little to agree on


@pytest.fixture
def recordings(tmp_path):
    """Twelve recordings, from dark to bright, of two and a half pieces each; two more that cannot be used."""
    (folder := tmp_path / "recordings").mkdir()
    rng = np.random.default_rng(0)
    for number in range(12):
        noise = np.convolve(rng.standard_normal(80_000), np.ones(1 + number) / (1 + number), "same")
        soundfile.write(folder / f"{number:02d}.wav", 0.1 * noise, 16_000)
    soundfile.write(folder / "short.wav", np.full(1_000, 0.1), 16_000)
    (folder / "torn.wav").write_bytes(b"RIFF")
    return folder


def test_float_file_gets_its_clips_from_the_audio_some_of_it_held_out_by_recording(recordings):
    opened = open_source(Path("wav2small"), int8=True, audio=Audio(recordings, "CC-BY-4.0"))
    held_out, used = ({clip.file for clip in clips} for clips in (opened.held_out, opened.calibration))
    assert len(held_out) == len(opened.held_out) == 2
    assert used and not held_out & used
    assert {failure.file for failure in opened.unread} == {"short.wav", "torn.wav"}
    assert opened.config["data_licence"].endswith("; CC-BY-4.0")
    assert opened.ladder().rung("onnx float", lambda pcm: np.zeros((1, 3), np.float32)).recordings == 2


def test_what_is_beyond_the_calibration_is_rounded_on_besides(recordings, monkeypatch):
    monkeypatch.setattr(source, "CALIBRATION_CLIPS", 7)
    opened = open_source(Path("wav2small"), int8=True, audio=Audio(recordings))
    assert len(opened.calibration) == 7 and len(opened.more) == 10 * 3 - 7


def test_float_file_is_quantised_and_what_could_not_be_used_is_named(recordings, tmp_path, monkeypatch):
    monkeypatch.setitem(LIMITS, "onnx int8", LENIENT)
    told = export("wav2small", output=tmp_path / "s.onnx", int8=True, audio=recordings, audio_licence="CC0-1.0")
    assert told["precision"] == "int8" and told["bytes"] < 48_000
    assert [entry["role"] for entry in told["lineage"]] == ["teacher", "audio", "audio", "audio", "student"]
    assert Student(tmp_path / "s.onnx").card.name == "wav2small"
    with (tmp_path / "s.failed.csv").open(newline="") as handle:
        assert sorted(row["file"] for row in csv.DictReader(handle)) == ["short.wav", "torn.wav"]


def test_float_file_written_again_answers_the_same(tmp_path):
    export("wav2small", output=tmp_path / "s.onnx")
    pcm = np.random.default_rng(0).standard_normal((1, 16_000)).astype(np.float32)
    assert np.array_equal(Student(tmp_path / "s.onnx")(pcm), Student("wav2small")(pcm))
    assert Student(tmp_path / "s.onnx").card == Student("wav2small").card


def test_without_audio_it_is_not_quantised(tmp_path):
    with pytest.raises(DistillError, match=r"wav2small: .* brings no clips to calibrate with; give recordings"):
        export("wav2small", output=tmp_path / "s.onnx", int8=True)
    assert not list(tmp_path.iterdir())


def test_too_few_recordings_are_refused(recordings):
    for path in list(recordings.iterdir())[5:]:
        path.unlink()
    with pytest.raises(DistillError, match=r"recordings: \d recordings; at least 10 are needed, for some are held out"):
        open_source(Path("wav2small"), int8=True, audio=Audio(recordings))


def test_int8_file_is_no_source(recordings):
    with pytest.raises(DistillError, match=r"wav2small-int8.onnx: is int8; weights are read from a float file"):
        open_source(Path("wav2small-int8"), int8=True, audio=Audio(recordings))


def test_only_wav2small_is_fitted_on_audio(recordings, trained_as):
    with pytest.raises(DistillError, match="mobilenetv4-small: only Wav2Small is rounded and fitted on --audio"):
        open_source(trained_as("mobilenetv4-small"), int8=True, audio=Audio(recordings))
