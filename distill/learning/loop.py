"""The training loop: AdamW, cosine, clipping, weight averaging, best weights, and resuming to the bit."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from distill.audio import SAMPLING_RATE
from distill.errors import DistillError, first_line
from distill.files import plain, whole, write_text
from distill.learning.batch import Batch
from distill.learning.network import PooledNetwork
from distill.learning.objective import Objective
from distill.learning.processes import ALONE, Processes
from distill.metrics import answered, ccc
from distill.progress import Progress, duration, say

#: Where in a folder every finished epoch is told.
METRICS = "metrics.jsonl"


class Batches(Protocol):
    """Training batches by epoch. The same epoch always gives the same batches, whatever was drawn before."""

    def __call__(self, epoch: int) -> Iterable[Batch]: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Schedule:
    """How long and how fast. epochs, or minutes of wall time (then the rate follows the time elapsed)."""

    epochs: int | None
    minutes: float | None
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    warmup: float = 0.03
    clip_norm: float = 1.0
    average_decay: float = 0.995

    def fraction(self, step: int, steps_an_epoch: int, seconds: float) -> float:
        """Share of the training that is over, 0..1.

        >>> Schedule(epochs=4, minutes=None).fraction(25, 50, seconds=9.0)
        0.125
        """
        by_time = seconds / 60 / self.minutes if self.minutes else 0.0
        by_step = step / (self.epochs * steps_an_epoch) if self.epochs else 0.0
        return min(1.0, max(by_time, by_step))

    def rate(self, fraction: float) -> float:
        """Learning rate: a linear warm-up, then a cosine to zero.

        >>> schedule = Schedule(epochs=1, minutes=None)
        >>> schedule.rate(schedule.warmup) == schedule.learning_rate, round(schedule.rate(1.0), 9)
        (True, 0.0)
        """
        if fraction < self.warmup:
            return self.learning_rate * max(fraction / self.warmup, 0.01)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (fraction - self.warmup) / (1 - self.warmup)))


@dataclass
class State:
    """Everything that a resumed run must have back."""

    model: PooledNetwork
    objective: Objective
    average: AveragedModel
    optimiser: torch.optim.Optimizer
    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    best: float = -math.inf
    best_weights: dict[str, Tensor] = field(default_factory=dict)


def fit(
    model: PooledNetwork,
    batches: Batches,
    held_out: Callable[[], Iterable[Batch]],
    *,
    objective: Objective,
    schedule: Schedule,
    folder: Path,
    device: torch.device,
    precision: torch.dtype = torch.float32,
    log: Callable[[dict[str, Any]], None] = lambda _: None,
    processes: Processes = ALONE,
) -> dict[str, Tensor]:
    """Train `model` and return the averaged weights that agreed best with the held-out targets.

    processes: those that train it together, each with `batches` of its own; the loss is over the batches of all. The
    first scores, writes, logs and has weights to return; the others return those of their last checkpoint, or none.

    Every finished epoch is saved to `folder`/checkpoints and told in `folder`/metrics.jsonl; called again after an
    interruption it goes on from there. With `schedule.epochs` on one CPU machine the result is the same to the bit.

    Raises:
        DistillError: the loss is no longer a number.
    """
    processes.connect(device)
    state = _resumed(folder, _fresh(model.to(device), objective.to(device), schedule), device)
    _begin_alike(state, processes, folder)
    training = _Training(state, batches, schedule, device, precision, processes)
    with Progress("training", training.steps_in_all(), "steps") as progress:
        progress.advance(state.step)
        while training.fraction() < 1:
            told = training.epoch(progress)
            if not processes.first:
                continue
            scores = agreement_per_axis(state.average.module, held_out(), device)
            _keep_best(state, scores)
            line = {"epoch": state.epoch, "step": state.step, "seconds": round(state.seconds, 1), **told, "ccc": scores}
            _append(folder / METRICS, line)  # before it is saved: an epoch that is saved is never told again
            _save(state, folder)
            log(line)
    return state.best_weights


def stepper(
    model: PooledNetwork, batches: Batches, *, objective: Objective, schedule: Schedule, device: torch.device,
    precision: torch.dtype,
) -> Callable[[Batch, float], float]:  # fmt: skip
    """The step of `fit` without what is around it, for those who time it: step(a batch of `batches`, rate) -> loss."""
    state = _fresh(model.to(device), objective.to(device), schedule)
    return _Training(state, batches, schedule, device, precision).step


def agreement_per_axis(model: nn.Module, batches: Iterable[Batch], device: torch.device) -> dict[str, float]:
    """CCC per axis between the model and the targets, over all batches together."""
    predicted, target = answers(model, batches, device)
    return {axis: float(ccc(x, y)) for axis, (x, y) in answered(predicted, target).items()}


@torch.inference_mode()
def answers(model: nn.Module, batches: Iterable[Batch], device: torch.device) -> tuple[np.ndarray, np.ndarray]:
    """The model's answers and the targets: two float32 [n, 3]. In float32 and evaluation mode."""
    model.eval()
    pairs = [(model(batch.pcm.to(device), batch.lengths.to(device)).cpu(), batch.target) for batch in batches]
    predicted, target = (torch.cat(side).float().numpy() for side in zip(*pairs, strict=True))
    return predicted, target


