"""The bundled teacher: it hears neither gain nor silence nor padding, loads strictly, and agrees with people."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from distill.errors import DistillError
from distill.metrics import ccc
from teacher.prosody import BUNDLED, Prosody
from teacher.prosody.analysis import active_span, analyse, track_voice
from teacher.prosody.corpus import read_table
from teacher.prosody.features import FEATURES, feature_names, functionals
from teacher.prosody.regressor import Regressor, read_regressor
from teacher.prosody.training import train_prosody
from teacher.prosody.views import VIEWS, view_weights, views

RATE = 16_000

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")  # an empty mean or a division by zero
EMODB = Path(__file__).parents[2].parent / "shared" / "data" / "emodb"


def voice(seconds: float = 2.0, *, pitch: float = 140.0, seed: int = 0) -> np.ndarray:
    """Something like speech: a gliding pulse train through two formants, in syllables."""
    random = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    phase = np.cumsum(pitch * (1 + 0.15 * np.sin(2 * np.pi * time))) / RATE
    source = np.diff(np.floor(phase), prepend=0) + 0.01 * random.standard_normal(len(time))
    rings = [np.exp(-250 * time[:800]) * np.sin(2 * np.pi * formant * time[:800]) for formant in (600, 1700)]
    syllables = 0.05 + np.maximum(np.sin(2 * np.pi * 2.1 * time), 0)
    return (0.2 * np.convolve(source, sum(rings))[: len(time)] * syllables).astype(np.float32)


def answer(signal: np.ndarray) -> np.ndarray:
    return np.asarray(Prosody.load().annotate(signal[None], [len(signal)], RATE).adv[0])


@pytest.mark.parametrize("decibels", [-20, -6, 20])
def test_gain_does_not_matter(decibels: int) -> None:
    clip = voice()
    assert np.abs(answer(clip * np.float32(10 ** (decibels / 20))) - answer(clip)).max() < 1e-4


@pytest.mark.parametrize("samples", [1, 160, 9_999, 16_000])
def test_digital_silence_around_the_clip_changes_nothing(samples: int) -> None:
    clip, silence = voice(), np.zeros(samples, np.float32)
    np.testing.assert_array_equal(answer(np.concatenate([silence, clip, silence])), answer(clip))


def test_faint_noise_before_the_clip_hardly_matters() -> None:
    clip = voice()
    noise = np.random.default_rng(1).standard_normal(RATE).astype(np.float32) * np.abs(clip).max() * 1e-3
    assert np.abs(answer(np.concatenate([noise, clip])) - answer(clip)).max() < 0.03


def test_a_batch_answers_as_one_by_one_whatever_stands_in_the_padding() -> None:
    clips = [voice(0.7), voice(2.0, pitch=220), voice(1.3, seed=3)]
    lengths = [len(clip) for clip in clips]
    batch = np.full((3, max(lengths) + 500), 7.0, np.float32)
    for row, clip in zip(batch, clips, strict=True):
        row[: len(clip)] = clip
    together = Prosody.load().annotate(batch, lengths, RATE)
    np.testing.assert_array_equal(together.adv, np.stack([answer(clip) for clip in clips]))
    assert together.adv.dtype == np.float32
    assert together.embedding.shape == (3, FEATURES)
    assert together.spread is None


def test_an_empty_batch_is_an_empty_answer() -> None:
    assert Prosody.load().annotate(np.zeros((0, 100), np.float32), [], RATE).adv.shape == (0, 3)


def test_the_same_clip_twice_is_the_same_answer() -> None:
    np.testing.assert_array_equal(answer(voice()), answer(voice().copy()))


def click() -> np.ndarray:
    return np.eye(1, RATE, 3000, dtype=np.float32)[0]


def tone(hertz: float, seconds: float) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE).astype(np.float32)


ODD = {
    "tone": tone(440, 2.0),
    "high tone": tone(7900, 1.0),
    "hum": tone(20, 1.0),
    "noise": np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32),
    "click": click(),
    "clipped": np.sign(tone(100, 1.0)),
    "constant": np.full(RATE, 0.5, np.float32),
    "short": voice(0.3),
    "shorter than a frame": voice(0.02),
    "one sample": np.ones(1, np.float32),
    "tiny": voice() * np.float32(1e-30),
    "huge": voice() * np.float32(1e30),
    "long": voice(30.0),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_signals_have_sensible_answers(name: str) -> None:
    adv = answer(ODD[name])
    assert np.isfinite(adv).all()
    assert (adv > -0.5).all() and (adv < 1.5).all()


def test_the_pitch_of_a_voice_is_found() -> None:
    for pitch in (90.0, 140.0, 260.0):
        found = track_voice(analyse(voice(pitch=pitch)))
        assert found.voiced.mean() > 0.5
        assert abs(np.median(found.semitones[found.voiced]) - 12 * np.log2(pitch / 100)) < 1.5


def test_the_active_span_is_the_clip_without_its_silence() -> None:
    clip = np.pad(voice(1.0), (8000, 24_000))
    assert len(active_span(clip)) < 1.2 * RATE


def test_every_functional_has_a_name_of_its_own() -> None:
    names = feature_names()
    assert len(names) == len(set(names)) == FEATURES == len(functionals(voice()))


def test_functionals_refuse_what_they_are_not_defined_for() -> None:
    with pytest.raises(ValueError, match="16000 Hz, not 8000"):
        functionals(voice(), 8000)
    with pytest.raises(ValueError, match="one channel"):
        functionals(np.ones((2, 100), np.float32))
    with pytest.raises(ValueError, match="not finite"):
        functionals(np.array([0, np.nan], np.float32))


def test_silence_is_refused_and_not_given_a_mood() -> None:
    with pytest.raises(ValueError, match="silent"):
        answer(np.zeros(RATE, np.float32))


def test_the_card_says_where_the_weights_come_from() -> None:
    card = Prosody.load().card
    assert card.axes == ("arousal", "dominance", "valence")
    assert card.derived == ("dominance",)
    assert (card.licence, card.bundled, card.gain_invariant, card.sampling_rate) == ("MIT", True, True, RATE)
    assert card.data_licence == "CC0-1.0 (EMO-DB audio); BSD-3-Clause (human ratings, Sievers et al.)"
    assert card.parameters == Prosody.load().regressor.parameters
    stored = json.loads((BUNDLED / "prosody.json").read_text())
    assert set(stored["leave_one_speaker_out"]) == {"arousal", "valence"}  # nobody rated dominance
    assert sum(path.stat().st_size for path in BUNDLED.iterdir()) < 1.5e6


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BUNDLED, tmp_path / "weights"))


def restored(folder: Path, **changes: np.ndarray | None) -> Path:
    """The weights with arrays changed, added or (None) taken away."""
    with np.load(folder / "prosody.npz") as stored:
        arrays = {**stored, **changes}
    np.savez(folder / "prosody.npz", **{name: array for name, array in arrays.items() if array is not None})
    return folder


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Regressor)])
def test_a_missing_array_is_named(copy: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"lacks the array '{name}'"):
        Prosody.load(restored(copy, **{name: None}))


def test_a_surplus_array_is_named(copy: Path) -> None:
    with pytest.raises(ValueError, match="not part of the model: 'bias'"):
        Prosody.load(restored(copy, bias=np.zeros(3, np.float32)))


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Regressor)])
def test_a_misshaped_array_is_named(copy: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"array '{name}'"):
        Prosody.load(restored(copy, **{name: np.zeros((2, 5, 7), np.float32)}))


def test_a_card_of_other_weights_is_refused(copy: Path) -> None:
    with pytest.raises(ValueError, match="describes revision"):
        Prosody.load(restored(copy, offset=np.zeros(3, np.float32)))


def test_reading_gives_what_was_written() -> None:
    assert read_regressor(BUNDLED / "prosody.npz").mean.shape == (FEATURES,)


def test_views_differ_from_the_clip_and_come_out_the_same_again() -> None:
    first, again = (views(voice(), np.random.default_rng(5)) for _ in range(2))
    assert len(first) == len(VIEWS) == len(view_weights())
    np.testing.assert_array_equal(first[0], voice())
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == np.float32 and np.isfinite(one).all()


def corpus_folder(folder: Path, columns: list[str]) -> Path:
    """Nine clips of three speakers: high voices are rated as aroused."""
    values = {"raters": "9", "split": "train"}
    with (folder / "labels.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, columns, extrasaction="ignore")
        writer.writeheader()
        for index in range(9):
            high = index % 3 / 2
            soundfile.write(folder / f"{index}.wav", voice(0.8, pitch=110 + 120 * high, seed=index), RATE)
            rated = {"arousal": 0.2 + 0.6 * high, "valence": 0.3 + 0.04 * index, "dominance_norm": 0.3 + 0.2 * high}
            kind = {"file": str(index), "speaker": f"s{index // 3}", "category": f"c{index % 3}"}
            writer.writerow(values | rated | kind)
    return folder / "labels.csv"


FULL = ["file", "speaker", "arousal", "valence", "dominance_norm", "category", "raters", "split"]


def test_training_writes_a_teacher_that_loads_and_has_learnt(tmp_path: Path) -> None:
    labels = corpus_folder(tmp_path, FULL)
    report = train_prosody(labels=labels, audio=tmp_path, output=tmp_path / "out", licence="MIT")
    teacher = Prosody.load(tmp_path / "out")
    assert teacher.card.as_dict() == report["card"]
    assert teacher.card.trained_on == "labels.csv: 9 clips of 3 speakers"
    assert not teacher.card.bundled
    low, high = (voice(0.8, pitch=pitch, seed=7) for pitch in (110, 230))
    answers = teacher.annotate(np.stack([low, high]), [len(low)] * 2, RATE).adv
    assert answers[1, 0] > answers[0, 0] + 0.2
    assert set(report["leave_one_speaker_out"]["arousal"]["speakers"]) == {"s0", "s1", "s2"}


def test_without_categories_and_dominance_one_expert_answers_two_axes(tmp_path: Path) -> None:
    labels = corpus_folder(tmp_path, ["file", "speaker", "arousal", "valence"])
    train_prosody(labels=labels, audio=tmp_path, output=tmp_path / "out")
    teacher = Prosody.load(tmp_path / "out")
    assert teacher.card.axes == ("arousal", "valence") and teacher.card.derived == ()
    adv = teacher.annotate(voice(0.8)[None], [12_800], RATE).adv[0]
    assert np.isnan(adv[1]) and np.isfinite(adv[[0, 2]]).all()


def test_rows_are_chosen_as_everywhere_else(tmp_path: Path) -> None:
    labels = corpus_folder(tmp_path, FULL)
    assert [row["file"] for row in read_table(labels)] == [str(number) for number in range(9)]
    assert [row["file"] for row in read_table(labels, {"category": "c0|c2"})] == ["0", "2", "3", "5", "6", "8"]


def test_training_says_what_is_wrong_with_the_table(tmp_path: Path) -> None:
    with pytest.raises(DistillError, match="'valence' is missing"):
        read_table(corpus_folder(tmp_path, ["file", "speaker", "arousal"]))
    labels = corpus_folder(tmp_path, FULL)
    with pytest.raises(DistillError, match="three speakers"):
        read_table(labels, {"speaker": "s0|s1"})
    with pytest.raises(DistillError, match="no row with split=dev"):
        read_table(labels, {"split": "dev"})
    (tmp_path / "4.wav").unlink()
    with pytest.raises(DistillError, match="no recording named 4"):
        train_prosody(labels=labels, audio=tmp_path, output=tmp_path / "out")


def test_it_agrees_with_people_on_real_speech() -> None:
    """Training speakers at full length, which the teacher never heard so: no measure of quality, a guard on wiring."""
    if not EMODB.is_dir():
        pytest.skip(f"no recordings: {EMODB} is absent")
    with (EMODB / "ratings.csv").open() as handle:
        rated = [row for row in csv.DictReader(handle) if row["split"] == "train"]
    rows = [row for row in rated if (EMODB / "full" / f"{row['file']}.flac").is_file()][::5]
    clips = [soundfile.read(EMODB / "full" / f"{row['file']}.flac", dtype="float32")[0] for row in rows]
    adv = np.stack([answer(clip) for clip in clips])
    assert ccc(adv[:, 0], np.array([float(row["arousal"]) for row in rows])) > 0.85
    assert ccc(adv[:, 2], np.array([float(row["valence"]) for row in rows])) > 0.6
    for clip, before in zip(clips[:5], adv[:5], strict=True):
        lifted = np.concatenate([np.zeros(RATE, np.float32), clip * np.float32(0.1)])
        assert np.abs(answer(lifted) - before).max() < 0.01
