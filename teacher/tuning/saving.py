"""A tuned teacher as a folder: what learned, head included, and which backbone it stands on; opened strictly.

teacher.json            card, design, the backbone by name, revision and family, the digest of the weights
learned.safetensors     every tensor that learned, and no other
README.md               the model card
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from distill.annotation import AXES, Annotation, TeacherCard
from distill.audio import SAMPLING_RATE
from distill.errors import DistillError
from distill.files import read_json, sha256_of, whole, write_json
from distill.learning.device import choose_device
from distill.learning.weights import check_tensors, read_tensors
from teacher.published.annotating import TOGETHER_ON_GPU, Published
from teacher.published.network import Heard
from teacher.tuning.backbone import Backbone, Origin, find_backbone, found_again, open_backbone
from teacher.tuning.conditioning import Encode, beside_of
from teacher.tuning.design import Design, columns_of
from teacher.tuning.folder import LEARNED, TEACHER, card_in
from teacher.tuning.methods import learning
from teacher.tuning.network import TunedNetwork
from teacher.tuning.text import TextEncoder, find_text_encoder, open_text_encoder

#: Of clips (seconds).
SHORTEST_SECONDS = 0.3


def rounded(network: TunedNetwork) -> TunedNetwork:
    """The network with what learned as it is saved: what is scored is what is opened. Of whole layers that learned,
    float32; of what is added beside them, and of heads, half precision: 2 % of a backbone are not to become 4."""
    with torch.no_grad():
        for parameter in learning(network).values():
            parameter.copy_(parameter.to(_precision(network)))
    return network


def write_learned(path: Path, network: TunedNetwork) -> str:
    """Write what learned, whole or not at all; returns the file's SHA-256."""
    from safetensors.torch import save_file

    dtype = _precision(network)
    tensors = {name: parameter.detach().to("cpu", dtype).contiguous() for name, parameter in learning(network).items()}
    with whole(path) as beside:
        save_file(tensors, beside)
    return sha256_of(path)


def put_learned(network: TunedNetwork, path: Path) -> None:
    """Put what `write_learned` wrote into a network of the same design, strictly.

    Raises:
        DistillError: a tensor is missing, too many, misshaped or of another type, by name.
    """
    read, own, dtype = read_tensors(path), learning(network), _precision(network)
    check_tensors(path, {name: parameter.to(dtype) for name, parameter in own.items()}, read)
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(read[name])


def _precision(network: TunedNetwork) -> torch.dtype:
    return torch.float32 if network.design.method in ("full", "partial") else torch.float16


def try_saving(folder: Path, network: TunedNetwork) -> None:
    """Before the training: is what learns saved, and put back as it was?

    Raises:
        DistillError: it is not.
    """
    before = {name: parameter.detach().clone() for name, parameter in learning(network).items()}
    path, dtype = folder / f"trial-{LEARNED}", _precision(network)
    try:
        write_learned(path, network)
        with torch.no_grad():
            for parameter in learning(network).values():
                parameter.add_(1)
        put_learned(network, path)
        back = {name: parameter.detach().clone() for name, parameter in learning(network).items()}
    finally:
        path.unlink(missing_ok=True)
        with torch.no_grad():
            for name, parameter in learning(network).items():
                parameter.copy_(before[name])
    changed = [name for name, tensor in back.items() if not torch.equal(tensor, before[name].to(dtype).float())]
    if changed:
        raise DistillError(f"{folder}: what is learned cannot be saved there: {changed[0]} comes back changed")


def write_teacher(
    folder: Path, network: TunedNetwork, origin: Origin, card: TeacherCard, text: Origin | None = None
) -> None:
    """Write the weights, and then what makes a teacher of them. card: but for revision and parameters; text: the
    encoder of words that it takes vectors of."""
    digest = write_learned(folder / LEARNED, network)
    own = learning(network)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    write_json(folder / TEACHER, {
        "card": replace(card, revision=digest[:12], parameters=parameters).as_dict(),
        "design": network.design.as_dict(),
        "backbone": as_written(origin), "text_encoder": None if text is None else as_written(text),
        "learned": {"sha256": digest, "tensors": len(own), "parameters": sum(x.numel() for x in own.values())},
    })  # fmt: skip


def as_written(origin: Origin) -> dict[str, Any]:
    """Where something comes from, as plain JSON types."""
    return {**asdict(origin), "folder": origin.folder.resolve().as_posix()}


