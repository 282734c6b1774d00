"""Batches through processes, or through this one while threads decode ahead."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from multiprocessing import current_process
from pathlib import Path

import numpy as np
import pytest
import torch

from distill.audio import SAMPLING_RATE, Span
from distill.errors import AudioError
from distill.sources.manifest import Cut, Segment, list_segments
from teacher import batches, workers
from teacher.asked import Asked, Task
from teacher.batches import decoded_ahead
from teacher.prosody import Prosody
from teacher.threads import threads_here
from teacher.workers import annotate_batches, ctrl_c_held_back, devices

ROOT, ASKED = Path(), Asked("prosody")


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
        list(annotate_batches([[segment(0)]], Task(ROOT, ASKED), ASKED.open(), jobs=1))


def test_several_gpus_have_a_process_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert devices("auto") == devices("cuda") == ["cuda:0", "cuda:1", "cuda:2"]
    assert devices("cpu") == ["cpu"] and devices("cuda:1") == ["cuda:1"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert devices("auto") == ["auto"]


def test_a_worker_computes_where_it_is_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(Asked, "open", lambda asked: opened.append(asked.device) or Prosody.load())
    monkeypatch.setattr(workers.signal, "signal", lambda *_: None)
    monkeypatch.setattr(workers, "_annotating", None)
    for number in (4, 5):
        monkeypatch.setattr(current_process(), "_name", f"SpawnProcess-{number}")
        workers._begin(Task(ROOT, ASKED), ["cuda:0", "cuda:1"], threads=None)
    assert opened == ["cuda:0", "cuda:1"]


def answered_threads(name: str, root: Path, jobs: int) -> set[float | None]:
    """What a teacher of `tests.teacher.greedy` answers in processes of its own."""
    segments = [entry for entry in list_segments(root, cut=Cut(30.0, 30.0)) if isinstance(entry, Segment)]
    task = Task(root, Asked(f"tests.teacher.greedy:{name}"))
    outcomes = annotate_batches([[one] for one in segments], task, task.asked.open(), jobs)
    return {row.adv[0] for _, outcome in outcomes for row in outcome.rows}


def test_processes_share_the_cores_that_each_would_take(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight cores, two processes: four threads each; other teachers, and a user's own number, are left alone."""
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert answered_threads("Greedy", corpus, 2) == {4.0} and threads_here() == 8
    assert answered_threads("Modest", corpus, 2) == {0.0}
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert answered_threads("Greedy", corpus, 2) == {3.0} and threads_here() == 3


def test_ctrl_c_that_another_thread_catches_is_held_back_too() -> None:
    """The signal goes to any thread that does not block it, and Python then interrupts the main one."""
    come = threading.Event()
    other = threading.Thread(target=come.wait)
    other.start()
    done = False
    with pytest.raises(KeyboardInterrupt), ctrl_c_held_back():
        assert other.ident is not None
        signal.pthread_kill(other.ident, signal.SIGINT)
        come.set()
        other.join()  # it has certainly caught it, however busy the machine is
        for _ in range(1000):
            done = sum(range(100)) > 0
    assert done and come.is_set()
