"""Batches through the actors of a Ray cluster, each with its own teacher; the contract is that of `teacher.workers`.

Actors, and no `ray.data.Dataset`: Ray Data reads from what can be read again in a worker (files, a datasource) or from
what was put into its store whole; it takes no stream. Batches are planned here, from a listing that lies beside the
table, while others are answered: a week of work is never planned at once, and no node but this one needs the listing.
All that has to survive is in this process: any other may die.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any, TextIO, cast

from distill.annotation import TeacherCard
from distill.errors import DistillError
from distill.progress import say
from distill.sources.manifest import Segment
from teacher.asked import Task
from teacher.batches import Outcome
from teacher.catalogue import absolute
from teacher.workers import Annotating, ctrl_c_held_back

#: How the cluster is asked for that runs on this machine, or that the environment names.
AUTO = "auto"

#: Seconds to wait for a port, and for the cluster behind it.
_KNOCK, _CONNECT = 4.0, 10.0

#: Whether a cluster answers; the first line of Ray's reason if not. Not by what lies in the working folder.
_TRIAL = """
import logging, sys
sys.path = [folder for folder in sys.path if folder]
import ray
try:
    ray.init(sys.argv[1], log_to_driver=False, logging_level=logging.ERROR)
except Exception as error:
    sys.exit((str(error).strip().splitlines() or [type(error).__name__])[0])
