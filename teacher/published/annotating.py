"""A published checkpoint as an annotator: in clips of any length, out answers in our order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn

from distill.annotation import Annotation, TeacherCard
from distill.errors import DistillError
from distill.learning.device import choose_device
from teacher.published.cards import Family
from teacher.published.folder import read_config
from teacher.published.network import Heard
from teacher.published.weights import placed, read_state

#: Clips that a GPU answers together. A CPU takes four clips of 5 s in one padded batch about 1.7 times as slowly as one
#: after the other (WavLM-large, two cores), and alone each answer is the same whatever else is asked.
TOGETHER_ON_GPU = 16


class Published:
    """A teacher network with its card.

    together: clips that are answered in one padded batch; what is padded never changes an answer.
    """

    def __init__(self, card: TeacherCard, network: nn.Module, device: torch.device, *, together: int) -> None:
        self.card, self.network, self.device, self.together = card, network.to(device), device, together

    def annotate(self, signals: Any, lengths: Sequence[int], sampling_rate: int) -> Annotation:
        """Annotate a padded batch: adv float32 [batch, 3], embedding float32 [batch, dimensions].

        Raises:
            ValueError: another sampling rate than the card's.
        """
        if sampling_rate != self.card.sampling_rate:
            raise ValueError(f"{self.card.name} hears {self.card.sampling_rate} Hz, not {sampling_rate}")
        given = torch.as_tensor(signals, dtype=torch.float32)
        order = sorted(range(len(lengths)), key=lambda index: lengths[index])  # alike together: little is padded
        heard: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for start in range(0, len(order), self.together):
            chosen = order[start : start + self.together]
            answers = self._heard(given[chosen], torch.tensor([int(lengths[index]) for index in chosen]))
            heard.update(zip(chosen, zip(_rows(answers.adv), _rows(answers.embedding), strict=True), strict=True))
        adv, embedding = zip(*(heard[index] for index in range(len(lengths))), strict=True)
        return Annotation(adv=np.stack(adv), embedding=np.stack(embedding))

    @torch.inference_mode()
    def _heard(self, signals: Tensor, lengths: Tensor) -> Heard:
        signals = signals[:, : int(lengths.max())]
        answers: Heard = self.network(signals.to(self.device), lengths.to(self.device))
        return answers


def open_checkpoint(folder: Path, card: TeacherCard, *, family: Family, device: str = "auto") -> Published:
    """A checkpoint's folder as the annotator that `card` describes.

    Raises:
        DistillError: no checkpoint, or a configuration or tensors that do not fit the family, by name.
    """
    config = read_config(folder)
    network: Any = import_module(family.module).Network
    path, state = read_state(folder)
    where = choose_device(device)
    try:
        loaded = placed(lambda: network.build(config), path, network.arranged(state, config))
    except (TypeError, ValueError, StrictDataclassError) as error:  # sizes that transformers or torch refuse
        raise DistillError(f"{folder / 'config.json'}: {' '.join(str(error).split())}") from None
    together = 1 if where.type == "cpu" else TOGETHER_ON_GPU
    return Published(replace(card, parameters=_counted(loaded)), loaded, where, together=together)


def _counted(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _rows(values: Tensor) -> list[np.ndarray]:
    return list(values.float().cpu().numpy())