def open_tuned(folder: Path, device: str = "auto") -> Published:
    """A tuned teacher's folder as an annotator.

    Raises:
        DistillError: its backbone is not there or is another, or something does not fit, by name.
    """
    where = choose_device(device)
    network = read_network(folder)
    card, together = card_in(folder), 1 if where.type == "cpu" else TOGETHER_ON_GPU
    if not network.design.conditions:
        return Published(card, Answering(network), where, together=together)
    return Conditioned(card, network, where, together=together, encode=_encoder_of_text(folder))


def _encoder_of_text(folder: Path) -> TextEncoder | None:
    said = read_json(folder / TEACHER).get("text_encoder")
    if said is None:
        return None
    wanted = Origin(**{**said, "folder": Path(said["folder"])})
    return open_text_encoder(found_again(wanted, find_text_encoder, stands=folder, said_in=TEACHER))


def read_network(folder: Path) -> TunedNetwork:
    """The network of a tuned teacher, frozen, in evaluation mode.

    Raises:
        DistillError: as `open_tuned`.
    """
    said = read_json(folder / TEACHER)
    try:
        design, backbone, digest = Design.from_dict(said["design"]), said["backbone"], str(said["learned"]["sha256"])
        wanted = Origin(**{**backbone, "folder": Path(backbone["folder"])})
    except (KeyError, TypeError) as error:
        raise DistillError(f"{folder / TEACHER}: is no tuned teacher ({error})") from None
    if sha256_of(folder / LEARNED) != digest:
        raise DistillError(f"{folder / LEARNED}: is not the file that {TEACHER} speaks of; train again")
    found = found_again(wanted, find_backbone, stands=folder, said_in=TEACHER)
    network = TunedNetwork(design, open_backbone(found))
    put_learned(network, folder / LEARNED)
    return network.eval().requires_grad_(False)


class Answering(nn.Module):
    """A tuned network as the annotators of published teachers ask one."""

    def __init__(self, network: TunedNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, signals: Tensor, lengths: Tensor, *told: Tensor) -> Heard:
        """signals: float32 [batch, samples], padded with anything; lengths: [batch] in samples; told: what is said."""
        features = self.network.pooled(signals, lengths, *told)
        answers = self.network.head(features)
        shares = [
            torch.softmax(answers[:, columns], dim=1) for columns in columns_of(self.network.design.classes).values()
        ]
        return Heard(answers[:, : len(AXES)], features, torch.cat(shares, dim=1) if shares else None)


class Conditioned(Published):
    """A teacher that is told who speaks, or what, by the manifest's columns; of a clip that has none it knows neither.
    encode: makes vectors of transcripts, or None where the column `text_vector` has them, or words play no part."""

    def __init__(
        self, card: TeacherCard, network: TunedNetwork, device: torch.device, *, together: int, encode: Encode | None
    ) -> None:
        super().__init__(card, Answering(network), device, together=together)
        self._dimensions, self._encode = network.design.text, encode

    def annotate_rows(
        self, signals: Any, lengths: Sequence[int], sampling_rate: int, columns: Sequence[Mapping[str, Any]]
    ) -> Annotation:
        """As `annotate`; columns: of each clip, of which sex and transcript (or text_vector) are heard."""
        told = beside_of(columns, dimensions=self._dimensions, encode=self._encode)
        return self._annotated(signals, lengths, sampling_rate, torch.from_numpy(told))


def describe(origin: Origin, backbone: Backbone, design: Design, *, name: str, said: Mapping[str, Any]) -> TeacherCard:
    """The card of a teacher tuned from `backbone`. said: licence, data_licence and trained_on."""
    return TeacherCard(
        name=name, source=f"distill train-teacher --method {design.method} --backbone {origin.name}", revision="",
        parameters=0, axes=design.axes, derived=(), range=(0.0, 1.0), bundled=False,
        normalisation=backbone.normalisation, gain_invariant=backbone.normalises, sampling_rate=SAMPLING_RATE,
        shortest_seconds=SHORTEST_SECONDS, longest_seconds=backbone.longest_seconds, own_threads=True,
        licence=said["licence"], data_licence=said["data_licence"], trained_on=said["trained_on"],
        classes=design.classes,
    )  # fmt: skip
