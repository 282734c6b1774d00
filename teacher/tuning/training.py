"""Tuning a teacher: rated recordings and a backbone in, a folder out that is at once a teacher."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distill import runs
from distill.annotation import AXES
from distill.errors import DistillError
from distill.files import check_disk, read_json, sole_writer, write_json
from distill.learning.batch import Batch
from distill.learning.clips import Clips, cache, cached
from distill.learning.device import choose_device, choose_precision
from distill.learning.loop import METRICS, Parts, Schedule, answers, fit
from distill.learning.objective import Objective
from distill.learning.processes import Processes, meet
from distill.licences import UNKNOWN, require, strictest
from distill.metrics import agreement, interval, unweighted_recall
from distill.progress import say
from teacher.contrastive.backbone import suited
from teacher.tuning import saving
from teacher.tuning.backbone import VIEWS, Origin, find_backbone, open_backbone
from teacher.tuning.batches import TuningBatches, whole_batches
from teacher.tuning.card import write_model_card
from teacher.tuning.conditioning import SEX, TRANSCRIPT, VECTOR, beside_of, dimensions_of
from teacher.tuning.design import Design, answering, design_of
from teacher.tuning.lessons import Lessons, read_lessons, summary
from teacher.tuning.methods import count
from teacher.tuning.network import TunedNetwork
from teacher.tuning.objective import loss_for, score
from teacher.tuning.options import CCC_OVER, METHODS, TASKS, VIEWS_METHODS
from teacher.tuning.text import TextEncoder, find_text_encoder, open_text_encoder

#: Bytes that each number that learns takes while it does: the weights, their average, the best, two moments, each in
#: the checkpoint as well as in its copy that is being written.
_BYTES_A_NUMBER = 4 * 5 * 2

#: Where the decoded clips lie while it trains.
_CACHE = "cache"

#: Arguments that do not decide the outcome, or that `config.yaml` tells otherwise.
_NO_PART = ("output", "require_licence", "labels", "audio", "backbone", "layers", "pooling", "head", "top_layers",
            "method", "condition", "text_encoder")  # fmt: skip


def tune_teacher(
    labels: str | Path,
    *,
    backbone: str,
    output: str | Path,
    method: str = "lora",
    audio: str | Path | None = None,
    where: Mapping[str, str] | None = None,
    task: str = "adv",
    layers: str | None = None,
    pooling: str | None = None,
    head: str | None = None,
    top_layers: int | None = None,
    condition: str = "none",
    text_encoder: str | None = None,
    epochs: int | None = None,
    patience: int | None = 5,
    batch_size: int = 32,
    micro_batch: int = 8,
    ccc_over: str = "batch",
    learning_rate: float | None = None,
    longest: float | None = None,
    speaker_from: str | None = None,
    checkpointing: bool = False,
    licence: str | None = None,
    data_licence: str = UNKNOWN,
    backbone_data_licence: str = UNKNOWN,
    require_licence: str | None = None,
    trained_on: str | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
) -> dict[str, Any]:
    """Tune a backbone on ratings; called again after an interruption it goes on.

    labels, audio, where, task, speaker_from: as of `read_lessons`. backbone: a folder, or a hub's owner/name. method,
    layers, pooling, head, top_layers, condition: as of `teacher.tuning.design`; by default as the method was published.
    text_encoder: a folder, or a hub's owner/name, that makes vectors of the column `transcript`; without it the column
    `text_vector` has to hold them.
    epochs, learning_rate, longest: the method's own, if not given. patience: epochs without a better score on held-out
    speakers after which it ends; None: never early. batch_size: clips an update; micro_batch: clips that go through the
    network at once; ccc_over: of `CCC_OVER`. checkpointing: compute anew for the gradients what is between the layers.
    licence: of the weights, beside that of the backbone; the strictest is the teacher's. data_licence: of recordings
    and ratings; backbone_data_licence: of what the backbone was trained on. Several processes that torchrun started
    tune one teacher together, batch_size clips each a step.

    Returns what stands in `result.json`: {ccc: {axis: {value, low, high}}, uar, axes, missing, categories, split, n,
    trainable, parameters, method, backbone, licence, data_licence, seconds, epochs, output}, on held-out speakers.

    Raises:
        Refused: a licence is too strict, `output` holds another run, or another process writes there.
        DistillError: backbone, labels, audio, disk or saving cannot work; said before the first step.
    """
    output, labels = Path(output), Path(labels)
    given = {key: value for key, value in locals().items() if key not in _NO_PART}
    _check(given)
    chosen = {"top": top_layers} if top_layers else {}
    design = design_of(method, layers=layers, pooling=pooling, head=head, condition=condition, **chosen)
    with meet() as processes, ExitStack() as held:
        with processes.in_turn():  # what is downloaded or decoded the others find there
            origin, words = find_backbone(backbone), _words(design, text_encoder)
            design = suited(design, layers=layers) if origin.family == VIEWS else design
            lessons = read_lessons(
                labels, audio=None if audio is None else Path(audio), where=where, task=task,
                speaker_from=speaker_from, seed=seed,
            )  # fmt: skip
            told = _told(labels, design, lessons, words)
            design = answering(design, lessons.axes, lessons.categories, 0 if told is None else told.shape[1] - 1)
            text = None if words is None else words.origin
            config = _resolved(given, labels, design, origin, lessons, text, processes)
            require(require_licence, {"the teacher": config["licence"], "what it learns from": config["data_licence"]})
            if processes.first:
                held.enter_context(sole_writer(output))
            finished = _begin(output, config, processes)
            if finished is not None:
                return {**finished, "output": str(output)}
            if lessons.missing:
                say(f"{labels}: no ratings of {', '.join(lessons.missing)}; the teacher will not answer them")
            torch.manual_seed(seed)
            network = _network(design, origin, checkpointing=checkpointing)
            if processes.first:
                _check_before(output, network)
            data = _decoded(lessons, output, told, decoded=not processes.first)
            network.start_near(torch.from_numpy(data.clips.targets[data.train]))
            say(f"{method} on {origin.name}: {count(network):,} of {_size(network):,} parameters learn")
        _fit(network, data, output, config, processes)
        with processes.in_turn():
            if processes.first:
                return _finish(output, config, network, origin, lessons, data, text)
            return {**dict(read_json(output / runs.RESULT)), "output": str(output)}


def _begin(output: Path, config: Mapping[str, Any], processes: Processes) -> dict[str, Any] | None:
    """Begin the run, or go on with it; the result of one that is finished already."""
    if processes.first:
        runs.begin(output, config)
    else:
        runs.reject_other(output, config)
    finished = runs.read_result(output)
    if finished is not None:
        say(f"{output}: already trained")
    return finished


@dataclass(frozen=True)
class _Data:
    """Decoded clips, and which of them are learned from and scored on: indices. beside: what is told of each."""

    clips: Clips
    train: np.ndarray
    held_out: np.ndarray
    beside: np.ndarray | None

    def whole(self, network: TunedNetwork, together: int) -> Iterator[Batch]:
        """What is scored on, as long as the backbone hears it."""
        longest = network.backbone.longest_seconds
        return whole_batches(self.clips, self.held_out, batch_size=together, longest=longest, beside=self.beside)


def _check(given: Mapping[str, Any]) -> None:
    """Before anything is opened: numbers that cannot be."""
    for option, known in (("task", TASKS), ("ccc_over", CCC_OVER)):
        if given[option] not in known:
            raise DistillError(f"--{option.replace('_', '-')} {given[option]}: there are {', '.join(known)}")
    for option in ("batch_size", "micro_batch", "epochs", "patience", "learning_rate", "longest"):
        if given[option] is not None and not given[option] > 0:
            raise DistillError(f"--{option.replace('_', '-')} {given[option]:g}: must be above 0")


def _words(design: Design, text_encoder: str | None) -> TextEncoder | None:
    if text_encoder is None:
        return None
    if "text" not in design.conditions:
        raise DistillError("--text-encoder goes with --condition text or gender+text")
    return open_text_encoder(find_text_encoder(text_encoder))


def _told(labels: Path, design: Design, lessons: Lessons, words: TextEncoder | None) -> np.ndarray | None:
    """What is said of the clips beside their sound: float32 [n, 1 + dimensions], or None where that plays no part."""
    if not design.conditions:
        return None
    rows = [segment.columns for segment in lessons.segments]
    text = "text" in design.conditions
    dimensions = (dimensions_of(rows) if words is None else words.dimensions) if text else 0
    if text and not dimensions:
        raise DistillError(
            f"{labels}: --condition {design.condition} needs a column {VECTOR!r}, or transcripts and --text-encoder"
        )
    told = beside_of(rows, dimensions=dimensions, encode=words)
    if "gender" in design.conditions and not told[:, 0].any():
        raise DistillError(f"{labels}: --condition {design.condition} needs a column {SEX!r} (female, male)")
    if text and np.isnan(told[:, 1:]).any(1).all():
        raise DistillError(f"{labels}: --condition {design.condition} needs a column {TRANSCRIPT!r}")
    return told


def _resolved(
    given: Mapping[str, Any], labels: Path, design: Design, origin: Origin, lessons: Lessons, text: Origin | None,
    processes: Processes,
) -> dict[str, Any]:  # fmt: skip
    """Everything that decides the outcome: the run's `config.yaml`."""
    method = VIEWS_METHODS[design.method] if origin.family == VIEWS else METHODS[design.method]
    config = {key: value for key, value in given.items() if key not in ("licence", "where")}
    for key in ("epochs", "learning_rate", "longest"):
        config[key] = getattr(method, key) if config[key] is None else config[key]
    config["design"] = design.as_dict()
    config["backbone"] = saving.as_written(origin)
    if not processes.alone:
        config["processes"] = processes.count
    config["text_encoder"] = None if text is None else saving.as_written(text)
    config["labels"], config["labels_sha256"] = labels.resolve().as_posix(), lessons.digest()
    config["audio"] = lessons.root.resolve().as_posix()
    parents = [origin] if text is None else [origin, text]
    licence = [*(parent.licence for parent in parents), *([given["licence"]] if given["licence"] else [])]
    of_data = [given["backbone_data_licence"], given["data_licence"]]
    speakers = f" of {len(set(lessons.groups))} speakers" if lessons.by == "speaker" else ""
    config["trained_on"] = given["trained_on"] or f"{labels.name}: {len(lessons.groups)} clips{speakers}"
    return {**config, "licence": strictest(licence), "data_licence": strictest(of_data)}


