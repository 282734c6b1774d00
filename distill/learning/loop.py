"""The training loop: AdamW, cosine, clipping, weight averaging, best weights, and resuming to the bit.

Of a network of which a part is frozen only what learns is averaged, saved and kept as the best.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
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
    """How long and how fast. epochs, or minutes of wall time (then the rate follows the time elapsed).

    patience: epochs without a better score on what is held out after which it ends; None: it does not end early.
    """

    epochs: int | None
    minutes: float | None
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    warmup: float = 0.03
    clip_norm: float = 1.0
    average_decay: float = 0.995
    patience: int | None = None

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


@dataclass(frozen=True)
class Parts:
    """How a batch goes through a network that is too large for all of it at once.

    size: clips at once; None: the whole batch. exact: the loss is over the whole batch all the same. For that every
    part is heard twice: once for the answers of all, from which the loss and its gradients by the answers follow, and
    once more to take these back through the network (Gao et al. 2021, "Scaling deep contrastive learning batch size
    under memory limited setup"); what is left out at random is the same both times. Otherwise the loss is the mean of
    those over the parts, which for CCC is another one: over 8 clips it says little.
    """

    size: int | None = None
    exact: bool = True


#: All of a batch at once.
WHOLE = Parts()

#: Scores on what is held out, by kind and name, of answers and targets [n, ...]; the larger the better.
Score = Callable[[np.ndarray, np.ndarray], dict[str, dict[str, float]]]


@dataclass
class State:
    """Everything that a resumed run must have back. waited: epochs since the best."""

    model: PooledNetwork
    objective: Objective
    average: AveragedModel
    optimiser: torch.optim.Optimizer
    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    best: float = -math.inf
    waited: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)


def concordance(predicted: np.ndarray, target: np.ndarray) -> dict[str, dict[str, float]]:
    """{"ccc": {axis: CCC}} of the axes that both have. predicted, target: [n, 3 or more], NaN where unknown.

    >>> concordance(np.array([[0.1, 0.2, np.nan], [0.3, 0.4, np.nan]]), np.array([[0.1, 0.2, 1], [0.3, 0.4, 1]]))
    {'ccc': {'arousal': 1.0, 'dominance': 1.0}}
    """
    return {"ccc": {axis: float(ccc(x, y)) for axis, (x, y) in answered(predicted, target).items()}}


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
    parts: Parts = WHOLE,
    score: Score = concordance,
) -> dict[str, Tensor]:
    """Train `model` and return the averaged weights that agreed best with the held-out targets, by the mean of `score`.

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
    training = _Training(state, batches, schedule, device, precision, processes, parts)
    with Progress("training", training.steps_in_all(), "steps") as progress:
        progress.resume(state.step)
        while training.fraction() < 1 and not training.given_up():
            told = training.epoch(progress)
            if not processes.first:
                continue
            scores = score(*answers(state.average.module, held_out(), device))
            _keep_best(state, {f"{kind} {name}": x for kind, found in scores.items() for name, x in found.items()})
            line = {"epoch": state.epoch, "step": state.step, "seconds": round(state.seconds, 1), **told, **scores}
            _append(folder / METRICS, line)  # before it is saved: an epoch that is saved is never told again
            _save(state, folder)
            log(line)
    return {**_frozen(state.model), **state.best_weights} if state.best_weights else {}


def stepper(
    model: PooledNetwork, batches: Batches, *, objective: Objective, schedule: Schedule, device: torch.device,
    precision: torch.dtype,
) -> Callable[[Batch, float], float]:  # fmt: skip
    """The step of `fit` without what is around it, for those who time it: step(a batch of `batches`, rate) -> loss."""
    state = _fresh(model.to(device), objective.to(device), schedule)
    return _Training(state, batches, schedule, device, precision).step


@torch.inference_mode()
def answers(model: nn.Module, batches: Iterable[Batch], device: torch.device) -> tuple[np.ndarray, np.ndarray]:
    """The model's answers and the targets: two float32 [n, 3 or more]. In float32 and evaluation mode."""
    model.eval()
    pairs = [(_answered(model, batch.to(device)), batch.target) for batch in batches]
    predicted, target = (torch.cat(side).float().numpy() for side in zip(*pairs, strict=True))
    return predicted, target


def _answered(model: nn.Module, batch: Batch) -> Tensor:
    answer: Tensor = model(batch.pcm, batch.lengths, *batch.told())
    return answer.cpu()


class _Training:
    """Epochs and steps, on the clock of all sessions together."""

    def __init__(
        self, state: State, batches: Batches, schedule: Schedule, device: torch.device, precision: torch.dtype,
        processes: Processes = ALONE, parts: Parts = WHOLE,
    ) -> None:  # fmt: skip
        self.state, self.batches, self.schedule = state, batches, schedule
        self.device, self.precision, self.processes, self.parts = device, precision, processes, parts
        self._started = time.monotonic() - state.seconds

    def fraction(self) -> float:
        """Share of the training that is over, 0..1."""
        return self.schedule.fraction(self.state.step, len(self.batches), self.state.seconds)

    def given_up(self) -> bool:
        """Whether it has not become better for as long as the schedule is patient; the first process knows."""
        patience = self.schedule.patience
        return patience is not None and self.processes.from_first(float(self.state.waited >= patience)) > 0

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
        value = self._taught(batch)
        self.processes.share_gradients(state.model, state.objective)
        nn.utils.clip_grad_norm_(_trainable(state.model), self.schedule.clip_norm)
        state.optimiser.step()
        state.average.update_parameters(state.model)
        state.step += 1
        return value

    def _taught(self, batch: Batch) -> float:
        """The loss, whose gradients are in the network now."""
        size = self.parts.size
        if size is None or size >= len(batch.lengths):
            value = self._loss(*self._heard(batch), batch)
            value.backward()  # type: ignore[no-untyped-call]
            return value.item()
        return self._taught_exactly(batch, size) if self.parts.exact else self._taught_apart(batch, size)

    def _taught_apart(self, batch: Batch, size: int) -> float:
        """Every part with a loss of its own."""
        together = 0.0
        for part in batch.parts(size):
            value = self._loss(*self._heard(part), part) * (len(part.lengths) / len(batch.lengths))
            value.backward()  # type: ignore[no-untyped-call]
            together += value.item()
        return together

    def _taught_exactly(self, batch: Batch, size: int) -> float:
        """One loss over all parts."""
        parts, draws, heard = batch.parts(size), [], []
        with torch.no_grad():
            for part in parts:
                draws.append(_draws(self.device))
                heard.append(self._heard(part))
        features, predicted = (torch.cat(side).requires_grad_() for side in zip(*heard, strict=True))
        value = self._loss(features, predicted, batch)
        value.backward()  # type: ignore[no-untyped-call]
        gradients = [_rows(side.grad, side, size) for side in (features, predicted)]
        for part, drawn, *wanted in zip(parts, draws, *gradients, strict=True):
            _draw_again(drawn, self.device)
            torch.autograd.backward(self._heard(part), wanted)
        return value.item()

    def _heard(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What the network pools of a batch, and what it answers."""
        model = self.state.model
        ragged = bool((batch.lengths != batch.pcm.shape[1]).any())
        with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
            features = model.pooled(batch.pcm, batch.lengths if ragged else None, *batch.told())
            predicted = model.head(features)
        return features.float(), predicted.float()

    def _loss(self, features: Tensor, predicted: Tensor, batch: Batch) -> Tensor:
        value: Tensor = self.state.objective(*self.processes.joined(features, predicted, batch))
        if self.processes.first and not torch.isfinite(value):  # it is the same in all
            raise DistillError(f"the loss is {value.item()} at step {self.state.step}; try a lower --learning-rate")
        return value


def _rows(gradient: Tensor | None, like: Tensor, size: int) -> tuple[Tensor, ...]:
    """The gradient by the rows of each part; zero of what the loss does not look at."""
    return torch.split(torch.zeros_like(like) if gradient is None else gradient, size)


def _draws(device: torch.device) -> tuple[Tensor, ...]:
    """Where torch's draws stand."""
    return (torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else []))


def _draw_again(drawn: Sequence[Tensor], device: torch.device) -> None:
    """Let torch draw what it drew from there."""
    torch.set_rng_state(drawn[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(drawn[1], device)


def _trainable(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _fresh(model: PooledNetwork, objective: Objective, schedule: Schedule) -> State:
    average = _Average(model, _warming_average(schedule.average_decay))
    optimiser = torch.optim.AdamW(
        [*_trainable(model), *_trainable(objective)],
        lr=schedule.learning_rate, weight_decay=schedule.weight_decay, betas=(0.9, 0.98),
    )  # fmt: skip
    return State(model, objective, average, optimiser)


class _Average(AveragedModel):
    """The average of what learns, and of the buffers; what is frozen is the model's own."""

    def __init__(self, model: nn.Module, average: Callable[[Tensor, Tensor, Tensor | int], Tensor]) -> None:
        super().__init__(model, avg_fn=average, use_buffers=True)
        for own, given in zip(self.module.parameters(), model.parameters(), strict=True):
            if not given.requires_grad:
                own.data = given.data

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """As torch's, but for what is frozen."""
        for own, given in zip(_changing(self.module), _changing(model), strict=True):
            first = int(self.n_averaged) == 0
            own.copy_(given if first else self.avg_fn(own, given, self.n_averaged))  # type: ignore[misc]
        self.n_averaged += 1


def _changing(module: nn.Module) -> Iterator[Tensor]:
    return chain(_trainable(module), module.buffers())


def _warming_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Exponential average whose memory grows with the steps taken: a short run does not drag its random start along."""

    def average(averaged: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
        count = float(steps)
        return averaged + (current - averaged) * (1 - min(decay, (1 + count) / (10 + count)))

    return average


def _keep_best(state: State, scores: Mapping[str, float]) -> None:
    known = [score for score in scores.values() if math.isfinite(score)]
    score = sum(known) / len(known) if known else -math.inf
    state.waited = 0 if score > state.best else state.waited + 1
    if score >= state.best:  # of equal ones the longer trained
        state.best = score
        state.best_weights = {name: value.detach().cpu().clone() for name, value in _weights(state.average).items()}


def _weights(average: AveragedModel) -> dict[str, Tensor]:
    return _learned(average.module)


def _learned(module: nn.Module) -> dict[str, Tensor]:
    """What training changes: all but the frozen parameters."""
    frozen = _frozen(module)
    return {name: tensor for name, tensor in module.state_dict().items() if name not in frozen}


def _frozen(module: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach() for name, parameter in module.named_parameters() if not parameter.requires_grad}


def _put_back(module: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """Strictly. Runs of before have saved what is frozen, too."""
    module.load_state_dict({**_frozen(module), **saved})


def _checkpoint(folder: Path) -> Path:
    return folder / "checkpoints" / "last.pt"


def _save(state: State, folder: Path) -> None:
    saved = {
        "model": _learned(state.model), "average": _learned(state.average),
        "objective": state.objective.state_dict(),
        "optimiser": state.optimiser.state_dict(), "epoch": state.epoch, "step": state.step,
        "seconds": state.seconds, "best": state.best, "waited": state.waited, "best_weights": state.best_weights,
        "draws": list(_draws(next(state.model.parameters()).device)),
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
    _put_back(state.model, saved["model"])
    _put_back(state.average, saved["average"])
    state.objective.load_state_dict(saved.get("objective", {}))  # runs of before had nothing to learn in it
    state.optimiser.load_state_dict(saved["optimiser"])
    state.epoch, state.step, state.seconds = saved["epoch"], saved["step"], saved["seconds"]
    state.waited = saved.get("waited", 0)
    state.best, state.best_weights = saved["best"], {name: value.cpu() for name, value in saved["best_weights"].items()}
    if "draws" in saved:  # what runs of before drew at random is not known
        _draw_again([drawn.cpu() for drawn in saved["draws"]], device)
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
