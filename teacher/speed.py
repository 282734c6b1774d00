"""How fast the large teachers' encoder is: a plain loop over transformers, and our ways, taking turns in one run."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor
from transformers import WavLMConfig, WavLMModel

from distill.audio import SAMPLING_RATE, read
from distill.files import plain, reject_unwritable, write_json
from distill.learning.device import choose_device
from distill.timing import in_turns, serve, spread, workers
from teacher.arithmetic import flops, product_rate
from teacher.overhead import overhead
from teacher.published.encoder import OwnEncoder
from teacher.published.network import WAVLM_LARGE, frames_of
from teacher.published.products import multiplies_bfloat16

#: The way that the others are compared with.
PLAIN = "plain loop"

#: Clips that a GPU is given together, in our ways.
BATCHES = (1, 8, 16, 32, 64)

#: Paths of clips to the last hidden states, [time, width] each.
Encode = Callable[[Sequence[Path]], list[Tensor]]


@dataclass(frozen=True)
class Way:
    """A way to encode. dtype: None for transformers. processes: at work at the same time, each with its `threads` and
    `batch` clips."""

    dtype: torch.dtype | None
    threads: int
    processes: int = 1
    batch: int = 1


@dataclass(frozen=True)
class Turn:
    """What one turn of a way took, in milliseconds a clip, and the states of its first clip, [time, width]."""

    wall: float
    processor: float
    states: np.ndarray


def benchmark_labelling(
    *,
    seconds: float = 5.0,
    rounds: int = 7,
    threads: int | None = None,
    processes: bool = False,
    device: str = "auto",
    output: str | Path | None = None,
    describe: Callable[[], Mapping[str, Any]] = dict,
    sizes: Mapping[str, Any] = WAVLM_LARGE,
) -> dict[str, Any]:
    """Time WavLM-large with random weights on clips of `seconds`, decoding included; each way is a process of its own.

    threads: of each process, by default torch's own choice. processes: try a one-thread process for every core, too.
    describe: what is said of the machine. sizes: of the encoder. output: JSON to write the result to.

    Returns {machine, device, seconds, rounds, flops (a clip), product_rate: {"dtype, threads": FLOP/s}, ways}. ways:
    {name: {median, p10, p90 (ms a clip), rtf, ratio, ratio_p10, ratio_p90 (to the plain loop, round by round),
    processor, processor_ratio (the same of processor time, which other programs on the machine move less), share (of
    the product rate; None on a CPU), relative_rms (to the plain loop's states)}}; overhead: see `teacher.overhead`.
    """
    if output is not None:
        reject_unwritable(Path(output))
    where = choose_device(device)
    ways = _ways(where, threads or torch.get_num_threads(), processes=processes)
    taken = _in_turns(ways, where, sizes, seconds, rounds)
    work, rates = flops(sizes, seconds), _product_rates(ways.values(), where)
    result = {
        "machine": {**describe(), "threads": ways[PLAIN].threads}, "device": _name_of(where), "seconds": seconds,
        "rounds": rounds, "flops": work, "product_rate": rates,
        "ways": {
            name: _compared(taken[name], taken[PLAIN], seconds)
            | {"share": _share(work, taken[name], rates.get(_products_of(way)))}
            | {"relative_rms": _relative_rms(taken[name][0].states, taken[PLAIN][0].states)}
            for name, way in ways.items()
        },
        "overhead": overhead(),
    }  # fmt: skip
    if output is not None:
        write_json(Path(output), result)
    return dict(plain(result))


def _in_turns(
    ways: Mapping[str, Way], where: torch.device, sizes: Mapping[str, Any], seconds: float, rounds: int
) -> dict[str, list[Turn]]:
    """What every way took, round by round, after an untimed turn each."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        clips = _clips(Path(folder), seconds, max(way.batch for way in ways.values()))
        teams = {name: stack.enter_context(_at_work(way, where, sizes, clips)) for name, way in ways.items()}
        for team in teams.values():
            team()
        return in_turns(teams, rounds)


def plain_loop(encoder: WavLMModel, paths: Sequence[Path]) -> list[Tensor]:
    """What one writes first, and what we are compared with: one clip after the other, float32, default settings."""
    answers = []
    with torch.no_grad():
        for path in paths:
            samples = torch.from_numpy(read(path))[None].to(encoder.device)
            answers.append(encoder(samples).last_hidden_state[0])
    return answers


def our_way(encoder: OwnEncoder, paths: Sequence[Path], where: torch.device) -> list[Tensor]:
    """The same clips, all as long, in one batch."""
    with ThreadPoolExecutor(os.cpu_count()) as pool, torch.inference_mode():
        decoded = pool.map(read, paths) if len(paths) > 1 else map(read, paths)
        samples = torch.from_numpy(np.stack(list(decoded))).to(where)
        frames = int(frames_of(torch.tensor(samples.shape[1]), encoder.config))
        states = encoder(samples, torch.ones(len(paths), frames, dtype=torch.bool, device=where))
    assert isinstance(states, Tensor)
    return list(states)


def _ways(where: torch.device, threads: int, *, processes: bool) -> dict[str, Way]:
    ways = {PLAIN: Way(None, threads)}
    for name, dtype in _precisions(where).items():
        for batch in (1,) if where.type == "cpu" else BATCHES:
            ways[name if batch == 1 else f"{name}, {batch} together"] = Way(dtype, threads, batch=batch)
    cores = os.cpu_count() or 1
    if processes and where.type == "cpu" and cores > 1:
        single = {f"{name}, {cores} processes": replace(way, processes=cores, threads=1) for name, way in ways.items()}
        ways |= single
    return ways


def _precisions(where: torch.device) -> dict[str, torch.dtype]:
    return {"float32": torch.float32} | ({"bfloat16": torch.bfloat16} if multiplies_bfloat16(where) else {})


def _clips(folder: Path, seconds: float, count: int) -> list[Path]:
    """White noise of unit variance, but for the scale: no silence, whose denormal numbers would change the timing."""
    generator = np.random.default_rng(0)
    paths = [folder / f"{number}.wav" for number in range(count)]
    for path in paths:
        soundfile.write(path, 0.1 * generator.standard_normal(round(seconds * SAMPLING_RATE)), SAMPLING_RATE)
    return paths


@contextmanager
def _at_work(
    way: Way, where: torch.device, sizes: Mapping[str, Any], clips: Sequence[Path]
) -> Iterator[Callable[[], Turn]]:
    """Processes with their encoder ready; gives team() -> what a turn took, of as many clips as go together."""
    paths, clips_done = [str(path) for path in clips[: way.batch]], way.batch * way.processes
    with workers(_server, way, str(where), dict(sizes), count=way.processes) as team:

        def turn() -> Turn:
            before = time.perf_counter_ns()
            for worker in team:
                worker.ask(paths)
            answers = [worker.answer() for worker in team]
            wall = (time.perf_counter_ns() - before) / 1e6
            return Turn(wall / clips_done, sum(answer[0] for answer in answers) / clips_done, answers[0][1])

        yield turn


def _server(end: Connection, way: Way, device: str, sizes: Mapping[str, Any]) -> None:
    """Encode lists of paths: processor time in ms, and the states of the first."""
    if way.threads != torch.get_num_threads():
        torch.set_num_threads(way.threads)
    encode = _encoder(way, torch.device(device), sizes)

    def answer(paths: Sequence[str]) -> tuple[float, np.ndarray]:
        before = time.process_time_ns()
        states = encode([Path(path) for path in paths])[0].float().cpu().numpy()  # which waits for a GPU, too
        return (time.process_time_ns() - before) / 1e6, states

    serve(end, answer)


def _encoder(way: Way, where: torch.device, sizes: Mapping[str, Any]) -> Encode:
    torch.manual_seed(0)
    encoder: Any = WavLMModel(WavLMConfig(**sizes))
    encoder = encoder.eval().requires_grad_(False).to(where)
    if way.dtype is None:
        return lambda paths: plain_loop(encoder, paths)
    own = OwnEncoder(encoder, way.dtype)
    return lambda paths: our_way(own, paths, where)


def _compared(turns: Sequence[Turn], first: Sequence[Turn], seconds: float) -> dict[str, float]:
    """A way's figures: of wall time and of processor time, which other programs on the machine move less."""
    wall = _figures([turn.wall for turn in turns], [turn.wall for turn in first], seconds)
    return wall | _processor([turn.processor for turn in turns], [turn.processor for turn in first])


def _figures(milliseconds: Sequence[float], first: Sequence[float], seconds: float) -> dict[str, float]:
    """Of a way's rounds, and of the plain loop's beside them.

    >>> figures = _figures([50.0, 40.0, 60.0], [100.0, 100.0, 90.0], 5.0)
    >>> figures["median"], figures["ratio"], figures["ratio_p10"], figures["rtf"]
    (50.0, 2.0, 1.6, 0.01)
    """
    median, each = statistics.median(milliseconds), np.divide(first, milliseconds)
    return {
        **spread(milliseconds, 2), "rtf": median / 1e3 / seconds,
        "ratio": round(statistics.median(first) / median, 4), "ratio_p10": round(float(np.percentile(each, 10)), 4),
        "ratio_p90": round(float(np.percentile(each, 90)), 4),
    }  # fmt: skip


def _processor(milliseconds: Sequence[float], first: Sequence[float]) -> dict[str, float]:
    median = statistics.median(milliseconds)
    return {"processor": round(median, 2), "processor_ratio": round(statistics.median(first) / median, 4)}


def _relative_rms(states: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.sqrt(np.square(states - wanted).mean() / np.square(wanted).mean()))


def _products_of(way: Way) -> str:
    """What the rate of large products is known by that a way's own are compared with."""
    name = str(way.dtype or torch.float32).removeprefix("torch.")
    return f"{name}, {way.threads * way.processes} threads"


def _share(work: float, turns: Sequence[Turn], rate: float | None) -> float | None:
    """Of the rate at which large products go, what a way reaches; work: FLOP a clip."""
    return None if rate is None else work / statistics.median(turn.wall for turn in turns) * 1e3 / rate


def _product_rates(ways: Iterable[Way], where: torch.device) -> dict[str, float]:
    """FLOP/s of large square products, in each precision, on a GPU; {} on a CPU, where other programs, and how a matrix
    is cut, move such a figure more than anything here."""
    if where.type != "cuda":
        return {}
    dtypes = {_products_of(way): way.dtype or torch.float32 for way in ways}
    return {name: product_rate(dtype, where) for name, dtype in dtypes.items()}


def _name_of(where: torch.device) -> str:
    return torch.cuda.get_device_name(where) if where.type == "cuda" else where.type
