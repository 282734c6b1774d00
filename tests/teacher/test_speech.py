"""Only speech is labelled: silence and noise are left out, short pauses are not, and hours take no more memory."""

from __future__ import annotations

import csv
import os
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from distill import table
from distill.audio import SAMPLING_RATE, Span, read
from distill.errors import AudioError, DistillError, Refused
from distill.synthesis import write_corpus
from teacher import speech
from teacher.labelling import label
from teacher.speech import FRAME, PADDING, SpeechFinder

pytest.importorskip("silero_vad")

Tone = Callable[..., np.ndarray]

FINDER = SpeechFinder(shortest=0.3, window=30.0, hop=30.0)


def quiet(seconds: float) -> np.ndarray:
    """Noise at -80 dB."""
    return (1e-4 * np.random.default_rng(0).normal(size=round(seconds * SAMPLING_RATE))).astype(np.float32)


def put(path: Path, *parts: np.ndarray) -> Path:
    soundfile.write(path, np.concatenate(parts), SAMPLING_RATE, "PCM_16")
    return path


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """A synthesised voice of one second or more, which the model takes for speech from end to end."""
    folder = tmp_path_factory.mktemp("voice")
    write_corpus(folder, speakers=1, clips=1, seconds=(1.4, 1.5))
    return read(next(folder.rglob("*.flac")))


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[float, float]]]:
    """judged(finder, (frames, probability), ...): the spans that are found where the model says so."""

    def find(finder: SpeechFinder, *runs: tuple[int, float]) -> list[tuple[float, float]]:
        probabilities = [p for frames, p in runs for _ in range(frames)]
        monkeypatch.setattr(speech, "_probabilities", lambda _: iter(probabilities))
        spans = finder(Path("never.wav"), Span(0.0, len(probabilities) * FRAME / SAMPLING_RATE))
        return [(round(span.start, 3), round(span.end, 3)) for span in spans]

    return find


# 125 frames are 4 s.


def test_speech_has_a_little_room_on_both_sides(judged: Any) -> None:
    assert judged(FINDER, (125, 0.1), (125, 0.9), (125, 0.1)) == [(4 - PADDING, 8 + PADDING)]
    assert judged(FINDER, (125, 0.9)) == [(0, 4)]


def test_short_pauses_belong_to_the_speech_and_long_ones_part_it(judged: Any) -> None:
    assert judged(FINDER, (125, 0.9), (9, 0.1), (125, 0.9)) == [(0, 8.288)]
    assert judged(FINDER, (125, 0.9), (125, 0.1), (125, 0.9)) == [(0, 4.1), (7.9, 12)]
    found = judged(SpeechFinder(0.3, 30, 30, pause=0.1), (125, 0.9), (5, 0.1), (125, 0.9))
    assert found == [(0, 4.08), (4.08, 8.16)]  # the room between them is shared


def test_speech_ends_where_the_model_is_sure(judged: Any) -> None:
    assert judged(FINDER, (125, 0.9), (125, 0.4), (125, 0.1)) == [(0, 8.1)]
    assert judged(SpeechFinder(0.3, 30, 30, threshold=0.95), (125, 0.96), (125, 0.1)) == [(0, 4.1)]


def test_what_is_too_short_is_left_out_and_what_is_long_is_cut(judged: Any) -> None:
    finder = SpeechFinder(shortest=1.0, window=3.0, hop=3.0)
    assert judged(finder, (10, 0.9), (125, 0.1), (250, 0.9)) == [(4.22, 7.22), (7.22, 10.22), (9.32, 12.32)]
    with pytest.raises(AudioError, match=r"^no speech found$"):
        judged(finder, (10, 0.9), (125, 0.1))


def test_a_voice_is_found_and_the_quiet_around_it_is_left_out(tmp_path: Path, voice: np.ndarray) -> None:
    path = put(tmp_path / "x.wav", quiet(2), voice, quiet(2), voice, quiet(1))
    length = len(voice) / SAMPLING_RATE
    spans = FINDER(path, Span(0, 5 + 2 * length))
    for span, start in zip(spans, (2, 4 + length), strict=True):
        assert start - 0.3 < span.start < start + 0.4 and start + length - 0.4 < span.end < start + length + 0.4
    (within,) = FINDER(path, Span(3 + length, 5 + 2 * length))
    assert within.start == pytest.approx(spans[1].start, abs=0.1)


