"""Training a student end to end on a second of audio a clip: what it leaves behind, resumes, refuses."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import soundfile

from distill import runs, table
from distill.audio import digest
from distill.errors import DistillError, Refused
from distill.files import sole_writer
from distill.learning import loop
from students.training import train_student

QUICK = {"epochs": 2, "batch_size": 4, "workers": 0, "device": "cpu", "precision": "float32"}


@pytest.fixture(scope="module", autouse=True)
def one_core():
    """As on a machine with one core: as many threads, and so the same bits, whatever the number of workers."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "cpu_count", lambda: 1)
        yield


def train(labels: Any, output: Path, **options: Any) -> dict[str, Any]:
    return train_student(labels, output=output, **{**QUICK, **options})


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def left_out(run: Path) -> dict[str, str]:
    with (run / "left_out.csv").open() as handle:
        return {row["file"]: row["reason"] for row in csv.DictReader(handle)}


@pytest.fixture(scope="module")
def labels(make_labels, tmp_path_factory) -> Path:
    return make_labels(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def own_labels(make_labels, tmp_path) -> Path:
    """A corpus to be damaged."""
    return make_labels(tmp_path / "corpus")


@pytest.fixture(scope="module")
def undisturbed(labels, tmp_path_factory) -> Path:
    """A run of three epochs that nothing interrupted."""
    folder = tmp_path_factory.mktemp("runs") / "a"
    train(labels, folder, epochs=3)
    return folder


def test_run_folder_holds_everything_that_export_needs(undisturbed):
    names = {path.name for path in undisturbed.iterdir() if path.name != ".lock"}
    assert names == {"config.yaml", "env.json", "metrics.jsonl", "checkpoints", "model.safetensors", "result.json",
                     "calibration", "split.json"}  # fmt: skip
    assert sum(path.stat().st_size for path in (undisturbed / "calibration").iterdir()) <= 5_000_000
    assert len(runs.read_clips(undisturbed, "check")) == 2 and len(runs.read_clips(undisturbed, "calibrate")) == 10


def test_result_says_what_was_learned_from_whom(undisturbed):
    result = runs.read_result(undisturbed)
    assert set(result) >= {"ccc", "axes", "derived", "split", "n", "teacher", "licence", "data_licence", "seconds"}
    assert set(result["ccc"]) == {"arousal", "dominance", "valence"}
    assert all(set(score) == {"value", "low", "high"} for score in result["ccc"].values())
    assert result["split"] == {"by": "speaker", "groups": 1, "train": 10, "held_out": 2}
    assert (result["n"], result["teacher"], result["derived"]) == (2, "shape", ["dominance"])
    assert (result["licence"], result["data_licence"]) == ("MIT", "CC BY 4.0; CC0-1.0")


def test_metrics_tell_every_epoch(undisturbed):
    told = lines(undisturbed)
    assert [line["epoch"] for line in told] == [1, 2, 3] and [line["step"] for line in told] == [2, 4, 6]
    assert all(np.isfinite(line["loss"]) for line in told) and told[-1]["rate"] < 0.1 * told[0]["rate"]


def test_loss_goes_down(labels, tmp_path):
    train(labels, tmp_path / "run", epochs=10, loss="mse")
    told = [line["loss"] for line in lines(tmp_path / "run")]
    assert told[-1] < 0.5 * told[0]


def test_held_out_speakers_are_not_trained_on(undisturbed, labels):
    out = json.loads((undisturbed / "split.json").read_text())
    held = {name.removeprefix("speaker ") for name in out["held_out"]}
    speaker = dict(zip(*(table.read(labels).column(name) for name in ("file", "speaker")), strict=True))
    assert {speaker[clip.file] for clip in runs.read_clips(undisturbed, "check")} == held
    assert not {speaker[clip.file] for clip in runs.read_clips(undisturbed, "calibrate")} & held


def test_windows_of_a_file_stay_together_where_no_speaker_is_known(make_labels, tmp_path):
    folder = make_labels(tmp_path / "corpus", speakers=None)
    result = train(folder, tmp_path / "run", epochs=1)
    assert result["split"]["by"] == "file"
    assert all(name.startswith("file ") for name in json.loads((tmp_path / "run/split.json").read_text())["held_out"])


def weights(run: Path) -> bytes:
    return (run / "model.safetensors").read_bytes()


@pytest.mark.parametrize("workers", [0, 1])
def test_interrupted_run_resumes_to_the_same_bytes(labels, undisturbed, tmp_path, monkeypatch, workers):
    save = loop._save

    def save_and_die(*args):
        save(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(loop, "_save", save_and_die)
        train(labels, tmp_path / "run", epochs=3, workers=workers)
    assert not (tmp_path / "run" / "model.safetensors").exists()
    train(labels, tmp_path / "run", epochs=3, workers=workers)
    assert [line["epoch"] for line in lines(tmp_path / "run")] == [1, 2, 3]
    assert weights(tmp_path / "run") == weights(undisturbed)


def test_killed_run_resumes_to_the_same_bytes(labels, undisturbed, tmp_path):
    run = tmp_path / "run"
    one_core = "import os; os.cpu_count = lambda: 1; from distill.cli import main; main()"
    command = [sys.executable, "-c", one_core, "train-student", "--labels", labels, "-o", run, "--epochs", "3",
               "--batch-size", "4", "--workers", "1", "--device", "cpu", "--precision", "float32"]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        while not (run / "checkpoints" / "last.pt").exists():
            assert process.poll() is None, "ended before its first epoch"
            time.sleep(0.01)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not (run / "model.safetensors").exists(), "was too fast to be killed"
    train(labels, run, epochs=3)
    assert weights(run) == weights(undisturbed)
    assert not list(run.rglob("*.partial*"))


def test_another_seed_gives_other_weights(labels, undisturbed, tmp_path):
    train(labels, tmp_path / "run", epochs=3, seed=1)
    assert weights(tmp_path / "run") != weights(undisturbed)


def test_finished_run_is_recognised(labels, undisturbed, capsys):
    before = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*") if path.name != ".lock"}
    assert train(labels, undisturbed, epochs=3) == runs.read_result(undisturbed)
    assert "already trained" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*") if path.name != ".lock"} == before


@pytest.mark.parametrize("other", [{"epochs": 4}, {"seed": 9}, {"learning_rate": 0.1}, {"loss": "mse"}])
def test_another_configuration_in_the_same_folder_is_refused_by_name(labels, undisturbed, other):
    with pytest.raises(Refused, match=f"was begun with {next(iter(other))} "):
        train(labels, undisturbed, **{"epochs": 3, **other})


def test_a_second_process_in_the_same_folder_is_refused(labels, tmp_path):
    with sole_writer(tmp_path), pytest.raises(Refused, match="another run is writing"):
        train(labels, tmp_path)


def test_time_limit_ends_with_the_rate_come_down(labels, tmp_path):
    began = time.monotonic()
    result = train(labels, tmp_path / "run", epochs=None, max_minutes=0.02)
    last = lines(tmp_path / "run")[-1]
    assert result["seconds"] >= 1.2 and time.monotonic() - began < 60
    assert last["step"] > 1 and last["rate"] < 0.5 * 3e-3


def test_missing_and_changed_audio_are_left_out_and_named(own_labels, tmp_path):
    audio = table.read(own_labels).root
    (audio / "03.wav").unlink()
    shutil.copy(audio / "05.wav", audio / "04.wav")
    result = train(own_labels, tmp_path / "run")
    reasons = left_out(tmp_path / "run")
    assert set(reasons) == {"03.wav", "04.wav"}
    assert reasons["03.wav"] == "no such file"
    assert reasons["04.wav"].startswith(("is not the audio", "the segment ends"))
    assert result["split"]["train"] + result["split"]["held_out"] == 10


def test_audio_option_moves_the_root(own_labels, tmp_path):
    audio = table.read(own_labels).root
    audio.rename(tmp_path / "moved")
    result = train(own_labels, tmp_path / "run", epochs=1, audio=tmp_path / "moved")
    assert result["split"]["train"] == 10 and not (tmp_path / "run" / "left_out.csv").exists()


def test_no_audio_at_all_is_an_error(labels, tmp_path):
    with pytest.raises(DistillError, match=r"none of the 12 labelled clips can be read \(00\.wav: no such file\)"):
        train(labels, tmp_path / "run", audio=tmp_path)


@pytest.mark.parametrize("side", ["held-out", "training"])
def test_a_side_of_the_split_without_audio_is_an_error(own_labels, undisturbed, tmp_path, side):
    (out,) = json.loads((undisturbed / "split.json").read_text())["held_out"]
    rows = table.read(own_labels)
    for file, speaker in zip(rows.column("file"), rows.column("speaker"), strict=True):
        if (f"speaker {speaker}" == out) == (side == "held-out"):
            (rows.root / file).unlink()
    with pytest.raises(DistillError, match=f"no {side} clip"):
        train(own_labels, tmp_path / "run")


def test_silent_clips_are_left_out(own_labels, tmp_path):
    rows = table.read(own_labels)
    soundfile.write(rows.root / "02.wav", np.zeros(16000, np.float32), 16000, "FLOAT")
    relabelled = rows.rows.to_pylist()
    relabelled[2] |= {"sha256": digest(np.zeros(16000, np.float32)), "end": 1.0}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(relabelled), own_labels / "part-0.parquet")
    train(own_labels, tmp_path / "run", epochs=1)
    assert left_out(tmp_path / "run") == {"02.wav": "silent: no sample above -80 dBFS"}


def test_constant_labels_are_refused(make_labels, tmp_path):
    folder = make_labels(tmp_path / "corpus", constant="valence")
    with pytest.raises(DistillError, match="valence is the same in all 12 rows"):
        train(folder, tmp_path / "run")


def test_one_speaker_only_is_refused(make_labels, tmp_path):
    with pytest.raises(DistillError, match="cannot hold anything out"):
        train(make_labels(tmp_path / "corpus", speakers=1), tmp_path / "run")


def test_full_disk_is_refused_before_decoding(labels, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 5_000_000, 5_000_000))
    with pytest.raises(DistillError, match="200 MB are needed, 5 MB are free"):
        train(labels, tmp_path / "run")
    assert not (tmp_path / "run" / "cache").exists()


