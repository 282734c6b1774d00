"""Every recording becomes 16 kHz mono, by the span and without loading the rest; what cannot be used says why."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from distill.audio import (
    SAMPLING_RATE,
    Span,
    digest,
    padded,
    read,
    reject_unusable,
    seconds_of,
    to_mono_16k,
    windows,
)
from distill.errors import AudioError

Tone = Callable[..., np.ndarray]


def pitch_of(signal: np.ndarray) -> float:
    """Strongest frequency (Hz) at 16 kHz."""
    return float(np.abs(np.fft.rfft(signal * np.hanning(len(signal)))).argmax() * SAMPLING_RATE / len(signal))


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000])
def test_every_rate_becomes_16_khz(tmp_path: Path, tone: Tone, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", tone(1.0, rate=rate), rate)
    signal = read(tmp_path / "a.wav")
    assert signal.dtype == np.float32 and abs(len(signal) - SAMPLING_RATE) <= 1
    assert pitch_of(signal) == pytest.approx(440, abs=1.5)
    assert np.abs(signal[1000:-1000]).max() == pytest.approx(0.3, abs=0.005)
    assert seconds_of(tmp_path / "a.wav") == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3"])
def test_every_container_is_read_whole_and_in_time(tmp_path: Path, tone: Tone, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    soundfile.write(path, tone(1.0), SAMPLING_RATE)
    signal = read(path)
    assert len(signal) == SAMPLING_RATE
    assert np.abs(signal - tone(1.0))[500:-500].max() < 0.05
    assert pitch_of(read(path, Span(0.25, 0.75))) == pytest.approx(440, abs=2.5)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
def test_every_width_of_sample_has_the_same_scale(tmp_path: Path, tone: Tone, subtype: str) -> None:
    soundfile.write(tmp_path / "a.wav", tone(1.0), SAMPLING_RATE, subtype)
    assert np.abs(read(tmp_path / "a.wav") - tone(1.0)).max() < 0.02


def test_six_channels_at_96_khz_are_averaged(tmp_path: Path, tone: Tone) -> None:
    channels = np.stack([tone(0.5, rate=96000) * share for share in (1, 0, 0, 0.5, 0, 0)], axis=1)
    soundfile.write(tmp_path / "six.wav", channels, 96000)
    assert np.abs(read(tmp_path / "six.wav")).max() == pytest.approx(0.3 * 1.5 / 6, abs=0.002)


def test_samples_are_never_clipped(tmp_path: Path, tone: Tone) -> None:
    soundfile.write(tmp_path / "loud.wav", tone(peak=1.0) * np.float32(7), SAMPLING_RATE, "FLOAT")
    assert np.abs(read(tmp_path / "loud.wav")).max() == pytest.approx(7, abs=0.01)


def test_the_same_audio_as_wav_and_as_flac_has_one_digest(tmp_path: Path, tone: Tone) -> None:
    for name, peak in (("a.wav", 0.3), ("a.flac", 0.3), ("other.wav", 0.31)):
        soundfile.write(tmp_path / name, (32767 * tone(peak=peak)).astype(np.int16), SAMPLING_RATE, "PCM_16")
    wav, flac, other = (digest(read(tmp_path / name)) for name in ("a.wav", "a.flac", "other.wav"))
    assert wav == flac != other and len(wav) == 64


def test_a_span_is_that_part_of_the_recording(tmp_path: Path, tone: Tone) -> None:
    soundfile.write(tmp_path / "a.wav", tone(2.0), SAMPLING_RATE, "FLOAT")
    np.testing.assert_array_equal(read(tmp_path / "a.wav", Span(0.5, 1.25)), tone(2.0)[8000:20000])


def test_a_span_may_end_by_rounding_past_the_file_and_no_further(tmp_path: Path, tone: Tone) -> None:
    soundfile.write(tmp_path / "a.wav", tone(1.0), SAMPLING_RATE)
    assert len(read(tmp_path / "a.wav", Span(0.5, 1.005))) == 8000
    with pytest.raises(AudioError, match=r"ends at 1\.5 s, the file at 1 s"):
        read(tmp_path / "a.wav", Span(0.5, 1.5))


@pytest.mark.parametrize(("seconds", "window", "hop"), [(12.3, 5, 5), (10, 5, 2.5), (7.1, 2, 0.7), (60.0004, 30, 30)])
def test_windows_cover_everything_and_the_last_ends_with_the_recording(
    seconds: float, window: float, hop: float
) -> None:
    spans = windows(seconds, window, hop)
    assert all(span.end - span.start == pytest.approx(window, abs=1e-6) for span in spans)
    assert spans[0].start == 0 and 0 <= seconds - spans[-1].end <= 1e-3
    assert all(after.start <= before.end for before, after in pairwise(spans))


def test_padding_stands_behind_the_signals(tone: Tone) -> None:
    batch = padded([tone(0.1), tone(0.2)])
    assert batch.shape == (2, 3200) and not batch[0, 1600:].any()
    np.testing.assert_array_equal(batch[1], tone(0.2))


def write_nan(path: Path, signal: np.ndarray) -> None:
    signal = signal.copy()
    signal[8000] = np.nan
    soundfile.write(path, signal, SAMPLING_RATE, "FLOAT")


def write_inf(path: Path, signal: np.ndarray) -> None:
    signal = signal.copy()
    signal[8000] = np.inf
    soundfile.write(path, signal, SAMPLING_RATE, "FLOAT")


def write_truncated(path: Path, signal: np.ndarray) -> None:
    soundfile.write(path, signal, SAMPLING_RATE)
    with path.open("r+b") as handle:
        handle.truncate(path.stat().st_size // 2)


BAD: dict[str, tuple[Callable[[Path, np.ndarray], object], str, str]] = {
    "empty file": (lambda path, _: path.touch(), "a.wav", "^empty file$"),
    "text": (lambda path, _: path.write_text("not a sound"), "a.wav", "not audio that can be read"),
    "truncated wav": (write_truncated, "a.wav", "broken off"),
    "truncated flac": (write_truncated, "a.flac", "broken off"),
    "truncated mp3": (write_truncated, "a.mp3", "broken off"),
    "truncated ogg": (write_truncated, "a.ogg", "broken off|not audio that can be read"),
    "NaN": (write_nan, "a.wav", "NaN or Inf"),
    "Inf": (write_inf, "a.wav", "NaN or Inf"),
    "no samples": (lambda path, signal: soundfile.write(path, signal[:0], SAMPLING_RATE), "a.wav", "no samples"),
    "vanished": (lambda path, _: None, "a.wav", "^no such file$"),
    "a folder": (lambda path, _: path.mkdir(), "x.wav", "^a folder, not a file$"),
    "a name of other bytes": (
        lambda path, signal: path.write_bytes(b"RIFF"), os.fsdecode(b"caf\xe9.wav"), "not valid UTF-8"
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
def test_what_cannot_be_read_says_why_in_one_line(tmp_path: Path, tone: Tone, fault: str) -> None:
    write, name, reason = BAD[fault]
    write(tmp_path / name, tone())
    with pytest.raises(AudioError, match=reason) as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_loop_of_links_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.wav").symlink_to(tmp_path / "a.wav")
    with pytest.raises(AudioError, match="cannot be read"):
        read(tmp_path / "a.wav")


@pytest.mark.parametrize("name", ["grüße 你好.wav", "two\nlines.wav", 'quo\'te "s".wav', "-o.wav"])
def test_odd_names_are_read(tmp_path: Path, tone: Tone, name: str) -> None:
    soundfile.write(tmp_path / name, tone(), SAMPLING_RATE)
    assert len(read(tmp_path / name)) == SAMPLING_RATE


def test_an_endless_streams_header_is_believed_no_further_than_its_samples(tmp_path: Path, tone: Tone) -> None:
    path = tmp_path / "streamed.wav"
    soundfile.write(path, tone(), SAMPLING_RATE)
    written = bytearray(path.read_bytes())
    written[4:8] = written[40:44] = b"\xff" * 4  # sizes of RIFF and data, as ffmpeg writes them to a pipe
    path.write_bytes(written)
    assert len(read(path)) == SAMPLING_RATE


@pytest.mark.parametrize(
    ("signal", "reason"),
    [
        (np.zeros(16000, np.float32), "silent"),
        (np.full(16000, 9e-5, np.float32), "silent"),
        (np.ones(800, np.float32), r"too short: 0\.05 s, at least 0\.3 s"),
        (np.zeros(0, np.float32), "too short"),
    ],
)
def test_silent_and_short_clips_are_refused(signal: np.ndarray, reason: str) -> None:
    with pytest.raises(AudioError, match=reason):
        reject_unusable(signal, 0.3)


def test_a_quiet_clip_is_no_silence(tone: Tone) -> None:
    reject_unusable(tone(peak=2e-4), 0.3)


def test_resampling_nothing_gives_nothing() -> None:
    assert to_mono_16k(np.zeros(0, np.float32), 8000).shape == (0,)


def test_a_window_of_two_hours_is_read_without_the_rest(tmp_path: Path, tone: Tone) -> None:
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 8000, 1, "PCM_16") as sound:
        sound.write(tone(10, rate=8000))
    grow(path, samples=2 * 3600 * 8000)
    assert seconds_of(path) == 7200
    tracemalloc.start()
    try:
        assert len(read(path, Span(0, 30))) == len(read(path, Span(7170, 7200))) == 30 * SAMPLING_RATE
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20e6  # the whole would be 230 MB as it is decoded


def grow(path: Path, samples: int) -> None:
    """Lengthen a 16-bit mono wav with silence that takes no room on the disk."""
    with path.open("r+b") as handle:
        handle.truncate(44 + 2 * samples)
        for at, size in ((4, 36 + 2 * samples), (40, 2 * samples)):
            handle.seek(at)
            handle.write(size.to_bytes(4, "little"))
