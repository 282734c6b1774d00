"""One teacher by several processes: whose clips are whose, and the same loss as one process has."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from distill.errors import DistillError
from distill.learning.clips import Clips
from distill.learning.processes import ALONE, Processes
from teacher.training import train_teacher
from teacher.tuning.batches import TuningBatches
from tests.distill.test_processes import environment, forked
from tests.teacher.tuning import backbones
from tests.teacher.tuning.test_training import QUICK, corpus  # noqa: F401


def clips() -> Clips:
    lengths = np.arange(100, 200, 10)
    pcm = np.random.default_rng(0).integers(-9_000, 9_000, lengths.sum()).astype("<i2")
    targets = np.random.default_rng(1).uniform(size=(10, 3)).astype(np.float32)
    return Clips(pcm, np.concatenate([[0], np.cumsum(lengths)]), targets, np.full(10, 0.5, np.float32))


def batches(processes: Processes, size: int = 2) -> TuningBatches:
    return TuningBatches(clips(), np.arange(10), batch_size=size, longest=0.0075, seed=0, processes=processes)


def test_processes_share_the_batches_of_one() -> None:
    """Four of five batches, two each; together what one alone that leaves out the rest would see."""
    two = [Processes(rank, 2) for rank in range(2)]
    assert [len(batches(one)) for one in two] == [2, 2] and len(batches(ALONE)) == 5
    drawn = [list(batches(one)(3)) for one in two]
    rows = {tuple(row.tolist()) for own in drawn for batch in own for row in batch.target}
    assert len(rows) == 8 and all(len(batch.lengths) == 2 for own in drawn for batch in own)
    again = [list(batches(one)(3)) for one in two]
    assert all(torch.equal(a.pcm, b.pcm) for own, other in zip(drawn, again, strict=True)
               for a, b in zip(own, other, strict=True))  # fmt: skip
    with pytest.raises(DistillError, match=r"10 training clips give fewer batches of 6 than there are processes \(2\)"):
        batches(two[0], size=6)


def test_clips_are_as_loud_as_they_were_and_cut_to_length() -> None:
    whole = clips()
    for batch in batches(ALONE)(0):
        assert int(batch.lengths.max()) <= 120
        assert float(batch.pcm.abs().max()) <= 0.5 * np.abs(whole.pcm).max() / 32_000 + 1e-6


def test_two_processes_end_with_one_teacher(corpus: Path, tmp_path: Path) -> None:  # noqa: F811
    backbone = backbones.write("hubert", tmp_path / "backbone")

    def tuned(output: Path) -> int:
        how = {**QUICK, "batch_size": 3, "micro_batch": 2, "epochs": 2}
        result = train_teacher(corpus / "ratings.csv", backbone=str(backbone), output=output, method="lora", **how)
        return int(result["trainable"])

    tuned(tmp_path / "alone")  # first: what is imported for it the others have then as well
    one, other = forked(tmp_path, lambda: tuned(tmp_path / "together"))
    assert one == other
    learned = load_file(tmp_path / "together" / "learned.safetensors")
    assert any(not torch.equal(x, y) for x, y in zip(learned.values(), load_file(
        tmp_path / "alone" / "learned.safetensors").values(), strict=True))  # fmt: skip
    assert (tmp_path / "together" / "config.yaml").read_text().count("processes: 2") == 1


def test_two_processes_learn_several_tasks_one_after_the_other(corpus: Path, tmp_path: Path) -> None:  # noqa: F811
    backbone = backbones.write("wavlm", tmp_path / "backbone")

    def tuned(output: Path) -> dict[str, Any]:
        how: dict[str, Any] = {"batch_size": 3, "micro_batch": 2, "epochs": 1, "device": "cpu"}
        tasks = ["adv", "category"]
        return train_teacher(corpus / "ratings.csv", backbone=str(backbone), output=output, tasks=tasks, **how)

    tuned(tmp_path / "alone")  # first: what is imported for it the others have then as well
    one, other = forked(tmp_path, lambda: tuned(tmp_path / "together"))
    assert one == other and set(one["ccc"]) == {"arousal", "valence"} and set(one["uar"]) == {"category"}
    for folder in ("", "tasks/adv", "tasks/category"):
        assert "processes: 2" in (tmp_path / "together" / folder / "config.yaml").read_text()


def test_accelerate_starts_processes_that_end_with_the_same_teacher(corpus: Path, tmp_path: Path) -> None:  # noqa: F811
    """To the bit. Its launcher for several GPUs starts torchrun's processes; there need be no GPU."""
    backbone = backbones.write("hubert", tmp_path / "backbone")
    how = {"batch_size": 3, "micro_batch": 2, "epochs": 1, "method": "lora", "device": "cpu"}

    def tuned() -> int:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as the launchers do
        try:
            made = train_teacher(corpus / "ratings.csv", backbone=str(backbone), output=tmp_path / "forked", **how)
        finally:
            torch.set_num_threads(threads)
        return int(made["trainable"])

    launched = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
                "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
                "--main_process_port", str(free_port()), "-m", "distill", "train-teacher"]  # fmt: skip
    options = [word for key, value in how.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    paths = ["--labels", corpus / "ratings.csv", "--backbone", backbone, "-o", tmp_path / "accelerated"]
    done = subprocess.run(
        [*launched, *map(str, paths), *options, "--json"], capture_output=True, text=True, timeout=250,
        cwd=Path(__file__).parents[3], env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1 and "processes: 2" in (tmp_path / "accelerated/config.yaml").read_text()
    assert forked(tmp_path, tuned) == 2 * [json.loads(done.stdout)["trainable"]]
    weights = [(tmp_path / name / "learned.safetensors").read_bytes() for name in ("accelerated", "forked")]
    assert weights[0] == weights[1]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_prosody_is_trained_by_one(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    for name, value in environment(0).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(DistillError, match="--method prosody needs one"):
        train_teacher(corpus / "ratings.csv", output=tmp_path / "p")
