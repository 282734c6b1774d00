"""One student by several processes: whose batches are whose, and the real torchrun."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distill import runs
from distill.cli import main
from distill.errors import DistillError, Refused
from distill.learning import loop
from distill.learning.processes import ALONE, Processes
from distill.perturb import surroundings
from students.augmentation import Augmentation
from students.batches import TrainingBatches
from students.passes import KeptPasses
from students.training import train_student
from tests.conftest import ROOT
from tests.distill.test_processes import Ended, environment, forked, said
from tests.students.test_hints import QUICK, clips, weights
from tests.students.test_online import CARD, labelled_by
from tests.students.test_passes import Counting, same

TWO = [Processes(rank, 2) for rank in range(2)]


def batches(processes: Processes, *, size: int = 4, seen: int = 8, **options: Any) -> TrainingBatches:
    given: dict[str, Any] = {"longest": 1.0, "seed": 0, "workers": 0, "augmentation": Augmentation(), **options}
    return TrainingBatches(clips(None), np.arange(seen), surroundings(None, None), batch_size=size,
                           processes=processes, **given)  # fmt: skip


def test_processes_share_the_batches_of_one() -> None:
    """Drawn alike, each by one of them, as many by each; what does not go round is left to another epoch."""
    undivided = list(batches(ALONE, size=2, seen=6)(1))
    shared = [batches(processes, size=2, seen=6) for processes in TWO]
    assert len(undivided) == 3 and [len(own) for own in shared] == [1, 1]
    assert same([batch for own in shared for batch in own(1)], undivided[:2])


def test_more_processes_than_batches_are_refused() -> None:
    with pytest.raises(DistillError, match=r"8 training clips give 2 batches of 4, fewer than .* processes \(3\)"):
        batches(Processes(2, 3))


def test_kept_voices_have_one_writer_each_and_come_back_to_it(tmp_path: Path) -> None:
    teachers = [Counting() for _ in TWO]
    shared = [
        batches(processes, annotator=teacher, kept=KeptPasses(tmp_path, 1))
        for processes, teacher in zip(TWO, teachers, strict=True)
    ]
    first = [list(own(0)) for own in shared]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0-000000.npz", "0-000001.npz"]
    again = [list(own(1)) for own in shared]
    assert [teacher.asked for teacher in teachers] == [4, 4]
    for before, after in zip(first, again, strict=True):
        assert torch.equal(before[0].target, after[0].target) and not torch.equal(before[0].pcm, after[0].pcm)


def test_labelling_first_is_left_to_one_process(monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path) -> None:
    for name, value in environment(0).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        main(["train-student", "--teacher", "prosody", "--audio", str(tmp_path), "-o", str(tmp_path / "run")])
    (line,) = capsys.readouterr().err.splitlines()
    assert "call `distill label` first" in line


def train(labels: Path, run: Path, **options: Any) -> dict[str, Any]:
    given = {**QUICK, "arch": "tests.toys.student:Bands", **options}
    return train_student(labels, output=run, **given)


@pytest.fixture(scope="module")
def labels(make_labels: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty clips, by a teacher that can be in the loop."""
    return labelled_by(make_labels(tmp_path_factory.mktemp("corpus"), clips=20), CARD.revision)


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"epochs": 1, "augment": {"echo": 0.5}}, "--augment echo: there are"),
        ({"epochs": 1, "batch_size": 16}, r"give 1 batches of 16, fewer than there are processes \(2\)"),
        ({"epochs": 1, "arch": "wav3small"}, "no such student"),
    ],
)
def test_bad_input_is_told_once(labels: Path, tmp_path: Path, wrong: dict[str, Any], line: str) -> None:
    with pytest.raises(Ended, match=r"\[1, 1\]"):
        forked(tmp_path / "said", lambda: train(labels, tmp_path / "run", **wrong))
    first, second = said(tmp_path / "said")
    assert re.search(line, first.splitlines()[-1]) and second == ""


def test_a_folder_that_not_all_share_is_refused(labels: Path, tmp_path: Path) -> None:
    with pytest.raises(Ended):
        forked(tmp_path, lambda: train(labels, tmp_path / os.environ["RANK"]))
    assert "name a folder that all machines share" in said(tmp_path)[1]


def test_with_the_teacher_in_the_loop_and_killed_they_end_the_same_to_the_bit(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With hints and kept voices."""
    how = {"epochs": 4, "online": True, "annotated_passes": 2, "open_teacher": lambda _: Counting(),
           "match_embedding": 0.5, "relational": 1.0}  # fmt: skip

    def trained(name: str) -> list[Any]:
        return forked(tmp_path, lambda: train(labels, tmp_path / name, **how)["epochs"])

    train(labels, tmp_path / "alone", **how)  # first: what is imported for it the others have then as well
    assert trained("undisturbed") == [4, 4] and weights(tmp_path / "alone") != weights(tmp_path / "undisturbed")
    save = loop._save

    def save_and_die(state: Any, folder: Path) -> None:
        save(state, folder)
        if state.epoch == 3:
            os._exit(9)

    with monkeypatch.context() as patched, pytest.raises(Ended):
        patched.setattr(loop, "_save", save_and_die)
        trained("run")
    assert len(list((tmp_path / "run" / "annotated").glob("*/*.npz"))) == 2 * 4
    assert trained("run") == [4, 4]
    assert weights(tmp_path / "run") == weights(tmp_path / "undisturbed")
    assert runs.read_result(tmp_path / "run") | {"seconds": 0} == runs.read_result(tmp_path / "undisturbed") | {
        "seconds": 0
    }


def test_weights_stay_alike_and_statistics_of_batch_norm_are_each_ones_own(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def last(model: Any, *given: Any, **how: Any) -> None:
        loop.fit(model, *given, **how)
        raise Trained(model.state_dict())

    class Trained(BaseException):
        pass

    def work() -> Any:
        try:
            train(labels, tmp_path / "run", arch="wav2small", epochs=1)
        except Trained as trained:
            return trained.args[0]

    monkeypatch.setattr("students.training.fit", last)
    first, second = forked(tmp_path, work)
    other = {name for name, value in first.items() if not torch.equal(value, second[name])}
    assert other and all("running_" in name for name in other)


def torchrun(*arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
               "--max-restarts", "1", "-m", "distill", "train-student", *map(str, arguments)]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=240, check=False)


def test_torchrun_trains_one_student_and_goes_on_where_a_process_was_killed(labels: Path, tmp_path: Path) -> None:
    from export.exporting import export

    run = tmp_path / "run"
    typed = [part for name, value in QUICK.items() for part in (f"--{name.replace('_', '-')}", value)]
    arch = "tests.students.killed_once:Killed"
    done = torchrun("--labels", labels, "-o", run, "--arch", arch, "--json", *typed)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()  # the first process's alone
    assert json.loads(line)["processes"] == runs.read_config(run)["processes"] == 2
    told = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [(epoch["epoch"], epoch["step"]) for epoch in told] == [(1, 2), (2, 4)]
    assert done.stderr.count("going on after epoch 1") == 1 and done.stderr.count("held out") == 2
    assert not (run / "cache").exists() and not list(run.rglob("*.partial*"))
    assert export(run, output=tmp_path / "student.onnx") and (tmp_path / "student.onnx").is_file()
    with pytest.raises(Refused, match="was begun with processes 2, now it is None"):
        train(labels, run, arch=arch)