class _Training:
    """Epochs and steps, on the clock of all sessions together."""

    def __init__(
        self, state: State, batches: Batches, schedule: Schedule, device: torch.device, precision: torch.dtype,
        processes: Processes = ALONE,
    ) -> None:  # fmt: skip
        self.state, self.batches, self.schedule = state, batches, schedule
        self.device, self.precision, self.processes = device, precision, processes
        self._started = time.monotonic() - state.seconds

    def fraction(self) -> float:
        """Share of the training that is over, 0..1."""
        return self.schedule.fraction(self.state.step, len(self.batches), self.state.seconds)

    def steps_in_all(self) -> int:
        """How many steps there will be; estimated from the pace so far where time decides."""
        if self.schedule.epochs and not self.schedule.minutes:
            return self.schedule.epochs * len(self.batches)
        done = self.fraction()
        return round(self.state.step / done) if done and self.state.step else len(self.batches)

    def epoch(self, progress: Progress) -> dict[str, float]:
        """One pass; a time limit may end it early."""
        losses, audio, rate = [], 0.0, 0.0
        for batch in self.batches(self.state.epoch):
            rate = self.schedule.rate(self.fraction())
            losses.append(self.step(batch, rate))
            self.state.seconds = self.processes.from_first(time.monotonic() - self._started)
            seconds = self.processes.total(float(batch.lengths.sum()) / SAMPLING_RATE)
            audio += seconds
            progress.total = self.steps_in_all()
            progress.advance(audio_seconds=seconds)
            if self.schedule.minutes and self.fraction() >= 1:
                break
        self.state.epoch += 1
        return {"loss": float(np.mean(losses)), "rate": rate, "audio_seconds": round(audio, 1)}

    def step(self, batch: Batch, rate: float) -> float:
        """One update of the weights and of their average; returns the loss."""
        state = self.state
        batch = batch.to(self.device)
        for group in state.optimiser.param_groups:
            group["lr"] = rate
        state.model.train()
        state.optimiser.zero_grad(set_to_none=True)
        ragged = bool((batch.lengths != batch.pcm.shape[1]).any())
        with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
            features = state.model.pooled(batch.pcm, batch.lengths if ragged else None)
            predicted = state.model.head(features)
        value: Tensor = state.objective(*self.processes.joined(features.float(), predicted.float(), batch))
        if self.processes.first and not torch.isfinite(value):  # it is the same in all
            raise DistillError(f"the loss is {value.item()} at step {state.step}; try a lower --learning-rate")
        value.backward()  # type: ignore[no-untyped-call]
        self.processes.share_gradients(state.model, state.objective)
        nn.utils.clip_grad_norm_(_trainable(state.model), self.schedule.clip_norm)
        state.optimiser.step()
        state.average.update_parameters(state.model)
        state.step += 1
        return value.item()


def _trainable(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _fresh(model: PooledNetwork, objective: Objective, schedule: Schedule) -> State:
    average = AveragedModel(model, avg_fn=_warming_average(schedule.average_decay), use_buffers=True)
    optimiser = torch.optim.AdamW(
        [*_trainable(model), *_trainable(objective)],
        lr=schedule.learning_rate, weight_decay=schedule.weight_decay, betas=(0.9, 0.98),
    )  # fmt: skip
    return State(model, objective, average, optimiser)


def _warming_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Exponential average whose memory grows with the steps taken: a short run does not drag its random start along."""

    def average(averaged: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
        count = float(steps)
        return averaged + (current - averaged) * (1 - min(decay, (1 + count) / (10 + count)))

    return average


def _keep_best(state: State, scores: dict[str, float]) -> None:
    known = [score for score in scores.values() if math.isfinite(score)]
    score = sum(known) / len(known) if known else -math.inf
    if score >= state.best:  # of equal ones the longer trained
        state.best = score
        state.best_weights = {name: value.detach().cpu().clone() for name, value in _weights(state.average).items()}


def _weights(average: AveragedModel) -> dict[str, Tensor]:
    return average.module.state_dict()


def _checkpoint(folder: Path) -> Path:
    return folder / "checkpoints" / "last.pt"


def _save(state: State, folder: Path) -> None:
    saved = {
        "model": state.model.state_dict(), "average": state.average.state_dict(),
        "objective": state.objective.state_dict(),
        "optimiser": state.optimiser.state_dict(), "epoch": state.epoch, "step": state.step,
        "seconds": state.seconds, "best": state.best, "best_weights": state.best_weights,
    }  # fmt: skip
    with whole(_checkpoint(folder)) as beside:
        torch.save(saved, beside)


def _resumed(folder: Path, state: State, device: torch.device) -> State:
    path = _checkpoint(folder)
    if not path.is_file():
        return state
    try:
        saved = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch has no type of its own for a file that is broken off or holds other things
        raise DistillError(f"{path}: cannot be read ({first_line(error)}); remove it to begin anew") from None
    state.model.load_state_dict(saved["model"])
    state.average.load_state_dict(saved["average"])
    state.objective.load_state_dict(saved.get("objective", {}))  # runs of before had nothing to learn in it
    state.optimiser.load_state_dict(saved["optimiser"])
    state.epoch, state.step, state.seconds = saved["epoch"], saved["step"], saved["seconds"]
    state.best, state.best_weights = saved["best"], {name: value.cpu() for name, value in saved["best_weights"].items()}
    say(f"going on after epoch {state.epoch} ({duration(state.seconds)} of training so far)")
    return state


def _begin_alike(state: State, processes: Processes, folder: Path) -> None:
    """Several processes begin at the same step with the same weights."""
    if processes.from_first(state.step) != state.step:
        raise DistillError(f"{folder}: the first process sees another checkpoint there; all machines have to share it")
    processes.start_alike(state.model, state.objective)


def _append(path: Path, line: dict[str, Any]) -> None:
    """Lines of epochs that a killed run told but did not save are told again, not twice."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    kept = [old for old in lines if json.loads(old)["epoch"] < line["epoch"]]
    write_text(path, "\n".join([*kept, json.dumps(plain(line))]) + "\n")
