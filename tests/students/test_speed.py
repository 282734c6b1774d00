"""The benchmark of training: what it compares, what it reports. No test here times anything."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from students import speed
from students.augmentation import Augmentation
from students.commands import benchmark_training

SMALLEST = {"--seconds": 0.25, "--batch-size": 2, "--steps": 1, "--rounds": 2, "--threads": 1}


@contextmanager
def in_a_thread(serve: Callable[..., None], *arguments: Any, keeping: bool = False) -> Iterator[Callable[[], Any]]:
    """What a process of the benchmark does, without waiting until a process has begun."""
    mine, theirs = Pipe()
    thread = threading.Thread(target=serve, args=(theirs, *arguments))
    thread.start()
    assert mine.recv() == "ready"
    yield lambda: (mine.send("go"), mine.recv())[1]
    mine.close()
    thread.join()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """What the command writes and what it prints, of the smallest benchmark there is."""
    path = tmp_path_factory.mktemp("speed") / "speed.json"
    arguments = [str(word) for pair in SMALLEST.items() for word in pair]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(speed, "_worker", in_a_thread)
        done = CliRunner().invoke(benchmark_training, [*arguments, "-o", str(path)], catch_exceptions=False)
    return json.loads(path.read_text()), done.stdout


def test_the_command_reports_ways_ratios_and_machine(report) -> None:
    result, _ = report
    assert set(result["ways"]) == {"plain loop", "plain loop, memory kept", "ours"}
    assert all(row["p10"] <= row["median"] <= row["p90"] and len(row["rounds"]) == 2 for row in result["ways"].values())
    assert set(result["ratios"]) == {"plain loop", "plain loop, memory kept"}
    assert all(0 < row["low"] <= row["median"] <= row["high"] for row in result["ratios"].values())
    assert result["machine"]["threads"] == 1 and result["machine"]["cpu"]
    assert result["machine"]["torch"] == torch.__version__ and result["machine"]["date"]


def test_ratios_are_those_of_the_same_round(report) -> None:
    result, _ = report
    ours = result["ways"]["ours"]["rounds"]
    for name, ratio in result["ratios"].items():
        each = [fast / slow for fast, slow in zip(ours, result["ways"][name]["rounds"], strict=True)]
        assert ratio["rounds"] == pytest.approx(each)


def test_loading_is_measured_alone_and_with_training(report) -> None:
    loading = report[0]["loading"]
    assert set(loading) == {"alone", "with_training"}
    assert all(set(rates) == {"0", "1"} and min(rates.values()) > 0 for rates in loading.values())


def test_the_command_prints_what_it_wrote(report) -> None:
    result, printed = report
    for name, row in result["ways"].items():
        assert f"{name}: {row['median']:.1f} clips/s" in printed
    for name, row in result["ratios"].items():
        assert f"ours to {name}: {row['median']:.2f} times as fast ({row['low']:.2f} to {row['high']:.2f}" in printed
    assert "1 threads" in printed and "loading by 0 processes" in printed


@pytest.mark.parametrize("keeping", [False, True])
def test_only_one_plain_loop_keeps_memory(keeping: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TOP_PAD_", "7")  # what the caller has set himself is nobody's
    with speed._memory_setting(speed.KEEPING if keeping else {}):
        found = {name: os.environ.get(name) for name in speed.KEEPING}
    assert found == (speed.KEEPING if keeping else dict.fromkeys(speed.KEEPING))
    assert os.environ["MALLOC_TOP_PAD_"] == "7" and "MALLOC_MMAP_MAX_" not in os.environ


def test_batches_of_the_steps_are_all_alike_and_those_of_loading_are_not() -> None:
    plain = speed._batches(0.5, 4, batches=1, augmentation=speed._UNCHANGED, workers=0)
    (batch,) = plain(0)
    assert batch[0].shape == (4, 8000) and batch[1].tolist() == [8000] * 4 and batch[2].shape == (4, 3)
    drawn = speed._batches(0.5, 4, batches=12, augmentation=Augmentation(), workers=0)
    assert len({batch[0].shape[1] for batch in drawn(0)}) > 1 and len(drawn) == 12


def test_an_output_that_cannot_be_written_is_known_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(speed, "_worker", pytest.fail)
    with pytest.raises(OSError):
        speed.benchmark_training(output=tmp_path / "file" / "speed.json")


@pytest.mark.long
def test_the_command_works_in_processes_of_its_own(tmp_path: Path, distill: Callable[..., Any]) -> None:
    arguments = [word for pair in SMALLEST.items() for word in pair]
    done = distill("benchmark-training", *arguments, "-o", tmp_path / "speed.json", timeout=280)
    assert done.returncode == 0, done.stderr
    assert min(json.loads((tmp_path / "speed.json").read_text())["ratios"]["plain loop"]["rounds"]) > 0
