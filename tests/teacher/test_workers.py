"""Batches through processes, or through this one while threads decode ahead."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from multiprocessing import current_process
from pathlib import Path

import numpy as np
import pytest
import torch

from distill.audio import SAMPLING_RATE, Span
from distill.errors import AudioError
from distill.manifest import Segment
from teacher import batches, workers
from teacher.batches import decoded_ahead
from teacher.workers import Asked, annotate_batches, ctrl_c_held_back, devices

ROOT = Path()


def segment(number: int) -> Segment:
    return Segment(f"{number}.wav", 0.0, 1.0, 1000, 7, {})


def sound(number: int) -> np.ndarray:
    return np.full(SAMPLING_RATE, 0.1 + number / 100, np.float32)


@pytest.fixture
def decoding(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the files that have been read, in order; none is on a disk."""
    seen: list[int] = []

    def read(path: Path, span: Span) -> np.ndarray:
        seen.append(int(path.stem))
        if path.stem == "3":
            raise AudioError("is no audio")
        return sound(int(path.stem))

    monkeypatch.setattr(batches, "read", read)
    return seen


def test_batches_come_decoded_and_in_order(decoding: list[int]) -> None:
    given = [[segment(0), segment(1)], [segment(2), segment(3)], [segment(4)]]
    ahead = list(decoded_ahead(given, ROOT, 0.25, threads=2))
    assert [batch for batch, _ in ahead] == given
    assert [[one.file for one, _ in audio.digests] for _, audio in ahead] == [["0.wav", "1.wav"], ["2.wav"], ["4.wav"]]
    assert [(one.file, one.reason) for _, audio in ahead for one in audio.failures] == [("3.wav", "is no audio")]
    (one,) = ahead[2][1].signals.values()
    np.testing.assert_array_equal(one, sound(4))


def test_no_more_is_read_ahead_than_there_are_threads(decoding: list[int]) -> None:
    planned: list[int] = []

    def plans() -> Iterator[list[Segment]]:
        for number in range(100, 200):
            planned.append(number)
            yield [segment(number)]

    coming = decoded_ahead(plans(), ROOT, 0.25, threads=3)
    for taken in range(1, 6):
        next(coming)
        assert len(planned) == taken + 3
    coming.close()  # a run that was interrupted
    assert len(decoding) <= 8 and not any(one.name.startswith("decode") for one in threading.enumerate())


def test_the_next_batch_is_read_while_one_is_answered(decoding: list[int]) -> None:
    """The teacher waits, within a batch, for what only decoding ahead can bring."""
    coming = decoded_ahead(([segment(number)] for number in range(100, 110)), ROOT, 0.25, threads=1)
    next(coming)
    for _ in range(1000):
        if 101 in decoding:
            break
        threading.Event().wait(0.01)
    assert 101 in decoding
    coming.close()


def test_what_goes_wrong_in_a_thread_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> np.ndarray:
        raise MemoryError("no room")

    monkeypatch.setattr(batches, "read", broken)
    with pytest.raises(MemoryError, match="no room"):
        list(annotate_batches([[segment(0)]], Asked(ROOT, "prosody", "cpu", False), jobs=1))


def test_several_gpus_have_a_process_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert devices("auto") == devices("cuda") == ["cuda:0", "cuda:1", "cuda:2"]
    assert devices("cpu") == ["cpu"] and devices("cuda:1") == ["cuda:1"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert devices("auto") == ["auto"]


def test_a_worker_computes_where_it_is_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(workers, "opened_for", lambda asked: opened.append(asked.device))
    monkeypatch.setattr(workers.signal, "signal", lambda *_: None)
    monkeypatch.setattr(workers, "_asked", None)
    for number in (4, 5):
        monkeypatch.setattr(current_process(), "_name", f"SpawnProcess-{number}")
        workers._begin(Asked(ROOT, "prosody", "auto", False), ["cuda:0", "cuda:1"])
    assert opened == ["cuda:0", "cuda:1"]


def test_ctrl_c_that_another_thread_catches_is_held_back_too() -> None:
    """The signal goes to any thread that does not block it, and Python then interrupts the main one."""
    come, (told, tell) = threading.Event(), socket.socketpair()
    other = threading.Thread(target=come.wait)
    other.start()
    tell.setblocking(False)
    before = signal.set_wakeup_fd(tell.fileno())
    held_to_the_end = False
    try:
        with pytest.raises(KeyboardInterrupt), ctrl_c_held_back():
            assert other.ident is not None
            signal.pthread_kill(other.ident, signal.SIGINT)
            told.settimeout(30)
            assert told.recv(1) == bytes([signal.SIGINT])  # it has come
            held_to_the_end = sum(range(100)) > 0
    finally:
        signal.set_wakeup_fd(before)
        come.set()
        other.join()
    assert held_to_the_end