def _network(design: Design, origin: Origin, *, checkpointing: bool) -> TunedNetwork:
    network = TunedNetwork(design, open_backbone(origin))
    network.backbone.checkpointing = checkpointing
    return network


def _check_before(output: Path, network: TunedNetwork) -> None:
    """Fail before spending: is there disk, is what learns saved and read back?"""
    check_disk(output, bytes_needed=_BYTES_A_NUMBER * count(network))
    saving.try_saving(output, network)


def _decoded(lessons: Lessons, output: Path, told: np.ndarray | None, *, decoded: bool) -> _Data:
    """Decode once; what cannot be read is named, and is missed on its side alone. decoded: another process has."""
    examples = lessons.examples()
    places = {id(example): place for place, example in enumerate(examples)}
    folder = output / _CACHE
    clips, kept = cached(examples, folder) if decoded else cache(examples, folder, shortest=saving.SHORTEST_SECONDS)
    read = np.array([places[id(example)] for example in kept])
    sides = lessons.held[read]
    if sides.all() or not sides.any():
        side = "training" if sides.all() else "held-out"
        raise DistillError(f"no {side} clip can be read; {output / 'left_out.csv'} names what is missing")
    return _Data(clips, np.flatnonzero(~sides), np.flatnonzero(sides), None if told is None else told[read])


