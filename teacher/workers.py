"""Batches through worker processes, each with its own teacher; memory stays bounded, Ctrl-C is the parent's."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from distill.annotation import Annotator, ColumnAnnotator
from distill.errors import DistillError
from distill.manifest import Segment
from teacher.batches import Outcome, annotate_batch
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
    """Every batch with what became of it, as they finish; `jobs` processes, or this one alone.

    Raises:
        DistillError: a worker process died.
    """
    if jobs <= 1:
        for batch in batches:
            yield batch, _work(batch, asked)
        return
    # Spawned, not forked: a fork of a process with running threads (BLAS, progress) may hang.
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_begin, initargs=(asked,))
    try:
        yield from _bounded(pool, batches, asked, ahead=2 * jobs)
    except BrokenProcessPool:
        raise DistillError(
            "a worker process died (out of memory, or a script without `if __name__ == '__main__':`); run it again, "
            "or with one job (--jobs 1, jobs=1)"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _bounded(
    pool: ProcessPoolExecutor, batches: Iterable[list[Segment]], asked: Asked, ahead: int
) -> Iterator[tuple[list[Segment], Outcome]]:
    """Keep at most `ahead` batches under way, so that memory stays bounded; yield them as they finish."""
    waiting = iter(batches)
    running: dict[Future[Outcome], list[Segment]] = {}
    while True:
        for batch in waiting:
            with ctrl_c_held_back():
                running[pool.submit(_work, batch, asked)] = batch
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
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(asked: Asked) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    opened_for(asked)


def _work(segments: Sequence[Segment], asked: Asked) -> Outcome:
    annotator = opened_for(asked)
    return annotate_batch(segments, asked.root, annotator, embeddings=asked.embeddings)


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
