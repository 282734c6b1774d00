"""The last of the training, in integers: a rounded network learns to answer as the float one on the run's own clips.

The float network is its own teacher (Hinton et al. 2015; for quantised networks Polino et al. 2018): no label and no
teacher is needed, and any audio will do: clips are cut anew and mixed in each step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distill.audio import SAMPLING_RATE
from distill.learning.device import keep_freed_memory
from distill.progress import Progress
from students.network import StudentNetwork
from students.quantised import QuantisedVgg

#: At 2.5e-4 a few hundred steps end worse than they began, with weights that jump to and fro.
LEARNING_RATE = 1e-4

#: Of the steps, in shares of them (Esser et al. 2020, "Learned Step Size Quantization").
STEP_RATE = 3e-4

#: Clips of a step, and their seconds.
BATCH, SECONDS = 16, 2.0

#: What the pooled features count beside the answers: hundreds of numbers a clip say more than three.
FEATURES = 0.5


def tune(network: QuantisedVgg, student: StudentNetwork, clips: Sequence[np.ndarray], *, steps: int) -> None:
    """Train `network` in place towards `student`. clips: float32 [samples] each, none of them held out.

    The learning rate falls to zero along half a cosine. Batches are drawn from a fixed seed.
    """
    keep_freed_memory()
    rng = np.random.default_rng(0)
    optimiser = torch.optim.Adam([{"params": [*network.parameters()], "lr": LEARNING_RATE}, *_steps_learned(network)])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    with Progress("tuning", steps, "steps") as bar:
        for _ in range(steps):
            optimiser.zero_grad(set_to_none=True)
            _loss(network, student, _batch(clips, rng)).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            bar.advance()
    for step in network.steps():
        step.requires_grad_(False).copy_(step.half())


def _steps_learned(network: QuantisedVgg) -> list[dict[str, Any]]:
    """Groups of the optimiser: Adam's rate is of a value's own size, and steps are of many."""
    return [
        {"params": [step.requires_grad_(True)], "lr": STEP_RATE * float(step.detach().mean())}
        for step in network.steps()
    ]


def _loss(network: QuantisedVgg, student: StudentNetwork, pcm: Tensor) -> Tensor:
    """Squares of the differences, in shares of what the float network's numbers vary by."""
    with torch.no_grad():
        wanted = student.pooled(pcm)
        answers = student.head(wanted)
    pooled = network.pooled(pcm)
    return _relative(network.head(pooled), answers) + FEATURES * _relative(pooled, wanted)


def _relative(found: Tensor, wanted: Tensor) -> Tensor:
    spread = wanted.var(0).clamp(min=1e-4 * float(wanted.var(0).mean()) + 1e-9)
    return ((found - wanted).square().mean(0) / spread).mean()


def _batch(clips: Sequence[np.ndarray], rng: np.random.Generator) -> Tensor:
    """Cuts of clips, each with a second one under it, up to as loud: float32 [batch, samples]."""
    samples = int(SECONDS * SAMPLING_RATE)
    rows = [_cut(clips, samples, rng) + rng.random() ** 2 * _cut(clips, samples, rng) for _ in range(BATCH)]
    return torch.from_numpy(np.stack(rows).astype(np.float32))


def _cut(clips: Sequence[np.ndarray], samples: int, rng: np.random.Generator) -> np.ndarray:
    """Of the level one; a shorter clip is repeated."""
    clip = clips[int(rng.integers(len(clips)))]
    start = rng.integers(max(1, len(clip) - samples + 1))
    cut = np.resize(clip[start:], samples)
    return np.asarray(cut / max(float(cut.std()), 1e-6))
