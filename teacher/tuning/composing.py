"""Several tasks over one frozen backbone: the adapters and readouts that each task has learned alone, put together.

Suresh et al. (2024), "An adapter-based unified model for multiple spoken language processing tasks": adapters are
learned task by task, then stacked or fused; one pass through the backbone answers all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from distill.errors import DistillError
from distill.learning.weights import read_tensors
from teacher.tuning.folder import LEARNED
from teacher.tuning.methods import Fused, learning
from teacher.tuning.network import TunedNetwork

#: Where in the folder of several tasks each has its own, a teacher by itself.
PARTS = "tasks"

#: Names of tensors of a part, and what they are in the whole: their place among those of the other tasks.
_PLACES = (("readouts.0.", "readouts.{}."), ("head.each.0.", "head.each.{}."), (".adapter.", ".adapter.each.{}."))


def begin_with(network: TunedNetwork, parts: Sequence[Path]) -> None:
    """Put into the network of several tasks what each has learned alone. parts: their folders, in the order of the
    design's tasks. What makes one of many, the attention of a fusion, begins as it is.

    Raises:
        DistillError: a part does not fit, by the name of the tensor.
    """
    own = learning(network)
    left = {name for name in own if not _is_fusion(name)}
    for place, folder in enumerate(parts):
        for name, tensor in read_tensors(folder / LEARNED).items():
            whole = placed(name, place)
            if whole not in left or own[whole].shape != tensor.shape:
                raise DistillError(f"{folder / LEARNED}: the tensor {name} has no place in the teacher of all tasks")
            left.remove(whole)
            with torch.no_grad():
                own[whole].copy_(tensor)
    if left:
        raise DistillError(f"{parts[0].parent}: no task has learned {min(left)}")


def placed(name: str, place: int) -> str:
    """The name of a part's tensor in the whole.

    >>> placed("backbone.blocks.1.feed_forward.adapter.up.bias", 2)
    'backbone.blocks.1.feed_forward.adapter.each.2.up.bias'
    >>> placed("readouts.0.hidden.0.weight", 2)
    'readouts.2.hidden.0.weight'
    """
    for own, whole in _PLACES:
        name = name.replace(own, whole.format(place), 1)
    return name


def _is_fusion(name: str) -> bool:
    return ".adapter.query." in name or ".adapter.key." in name


@contextmanager
def adapters_kept(network: TunedNetwork) -> Iterator[None]:
    """While it learns how to fuse them, the adapters stay as each task has learned them (Pfeiffer et al. 2021, whose
    second step is this); of a stack they learn on, for each but the first hears what it has never heard before."""
    fused: list[nn.Module] = [module.each for module in network.modules() if isinstance(module, Fused)]
    for module in fused:
        module.requires_grad_(False)
    try:
        yield
    finally:
        for module in fused:
            module.requires_grad_(True)
