"""Batches through worker processes, each with its own teacher; memory stays bounded, Ctrl-C is the parent's."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import current_process, get_context
from pathlib import Path

from distill.annotation import Annotator, ColumnAnnotator
from distill.errors import DistillError
from distill.manifest import Segment
from teacher.batches import Outcome, annotate_batch, annotate_decoded, decoded_ahead
from teacher.catalogue import EXACT, open_teacher
from teacher.views import Views


@dataclass(frozen=True)
class Asked:
    """What a worker has to know: root of the files, name of the teacher, where and how it computes, what rows carry,
    and how many views of a clip are answered."""

    root: Path
    teacher: str
    device: str
    embeddings: bool
    precision: str = EXACT
    views: int = 1


def annotate_batches(
    batches: Iterable[list[Segment]], asked: Asked, jobs: int
) -> Iterator[tuple[list[Segment], Outcome]]:
    """Every batch with what became of it, as they finish; `jobs` processes, or this one alone, which decodes ahead.

    Where the teacher computes on GPUs, each process has one, in turn.

    Raises:
        DistillError: a worker process died.
    """
    if jobs <= 1:
        yield from _alone(batches, asked)
        return
    # Spawned, not forked: a fork of a process with running threads (BLAS, progress) may hang.
    initial = (asked, devices(asked.device))
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


def devices(wanted: str) -> list[str]:
    """Where processes compute: all GPUs, where one is wanted and there are several; else the place that is wanted.

    >>> devices("cpu")
    ['cpu']
    """
    torch = sys.modules.get("torch")  # a teacher of torch has been opened before, to see its card
    if torch is None or wanted not in ("auto", "cuda") or torch.cuda.device_count() < 2:
        return [wanted]
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]


def _alone(batches: Iterable[list[Segment]], asked: Asked) -> Iterator[tuple[list[Segment], Outcome]]:
    annotator = opened_for(asked)
    for batch, audio in decoded_ahead(batches, asked.root, annotator.card.shortest_seconds):
        yield batch, annotate_decoded(audio, annotator, embeddings=asked.embeddings)


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


#: What this worker process was asked to be.
_asked: Asked | None = None


def _begin(asked: Asked, places: Sequence[str]) -> None:
    global _asked
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    number = int(current_process().name.rpartition("-")[2])  # "SpawnProcess-3"; a queue would not survive Ctrl-C
    _asked = replace(asked, device=places[number % len(places)])
    opened_for(_asked)


def _work(segments: Sequence[Segment]) -> Outcome:
    assert _asked is not None  # `_begin` has run
    return annotate_batch(segments, _asked.root, opened_for(_asked), embeddings=_asked.embeddings)


@cache
def opened(teacher: str, device: str, precision: str = EXACT, views: int = 1) -> Annotator:
    """A teacher, loaded once a process; views: how many of a clip it answers.

    Raises:
        DistillError: it has no views: it reads more than the clip.
    """
    annotator = open_teacher(teacher, device, precision)
    if views == 1:
        return annotator
    if isinstance(annotator, ColumnAnnotator):
        raise DistillError(
            f"--views {views}: {annotator.card.name} reads the manifest too, of which there are no views"
        )
    return Views(annotator, views)


def opened_for(asked: Asked) -> Annotator:
    """The teacher that a worker was asked to be."""
    return opened(asked.teacher, asked.device, asked.precision, asked.views)
