"""Batches through worker processes, each with its own teacher; memory stays bounded, Ctrl-C is the parent's."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from multiprocessing import current_process, get_context

from distill.annotation import Annotator, TeacherCard
from distill.errors import DistillError
from distill.sources.manifest import Segment
from teacher.asked import Task
from teacher.batches import Outcome, annotate_batch, annotate_decoded, decoded_ahead
from teacher.threads import share_of_cores, take_threads


def annotate_batches(
    batches: Iterable[list[Segment]], task: Task, annotator: Annotator, jobs: int
) -> Iterator[tuple[list[Segment], Outcome]]:
    """Every batch with what became of it, as they finish; `jobs` processes, or this one alone, which decodes ahead.

    annotator: the task's teacher, which this process has open; others open their own. Where it computes on GPUs, each
    process has one, in turn; where it would use all cores by itself, each has its share.

    Raises:
        DistillError: a worker process died.
    """
    if jobs <= 1:
        for batch, audio in decoded_ahead(batches, task.root, annotator.card.shortest_seconds):
            yield batch, annotate_decoded(audio, annotator, embeddings=task.embeddings)
        return
    # Spawned, not forked: a fork of a process with running threads (BLAS, progress) may hang.
    threads = share_of_cores(jobs) if annotator.card.own_threads else None
    initial = (task, devices(task.asked.device), threads)
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_begin, initargs=initial)
    try:
        yield from _bounded(pool, batches, ahead=2 * jobs)
    except BrokenProcessPool:
        raise DistillError(
            "a worker process died (out of memory, or a script without `if __name__ == '__main__':`); run it again, "
            "or with one job (--jobs 1, jobs=1)"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


class Annotating:
    """What a process other than the first does: batches, one after the other, through a teacher of its own."""

    def __init__(self, task: Task) -> None:
        self._task = task

    @cached_property
    def annotator(self) -> Annotator:
        """The teacher, opened when it is first asked for."""
        return self._task.asked.open()

    def begin(self) -> str:
        """Open the teacher; returns its revision. Not when this is made: Ray takes from an error there its type."""
        return self.annotator.card.revision

    def annotate(self, segments: Sequence[Segment]) -> Outcome:
        """What becomes of a batch."""
        return annotate_batch(segments, self._task.root, self.annotator, embeddings=self._task.embeddings)


def processes(card: TeacherCard, device: str) -> int:
    """How many a teacher can use: one a core; if it uses all cores by itself one a GPU, or one.

    >>> from teacher.catalogue import card_of
    >>> processes(card_of("prosody"), "cpu") >= 1
    True
    """
    return len(devices(device)) if card.own_threads else os.cpu_count() or 1


def devices(wanted: str) -> list[str]:
    """Where processes compute: all GPUs, where one is wanted and there are several; else the place that is wanted.

    >>> devices("cpu")
    ['cpu']
    """
    torch = sys.modules.get("torch")  # a teacher of torch has been opened before, to see its card
    if torch is None or wanted not in ("auto", "cuda") or torch.cuda.device_count() < 2:
        return [wanted]
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]


def _bounded(
    pool: ProcessPoolExecutor, batches: Iterable[list[Segment]], ahead: int
) -> Iterator[tuple[list[Segment], Outcome]]:
    """Keep at most `ahead` batches under way, so that memory stays bounded; yield them as they finish."""
    waiting = iter(batches)
    running: dict[Future[Outcome], list[Segment]] = {}
    while True:
        for batch in waiting:
            with ctrl_c_held_back():
                running[pool.submit(_work, batch)] = batch
            if len(running) >= ahead:
                break
        if not running:
            return
        finished, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in finished:
            yield running.pop(future), future.result()


@contextmanager
def ctrl_c_held_back() -> Iterator[None]:
    """What is started meanwhile never sees Ctrl-C, not even before `_begin`; for the parent it only comes later."""
    pressed = threading.Event()
    ours = threading.current_thread() is threading.main_thread()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which children inherit
    # The mask holds for this thread alone: caught by another, the signal would still interrupt this one.
    handler = signal.signal(signal.SIGINT, lambda *_: pressed.set()) if ours else None
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if pressed.is_set():
            signal.raise_signal(signal.SIGINT)


#: What this worker process does.
_annotating: Annotating | None = None


def _begin(task: Task, places: Sequence[str], threads: int | None) -> None:
    """places: where to compute, in turn. threads: for a teacher that would use all cores by itself."""
    global _annotating
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    number = int(current_process().name.rpartition("-")[2])  # "SpawnProcess-3"; a queue would not survive Ctrl-C
    if threads is not None:
        take_threads(threads)
    _annotating = Annotating(replace(task, asked=replace(task.asked, device=places[number % len(places)])))
    _annotating.begin()


def _work(segments: Sequence[Segment]) -> Outcome:
    assert _annotating is not None  # `_begin` has run
    return _annotating.annotate(segments)