@pytest.mark.parametrize(
    "wrong, line", [({"arch": "wav3small"}, "no such student"), ({"loss": "mae"}, "--loss mae: there are ccc, mse")]
)
def test_unknown_names_are_refused_and_leave_the_folder_free(labels, tmp_path, wrong, line):
    with pytest.raises(DistillError, match=line):
        train(labels, tmp_path / "run", **wrong)
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_export_check_comes_before_everything(labels, tmp_path):
    def refuse(model, name):
        raise DistillError(f"{name} cannot be exported: no")

    with pytest.raises(DistillError, match="wav2small cannot be exported: no"):
        train(labels, tmp_path / "run", export_check=refuse)
    assert not (tmp_path / "run" / "cache").exists() and not (tmp_path / "run" / "checkpoints").exists()


def test_a_failed_command_can_be_corrected_in_the_same_folder(labels, tmp_path):
    with pytest.raises(DistillError, match="no such folder"):
        train(labels, tmp_path / "run", noise=tmp_path / "nois")
    assert train(labels, tmp_path / "run", epochs=1)["n"] == 2


def test_diverging_loss_stops_with_one_line(labels, tmp_path):
    with pytest.raises(DistillError, match=r"^the loss is (nan|inf) at step \d; try a lower --learning-rate$"):
        train(labels, tmp_path / "run", learning_rate=1e30)
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_lacking_axis_is_trained_around(make_labels, tmp_path, recwarn):
    folder = make_labels(tmp_path / "corpus", axes=("arousal", "valence"))
    result = train(folder, tmp_path / "run")
    assert result["axes"] == ["arousal", "valence"] and result["ccc"]["dominance"] is None
    assert result["ccc"]["valence"] is not None and runs.read_config(tmp_path / "run")["axes"] == result["axes"]
    assert all(np.isfinite(line["loss"]) and "dominance" not in line["ccc"] for line in lines(tmp_path / "run"))
    assert not [str(w.message) for w in recwarn if issubclass(w.category, RuntimeWarning)]