def _fit(network: TunedNetwork, data: _Data, output: Path, config: Mapping[str, Any], processes: Processes) -> None:
    """Train; the network of the first process has the best weights then."""
    device = choose_device(config["device"])
    method, micro_batch = METHODS[config["design"]["method"]], config["micro_batch"]
    schedule = Schedule(
        config["epochs"], None, config["learning_rate"], weight_decay=method.weight_decay, patience=config["patience"]
    )
    batches = TuningBatches(
        data.clips, data.train, batch_size=config["batch_size"], seed=config["seed"],
        longest=min(config["longest"], network.backbone.longest_seconds), beside=data.beside,
        processes=processes,
    )  # fmt: skip
    weights = fit(
        network, batches, lambda: data.whole(network, micro_batch),
        objective=Objective(loss_for(data.clips.targets[data.train])), schedule=schedule, folder=output, device=device,
        precision=choose_precision(config["precision"], device, reduced_on_cpu=False),
        parts=Parts(micro_batch, exact=config["ccc_over"] == "batch"), score=score,
        processes=processes,
    )  # fmt: skip
    if processes.first:
        network.load_state_dict(weights)


def _finish(
    output: Path, config: Mapping[str, Any], network: TunedNetwork, origin: Origin, lessons: Lessons, data: _Data,
    text: Origin | None,
) -> dict[str, Any]:  # fmt: skip
    """Score what was held out, write the teacher, then the result."""
    device = choose_device(config["device"])
    saving.rounded(network)
    scores = _scores(*answers(network, data.whole(network, config["micro_batch"]), device))
    card = saving.describe(origin, network.backbone, network.design, name=output.resolve().name, said=config)
    saving.write_teacher(output, network, origin, card, text)
    last = json.loads((output / METRICS).read_text(encoding="utf-8").splitlines()[-1])
    result = {
        **scores, "axes": list(lessons.axes), "missing": list(lessons.missing), "categories": list(lessons.categories),
        "split": {**summary(lessons), "train": len(data.train), "held_out": len(data.held_out)},
        "method": network.design.method, "backbone": origin.name, "trainable": count(network),
        "parameters": _size(network), "licence": config["licence"], "data_licence": config["data_licence"],
        "trained_on": config["trained_on"], "seconds": last["seconds"], "epochs": last["epoch"],
    }  # fmt: skip
    write_model_card(output, result, network.design)
    write_json(output / runs.RESULT, result)
    for folder in (_CACHE, "checkpoints"):
        shutil.rmtree(output / folder)
    return {**result, "output": str(output)}


def _scores(predicted: np.ndarray, target: np.ndarray) -> dict[str, Any]:
    """{n, ccc: {axis: {value, low, high}}, uar: {value, low, high} or None}, on what was held out."""
    found = agreement(predicted, target)
    axes = len(AXES)
    told = np.isfinite(target[:, axes:]).all(1)
    uar = None
    if target.shape[1] > axes and told.any():
        uar = interval(unweighted_recall, predicted[told, axes:].argmax(1), target[told, axes:].argmax(1))
    return {"n": len(target), "ccc": found["ccc"], "uar": uar}


def _size(network: TunedNetwork) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
