"""How fast Wav2Small trains: a plain loop and our step, taking turns in one run; and whether loading keeps up."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distill import timing
from distill.audio import SAMPLING_RATE
from distill.files import plain, reject_unwritable, write_json
from distill.learning.batch import Batch
from distill.learning.clips import Clips
from distill.learning.device import choose_precision, laid_out
from distill.learning.loop import Schedule, stepper
from distill.learning.loss import ccc_loss
from distill.learning.objective import Objective
from distill.perturb import surroundings
from students.augmentation import SHARES, Augmentation
from students.batches import TrainingBatches
from students.plain import PlainWav2Small, plain_step
from students.wav2small import Wav2Small

#: What is compared: the loop as one writes it first, the same with the memory setting that it could have for nothing,
#: and the step that `train-student` takes.
PLAIN, PLAIN_KEEPING, OURS = "plain loop", "plain loop, memory kept", "ours"
WAYS = (PLAIN, PLAIN_KEEPING, OURS)

#: Told to glibc when a process starts: to keep what is freed. The same is `keep_freed_memory`, from inside.
KEEPING = {
    "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000", "MALLOC_TOP_PAD_": str(256 * 2**20),
}  # fmt: skip

#: Nothing drawn: every batch is as long as its clips, and costs the same.
_UNCHANGED = Augmentation().with_shares(dict.fromkeys(SHARES, 0.0))

#: Batches that a loading process may have ready: so many are taken before the clock starts, and left when it stops.
_AHEAD = 8

#: A turn of a way: seconds of wall time and of processor time that its steps took.
Turn = tuple[float, float]


def benchmark_training(
    *,
    seconds: float = 5.0,
    batch_size: int = 32,
    steps: int = 2,
    rounds: int = 9,
    threads: int | None = None,
    output: str | Path | None = None,
    describe: Callable[[], Mapping[str, Any]] = dict,
) -> dict[str, Any]:
    """Time training steps of Wav2Small on a CPU, on batches of noise; each way is a process of its own.

    seconds: of a clip. steps: that a way takes in its turn. threads: of a way (default: one a core). output: JSON to
    write the result to. describe: what is said of the machine.

    Returns {machine, seconds, batch_size, steps, rounds, ways, ratios, loading}. ways: {name: {median, p10, p90 (clips
    a second), processor (seconds of it a clip, median), rounds}}. ratios, of ours to the others, round by round: {name:
    {median, low, high, processor (the same of processor time, which other programs move less), rounds}}. loading, in
    clips a second: {alone: {workers: clips/s}, with_training: {workers: clips/s}}, see `_loading`.
    """
    if output is not None:
        reject_unwritable(Path(output))
    threads = threads or os.cpu_count() or 1
    taken, clips = _in_turns(threads, seconds, batch_size, steps, rounds=rounds), batch_size * steps
    result = {
        "machine": {**describe(), "threads": threads, "torch": torch.__version__}, "seconds": seconds,
        "batch_size": batch_size, "steps": steps, "rounds": rounds,
        "ways": {name: _figures(turns, clips) for name, turns in taken.items()},
        "ratios": {name: _ratios(taken[name], taken[OURS]) for name in WAYS if name != OURS},
        "loading": _loading(threads, seconds, batch_size, batches=steps * rounds),
    }  # fmt: skip
    if output is not None:
        write_json(Path(output), result)
    return dict(plain(result))


def _in_turns(threads: int, seconds: float, batch_size: int, steps: int, *, rounds: int) -> dict[str, list[Turn]]:
    """The turns of every way, round by round."""
    with ExitStack() as stack:
        asked = (threads, seconds, batch_size, steps)
        ways = {name: stack.enter_context(_worker(_step_server, name, *asked, keeping=name == PLAIN_KEEPING))
                for name in WAYS}  # fmt: skip
        return timing.in_turns(ways, rounds)


def _figures(turns: Sequence[Turn], clips: int) -> dict[str, Any]:
    """What a way's turns of so many clips say.

    >>> _figures([(2.0, 4.0), (4.0, 4.0), (5.0, 5.0)], 20)["median"]
    5.0
    """
    rates = [clips / wall for wall, _ in turns]
    processor = float(np.median([processor for _, processor in turns])) / clips
    return {**timing.spread(rates, 2), "processor": processor, "rounds": rates}


def _ratios(slower: Sequence[Turn], faster: Sequence[Turn]) -> dict[str, Any]:
    """How many times as fast, round by round.

    >>> figures = _ratios([(4.0, 4.0), (9.0, 6.0)], [(2.0, 2.0), (3.0, 3.0)])
    >>> figures["median"], figures["low"], figures["high"], figures["processor"]
    (2.5, 2.0, 3.0, 2.0)
    """
    wall, processor = (np.divide(*sides) for sides in zip(zip(*slower, strict=True), zip(*faster, strict=True),
                                                          strict=True))  # fmt: skip
    return {
        "median": round(float(np.median(wall)), 3), "low": round(float(wall.min()), 3),
        "high": round(float(wall.max()), 3), "processor": round(float(np.median(processor)), 3),
        "rounds": wall.tolist(),
    }  # fmt: skip


def _loading(threads: int, seconds: float, batch_size: int, *, batches: int) -> dict[str, Any]:
    """Clips a second, with the perturbations that `train-student` draws: what loading delivers when nothing is learned
    (alone), and what is learned when it has to be loaded (with_training); by the number of loading processes, which
    take their cores from training."""
    found: dict[str, Any] = {"alone": {}, "with_training": {}}
    for workers in (0, 1):
        with _worker(_loading_server, threads, workers, seconds, batch_size, batches) as turn:
            for rates in found.values():
                rates[str(workers)] = round(batch_size * batches / turn()[0], 2)
    return found


@contextmanager
def _worker(serving: Callable[..., None], *arguments: Any, keeping: bool = False) -> Iterator[Callable[[], Turn]]:
    """A new process, ready to be asked for its turn. keeping: begun with the memory setting."""
    with ExitStack() as stack:
        with _memory_setting(KEEPING if keeping else {}):  # glibc reads its settings when a program starts
            (worker,) = stack.enter_context(timing.workers(serving, *arguments))
        yield worker


@contextmanager
def _memory_setting(setting: Mapping[str, str]) -> Iterator[None]:
    """This one for the processes that begin meanwhile, whatever was set outside."""
    before = {name: os.environ.pop(name) for name in KEEPING if name in os.environ}
    os.environ.update(setting)
    try:
        yield
    finally:
        for name in setting:
            del os.environ[name]
        os.environ.update(before)


def _taken(work: Callable[[], None]) -> Turn:
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def _step_server(end: Connection, way: str, threads: int, seconds: float, batch_size: int, steps: int) -> None:
    torch.set_num_threads(threads)
    batches = _batches(seconds, batch_size, batches=1, augmentation=_UNCHANGED, workers=0)
    (batch,) = batches(0)
    step = _our_step(batches) if way == OURS else _plain_step()
    step(batch)  # threads and memory are there, kernels are chosen

    def take() -> None:
        for _ in range(steps):
            step(batch)

    timing.serve(end, lambda _: _taken(take))


def _plain_step() -> Callable[[Batch], float]:
    torch.manual_seed(0)
    model = PlainWav2Small()
    optimiser = torch.optim.AdamW(model.parameters())
    return lambda batch: plain_step(model, optimiser, batch.pcm, batch.target)


def _our_step(batches: TrainingBatches) -> Callable[[Batch], float]:
    """As `train-student` sets it up."""
    torch.manual_seed(0)
    network, where = Wav2Small(), torch.device("cpu")
    precision = choose_precision("auto", where, reduced_on_cpu=network.reduced_on_cpu)
    schedule = Schedule(epochs=1, minutes=None)
    step = stepper(
        laid_out(network), batches, objective=Objective(ccc_loss), schedule=schedule, device=where, precision=precision
    )
    return lambda batch: step(batch, schedule.learning_rate)


def _loading_server(end: Connection, threads: int, workers: int, seconds: float, batch_size: int, batches: int) -> None:
    """Two turns, of `batches` batches each: loaded; then loaded and learned from, as `train-student` does it."""
    torch.set_num_threads(max(1, threads - workers))
    source = _batches(seconds, batch_size, batches=batches + 2 * _AHEAD, augmentation=Augmentation(), workers=workers)
    passes = iter([lambda _: 0.0, _our_step(source)])
    timing.serve(end, lambda _: _pass(source, next(passes), batches))


def _pass(source: TrainingBatches, step: Callable[[Batch], float], batches: int) -> Turn:
    """What `batches` batches take, from when what was ready beforehand is used up."""
    loaded = source(0)

    def take(number: int) -> None:
        for batch in islice(loaded, number):
            step(batch)

    take(_AHEAD if source.workers else 1)
    turn = _taken(lambda: take(batches))
    loaded.close()  # what still loads would outlive this process's interpreter
    return turn


def _batches(
    seconds: float, batch_size: int, *, batches: int, augmentation: Augmentation, workers: int
) -> TrainingBatches:
    """Noise of a few clips, again and again: what it costs to draw a batch does not depend on how many there are."""
    rng, samples, clips = np.random.default_rng(0), round(seconds * SAMPLING_RATE), batch_size * batches
    offsets = np.arange(batch_size + 1) * samples
    pcm = (3000 * rng.standard_normal(offsets[-1])).astype("<i2")
    targets = rng.random((batch_size, 3)).astype(np.float32)
    return TrainingBatches(
        Clips(pcm, offsets, targets, np.ones(batch_size, np.float32)), np.arange(clips) % batch_size,
        surroundings(None, None), augmentation=augmentation, batch_size=batch_size, longest=seconds, seed=0,
        workers=workers,
    )  # fmt: skip
