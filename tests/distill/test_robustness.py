"""Robustness: each condition does what its name says; drops and changes are those of the answers; limits decide."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from distill.evaluation import evaluate
from distill.evaluation.robustness import Trial, as_table, conditions
from distill.files import plain, sha256_of
from distill.metrics import ccc
from distill.perturb import level, surroundings

Tone = Callable[..., np.ndarray]
Make = Callable[..., Path]
Command = Callable[..., Any]

NAMES = [condition.name for condition in conditions()]


@pytest.fixture(scope="module")
def trial() -> Trial:
    return Trial()


@pytest.fixture
def versions(trial: Trial, tone: Tone) -> dict[str, np.ndarray]:
    """A clip of 1.6 s under every condition, "clean" among them."""
    return dict(zip(["clean", *NAMES], trial.versions(tone(1.6)), strict=True))


def test_every_condition_gives_audio_and_changes_the_clip(versions: dict[str, np.ndarray]) -> None:
    for name in NAMES:
        assert versions[name].dtype == np.float32 and np.isfinite(versions[name]).all(), name
        assert not np.array_equal(versions[name], versions["clean"]), name


@pytest.mark.parametrize("snr_db", [20, 10, 5, 0])
def test_noise_has_the_ratio_it_names_and_is_the_same_at_all(versions: dict[str, np.ndarray], snr_db: int) -> None:
    clean = versions["clean"]
    noise = versions[f"noise {snr_db} dB"] - clean
    assert 20 * np.log10(level(clean) / level(noise)) == pytest.approx(snr_db, abs=0.1)
    assert np.corrcoef(noise, versions["noise 0 dB"] - clean)[0, 1] > 0.999


@pytest.mark.parametrize(
    ("name", "seconds"),
    [("speed 0.9", 1.6 / 0.9), ("speed 1.1", 1.6 / 1.1), ("silence before", 2.6), ("silence after", 2.6),
     ("first half", 0.8), ("first second", 1.0), ("repeated", 3.2), ("codec gsm", 1.6), ("room", 1.6)],
)  # fmt: skip
def test_lengths_are_what_the_conditions_say(versions: dict[str, np.ndarray], name: str, seconds: float) -> None:
    assert len(versions[name]) / 16_000 == pytest.approx(seconds, abs=2e-4)


def test_gain_and_silence_are_exact(versions: dict[str, np.ndarray]) -> None:
    np.testing.assert_allclose(versions["gain +20 dB"], 10 * versions["clean"], rtol=1e-6)
    np.testing.assert_allclose(versions["gain -20 dB"], 0.1 * versions["clean"], rtol=1e-6)
    np.testing.assert_array_equal(versions["silence before"][16_000:], versions["clean"])
    np.testing.assert_array_equal(versions["silence after"][:-16_000], versions["clean"])


def test_a_clip_meets_the_same_noise_whatever_stands_beside_it(trial: Trial, tone: Tone) -> None:
    before = trial.versions(tone(1.0))
    trial.versions(tone(0.7, pitch=100))
    for first, again in zip(before, trial.versions(tone(1.0)), strict=True):
        np.testing.assert_array_equal(first, again)
    other = Trial(seed=1).versions(tone(1.0))
    assert not np.array_equal(before[1], other[1])


def test_synthesised_noise_and_rooms_are_none_that_training_makes(trial: Trial) -> None:
    assert trial.made_of["noise"]["folder"] is None
    tested = surroundings(None, None, testing=True)
    for seed in range(3):
        trained = surroundings(None, None, seed=seed)
        for ours, theirs in ((tested.noises, trained.noises), (tested.rooms, trained.rooms)):
            assert not any(np.array_equal(one, other) for one in ours for other in theirs)


def test_recordings_are_named_with_their_hashes(tmp_path: Path, tone: Tone) -> None:
    for folder in ("noise", "rir"):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "x.wav", tone(3.0, pitch=1000), 16_000)
    trial = Trial(tmp_path / "noise", tmp_path / "rir")
    for what, folder in (("noise", "noise"), ("rooms", "rir")):
        assert trial.made_of[what]["sha256"] == {"x.wav": sha256_of(tmp_path / folder / "x.wav")}


def test_a_recording_that_is_mostly_silent_makes_noise_all_the_same(tmp_path: Path, tone: Tone) -> None:
    bark = np.concatenate([tone(2.0, pitch=1000), np.zeros(16_000, np.float32)])
    soundfile.write(tmp_path / "bark.wav", bark, 16_000)
    trial = Trial(tmp_path)
    for pitch in range(100, 200, 10):
        clip = tone(0.5, pitch=pitch)
        assert level(trial.versions(clip)[1] - clip) == pytest.approx(0.1 * level(clip), rel=0.02)


def answers(clips: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """A truth [clips, 3] and a model's answers [clips, 1 + conditions, 3] near it, the same under all conditions."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 1, (clips, 3)).astype(np.float32)
    clean = truth + rng.normal(0, 0.1, (clips, 3)).astype(np.float32)
    return truth, np.repeat(clean[:, None], 1 + len(NAMES), 1)


