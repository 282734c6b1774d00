"""A Ray cluster answers as this machine does: each segment once, whichever of its processes dies."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import soundfile

from distill import table
from distill.audio import SAMPLING_RATE
from distill.errors import DistillError
from distill.synthesis import write_corpus
from teacher import catalogue
from teacher.labelling import label
from tests.teacher import slow_elsewhere as slow

ROOT = Path(__file__).parents[2]

Tone = Callable[..., np.ndarray]

#: Worker processes of the cluster.
ACTORS = 3

#: Samples of a clip that kills the process which is to label it; one more, and the teacher refuses it.
DEADLY = 12_345


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "log"


@pytest.fixture(scope="module")
def running(log: Path) -> Iterator[str]:
    """The address of a real cluster on this machine, whose every process knows the slow teacher."""
    known = {slow.SECONDS: "0.06", slow.LOG: str(log), slow.DEADLY: str(DEADLY)}
    process = {"worker_process_setup_hook": slow.hang, "env_vars": {**known, "PYTHONPATH": str(ROOT)}}
    ray.init("local", num_cpus=ACTORS, runtime_env=process, object_store_memory=128 * 2**20,
             include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)  # fmt: skip
    with pytest.MonkeyPatch.context() as here:
        here.setitem(catalogue.TEACHERS, slow.NAME, f"{slow.__name__}:Slow")
        for name, value in known.items():
            here.setenv(name, value)
        yield str(ray.get_runtime_context().gcs_address)
    ray.shutdown()


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest of seventy short clips: three batches, or eighteen of the slow teacher."""
    return write_corpus(tmp_path_factory.mktemp("spoken"), speakers=7, clips=10, seconds=(0.5, 0.9))


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return tmp_path / "labels"


def answered(log: Path) -> list[tuple[int, int]]:
    """(process, clips) of every answer of the slow teacher."""
    lines = log.read_text().splitlines() if log.exists() else ()
    return [(int(process), int(clips)) for process, clips in (line.split() for line in lines)]


def keys(read: table.LabelTable) -> list[tuple[Any, ...]]:
    return list(zip(*(read.column(name) for name in table.KEY_COLUMNS), strict=True))


def assert_same(one: Path, other: Path) -> None:
    left, right = table.read(one), table.read(other)
    assert keys(left) == keys(right) and len(set(keys(left))) == len(left)
    assert left.column("sha256") == right.column("sha256")
    np.testing.assert_allclose(left.adv, right.adv, rtol=0, atol=1e-4)


def test_a_cluster_answers_as_this_machine(spoken: Path, tmp_path: Path) -> None:
    """One that is started for it, and stopped."""
    options: dict[str, Any] = {"teacher": "prosody", "embeddings": True}
    label(spoken, output=tmp_path / "local", jobs=1, **options)
    result = label(spoken, output=tmp_path / "ray", engine="ray", jobs=2, **options)
    assert (result["labelled"], result["skipped"], result["failed"]) == (70, 0, 0) and not ray.is_initialized()
    assert_same(tmp_path / "local", tmp_path / "ray")
    local, ours = (table.read(tmp_path / engine) for engine in ("local", "ray"))
    assert ours.rows.schema == local.rows.schema
    assert ours.info == {**local.info, "audio_seconds": pytest.approx(local.info["audio_seconds"])}
    assert ours.column("embedding") == local.column("embedding") and None not in ours.column("embedding")


