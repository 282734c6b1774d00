"""Which process this one is, where torchrun started it, and what follows from that for the one who speaks."""

from __future__ import annotations

import pytest
import torch

from distill.errors import DistillError
from distill.launched import Launched, launched
from distill.learning import device
from distill.learning.device import choose_device, choose_precision, loaders, share_cores
from distill.progress import Progress, say

TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}


@pytest.fixture
def sixth_of_eight(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**TORCHRUN, "TORCHELASTIC_RUN_ID": "none"}.items():
        monkeypatch.setenv(name, value)


def test_torchrun_says_which_one_it_is(sixth_of_eight: None) -> None:
    assert launched() == Launched(rank=5, count=8, local_rank=1, local_count=4) and not launched().first


def test_alone_it_is_the_first_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    for name, value in TORCHRUN.items():  # of another launcher
        monkeypatch.setenv(name, value)
    assert launched() == Launched(0, 1, 0, 1) and launched().first


def test_of_several_processes_the_first_speaks(sixth_of_eight: None, capsys: pytest.CaptureFixture[str]) -> None:
    say("not this one")
    with Progress("training", 1, "steps") as shown:
        shown.advance()
    assert capsys.readouterr() == ("", "")


def test_each_process_takes_a_gpu_of_its_own(sixth_of_eight: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda", 1)
    assert choose_device("cuda:3") == torch.device("cuda", 3) and choose_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(DistillError, match="--device cuda:1: torch finds none here"):
        choose_device("auto")


@pytest.mark.parametrize(("count", "expected"), [(1, "mps"), (2, "cpu")])
def test_processes_that_train_together_cannot_on_mps(
    monkeypatch: pytest.MonkeyPatch, count: int, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(device, "launched", lambda: Launched(count=count))
    assert choose_device("auto").type == expected


@pytest.mark.parametrize(
    ("kind", "native", "reduced", "expected"),
    [
        ("cuda", False, True, torch.bfloat16),
        ("cpu", True, True, torch.bfloat16),
        ("cpu", True, False, torch.float32),
        ("cpu", False, True, torch.float32),
        ("mps", True, True, torch.float32),
    ],
)
def test_precision_is_reduced_where_that_is_faster(
    monkeypatch: pytest.MonkeyPatch, kind: str, native: bool, reduced: bool, expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    assert choose_precision("auto", torch.device(kind), reduced_on_cpu=reduced) == expected
    assert choose_precision("float32", torch.device(kind), reduced_on_cpu=reduced) == torch.float32


@pytest.mark.parametrize(
    ("cores", "processes", "workers", "threads"), [(2, 1, 0, 2), (4, 1, 1, 3), (8, 2, 1, 3), (8, 4, 0, 2), (1, 4, 0, 1)]
)
def test_cores_are_shared_by_the_processes_of_a_machine(
    monkeypatch: pytest.MonkeyPatch, cores: int, processes: int, workers: int, threads: int
) -> None:
    taken: list[int] = []
    monkeypatch.setattr(device.os, "cpu_count", lambda: cores)
    monkeypatch.setattr(device, "launched", lambda: Launched(local_count=processes))
    monkeypatch.setattr(torch, "set_num_threads", taken.append)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert loaders(None) == workers and loaders(0) == 0 and loaders(3) == 3
    share_cores(loaders(None))
    assert taken == [threads]


@pytest.mark.parametrize(("processes", "taken"), [(1, []), (2, [4])])
def test_a_number_of_threads_that_somebody_gave_stays(
    monkeypatch: pytest.MonkeyPatch, processes: int, taken: list[int]
) -> None:
    set_to: list[int] = []
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # torchrun says that to several processes, unasked
    monkeypatch.setattr(device.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(device, "launched", lambda: Launched(local_count=processes))
    monkeypatch.setattr(torch, "set_num_threads", set_to.append)
    share_cores(0)
    assert set_to == taken