"""

#: Batches that an actor has at once: it begins the next without waiting for this process.
_AHEAD = 2

#: So many processes may die of one batch, or one after the other as they start, until it is no accident.
_DEATHS = 4

#: Seconds after which someone who waits for a full cluster is told so.
_PATIENCE = 20.0

#: Bytes of a local cluster's store: what is under way are segments and answers, no audio.
_STORE = 256 * 2**20


def annotate_on_ray(
    batches: Iterable[list[Segment]],
    task: Task,
    card: TeacherCard,
    address: str | None = None,
    actors: int | None = None,
) -> Iterator[tuple[list[Segment], Outcome]]:
    """Every batch with what became of it, once, as they finish. What a dead process had is done again by another.

    card: of the task's teacher, as this machine has it; every actor has to have the same revision. address: of a
    cluster; None: one on this machine, as long as it takes. actors: by default as many as there are
    GPUs, for a teacher that uses one; else CPUs, or nodes for a teacher that uses all cores of one.

    Raises:
        DistillError: the cluster cannot be reached, a teacher failed there, or processes die again and again.
    """
    with reached(address, actors):
        count, share = _share(card, task.asked.device, actors)
        waiting = iter(batches)
        first = list(islice(waiting, count))  # so that no more actors start than there are batches
        if first:
            yield from _Actors(_everywhere(task), card.revision, len(first), share).annotate(chain(first, waiting))


@contextmanager
def reached(address: str | None, actors: int | None = None) -> Iterator[None]:
    """A cluster to work on: the one this process is connected to, the one at `address`, or one of this machine alone.

    Raises:
        DistillError: there is none.
    """
    import ray

    if ray.is_initialized():  # by a caller, who will also leave it
        yield
        return
    if address is not None:
        _check(address)
    with ctrl_c_held_back():  # in the midst of it, it would end in a crash of Ray's
        if address is None:
            _start(actors)
        else:
            ray.init(_named(address), **_QUIET)
    try:
        with redirect_stdout(cast(Any, _WithoutRay(sys.stdout))):
            yield
    finally:
        ray.shutdown()


class _WithoutRay:
    """Standard output belongs to the result: a thread of Ray's prints a page there for every process that dies."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what is not Ray's."""
        return len(text) if threading.current_thread().name.startswith("ray_") else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


#: What keeps Ray from talking into the progress line. Failures come back as results.
_QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}


def _start(actors: int | None) -> None:
    """A cluster of this machine alone.

    Raises:
        DistillError: Ray could not start one.
    """
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody asked for it to be told to others
    processes = max(actors or 1, os.cpu_count() or 1)
    try:
        ray.init("local", num_cpus=processes, object_store_memory=_STORE, include_dashboard=False, **_QUIET)
    except Exception as error:  # of many types: no room in /dev/shm, a machine too busy for Ray's 30 s
        raise DistillError(f"--engine ray: no cluster can be started on this machine ({_lines(error)[0]})") from None


def _lines(error: Exception) -> list[str]:
    """What Ray says of a failure, a page as a rule: the reason stands first or last."""
    return [line.strip() for line in str(error).strip().splitlines()] or [type(error).__name__]


def _named(address: str) -> str:
    return os.environ.get("RAY_ADDRESS", AUTO) if address == AUTO else address


def _check(address: str) -> None:
    """Whether a cluster answers there.

    Raises:
        DistillError: none does.
    """
    _knock(_named(address))
    _try_out(_named(address))


def _try_out(address: str) -> None:
    """Connect in a process that can be ended: Ray itself tries for minutes, and cannot be told to stop.

    Raises:
        DistillError: that took too long, or was refused, as by a cluster of another version.
    """
    command = [sys.executable, "-c", _TRIAL, address]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_CONNECT)
    except subprocess.TimeoutExpired:
        raise _unreached(address, f"no answer within {_CONNECT:g} s") from None
    if done.returncode:
        raise _unreached(address, (done.stderr.strip().splitlines() or ["no reason given"])[-1])


def _knock(address: str) -> None:
    """Whether somebody listens there at all.

    Raises:
        DistillError: nobody does.
    """
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not colon or not port.isdigit():
        return  # "auto", or a name that only Ray understands
    try:
        socket.create_connection((host.strip("[]"), int(port)), _KNOCK).close()
    except (OSError, OverflowError) as error:
        raise _unreached(address, str(error)) from None


def _unreached(address: str, reason: str) -> DistillError:
    return DistillError(
        f"--address {address}: no Ray cluster can be reached ({reason}); start one with `ray start --head`, "
        "or leave --address out for one on this machine"
    )


def _everywhere(task: Task) -> Task:
    """The same for a process in another folder."""
    return replace(task, root=task.root.resolve(), asked=replace(task.asked, teacher=absolute(task.asked.teacher)))


def _share(card: TeacherCard, device: str, actors: int | None) -> tuple[int, dict[str, Any]]:
    """How many actors, and what each takes of the cluster."""
    import ray

    gpus = int(ray.cluster_resources().get("GPU", 0))
    nodes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    nodes = [cpus for cpus in nodes if cpus] or [1]
    if not card.own_threads:
        return actors or sum(nodes), {"num_cpus": 1}
    if gpus and device in ("auto", "cuda"):
        return min(actors or gpus, gpus), {"num_cpus": 1, "num_gpus": 1}
    each = -(-(actors or 1) // len(nodes))
    # Ray gives an actor as many OpenMP threads as it has CPUs.
    return actors or len(nodes), {"num_cpus": max(1, min(nodes) // each), "scheduling_strategy": "SPREAD"}


@dataclass(frozen=True)
class _Errand:
    """What an actor was sent to do: a batch, or, with None, to begin. deaths: of those that had it before."""

    actor: Any
    batch: list[Segment] | None
    deaths: int


class _Actors:
    """Actors, what they are at, and who takes the place of one that died.

    Ray would restart an actor and repeat its tasks by itself, but in that actor's place: where a node is lost its
    batches would wait for a new node. Here whoever is free takes them.
    """

    def __init__(self, task: Task, revision: str, count: int, share: dict[str, Any]) -> None:
        import ray

        self._teacher, self._revision, self._share = task.asked.teacher, revision, share
        self._hire: Callable[[], Any] = lambda: ray.remote(**share)(Annotating).remote(task)
        self._errands: dict[Any, _Errand] = {}
        self._free: deque[Any] = deque()  # an actor for each batch that it could take
        self._orphans: deque[tuple[list[Segment], int]] = deque()
        self._stillborn, self._begun = 0, False
        for _ in range(count):
            self._add()

    def annotate(self, batches: Iterable[list[Segment]]) -> Iterator[tuple[list[Segment], Outcome]]:
        """Keep the actors busy, a few batches each, so that memory stays bounded."""
        waiting = ((batch, 0) for batch in batches)
        try:
            while True:
                self._send_out(waiting)
                if self._free and not any(errand.batch for errand in self._errands.values()):
                    return
                yield from self._return_of_one()
        finally:
            self._dismiss()

    def _add(self) -> None:
        actor = self._hire()
        self._errands[actor.begin.remote()] = _Errand(actor, None, 0)

    def _send_out(self, waiting: Iterator[tuple[list[Segment], int]]) -> None:
        while self._free:
            task = self._orphans.popleft() if self._orphans else next(waiting, None)
            if task is None:
                return
            actor = self._free.popleft()
            self._errands[actor.annotate.remote(task[0])] = _Errand(actor, *task)

    def _return_of_one(self) -> Iterator[tuple[list[Segment], Outcome]]:
        """Wait until an actor is done with something, or dead; yields the batch, if it was one."""
        import ray

        done = self._first_done()
        errand = self._errands[done]
        try:
            answer = ray.get(done)
        except ray.exceptions.RayTaskError as error:  # raised by what the actor did: so would the next
            raise (error.cause if isinstance(error.cause, Exception) else error) from None
        except ray.exceptions.RayError as error:  # the process, its node, or what it answered is lost
            self._bury(errand, error)
            return
        del self._errands[done]
        if errand.batch is None:
            self._check_revision(answer)
            self._begun, self._stillborn = True, 0
            self._free.extend([errand.actor] * _AHEAD)
            return
        self._free.append(errand.actor)
        yield errand.batch, answer

    def _first_done(self) -> Any:
        import ray

        told = self._begun
        while True:
            done, _ = ray.wait(list(self._errands), num_returns=1, timeout=None if told else _PATIENCE)
            if done:
                return done[0]
            say(f"no process of the cluster has begun yet; each needs {self._share}, which may be taken")
            told = True

    def _check_revision(self, revision: str) -> None:
        if revision != self._revision:
            raise DistillError(
                f"{self._teacher}: a node of the cluster has the revision {revision}, this machine {self._revision}; "
                "name the revision (owner/name@revision), or bring the same files to every node"
            )

    def _bury(self, errand: _Errand, error: Exception) -> None:
        """Give what a dead actor had to others, and hire one in its place.

        Raises:
            DistillError: it is no accident any more.
        """
        import ray

        had = [(done, other) for done, other in self._errands.items() if other.actor is errand.actor]
        for done, other in had:
            del self._errands[done]
            if other.batch is not None:
                self._orphans.append((other.batch, other.deaths + 1))
        self._free = deque(actor for actor in self._free if actor is not errand.actor)
        self._stillborn += errand.batch is None
        ray.kill(errand.actor)  # it may only be out of reach
        if errand.deaths + 1 >= _DEATHS or self._stillborn >= _DEATHS:
            of = f"at {errand.batch[0].file}" if errand.batch else "while starting"
            raise DistillError(
                f"{_DEATHS} processes of the cluster died {of}, one after the other ({_lines(error)[-1]})"
            )
        say("a process of the cluster died; others do again what it had")
        self._add()

    def _dismiss(self) -> None:
        """Free the cluster; idle ones and busy ones alike."""
        import ray

        everyone = [*self._free, *(errand.actor for errand in self._errands.values())]
        for actor in {id(actor): actor for actor in everyone}.values():
            ray.kill(actor)