def test_answers_that_stay_have_no_drop_and_pass(trial: Trial) -> None:
    truth, adv = answers()
    report = trial.report(adv, truth)
    assert report["passed"] and list(report["conditions"]) == NAMES
    for row in report["conditions"].values():
        assert row["n"] == 40 and row["drop"]["valence"] == {"value": 0, "low": 0, "high": 0}
        assert row["change"]["arousal"] == {"mean": 0, "largest": 0}
    promised = {name for name, row in report["conditions"].items() if row["passed"] is not None}
    assert promised == {
        "noise 10 dB", "silence before", "gain -20 dB", "gain -10 dB", "gain +10 dB", "gain +20 dB"
    }  # fmt: skip


def test_the_drop_is_that_of_the_same_clips(trial: Trial) -> None:
    truth, adv = answers()
    at = 1 + NAMES.index("noise 5 dB")
    adv[:, at] = 0.5 * adv[:, at] + 0.25
    adv[7, at] = np.nan
    row = trial.report(adv, truth)["conditions"]["noise 5 dB"]
    kept = np.arange(40) != 7
    for axis, column in (("arousal", 0), ("valence", 2)):
        before, after = (float(ccc(adv[kept, which, column], truth[kept, column])) for which in (0, at))
        assert row["ccc"][axis] == pytest.approx(after, abs=1e-6)
        drop = row["drop"][axis]
        assert drop["value"] == pytest.approx(before - after, abs=1e-6) and drop["low"] < drop["value"] < drop["high"]
        moved = np.abs(adv[kept, at, column] - adv[kept, 0, column])
        assert row["change"][axis] == pytest.approx({"mean": moved.mean(), "largest": moved.max()}, abs=1e-6)
    assert (row["n"], row["unanswered"]) == (39, 1)


def test_the_interval_of_a_drop_is_paired(trial: Trial) -> None:
    """The same clips are drawn on both sides: a small drop that they share is certain, though CCC itself is not."""
    truth, adv = answers()
    adv[:, 1] += 0.05
    drop = trial.report(adv, truth)["conditions"]["noise 20 dB"]["drop"]["arousal"]
    alone = np.ptp([ccc(adv[one::4, 0, 0], truth[one::4, 0]) for one in range(4)])
    assert drop["high"] - drop["low"] < alone


@pytest.mark.parametrize(
    ("name", "change", "passed"),
    [
        ("gain +20 dB", 0.019, True), ("gain -20 dB", 0.021, False), ("silence before", 0.049, True),
        ("silence before", 0.051, False), ("silence after", 0.5, None), ("noise 10 dB", 0.05, True),
    ],
)  # fmt: skip
def test_one_answer_that_moves_too_far_fails(trial: Trial, name: str, change: float, passed: bool | None) -> None:
    truth, adv = answers()
    adv[3, 1 + NAMES.index(name), 1] += change
    report = trial.report(adv, truth)
    assert report["conditions"][name]["passed"] is passed
    assert report["passed"] is (passed is not False)


@pytest.mark.parametrize(("shift", "passed"), [(0.05, True), (0.3, False)])
def test_one_axis_that_drops_too_far_fails(trial: Trial, shift: float, passed: bool) -> None:
    truth, adv = answers()
    adv[:, 1 + NAMES.index("noise 10 dB"), 2] += shift
    assert trial.report(adv, truth)["conditions"]["noise 10 dB"]["passed"] is passed