def test_tables_without_an_axis_in_common_are_refused(make_labels, tmp_path):
    both = [make_labels(tmp_path / axis, axes=(axis,)) for axis in ("arousal", "valence")]
    with pytest.raises(DistillError, match="no axis in common"):
        train(both, tmp_path / "run")


def test_two_tables_are_trained_on_together(labels, own_labels, tmp_path):
    result = train([labels, own_labels], tmp_path / "run", epochs=1)
    assert result["split"]["train"] + result["split"]["held_out"] == 24
    config = runs.read_config(tmp_path / "run")
    assert [entry["role"] for entry in config["lineage"]] == ["teacher", "audio"]


def test_a_licence_that_is_too_strict_is_refused_before_the_run_is_begun(make_labels, tmp_path):
    labels = make_labels(tmp_path)
    info = json.loads((labels / "labels.json").read_text())
    info["teacher"]["data_licence"] = "MSP-Podcast academic licence (restricted)"
    (labels / "labels.json").write_text(json.dumps(info))
    with pytest.raises(Refused, match="what it learns from: MSP-Podcast"):
        train_student(labels, output=tmp_path / "run", require_licence="permissive")
    info["teacher"]["data_licence"], info["audio_licence"] = "CC0-1.0", "unknown"
    (labels / "labels.json").write_text(json.dumps(info))
    with pytest.raises(Refused, match=r"what it learns from: unknown is .* `distill label --data-licence` says it"):
        train_student(labels, output=tmp_path / "run", require_licence="permissive")
    assert not (tmp_path / "run").exists()
