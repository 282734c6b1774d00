"""The run folder: one configuration a folder, clips that travel, five megabytes at most."""

from __future__ import annotations

import json

import numpy as np
import pytest

from distill import runs
from distill.errors import DistillError, Refused

CONFIG = {"arch": "wav2small", "learning_rate": 1e-05, "epochs": 3, "audio": None, "range": [0.0, 1.0]}


def hiss(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, int(16_000 * seconds)).astype(np.float32)


def test_begin_writes_configuration_and_environment(tmp_path):
    runs.begin(tmp_path / "run", CONFIG)
    assert runs.read_config(tmp_path / "run") == CONFIG
    found = json.loads((tmp_path / "run" / "env.json").read_text())
    assert found["packages"]["numpy"] == np.__version__ and found["python"]


def test_begin_recognises_its_own_configuration(tmp_path):
    runs.begin(tmp_path, CONFIG)
    (tmp_path / "checkpoints").mkdir()
    runs.begin(tmp_path, dict(CONFIG))


def test_begin_refuses_another_configuration_by_name(tmp_path):
    runs.begin(tmp_path, CONFIG)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(Refused, match="was begun with epochs 3, now it is 4"):
        runs.begin(tmp_path, {**CONFIG, "epochs": 4})
    assert runs.read_config(tmp_path) == CONFIG


def test_begin_takes_the_corrected_command_while_nothing_is_trained(tmp_path):
    runs.begin(tmp_path, {**CONFIG, "arch": "wav2smal"})
    runs.begin(tmp_path, CONFIG)
    assert runs.read_config(tmp_path) == CONFIG


def test_begin_refuses_a_run_that_lost_its_configuration(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(Refused, match=r"holds a run without its config\.yaml"):
        runs.begin(tmp_path, CONFIG)


def test_begin_refuses_a_file(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(Refused, match="is a file"):
        runs.begin(tmp_path / "run", CONFIG)


@pytest.mark.parametrize("text", ["", "a: [", "just words"])
def test_damaged_configuration_is_one_line(tmp_path, text):
    (tmp_path / runs.CONFIG).write_text(text)
    with pytest.raises(DistillError, match="cannot be read"):
        runs.read_config(tmp_path)


def test_missing_run_says_how_to_make_one(tmp_path):
    with pytest.raises(DistillError, match="make one with `distill train-student`"):
        runs.read_config(tmp_path)


def test_result_is_none_while_unfinished(tmp_path):
    assert runs.read_result(tmp_path) is None
    (tmp_path / runs.RESULT).write_text('{"n": 3}')
    assert runs.read_result(tmp_path) == {"n": 3}


def test_clips_come_back_by_use(tmp_path):
    clips = [runs.Clip("a.wav", "check", 0.5 * hiss(0.4)), runs.Clip("b.wav", "calibrate", 4 * hiss(0.3, 1))]
    assert runs.write_clips(tmp_path, clips) == 2
    (check,), (calibrate,) = runs.read_clips(tmp_path, "check"), runs.read_clips(tmp_path, "calibrate")
    assert (check.file, calibrate.file) == ("a.wav", "b.wav")
    np.testing.assert_allclose(check.signal, clips[0].signal, atol=1e-4)
    np.testing.assert_allclose(calibrate.signal, clips[1].signal / np.abs(clips[1].signal).max(), atol=1e-4)


def test_clips_end_at_the_limit(tmp_path):
    clips = [runs.Clip(f"{number}.wav", "check", hiss(30, number)) for number in range(8)]
    written = runs.write_clips(tmp_path, clips)
    files = list((tmp_path / runs.CALIBRATION).glob("*.flac"))
    assert 0 < written == len(files) == len(runs.read_clips(tmp_path, "check")) < len(clips)
    assert sum(path.stat().st_size for path in files) <= runs.CALIBRATION_BYTES


def test_run_without_clips_for_a_use_is_refused(tmp_path):
    runs.write_clips(tmp_path, [runs.Clip("a.wav", "check", hiss(0.3))])
    with pytest.raises(DistillError, match="holds no clips to calibrate with"):
        runs.read_clips(tmp_path, "calibrate")