@pytest.mark.long
def test_what_fails_is_named_and_several_processes_work(
    running: str, spoken: Path, labels: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (spoken.parent / "text.wav").write_text("text")
    monkeypatch.chdir(spoken.parent)  # a relative path means the same elsewhere
    before = len(answered(log))
    result = label(".", output=labels, teacher="slow", engine="ray")
    (spoken.parent / "text.wav").unlink()
    assert (result["labelled"], result["failed"]) == (70, 1)
    assert "text.wav" in (labels / "failed.csv").read_text()
    assert label(".", output=labels, teacher="slow", engine="ray")["skipped"] == 70
    assert ray.is_initialized()  # whoever started the cluster stops it
    mine = answered(log)[before:]
    assert sum(clips for _, clips in mine) == 70 and len({process for process, _ in mine}) == ACTORS


@pytest.mark.long
def test_a_teacher_that_fails_there_is_one_line(
    running: str, spoken: Path, tmp_path: Path, labels: Path, tone: Tone
) -> None:
    soundfile.write(tmp_path / "refused.wav", tone(1.0)[: DEADLY + 1], SAMPLING_RATE)
    with pytest.raises(DistillError, match=r"^the teacher slow cannot hear this$"):
        label(tmp_path / "refused.wav", output=labels, teacher="slow", engine="ray")
    with pytest.raises(DistillError, match="unfinished"):
        table.read(labels)


@pytest.mark.long
def test_a_clip_that_kills_every_process_ends_the_run(running: str, tmp_path: Path, labels: Path, tone: Tone) -> None:
    for number in range(5):
        soundfile.write(tmp_path / f"{number}.wav", tone(0.5 + number / 100), SAMPLING_RATE)
    soundfile.write(tmp_path / "deadly.wav", tone(1.0)[:DEADLY], SAMPLING_RATE)
    with pytest.raises(DistillError, match=r"4 processes of the cluster died at deadly.wav"):
        label(tmp_path, output=labels, teacher="slow", engine="ray", jobs=2)


@pytest.mark.long
def test_another_revision_on_a_node_is_refused(
    running: str, spoken: Path, labels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Older(slow.Slow):
        def __init__(self) -> None:
            super().__init__()
            self.card = type(self.card)(**{**self.card.__dict__, "revision": "older"})

    monkeypatch.setattr("teacher.asked.open_teacher", lambda *_: Older())
    with pytest.raises(DistillError, match="this machine older"):
        label(spoken, output=labels, teacher="slow", engine="ray", jobs=1)


@pytest.mark.parametrize("listening", [False, pytest.param(True, marks=pytest.mark.long)])
def test_a_cluster_that_cannot_be_reached_is_one_line_soon(
    distill: Callable[..., Any], spoken: Path, labels: Path, listening: bool
) -> None:
    """Of somebody else who listens there Ray itself would wait minutes for an answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        if not listening:
            server.close()
        done = distill("label", spoken, "-o", labels, "--teacher", "prosody", "--engine", "ray", "--address", address)
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith(f"distill: --address {address}: no Ray cluster") and done.stderr.count("\n") == 1
    assert not labels.exists()


def test_an_address_is_for_the_cluster_alone(spoken: Path, labels: Path) -> None:
    with pytest.raises(DistillError, match="--engine ray"):
        label(spoken, output=labels, teacher="prosody", address="auto")
    with pytest.raises(DistillError, match="there are local, ray"):
        label(spoken, output=labels, teacher="prosody", engine="spark")


def test_without_ray_the_extra_is_named(
    distill: Callable[..., Any], spoken: Path, labels: Path, tmp_path: Path
) -> None:
    (tmp_path / "ray.py").write_text("raise ModuleNotFoundError('no', name='ray')")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    arguments = ("label", spoken, "-o", labels, "--teacher", "prosody", "--engine", "ray")
    done = distill(*arguments, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "pip install '.[ray]'" in done.stderr


class Killer(threading.Thread):
    """Kills a process that has just answered, when a part of the rows is on disk."""

    def __init__(self, labels: Path, log: Path, rows: int) -> None:
        super().__init__(daemon=True)
        self.labels, self.log, self.rows = labels, log, rows
        self.at, self.killed = 0, 0

    def run(self) -> None:
        while self.at < self.rows:
            time.sleep(0.1)
            self.at = table.count(self.labels)[0] if self.labels.is_dir() else 0
        self.killed = answered(self.log)[-1][0]
        os.kill(self.killed, signal.SIGKILL)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_process_killed_midway_costs_no_row(running: str, shared: Path, tmp_path: Path, log: Path) -> None:
    source, cut = shared / "emodb" / "two-seconds", {"window": 1.0, "hop": 0.9}
    log.unlink(missing_ok=True)
    count = label(source, output=tmp_path / "local", teacher="prosody", jobs=1, **cut)["labelled"]
    killer = Killer(tmp_path / "ray", log, count * 3 // 10)
    killer.start()
    result = label(source, output=tmp_path / "ray", teacher="slow", engine="ray", **cut)
    killer.join()
    assert result["labelled"] == count >= 500
    assert_same(tmp_path / "ray", tmp_path / "local")
    processes = {process for process, _ in answered(log)}
    assert 0.2 * count < killer.at < 0.8 * count and killer.killed in processes and len(processes) == ACTORS + 1
    print(f"{count} rows; a process of {ACTORS} was killed when {killer.at} were on disk")


@pytest.mark.long
@pytest.mark.parametrize("address", [(), ("--address",)])
def test_the_command_reaches_a_cluster_or_starts_one(
    running: str, distill: Callable[..., Any], spoken: Path, labels: Path, address: tuple[str, ...]
) -> None:
    where = (*address, running) if address else ()
    done = distill("label", spoken, "-o", labels, "--teacher", "prosody", "--engine", "ray", *where, "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["labelled"] == 70
    assert all(line.startswith("labelling: ") for line in done.stderr.splitlines())


def parent(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("PPid:")[2].split()[0])


def actors_of(driver: int) -> list[int]:
    """The processes that annotate in the cluster which a process has started: children of its child, the raylet."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone meanwhile
            is_actor = (folder / "cmdline").read_bytes().startswith(b"ray::Annotating")
            if is_actor and parent(parent(int(folder.name))) == driver:
                found.append(int(folder.name))
    return found


@pytest.mark.long
def test_the_command_says_in_a_line_that_a_process_died(spoken: Path, tmp_path: Path, labels: Path) -> None:
    cut = ("--window", "0.3", "--hop", "0.02", "--teacher", "prosody", "--json")
    command = [sys.executable, "-m", "distill", "label", str(spoken), "-o", str(labels), *cut]
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
    with subprocess.Popen([*command, "--engine", "ray", "--jobs", "2"], **options) as process:
        while not any(labels.glob("part-*")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        rows = table.count(labels)[0]
        os.kill(actors_of(process.pid)[0], signal.SIGKILL)
        out, err = process.communicate(timeout=240)
    assert process.returncode == 0 and json.loads(out)["labelled"] > 2 * rows
    told = [line for line in err.splitlines() if not line.startswith("labelling: ")]
    assert told == ["a process of the cluster died; others do again what it had"]
    label(spoken, output=tmp_path / "local", teacher="prosody", window=0.3, hop=0.02, jobs=1)
    assert_same(labels, tmp_path / "local")


def test_an_actor_answers_as_it_was_asked(corpus: Path) -> None:
    """Views, as everywhere; without a cluster."""
    from distill.sources.manifest import Cut, Segment, list_segments
    from teacher.asked import Asked, Task
    from teacher.workers import Annotating, annotate_batches

    segments = [entry for entry in list_segments(corpus, cut=Cut(30.0, 30.0)) if isinstance(entry, Segment)]
    task = Task(corpus, Asked("prosody", "cpu", views=3), embeddings=True)
    ((_, here),) = annotate_batches([segments], task, task.asked.open(), jobs=1)
    there = Annotating(task).annotate(segments)
    assert [row.spread for row in there.rows] == [row.spread for row in here.rows]
    assert None not in there.rows[0].spread
