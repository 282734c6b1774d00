"""The limits of Wagner et al.: each test sees what it is about, and passes and fails where it should."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import audmetric
import numpy as np
import pytest
import soundfile

from distill.errors import DistillError
from distill.evaluation import evaluate
from distill.evaluation.fairness import as_table, conditions, report
from distill.metrics import spearman
from teacher.prosody.analysis import mean_pitch

COLUMNS = [{"sex": "female" if n % 2 else "male", "speaker": f"s{n % 5}"} for n in range(40)]


def answers() -> tuple[np.ndarray, np.ndarray]:
    """Right answers under every condition, and the truth; nobody rated dominance."""
    draw = np.random.default_rng(0)
    truth = draw.uniform(0.1, 0.9, (40, 3)).astype(np.float32)
    truth[:, 0] += np.array([0.05 * (n % 5) for n in range(40)], np.float32)
    truth[:, 1] = np.nan
    said = np.nan_to_num(truth, nan=0.5)
    return np.repeat(said[:, None], 1 + len(conditions()), axis=1), truth


def found(adv: np.ndarray, truth: np.ndarray, columns: Any = COLUMNS) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["test"], row["axis"]): row for row in report(adv, truth, columns, conditions())["tests"]}


def failed(adv: np.ndarray, truth: np.ndarray) -> set[tuple[str, str]]:
    return {key for key, row in found(adv, truth).items() if not row["passed"]}


def test_who_is_right_everywhere_passes() -> None:
    adv, truth = answers()
    result = report(adv, truth, COLUMNS, conditions())
    assert result["passed"] and result["untested"] == ["pitch"] and result["by_pitch"] is None
    assert {row["axis"] for row in result["tests"] if row["test"] == "CCC"} == {"arousal", "valence"}
    assert {row["axis"] for row in result["tests"] if row["test"].startswith("unchanged")} == {
        "arousal", "dominance", "valence",
    }  # fmt: skip


def test_one_sex_heard_worse_fails_between_the_sexes() -> None:
    adv, truth = answers()
    adv[::2, :, 0] = 0.55 * adv[::2, :, 0] + 0.25
    assert failed(adv, truth) == {("difference between the sexes", "arousal")}
    row = found(adv, truth)["difference between the sexes", "arousal"]
    by_sex = [float(audmetric.concordance_cc(truth[side::2, 0], adv[side::2, 0, 0])) for side in (0, 1)]
    assert row["value"] == pytest.approx(by_sex[1] - by_sex[0], abs=1e-4) and row["limit"] == 0.075


def voices() -> tuple[np.ndarray, np.ndarray, list[dict[str, str]], np.ndarray]:
    """Six speakers of 30 clips who are answered right, two at each of 120, 170 and 230 Hz."""
    draw = np.random.default_rng(1)
    truth = draw.uniform(0.1, 0.9, (180, 3)).astype(np.float32)
    columns = [{"speaker": f"s{n // 30}"} for n in range(180)]
    pitch = np.repeat([120.0, 170.0, 230.0], 60) + draw.uniform(-20, 20, 180)
    return truth[:, None].copy(), truth, columns, pitch


def test_voices_heard_worse_fail_in_their_group_alone() -> None:
    adv, truth, columns, pitch = voices()
    right = report(adv, truth, columns, [], pitch)
    assert right["passed"] and right["untested"] == ["difference between the sexes"]
    adv[120:, 0, 2] = 0.5 * adv[120:, 0, 2] + 0.25  # the high ones
    rows = {(row["test"], row["axis"]): row for row in report(adv, truth, columns, [], pitch)["tests"]}
    assert {key for key, row in rows.items() if not row["passed"]} == {("high pitch against all", "valence")}
    row = rows["high pitch against all", "valence"]
    own = audmetric.concordance_cc(truth[120:, 2], adv[120:, 0, 2])
    of_all = audmetric.concordance_cc(truth[:, 2], adv[:, 0, 2])
    assert row["value"] == pytest.approx(of_all - own, abs=1e-4) and (row["limit"], row["n"]) == (0.1, 60)


def test_clips_in_no_group_are_counted_by_their_reason() -> None:
    adv, truth, columns, pitch = voices()
    pitch[:2], pitch[2:5] = np.nan, (30.0, 400.0, 360.0)
    columns[150:] = [{"speaker": ""}] * 4 + [{"speaker": "twice"}] * 2 + columns[156:]  # 24 are left of the last
    result = report(adv, truth, columns, [], pitch)
    assert result["by_pitch"]["left_out"] == {
        "speaker not told": 4, "of a speaker of 25 clips or fewer": 26, "without voice": 2,
        "outside of 50 to 350 Hz": 3,
    }  # fmt: skip
    assert {group: one["n"] for group, one in result["by_pitch"]["groups"].items()} == {
        "low": 55, "middle": 60, "high": 30,
    }  # fmt: skip
    assert "high pitch: 30 clips of s4" in as_table(result) and "3 outside of 50 to 350 Hz" in as_table(result)


def test_voices_of_one_group_have_nobody_to_be_compared_with() -> None:
    adv, truth, columns, pitch = voices()
    result = report(adv, truth, columns, [], np.full_like(pitch, 100.0))
    assert "pitch" in result["untested"] and not any("pitch" in row["test"] for row in result["tests"])


def test_pitch_is_told_by_the_truth_or_found_in_the_recordings(tmp_path: Path) -> None:
    _, truth, columns, pitch = voices()
    for number in range(180):
        seconds = np.arange(4_800) / 16_000
        soundfile.write(tmp_path / f"{number}.wav", 0.3 * np.sin(2 * np.pi * pitch[number] * seconds), 16_000)
    rows = [f"{n}.wav,{truth[n, 0]:.4f},{columns[n]['speaker']}" for n in range(180)]
    bare, told = tmp_path / "bare.csv", tmp_path / "told.csv"
    bare.write_text("\n".join(["file,arousal,speaker", *rows]))
    told.write_text("\n".join(["file,arousal,speaker,pitch", *(f"{row},{pitch[n]}" for n, row in enumerate(rows))]))

    def groups(path: Path, **options: Any) -> Any:
        by_pitch = evaluate(truth=path, predictions=path, fairness=True, **options)["fairness"]["by_pitch"]
        return by_pitch and {group: list(one["speakers"]) for group, one in by_pitch["groups"].items()}

    right = {"low": ["s0", "s1"], "middle": ["s2", "s3"], "high": ["s4", "s5"]}
    assert groups(told) == right
    assert groups(bare, audio=tmp_path, find_pitch=mean_pitch) == right
    assert groups(bare, find_pitch=mean_pitch) is None  # nobody said where the recordings are
    told.write_text(told.read_text() + "x")
    with pytest.raises(DistillError, match="column pitch: is in Hz"):
        groups(told)


def test_speakers_in_another_order_fail_the_ranking_alone() -> None:
    adv, truth = answers()
    truth[:, 0] = np.array([0.3 + 0.4 * (n // 5 % 2) + 0.02 * (n % 5) for n in range(40)])
    adv[:, :, 0] = np.array([0.3 + 0.4 * (n // 5 % 2) - 0.02 * (n % 5) for n in range(40)])[:, None]
    assert failed(adv, truth) == {("ranking of speakers", "arousal")}
    assert found(adv, truth)["ranking of speakers", "arousal"]["value"] == pytest.approx(-1)


def test_what_a_condition_does_is_seen_under_its_name() -> None:
    names = [condition.name for condition in conditions()]
    adv, truth = answers()
    adv[:3, 1 + names.index("gain +2 dB"), 2] += 0.06  # three of forty: 92.5 % are left
    adv[:2, 1 + names.index("gain -2 dB"), 2] += 0.06  # 95 %
    adv[:, 1 + names.index("noise 20 dB"), 0] = 0.5
    adv[:3, 1 + names.index("white noise 40 dB"), 1] = np.nan
    assert failed(adv, truth) == {
        ("unchanged, gain +2 dB", "valence"), ("loss of CCC, noise 20 dB", "arousal"),
        ("unchanged, white noise 40 dB", "dominance"),
    }  # fmt: skip


def test_what_the_truth_does_not_say_is_named_as_untested() -> None:
    adv, truth = answers()
    result = report(adv, truth, [{"sex": "female"}] * 40, conditions())
    assert result["untested"] == ["difference between the sexes", "pitch", "ranking of speakers"]
    assert "not tested, the truth says too little: difference" in as_table(result)


def test_ranks_are_those_of_statistics() -> None:
    assert float(spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 9.0, 100.0]))) == pytest.approx(1)
    x, y = np.array([1.0, 2.0, 2.0, 4.0]), np.array([2.0, 1.0, 3.0, 4.0])
    ranks = np.array([0.0, 1.5, 1.5, 3.0]), np.array([1.0, 0.0, 2.0, 3.0])
    assert float(spearman(x, y)) == pytest.approx(float(audmetric.pearson_cc(*ranks)))


def test_conditions_keep_length_and_level_about() -> None:
    draw = np.random.default_rng(1)
    signal = 0.1 * draw.standard_normal(16_000).astype(np.float32)
    from distill.evaluation.robustness import Scene

    scene = Scene(draw.standard_normal(16_000).astype(np.float32), np.ones(1, np.float32))
    for condition in conditions():
        changed = condition.change(signal, scene)
        assert changed.shape == signal.shape and changed.dtype == np.float32
        if "phone" not in condition.name:
            assert 0.7 < np.std(changed) / np.std(signal) < 1.4, condition.name
        assert not np.array_equal(changed, signal)
        np.testing.assert_array_equal(changed, condition.change(signal, scene))


def table(path: Path, columns: str = "file,arousal,sex,speaker") -> Path:
    rows = [f"{n}.wav,{0.1 + 0.08 * (n % 10):.2f},{'fm'[n % 2]},s{n % 3}" for n in range(12)]
    path.write_text("\n".join([columns, *rows]) + "\n")
    return path


def test_written_answers_are_tested_without_asking_anew(tmp_path: Path) -> None:
    truth = table(tmp_path / "t.csv")
    truth.write_text(truth.read_text().replace(",f,", ",female,").replace(",m,", ",male,"))
    result = evaluate(truth=truth, predictions=truth, fairness=True)
    assert {row["test"] for row in result["fairness"]["tests"]} == {
        "CCC", "difference between the sexes", "ranking of speakers",
    }  # fmt: skip
    assert result["fairness"]["passed"]
    with pytest.raises(DistillError, match="--fairness needs a column 'sex'"):
        evaluate(truth=table(tmp_path / "u.csv", "file,arousal,a,b"), predictions=truth, fairness=True)


def test_the_command_prints_the_table_beside_that_of_robustness(distill: Any, corpus: Path, tmp_path: Path) -> None:
    truth = tmp_path / "truth.csv"
    truth.write_text("file,arousal,valence,sex\na/one.wav,0.1,0.9,female\na/two.flac,0.4,0.2,male\n"
                     "b/three.wav,0.5,0.6,female\nb/four.flac,0.6,0.3,male\n")  # fmt: skip
    asked = ("evaluate", "--truth", truth, "--teacher", "prosody", "--audio", corpus, "--fairness")
    done = distill(*asked, "--robustness", "-o", tmp_path / "e.json")
    assert done.returncode == 0, done.stderr
    assert "condition      clips" in done.stdout and "difference between the sexes" in done.stdout
    told = json.loads((tmp_path / "e.json").read_text())
    alone = json.loads(distill(*asked, "--json").stdout)
    assert told["fairness"] == alone["fairness"] and "gain +2 dB" not in told["robustness"]["conditions"]
