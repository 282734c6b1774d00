"""How the bundled teacher is made: its table, the views of a clip, the two experts, the choice among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from distill.audio import SAMPLING_RATE
from distill.errors import DistillError
from teacher.prosody import corpus as corpora
from teacher.prosody.analysis import analyse, in_decibels, some
from teacher.prosody.corpus import Corpus, find_audio, hear, number, read_table
from teacher.prosody.experts import Material, blend, blended, blending, fit_discriminant, fit_kernel, prepare
from teacher.prosody.features import FEATURES
from teacher.prosody.regressor import SQUASH, gaussian_plus_linear, posterior, read_regressor, squash, write_regressor
from teacher.prosody.training import choose, left_out_report, score, settings, smoothness
from teacher.prosody.views import (
    CROP_SECONDS,
    SNR_DB,
    VIEWS,
    WEIGHTS,
    at_speed,
    cropped,
    in_room,
    through_channel,
    view_weights,
    with_noise,
)

SECOND = SAMPLING_RATE


def drawn(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def tone(hertz: float = 440.0, seconds: float = 1.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * SECOND)) / SECOND)).astype(np.float32)


def peak_hertz(signal: np.ndarray) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(signal))) * SECOND / len(signal))


# The table -----------------------------------------------------------------------------------------------------------


def rows(*changes: dict[str, str]) -> list[dict[str, str]]:
    plain = {"speaker": "s", "arousal": "0.5", "valence": "0.25"}
    return [{"file": str(place), **plain, **change} for place, change in enumerate(changes)]


@pytest.mark.parametrize(("text", "value"), [("0.25", 0.25), ("1e-1", 0.1), (" 2 ", 2.0), ("-0", 0.0)])
def test_a_cell_is_a_number(text: str, value: float) -> None:
    assert number({"file": "a", "arousal": text}, "arousal", None) == value


@pytest.mark.parametrize("text", ["", "high", "0,5", "nan", "inf", "-inf"])
def test_a_cell_that_is_no_number_is_named(text: str) -> None:
    """What stands for a missing value elsewhere would be learnt as a rating of zero."""
    with pytest.raises(DistillError, match=f"a.wav: arousal is '{text}', not a number; mend it or leave the row out"):
        number({"file": "a.wav", "arousal": text}, "arousal", None)


def test_an_empty_cell_is_what_it_stands_for() -> None:
    assert number({"file": "a", "raters": ""}, "raters", 20.0) == number({"file": "a"}, "raters", 20.0) == 20.0
    with pytest.raises(DistillError, match="raters is 'few'"):
        number({"file": "a", "raters": "few"}, "raters", 20.0)


def test_a_row_that_ends_early_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("file,speaker,arousal,valence\na,s1,0.5,0.5\nb,s2,0.5\nc,s3,0.5,0.5\n")
    for name in "abc":
        soundfile.write(tmp_path / f"{name}.wav", tone(), SECOND)
    with pytest.raises(DistillError, match="b: valence is '', not a number"):
        hear(read_table(tmp_path / "t.csv"), tmp_path, 0)


def test_a_recording_is_found_with_and_without_its_ending(tmp_path: Path) -> None:
    for name in ("a.wav", "b.flac", "c.v2.wav"):
        soundfile.write(tmp_path / name, tone(seconds=0.1), SECOND)
    for name, found in (("a", "a.wav"), ("a.wav", "a.wav"), ("b", "b.flac"), ("c.v2", "c.v2.wav")):
        assert find_audio(tmp_path, name) == tmp_path / found
    with pytest.raises(DistillError, match="no recording named d, with or without an ending"):
        find_audio(tmp_path, "d")


def test_a_recording_that_cannot_be_heard_is_named_with_its_row(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "0.wav", np.zeros(SECOND), SECOND)
    with pytest.raises(DistillError, match=r"0\.wav: .*; leave its row out"):
        hear(rows({}), tmp_path, 0)


def test_what_is_heard_follows_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "hear_views", lambda paths, seed: np.zeros((len(paths), 1, 2)))
    for name in "012":
        soundfile.write(tmp_path / f"{name}.wav", tone(seconds=0.4), SECOND)
    given = rows({"raters": "5", "category": "joy"}, {"raters": "80", "dominance_norm": "0.75"}, {"speaker": "t"})
    heard = hear(given, tmp_path, 0)
    np.testing.assert_allclose(heard.weights, [0.5, 1.0, 1.0])  # a quarter of enough raters: half the weight
    np.testing.assert_array_equal(heard.ratings[:, [0, 2]], [[0.5, 0.25]] * 3)
    assert np.isnan(heard.ratings[[0, 2], 1]).all() and heard.ratings[1, 1] == 0.75
    assert heard.categories.tolist() == ["joy", "", ""] and heard.part(heard.speakers == "t").weights.tolist() == [1.0]


# Views ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.85, 1.0, 1.18])
def test_speed_moves_length_and_pitch_together(factor: float) -> None:
    view = at_speed(tone(440, 2.0), factor)
    assert len(view) == pytest.approx(2 * SECOND / factor, abs=2)
    assert peak_hertz(view) == pytest.approx(440 * factor, rel=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_noise_lies_below_the_clip_by_what_was_drawn(seed: int) -> None:
    clip = tone(seconds=2.0)
    view = with_noise(clip, drawn(seed))
    margin = SECOND // 10
    noise = view - np.pad(clip, margin)
    assert len(view) == len(clip) + 2 * margin and noise[:margin].any() and noise[-margin:].any()
    assert SNR_DB[0] - 0.1 < 10 * np.log10(np.mean(clip**2) / np.mean(noise**2)) < SNR_DB[1] + 0.1


@pytest.mark.parametrize("seed", range(4))
def test_a_room_has_a_tail_that_dies_away(seed: int) -> None:
    click = np.zeros(SECOND, np.float32)
    click[100] = 1.0
    wet = in_room(click, drawn(seed))
    assert SECOND < len(wet) <= SECOND + SECOND // 4 and not np.abs(wet[:99]).max() > 1e-5
    assert wet[100] == pytest.approx(1.0, abs=0.2) and np.abs(wet[101:800]).max() > 1e-3
    assert np.mean(wet[101:1000] ** 2) > 5 * np.mean(wet[4000:5000] ** 2)


def test_a_channel_tilts_about_one_kilohertz_and_sometimes_limits_the_band() -> None:
    noise = drawn(9).standard_normal(SECOND).astype(np.float32)
    views = [through_channel(noise, drawn(seed)) for seed in range(20)]
    assert all(view.shape == noise.shape and view.dtype == np.float32 and np.isfinite(view).all() for view in views)
    decibels = [20 * np.log10(np.abs(np.fft.rfft(view)) / np.abs(np.fft.rfft(noise))) for view in views]
    assert all(abs(gain[1000]) < 5.2 for gain in decibels), "there the tilt is nothing and the bump at most 5 dB"
    highest = [gain[7800] for gain in decibels]
    assert min(highest) < -30 and max(highest) > -6, "a telephone's band, and a studio's"
    lowest = [gain[20] for gain in decibels]
    assert min(lowest) < -30 and max(lowest) > -10


@pytest.mark.parametrize("seconds", [0.4, 0.8, 1.0, 5.0])
def test_a_crop_is_a_stretch_of_the_clip(seconds: float) -> None:
    clip = np.arange(int(seconds * SECOND), dtype=np.float32)
    for seed in range(10):
        view = cropped(clip, drawn(seed))
        assert (np.diff(view) == 1).all() and len(view) <= CROP_SECONDS[1] * SECOND
        assert len(view) >= min(CROP_SECONDS[0] * SECOND, len(clip))


def test_views_of_a_kind_share_its_weight() -> None:
    kinds = [kind for kind, _ in VIEWS]
    weights = view_weights()
    assert kinds[0] == "clean" and set(kinds) == set(WEIGHTS)
    for kind, whole in WEIGHTS.items():
        assert weights[[one == kind for one in kinds]].sum() == pytest.approx(whole)


# Analysis ------------------------------------------------------------------------------------------------------------


def test_decibels_have_a_soft_floor() -> None:
    levels = in_decibels(np.array([1e-12, 1e-6, 1.0, 10.0], np.float32), 60.0)
    assert levels[0] == pytest.approx(-60, abs=0.01) and levels[1] == pytest.approx(-57, abs=0.1)
    assert levels[2:] == pytest.approx([0, 10], abs=0.01) and (np.diff(levels) > 0).all()


def test_the_first_mask_that_selects_anything_counts() -> None:
    none, first, second = np.zeros(3, bool), np.array([True, False, False]), np.array([False, True, True])
    assert some(none, first, second) is first and some(none, none).all()


def test_levels_are_relative_to_the_clip_itself() -> None:
    loud, quiet = analyse(tone()), analyse(tone() * np.float32(1e-3))
    np.testing.assert_allclose(loud.mel, quiet.mel, atol=1e-3)
    assert abs(float(np.median(loud.decibels))) < 1 and loud.active.mean() > 0.9


# The experts ---------------------------------------------------------------------------------------------------------


def made(speakers: int = 3, clips: int = 8, *, categories: bool = True) -> Corpus:
    """Clips of three kinds whose functionals say what they are rated; every view a little off."""
    random, count = drawn(1), speakers * clips
    kinds = np.arange(count) % 3
    ratings = np.column_stack([kinds / 2, 0.5 * np.ones(count), 1 - kinds / 2]) + 0.02 * random.standard_normal(
        (count, 3)
    )
    heard = np.repeat(np.column_stack([ratings, kinds == 1, random.standard_normal(count)])[:, None], len(VIEWS), 1)
    heard = heard + 0.05 * random.standard_normal(heard.shape)
    names = np.array([f"c{kind}" if categories else "" for kind in kinds])
    return Corpus(np.array([f"s{n // clips}" for n in range(count)]), ratings, names, np.ones(count), heard)


@pytest.fixture(scope="module")
def material() -> Material:
    return prepare(made())


def test_functionals_are_standardised_by_the_weights_of_their_views(material: Material) -> None:
    corpus = made()
    flat, weights = corpus.features.reshape(-1, 5), np.tile(view_weights(), 24)
    np.testing.assert_allclose(material.mean, np.average(flat, axis=0, weights=weights), rtol=1e-5)
    assert len(material.rows) == 24 * len(VIEWS) and (np.abs(material.rows) < SQUASH).all()
    np.testing.assert_allclose(material.weights, weights, rtol=1e-5)
    half = prepare(Corpus(**{**vars(corpus), "weights": np.full(24, 0.5)}))
    np.testing.assert_allclose(half.mean, material.mean)
    assert np.unique(material.categories).tolist() == ["c0", "c1", "c2"]


@pytest.mark.parametrize("fit", ["kernel", "discriminant"])
def test_each_expert_learns_what_it_was_shown(material: Material, fit: str) -> None:
    corpus = made()
    one = fit_kernel(material, 1.0, 1.0) if fit == "kernel" else fit_discriminant(material, 0.35, 1.5)
    answers = one(corpus.features[:, 0])
    assert answers.dtype == np.float32 and np.abs(answers - corpus.ratings).mean() < 0.12
    assert answers[2, 0] > answers[1, 0] > answers[0, 0] and answers[2, 2] < answers[0, 2]


def test_more_ridge_and_more_temperature_are_smoother(material: Material) -> None:
    def spread(regressor: Any) -> float:
        return float(regressor(made().features[:, 0])[:, 0].std())

    assert spread(fit_kernel(material, 1.0, 1000.0)) < 0.8 * spread(fit_kernel(material, 1.0, 1.0))
    assert spread(fit_discriminant(material, 0.5, 30.0)) < 0.8 * spread(fit_discriminant(material, 0.5, 1.0))


def test_two_experts_are_one_regressor_with_the_spread_of_the_ratings(material: Material, tmp_path: Path) -> None:
    corpus = made()
    experts = [fit_kernel(material, 1.0, 10.0), fit_discriminant(material, 0.5, 2.0)]
    answers = np.stack([one(corpus.features[:, 0]) for one in experts])[:, :, None]
    how = blending(answers, corpus.ratings)
    together = blend(experts, how)
    np.testing.assert_allclose(together(corpus.features[:, 0]), blended(answers, how)[:, 0], atol=1e-4)
    for axis in (0, 2):
        said = together(corpus.features[:, 0])[:, axis]
        assert said.mean() == pytest.approx(corpus.ratings[:, axis].mean(), abs=1e-4)
        assert said.std() == pytest.approx(corpus.ratings[:, axis].std(), abs=1e-4)
    write_regressor(together, tmp_path / "prosody.npz")
    with pytest.raises(ValueError, match=rf"'mean' is float32 \[5\], it must be float32 \[{FEATURES}\]"):
        read_regressor(tmp_path / "prosody.npz")


def test_an_axis_that_nobody_rated_is_not_answered() -> None:
    ratings = np.array([[0.0, np.nan, 1.0], [1.0, np.nan, 0.0]])
    how = blending(np.array([[[[0.4, 0.5, 0.6]], [[0.6, 0.5, 0.4]]]]), ratings)
    assert np.isnan(how.gains[0, 1]) and np.isnan(how.offset[1]) and np.isfinite(how.gains[0, [0, 2]]).all()


def test_the_kernel_is_a_gaussian_and_a_little_of_a_line() -> None:
    left, right = np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([[0.0, 0.0]])
    np.testing.assert_allclose(gaussian_plus_linear(left, right, 2.0, 0.3)[:, 0], [1.0, np.exp(-25)])
    np.testing.assert_allclose(gaussian_plus_linear(left, left, 0.0, 2.0)[1], [1.0, 1.0 + 25])


def test_categories_are_heard_as_shares_however_large_the_scores() -> None:
    shares = posterior(np.array([[1e4], [-1e4], [0.0]]), np.array([[1.0], [-1.0], [0.0]]), np.zeros(3))
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_allclose(shares, [[1, 0, 0], [0, 1, 0], [1 / 3] * 3], atol=1e-6)
    assert posterior(np.ones((2, 4)), np.zeros((0, 4)), np.zeros(0)).shape == (2, 0)


def test_an_odd_functional_is_bounded_and_a_usual_one_is_left() -> None:
    bounded = squash(np.array([[1e9, -1e9, 0.5, 0.0]]), np.zeros(4), np.full(4, 2.0))
    assert bounded[0] == pytest.approx([SQUASH, -SQUASH, 0.25, 0.0], abs=1e-3)


# The choice ----------------------------------------------------------------------------------------------------------


def test_without_categories_there_is_one_expert() -> None:
    assert [fit for fit, _ in settings(made())] == [fit_kernel, fit_discriminant]
    assert [fit for fit, _ in settings(made(categories=False))] == [fit_kernel]


def test_of_choices_as_good_the_smoothest_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = [{"width": width, "ridge": ridge} for width in (0.6, 1.0) for ridge in (1.0, 1.5)]
    monkeypatch.setattr("teacher.prosody.training.settings", lambda corpus: [(fit_kernel, tried)])
    choice, answers = choose(made(categories=False))
    assert choice == [{"width": 1.0, "ridge": 1.5}] and answers.shape == (1, 24, len(VIEWS), 3)
    assert smoothness([tried[3]]) > smoothness([tried[1]]) > smoothness([tried[2]]) > smoothness([tried[0]])


def test_a_choice_that_is_much_worse_is_not_taken_however_smooth(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = [{"width": 1.0, "ridge": 1.0}, {"width": 1000.0, "ridge": 1e9}]
    monkeypatch.setattr("teacher.prosody.training.settings", lambda corpus: [(fit_kernel, tried)])
    monkeypatch.setattr("teacher.prosody.experts.LINEAR", 0.0)
    assert choose(made(categories=False))[0] == [tried[0]]


def test_the_score_counts_the_clip_as_it_is_most_and_the_derived_axis_not_at_all() -> None:
    ratings = drawn().uniform(size=(30, 3))
    right = np.repeat(ratings[None, :, None], len(VIEWS), axis=2)
    assert score(right, ratings) == pytest.approx(1.0)
    harsh, clean, derived = right.copy(), right.copy(), right.copy()
    harsh[:, :, 1:] = drawn(1).uniform(size=harsh[:, :, 1:].shape)
    clean[:, :, 0] = drawn(1).uniform(size=clean[:, :, 0].shape)
    derived[..., 1] = drawn(1).uniform(size=derived[..., 1].shape)
    assert score(clean, ratings) < score(harsh, ratings) < 0.95 and score(derived, ratings) == pytest.approx(1.0)


def test_the_report_is_of_speakers_left_out_and_of_rated_axes_alone() -> None:
    corpus = made()
    found = left_out_report(np.repeat(corpus.ratings[None, :, None], len(VIEWS), axis=2), corpus)
    assert set(found) == {"arousal", "valence"}
    one = found["arousal"]
    assert set(one["speakers"]) == {"s0", "s1", "s2"} and one["pooled"] > 0.95
    assert one["mean"] == pytest.approx(np.mean(list(one["speakers"].values())), abs=1e-4)