def test_without_any_answer_a_promise_is_not_kept(trial: Trial) -> None:
    truth, adv = answers()
    adv[:, 1 + NAMES.index("gain -20 dB")] = np.nan
    row = trial.report(adv, truth)["conditions"]["gain -20 dB"]
    assert row["passed"] is False and (row["n"], row["drop"]) == (0, {})


def test_an_axis_that_nobody_rated_is_judged_by_its_changes(trial: Trial) -> None:
    truth, adv = answers()
    truth[:, 1] = np.nan
    row = trial.report(adv, truth)["conditions"]["room"]
    assert list(row["drop"]) == ["arousal", "valence"] and list(row["change"]) == ["arousal", "dominance", "valence"]


def test_the_table_is_aligned_and_fits_a_terminal(trial: Trial) -> None:
    truth, adv = answers()
    adv[:, 1 + NAMES.index("noise 10 dB")] = 1 - adv[:, 0]
    truth[:, 1] = np.nan
    lines = as_table(trial.report(adv, truth)).splitlines()
    assert max(map(len, lines)) <= 120 and len(lines) == 2 + len(NAMES)
    failing = next(line for line in lines if line.startswith("noise 10 dB"))
    assert failing.endswith("0.05 FAIL") and failing.index("0.05 FAIL") == lines[1].index("limit")
    assert next(line for line in lines if line.startswith("gain +20 dB")).endswith("0.000 0.02 pass")
    assert failing[lines[1].index("dominance")] == "-"


@pytest.fixture
def truth(tmp_path: Path, corpus: Path) -> Path:
    path = tmp_path / "truth.csv"
    path.write_text("file,arousal,valence\na/one.wav,0.1,0.9\na/two.flac,0.4,0.2\nb/three.wav,0.5,0.6\ngone.wav,1,1\n")
    return path


def test_a_student_is_tried_under_all_conditions(
    truth: Path, corpus: Path, tmp_path: Path, make_student: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    student = make_student(tmp_path / "s.onnx")
    asked = {"truth": truth, "student": student, "audio": corpus, "robustness": True}
    result = evaluate(**asked, output=tmp_path / "e.json")
    assert "noise and rooms for testing are synthesised" in capsys.readouterr().err
    assert (result["n"], result["failed"]) == (3, 1)
    found = result["robustness"]["conditions"]
    assert list(found) == NAMES and all(row["n"] + row["unanswered"] == 3 for row in found.values())
    assert {name for name, row in found.items() if row["unanswered"]} == {"300-3400 Hz"}  # a low tone is gone then
    # The stand-in hears nothing but the level: gain is what moves it, a repetition is not.
    assert found["gain +20 dB"]["passed"] is False and not result["robustness"]["passed"]
    assert found["repeated"]["change"]["arousal"]["largest"] == pytest.approx(0, abs=1e-6)
    assert result["ccc"] == evaluate(truth=truth, student=student, audio=corpus)["ccc"]
    assert json.loads((tmp_path / "e.json").read_text())["robustness"]["conditions"].keys() == found.keys()
    again = evaluate(**asked)
    assert plain(again["robustness"]) == plain(result["robustness"])  # NaN, of one clip alone, is itself


def test_a_teacher_is_tried_alike(truth: Path, corpus: Path, quick: Any) -> None:
    result = evaluate(truth=truth, teacher="taught", open_teacher=lambda name: quick, audio=corpus, robustness=True)
    found = result["robustness"]["conditions"]
    assert (result["n"], result["failed"]) == (3, 1) and list(found) == NAMES
    assert found["gain +10 dB"]["change"]["valence"]["largest"] == 0  # crossings of zero
    assert found["gain +10 dB"]["change"]["dominance"]["largest"] > 0.1  # the peak


def test_the_command_prints_the_table(distill: Command, truth: Path, corpus: Path, tmp_path: Path) -> None:
    done = distill("evaluate", "--truth", truth, "--teacher", "prosody", "--audio", corpus, "--robustness")
    assert done.returncode == 0 and "condition      clips arousal" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("repeated")
