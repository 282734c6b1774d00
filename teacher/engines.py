"""What computes: processes of this machine, or the actors of a Ray cluster. To `label` they are the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from distill.annotation import Annotator
from distill.errors import DistillError
from distill.sources.manifest import Segment
from teacher.asked import Task
from teacher.batches import Outcome
from teacher.workers import annotate_batches, processes

ENGINES = LOCAL, RAY = "local", "ray"


class Engine(Protocol):
    """Takes batches, and gives each back with what became of it, once, as they finish."""

    def at_hand(self) -> AbstractContextManager[None]:
        """Whatever it needs, for as long as it is needed; entered before the source is listed.

        Raises:
            DistillError: it cannot be had.
        """
        ...

    def annotate(
        self, batches: Iterable[list[Segment]], task: Task, annotator: Annotator, most: int
    ) -> Iterator[tuple[list[Segment], Outcome]]:
        """annotator: the task's teacher, open in this process; most: processes beyond which more are of no use."""
        ...


@dataclass(frozen=True)
class Local:
    """Processes of this machine, by default as many as the teacher can use."""

    jobs: int | None = None

    def at_hand(self) -> AbstractContextManager[None]:
        """Nothing is needed."""
        return nullcontext()

    def annotate(
        self, batches: Iterable[list[Segment]], task: Task, annotator: Annotator, most: int
    ) -> Iterator[tuple[list[Segment], Outcome]]:
        """See `teacher.workers`."""
        jobs = self.jobs or processes(annotator.card, task.asked.device)
        return annotate_batches(batches, task, annotator, min(jobs, most))


@dataclass(frozen=True)
class Ray:
    """A Ray cluster: the one at `address`, or one of this machine; `jobs` actors, by default as many as it has room
    for."""

    address: str | None = None
    jobs: int | None = None

    def at_hand(self) -> AbstractContextManager[None]:
        """The cluster; one that was not there before is stopped in the end."""
        from teacher.cluster import reached

        return reached(self.address, self.jobs)

    def annotate(
        self, batches: Iterable[list[Segment]], task: Task, annotator: Annotator, most: int
    ) -> Iterator[tuple[list[Segment], Outcome]]:
        """See `teacher.cluster`, which starts no more actors than there are batches."""
        from teacher.cluster import annotate_on_ray

        return annotate_on_ray(batches, task, annotator.card, self.address, self.jobs)


def engine_of(name: str, address: str | None = None, jobs: int | None = None) -> Engine:
    """The engine of a name.

    >>> engine_of("local", jobs=2)
    Local(jobs=2)

    Raises:
        DistillError: there is none, or it takes no address.
    """
    if name not in ENGINES:
        raise DistillError(f"--engine {name}: there are {', '.join(ENGINES)}")
    if name == RAY:
        return Ray(address, jobs)
    if address is not None:
        raise DistillError(f"--address {address}: only the cluster of --engine {RAY} has one")
    return Local(jobs)