def test_a_real_clip_is_found_in_silence(tmp_path: Path, shared: Path) -> None:
    clip = read(next(iter(sorted((shared / "speech" / "librispeech").glob("*.flac")))))
    path = put(tmp_path / "x.wav", quiet(3), clip, quiet(3))
    length = len(clip) / SAMPLING_RATE
    spans = FINDER(path, Span(0, length + 6))
    assert 2.7 < spans[0].start < 4 and length + 2 < spans[-1].end < length + 3.4
    assert all(before.end <= after.start for before, after in pairwise(spans))
    assert sum(span.end - span.start for span in spans) > 0.7 * length


@pytest.mark.long  # the package imports torch
def test_the_model_answers_as_the_package_itself(shared: Path) -> None:
    silero_vad, torch = pytest.importorskip("silero_vad"), pytest.importorskip("torch")
    clip = read(next(iter(sorted((shared / "speech" / "librispeech").glob("*.flac")))))
    expected = silero_vad.load_silero_vad(onnx=True).audio_forward(torch.from_numpy(clip)[None], SAMPLING_RATE)[0]
    np.testing.assert_array_equal(list(speech._probabilities([clip[:7_777], clip[7_777:]])), expected.numpy())


def test_memory_does_not_grow_with_the_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "long.flac"
    with soundfile.SoundFile(path, "w", 48_000, 2, "PCM_16") as sound:
        for _ in range(4):
            sound.write(np.zeros((48_000 * 60, 2), np.int16))
    monkeypatch.setattr(speech, "_probabilities", lambda signals: (0.9 for block in signals for _ in block[::FRAME]))
    tracemalloc.start()
    try:
        assert len(FINDER(path, Span(0, 240))) == 8
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 60e6  # the whole would be 92 MB as it is decoded


@pytest.mark.parametrize(
    ("how", "reason"),
    [({"threshold": 1.0}, "--vad-threshold 1"), ({"pause": -1.0}, "--vad-pause"), ({"pause": 31.0}, "--vad-pause 31")],
)
def test_settings_that_cannot_be_are_refused(how: dict[str, float], reason: str) -> None:
    with pytest.raises(DistillError, match=reason):
        SpeechFinder(0.3, 30.0, 30.0, **how)


def test_speech_alone_is_labelled(tmp_path: Path, voice: np.ndarray, tone: Tone, quick: Any) -> None:
    audio, labels = tmp_path / "audio", tmp_path / "labels"
    audio.mkdir()
    put(audio / "voice.wav", quiet(2), voice, quiet(2))
    put(audio / "quiet.wav", quiet(2))
    put(audio / "zeros.wav", np.zeros(16_000, np.float32))
    put(audio / "tone.wav", tone(2.0, 1000))
    (audio / "empty.wav").touch()
    (audio / "m.csv").write_text("file,speaker\nvoice.wav,3\n")
    result = label(audio, output=labels, teacher="taught", vad=True, jobs=1)
    assert (result["labelled"], result["failed"]) == (1, 4)
    with (labels / "failed.csv").open() as handle:
        reasons = {row["file"]: row["reason"] for row in csv.DictReader(handle)}
    assert reasons.pop("empty.wav") == "empty file" and set(reasons.values()) == {"no speech found"}
    made = table.read(labels)
    assert made.column("start")[0] > 1.5 and made.column("end")[0] < 4
    settings = made.info["arguments"]["vad"]
    assert settings["model"].startswith("silero-vad ") and settings["pause"] == 0.3 and settings["threshold"] == 0.5
    assert label(audio, output=labels, teacher="taught", vad=True, jobs=1)["skipped"] == 1
    for other in ({}, {"vad": True, "vad_pause": 0.2}, {"vad": True, "vad_threshold": 0.6}):
        with pytest.raises(Refused, match="was labelled with vad"):
            label(audio, output=labels, teacher="taught", jobs=1, **other)
    label(audio / "m.csv", output=tmp_path / "by-manifest", teacher="taught", vad=True, jobs=1)
    assert table.read(tmp_path / "by-manifest").column("speaker") == ["3"]


def test_a_missing_package_is_one_line(
    corpus: Path, tmp_path: Path, distill: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nf = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'silero_vad' else f(name, *rest)\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path.cwd()}"}
    done = distill("label", corpus, "-o", tmp_path / "labels", "--teacher", "prosody", "--vad", env=environment)
    assert done.returncode == 1 and "needs silero_vad" in done.stderr and ".[vad]" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and not (tmp_path / "labels").exists()
