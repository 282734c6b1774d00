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
from teacher.published.encoder import with_own_encoders
from teacher.published.folder import read_config
from teacher.published.network import Heard
from teacher.published.products import multiplies_bfloat16
from teacher.published.weights import placed, read_state

#: Clips that a GPU answers together. A CPU takes four clips of 5 s in one padded batch about 1.7 times as slowly as one
#: after the other (WavLM-large, two cores), and alone each answer is the same whatever else is asked.
TOGETHER_ON_GPU = 16

#: Where the encoders are computed our way; elsewhere by transformers.
_OWN_ENCODER_ON = ("cpu", "cuda")


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
        return self._annotated(signals, lengths, sampling_rate, None)

    def _annotated(self, signals: Any, lengths: Sequence[int], sampling_rate: int, told: Tensor | None) -> Annotation:
        """told: [batch, n], for networks that take more than the sound."""
        if sampling_rate != self.card.sampling_rate:
            raise ValueError(f"{self.card.name} hears {self.card.sampling_rate} Hz, not {sampling_rate}")
        given = torch.as_tensor(signals, dtype=torch.float32)
        order = sorted(range(len(lengths)), key=lambda index: lengths[index])  # alike together: little is padded
        heard: dict[int, tuple[np.ndarray, ...]] = {}
        for start in range(0, len(order), self.together):
            chosen = order[start : start + self.together]
            more = () if told is None else (told[chosen],)
            answers = self._heard(given[chosen], torch.tensor([int(lengths[index]) for index in chosen]), *more)
            sides = [answers.adv, answers.embedding, *([] if answers.categories is None else [answers.categories])]
            heard.update(zip(chosen, zip(*map(_rows, sides), strict=True), strict=True))
        adv, embedding, *categories = map(np.stack, zip(*(heard[index] for index in range(len(lengths))), strict=True))
        return Annotation(adv=adv, embedding=embedding, categories=categories[0] if categories else None)

    @torch.inference_mode()
    def _heard(self, signals: Tensor, lengths: Tensor, *told: Tensor) -> Heard:
        given = (signals[:, : int(lengths.max())], lengths, *told)
        answers: Heard = self.network(*(side.to(self.device) for side in given))
        return answers


def open_checkpoint(
    folder: Path, card: TeacherCard, *, family: Family, device: str = "auto", precision: str = "float32"
) -> Published:
    """A checkpoint's folder as the annotator that `card` describes.

    precision: "bfloat16" for the products of its encoder, where `OwnEncoder` computes it.

    Raises:
        DistillError: no checkpoint, a configuration or tensors that do not fit the family, by name, or a precision
            that this network or processor lacks.
    """
    where = choose_device(device)
    dtype = _products_in(precision, where)
    network = _loaded(folder, family).to(where)
    card = replace(card, parameters=_counted(network))
    replaced = with_own_encoders(network, dtype) if where.type in _OWN_ENCODER_ON else 0
    if dtype != torch.float32 and not replaced:
        raise DistillError(f"--precision {precision}: {card.name} computes in float32 alone; label without it")
    return Published(card, network, where, together=1 if where.type == "cpu" else TOGETHER_ON_GPU)


def _products_in(precision: str, where: torch.device) -> torch.dtype:
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    if dtype == torch.bfloat16 and not multiplies_bfloat16(where):
        raise DistillError(f"--precision {precision}: this {where.type} does not multiply in it; label without it")
    return dtype


def _loaded(folder: Path, family: Family) -> nn.Module:
    """The family's network with exactly the tensors of the folder, which nothing else holds any more."""
    config = read_config(folder)
    network: Any = import_module(family.module).Network
    path, state = read_state(folder)
    try:
        return placed(lambda: network.build(config), path, network.arranged(state, config))
    except (TypeError, ValueError, StrictDataclassError) as error:  # sizes that transformers or torch refuse
        raise DistillError(f"{folder / 'config.json'}: {' '.join(str(error).split())}") from None


def _counted(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _rows(values: Tensor) -> list[np.ndarray]:
    return list(values.float().cpu().numpy())
