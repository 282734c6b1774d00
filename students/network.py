"""What every student is: a network from PCM to A/D/V with its own front-end."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from distill.learning.network import PooledNetwork
from students.frontend import LogMel

#: The shortest clip that a student is taught on and answers on (seconds).
SHORTEST_SECONDS = 0.25

#: What remains of the head's random weights at the start of a training.
START_SPREAD = 0.1


@dataclass(frozen=True)
class Quantisation:
    """How a layout is quantised; the exporter asks for nothing else.

    activation_bits: of what the layers hand on, 8 or 16; the first with which the ladder holds. Weights always have 8.
    percentile: share of an activation's values that its range takes in at 8 bits; None: all that were seen.
    float_modules: names of modules that stay in float with all that is in them.
    """

    activation_bits: tuple[int, ...] = (8,)
    percentile: float | None = None
    float_modules: tuple[str, ...] = ()


class StudentNetwork(PooledNetwork):
    """The contract of the catalogue, the trainer and the exporter: besides what is said here, `pooled` and a linear
    `head` (`PooledNetwork`).

    frontend: from PCM to log-mel; by the name `frontend` the exporter knows what it has to leave in float.
    learning_rate: the peak with which the student trains if nobody asks for another. quantisation: to int8.
    reduced_on_cpu: whether bfloat16 pays on a processor that multiplies in it.
    """

    learning_rate: float = 3e-3
    quantisation: Quantisation = Quantisation()
    reduced_on_cpu: bool = True

    frontend: LogMel
    head: nn.Linear

    def start_near(self, mean: Tensor) -> None:
        """Let the untrained network answer about `mean` [3], the targets' own: the CCC hardly falls, and so teaches
        hardly anything, as long as answers are far from where the targets are."""
        with torch.no_grad():
            self.head.weight.mul_(START_SPREAD)
            self.head.bias.copy_(mean)

    @abstractmethod
    def tokens(self, samples: int) -> int:
        """How many tokens the pooling sees for `samples` samples."""
