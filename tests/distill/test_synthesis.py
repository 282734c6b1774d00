"""The synthesiser does what its dials say, as measured on what it gives; the corpus is whole, stable and skipped."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from distill import audio, synthesis
from distill.errors import DistillError, Refused
from distill.synthesis import Manner, Voice, corpus, manner, speak, voice, write_corpus

VOICES = {speaker: voice(speaker) for speaker in (1, 2, 3, 4)}
#: The corners and the middle of the two dials.
MOODS = [(0.0, 0.0), (0.0, 1.0), (0.5, 0.5), (1.0, 0.0), (1.0, 1.0)]


def frames_of(clip: np.ndarray, length: int = 1024, hop: int = 256) -> np.ndarray:
    return np.asarray(np.lib.stride_tricks.sliding_window_view(clip, length)[::hop] * np.hanning(length))


def pitch_of(clip: np.ndarray) -> np.ndarray:
    """F0 (Hz) of the clearly periodic frames: the first high peak of the autocorrelation, 60 to 500 Hz."""
    power = np.abs(np.fft.rfft(frames_of(clip), 2048)) ** 2
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(1024), 2048)) ** 2)[:268]
    correlation = np.fft.irfft(power)[:, :268] / window
    correlation /= correlation[:, :1] + 1e-12
    before, here, after = correlation[:, 31:-2], correlation[:, 32:-1], correlation[:, 33:]
    highest = here.max(axis=1, keepdims=True)
    # Every multiple of the period is a peak, too: the first one that is nearly as high is the period.
    peaks = (here > 0.88 * highest) & (here >= before) & (here >= after) & (highest > 0.8)
    return np.asarray(16000 / (32 + peaks.argmax(axis=1)[peaks.any(axis=1)]))


def semitones(ratio: float) -> float:
    return float(12 * np.log2(ratio))


def rms_db(clip: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(clip.astype(np.float64) ** 2)))


def alpha_ratio(clip: np.ndarray) -> float:
    """Energy above 1 kHz against energy below, in dB, of the long-term spectrum."""
    power = (np.abs(np.fft.rfft(frames_of(clip))) ** 2).sum(axis=0)
    return float(10 * np.log10(power[64:].sum() / power[3:64].sum()))


def swells_of(clip: np.ndarray) -> float:
    """How often (Hz) the loudness of 50 ms rises through that of the 400 ms around it: about once a syllable."""
    loudness = np.log(np.sqrt((frames_of(clip, 400, 160) ** 2).mean(axis=1)) + 1e-3)
    short, long = (np.convolve(loudness, np.ones(n) / n, mode="same") for n in (5, 40))
    above = short > long
    return float((above[1:] & ~above[:-1]).sum() / (len(clip) / 16000))


def said(manner: Manner, speaker: int, seconds: float = 3.0) -> np.ndarray:
    return speak(VOICES[speaker], manner, seconds=seconds, seed=speaker)


@pytest.mark.parametrize("seconds", [0.1, 0.25, 1.0, 2.00003, 3.7])
def test_every_clip_has_the_length_asked_for_and_is_sound(seconds: float) -> None:
    for energy, brightness in MOODS:
        clip = speak(VOICES[1], manner(energy, brightness), seconds=seconds, seed=3)
        assert clip.dtype == np.float32
        assert clip.shape == (round(seconds * 16000),)
        assert np.isfinite(clip).all()
        assert 1e-3 < np.abs(clip).max() <= synthesis.HIGHEST_PEAK


def test_extreme_voices_and_manners_stay_finite_and_unclipped() -> None:
    child = Voice("female", 320.0, 1.35, jitter=0.1, shimmer=0.1, breathiness=0.5)
    shout = Manner(12.0, 18.0, 10.0, 0.0, -3.0, 6.0, 1.1, 5.0, 5.0, 3.0)
    whisper = Manner(-12.0, 0.0, 1.0, -18.0, -60.0, -6.0, 0.9, 0.0, 5.0, 0.0, noise_db=-90.0)
    for extreme in (shout, whisper):
        clip = speak(child, extreme, seconds=2.0, seed=0)
        assert np.isfinite(clip).all()
        assert 0 < np.abs(clip).max() <= synthesis.HIGHEST_PEAK


def test_the_seed_decides_everything() -> None:
    first, again, other = (speak(VOICES[2], Manner(), seconds=1.0, seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert voice(7, seed=1) == voice(7, seed=1) != voice(7, seed=2)


def test_clips_begin_and_end_without_a_click_and_are_never_digital_silence() -> None:
    clip = said(Manner(), 1)
    assert abs(clip[0]) < 1e-4
    assert abs(clip[-1]) < 1e-4
    quietest = min(np.sqrt(np.mean(part**2)) for part in np.array_split(clip, 200)[1:-1])
    assert 1e-5 < quietest < 3e-3


@pytest.mark.parametrize("speaker", VOICES)
@pytest.mark.parametrize("pitch", [-4.0, 0.0, 4.0])
def test_the_measured_pitch_is_the_pitch_asked_for(speaker: int, pitch: float) -> None:
    measured = np.median(pitch_of(said(Manner(pitch_semitones=pitch), speaker)))
    assert semitones(measured / VOICES[speaker].f0_hz) == pytest.approx(pitch, abs=1.0)


@pytest.mark.parametrize("speaker", VOICES)
def test_the_measured_pitch_range_follows_its_dial(speaker: int) -> None:
    def width(asked: float) -> float:
        low, high = np.percentile(pitch_of(said(Manner(pitch_range_semitones=asked), speaker)), [10, 90])
        return semitones(high / low)

    narrow, usual, wide = width(1.0), width(5.0), width(10.0)
    assert narrow < 2.0 < usual < wide
    assert usual == pytest.approx(5.0, abs=1.5)


@pytest.mark.parametrize("speaker", VOICES)
def test_level_and_tilt_follow_their_dials(speaker: int) -> None:
    quiet, loud = (rms_db(said(Manner(loudness_db=level), speaker)) for level in (-40.0, -25.0))
    assert loud - quiet == pytest.approx(15.0, abs=0.5)
    dark, usual, bright = (alpha_ratio(said(Manner(tilt_db_per_octave=tilt), speaker)) for tilt in (-13.0, -9.0, -5.0))
    assert dark + 1 < usual < bright - 1


def test_the_rate_follows_its_dial() -> None:
    slow, fast = (
        np.mean([swells_of(said(Manner(rate_hz=rate), speaker, 5.0)) for speaker in VOICES]) for rate in (2.5, 6.5)
    )
    assert fast > 1.4 * slow


@pytest.mark.parametrize("speaker", VOICES)
def test_energy_raises_pitch_level_and_upper_spectrum(speaker: int) -> None:
    calm, excited = (said(manner(energy, 0.5), speaker) for energy in (0.0, 1.0))
    assert semitones(np.median(pitch_of(excited)) / np.median(pitch_of(calm))) > 4
    assert rms_db(excited) > rms_db(calm) + 8
    assert alpha_ratio(excited) > alpha_ratio(calm) + 3


@pytest.mark.parametrize("speaker", VOICES)
def test_brightness_widens_the_range_but_leaves_the_level(speaker: int) -> None:
    dull, bright = (said(manner(0.5, brightness), speaker) for brightness in (0.0, 1.0))
    spread = [np.std(np.log2(pitch_of(clip))) for clip in (dull, bright)]
    assert spread[1] > 1.2 * spread[0]
    assert abs(rms_db(bright) - rms_db(dull)) < 1.5


def test_dials_outside_their_range_are_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        manner(1.2, 0.5)
    with pytest.raises(ValueError, match="from 0 to 1"):
        manner(0.5, float("nan"))
    with pytest.raises(ValueError, match="too short"):
        speak(VOICES[1], Manner(), seconds=0.05, seed=0)


def test_speakers_differ_from_each_other() -> None:
    crowd = [voice(speaker) for speaker in range(1, 31)]
    assert len({replace(one, sex="female") for one in crowd}) == 30
    female, male = (np.median([one.f0_hz for one in crowd if one.sex == sex]) for sex in ("female", "male"))
    assert female > 1.4 * male
    # The same words in two voices of one sex: the spectra lie apart, not only the pitch.
    spectra = [
        np.log(np.abs(np.fft.rfft(frames_of(speak(one, Manner(), seconds=2, seed=0)))).mean(0)) for one in crowd[:6]
    ]
    assert min(np.abs(a - b).mean() for i, a in enumerate(spectra) for b in spectra[:i]) > 0.1


def rows_of(manifest: Path) -> list[dict[str, str]]:
    with manifest.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def stamps(folder: Path) -> dict[str, int]:
    return {path.name + path.parent.name: path.stat().st_mtime_ns for path in sorted(folder.rglob("*.flac"))}


def test_a_corpus_is_laid_out_as_promised(tmp_path: Path) -> None:
    manifest = write_corpus(tmp_path, speakers=2, clips=3, seconds=(0.5, 1.0), seed=4)
    rows = rows_of(manifest)
    assert manifest == tmp_path / "manifest.csv"
    assert tuple(rows[0]) == synthesis.COLUMNS
    assert [row["file"] for row in rows][:4] == [
        "speaker-01/clip-001.flac",
        "speaker-01/clip-002.flac",
        "speaker-01/clip-003.flac",
        "speaker-02/clip-001.flac",
    ]
    assert {(row["speaker"], row["sex"]) for row in rows} == {("speaker-01", "female"), ("speaker-02", "male")}
    assert all(0 <= float(row[dial]) <= 1 for row in rows for dial in ("energy", "brightness"))
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} == {
        "manifest.csv",
        *(row["file"] for row in rows),
    }
    for row in rows:
        header = soundfile.info(tmp_path / row["file"])
        assert (header.format, header.subtype, header.samplerate, header.channels) == ("FLAC", "PCM_16", 16000, 1)
        samples = audio.read(tmp_path / row["file"])
        assert 0.5 <= len(samples) / 16000 <= 1.0
        audio.reject_unusable(samples, 0.1)


def test_a_second_call_writes_no_clip_and_a_larger_one_only_adds(tmp_path: Path) -> None:
    small = rows_of(write_corpus(tmp_path, speakers=1, clips=2, seconds=(0.3, 0.5)))
    before = stamps(tmp_path)
    assert rows_of(write_corpus(tmp_path, speakers=1, clips=2, seconds=(0.3, 0.5))) == small
    assert stamps(tmp_path) == before
    large = rows_of(write_corpus(tmp_path, speakers=2, clips=3, seconds=(0.3, 0.5)))
    assert large[:2] == small
    assert before.items() <= stamps(tmp_path).items()
    assert len(large) == len(stamps(tmp_path)) == 6


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_corpus(tmp_path / folder, speakers=1, clips=1, seconds=(0.4, 0.4), seed=seed)
    first, again, other = ((tmp_path / name / "speaker-01/clip-001.flac").read_bytes() for name in "abc")
    assert first == again != other


def test_a_file_of_another_seed_is_not_taken_for_ones_own(tmp_path: Path) -> None:
    write_corpus(tmp_path, speakers=1, clips=1, seconds=(0.3, 0.3), seed=1)
    with pytest.raises(Refused, match=r"clip-001\.flac"):
        write_corpus(tmp_path, speakers=1, clips=1, seconds=(0.3, 0.3), seed=2)
    (tmp_path / "speaker-01/clip-001.flac").write_bytes(b"no audio")
    with pytest.raises(Refused, match=r"clip-001\.flac"):
        write_corpus(tmp_path, speakers=1, clips=1, seconds=(0.3, 0.3), seed=1)


@pytest.mark.parametrize(
    ("speakers", "clips", "seconds"), [(0, 1, (1.0, 2.0)), (1, 0, (1.0, 2.0)), (1, 1, (2.0, 1.0)), (1, 1, (0.0, 1.0))]
)
def test_a_corpus_that_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, speakers: int, clips: int, seconds: tuple[float, float]
) -> None:
    with pytest.raises(DistillError):
        write_corpus(tmp_path / "corpus", speakers=speakers, clips=clips, seconds=seconds)
    assert not (tmp_path / "corpus").exists()


def test_the_dials_of_a_speaker_cover_their_range() -> None:
    dials = np.array([corpus._dials(5, clip, 0) for clip in range(1, 17)])
    quarters = np.unique(np.floor(2 * dials), axis=0, return_counts=True)[1]
    assert len(quarters) == 4
    assert quarters.min() >= 2
